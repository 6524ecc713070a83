"""Who caught a panic: tokio, whose task has panicked then, or the task's own code, after which it goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cells import Cell
from tests.e2e.command import recording
from tests.running import Targets

pytestmark = pytest.mark.e2e

ROUNDS = 20
CATCHING = ("late", "early", "around", "dropping", "Inlined")


@pytest.mark.cells(targets=("catches",))
def test_only_those_have_panicked_whose_panic_tokio_caught(targets: Targets, cell: Cell, tmp_path: Path) -> None:
    options = ("-o", tmp_path / "t.pftrace", "--json", "--max-overhead", 100)
    with targets.run(cell.target, cell.profile) as running, recording("--pid", running.pid, *options) as rec:
        running.go()
        result = running.wait()
        done = rec.wait()
    assert (result.returncode, done.code) == (0, 0)
    assert result.totals is not None
    assert result.totals.checksum == ROUNDS * len(CATCHING)
    kinds: dict[str, dict[str, Any]] = {one["function"]: one for one in json.loads(done.out)["task_kinds"]}
    if cell.profile != "release":  # where tasks of futures that were inlined have no name
        assert kinds.keys() == {f"task catches::{name}" for name in (*CATCHING, "panics")}
    if cell.profile == "dev":  # where tokio's own catch is no part of its task poll: nobody can tell the two apart
        del kinds["task catches::Inlined"]
    outcomes = {name: {key: n for key, n in one["outcomes"].items() if n} for name, one in kinds.items()}
    assert outcomes["task catches::panics"] == {"panicked": ROUNDS}
    for name in CATCHING:
        one = kinds.get(f"task catches::{name}")
        if one is not None:
            assert (one["tasks"], one["unidentified"]) == (ROUNDS, 0)
            # Where `transition_to_complete` has no function of its own nobody sees whether a future returned.
            assert outcomes[f"task catches::{name}"].keys() <= {"finished", "unknown", "replaced", "ended"}
