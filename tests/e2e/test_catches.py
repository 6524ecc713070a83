"""Who caught a panic: tokio, whose task has panicked then, or the task's own code, after which it goes on.
What was unwound is over.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.assembled import assembled, joined
from tests.cells import Cell
from tests.e2e.command import recording
from tests.running import Targets
from tracer.model import Array, Plan

pytestmark = pytest.mark.e2e

ROUNDS = 20
CATCHING = ("late", "early", "around", "goes_on", "dropping", "Inlined")


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


@pytest.mark.parametrize("choice", [(), ("-N", "^task ")], ids=["all", "without-tasks"])
@pytest.mark.cells(targets=("catches",))
def test_what_was_unwound_has_nothing_in_it(
    targets: Targets, cell: Cell, tmp_path: Path, choice: tuple[str, ...]
) -> None:
    """What is polled next lies further down the stack, where it would look as if the panicked poll had called it."""
    capture = tmp_path / "x.ratcap"
    options = ("--format", "capture", "-o", capture, "--max-overhead", 100, *choice)
    with targets.run(cell.target, cell.profile) as running, recording("--pid", running.pid, *options) as rec:
        running.go()
        result = running.wait()
        done = rec.wait()
    assert (result.returncode, done.code) == (0, 0), done.err
    recorded, parts, tally = assembled(capture)
    polls = joined(parts).polls
    panicking, calm = of(polls, recorded.plan, "panics"), of(polls, recorded.plan, "calm")
    assert len(calm) == 2 * ROUNDS
    assert len(panicking) >= 2 * ROUNDS  # where the compiler inlined the others
    assert tally.unwound >= ROUNDS
    assert not np.isin(calm["parent"], panicking["instance"]).any()
    around = (panicking["start"] <= calm["start"][:, None]) & (panicking["end_latest"] > calm["start"][:, None])
    assert not around.any()


def of(polls: Array, plan: Plan, name: str) -> Array:
    """The polls of this async fn."""
    return polls[
        np.isin(polls["function"], [n for n, one in enumerate(plan.functions) if one.name == f"catches::{name}"])
    ]
