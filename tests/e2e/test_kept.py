"""Finished tasks whose results nobody takes: how many there are, and which task has their handles, as memory tells."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.e2e.command import rat
from tests.running import Targets

pytestmark = pytest.mark.e2e

KEEPERS = {"result-leak": "collects", "result-leak-vec": "lists", "result-leak-unordered": "queues"}
"""By the mode of tests/targets/trouble: in a JoinSet, a Vec and a FuturesUnordered."""

FEW, MANY = 3, 60


def tasks_of(pid: int, *, at_least: int = 0) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The live ones and the finished ones, once there are so many of these."""
    for _ in range(50):
        tasks = json.loads(rat("tree", pid, "--json").out)["tasks"]
        finished = [one for one in tasks if one["state"] == "complete"]
        if len(finished) >= at_least:
            break
        time.sleep(0.2)
    return [one for one in tasks if one["state"] != "complete"], finished


@pytest.mark.parametrize("profile", ["dev", "release-debug"])
@pytest.mark.parametrize("mode", KEEPERS)
def test_who_keeps_them_is_known(targets: Targets, mode: str, profile: str) -> None:
    with targets.run("trouble", profile, mode) as running:
        running.go()
        live, finished = tasks_of(running.pid, at_least=MANY)
        said = rat("tree", running.pid).out
    (keeper,) = [one for one in live if one["future"].endswith(KEEPERS[mode])]
    assert len(finished) >= MANY
    assert {one["future"] for one in finished} == {"trouble::kept::answer"}
    assert all(one["has_handle"] for one in finished)
    # One that ends while it is read may be in no list yet.
    unknown = [one for one in finished if one["kept_by"] != keeper["id"]]
    assert len(unknown) <= FEW, unknown
    assert f"kept by task {keeper['id']} (kept::{KEEPERS[mode]}) at trouble/src/kept.rs:" in said
    assert "finished, and kept in memory by their handles: " in said


@pytest.mark.parametrize("profile", ["dev", "release-debug"])
def test_what_is_taken_or_let_go_is_gone(targets: Targets, profile: str) -> None:
    with targets.run("trouble", profile, "results-taken") as running:
        running.go()
        time.sleep(1)
        live, finished = tasks_of(running.pid)
        said = rat("tree", running.pid).out
    assert {one["future"].rsplit("::", 1)[-1] for one in live} >= {"drains", "lets_go"}
    assert len(finished) <= FEW
    assert "finished, and kept" not in said
