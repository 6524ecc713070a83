"""The stacks of parked tasks, in every construct, as their source says; by the command, and 100 times under load."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cells import Cell
from tests.e2e.command import rat
from tests.parked import Expected, expected_stacks, seen_stack, short_name
from tests.running import Running, Targets
from tracer.commands.snapshots import live_tasks
from tracer.snapshot import image, read
from tracer.stacks import TaskState

pytestmark = pytest.mark.e2e

TARGETS = ("parked_tokio", "parked_async_std", "parked_smol")
ALIKE = 100


def check(document: dict[str, Any], target: str, *, with_twin: bool) -> None:
    """Every construct's task is there, in the stack that its source says.

    with_twin: of some tasks nothing tells which of several types they run; then it is not told where they wait.
    """
    expected = expected_stacks("parked", target)
    assert len(expected) > 140
    seen: dict[str, list[Expected]] = {}
    for task in document["tasks"]:
        if task["stack"] is None and (with_twin or is_blocking(task["future"])):
            continue
        assert task["stack"] is not None, task
        (root,) = document["stacks"][task["stack"]]
        name = short_name(root["future"])
        seen.setdefault(name, []).append(seen_stack(root, expected.get(name)))
    missing = {name for name in expected if name not in seen}
    assert len(missing) <= (len(expected) // 10 if with_twin else 0), missing
    for name, stack in expected.items():
        if name in missing:
            continue
        assert {one.key() for one in seen[name]} == {stack.key()}, name
    assert "alike" in missing or len(seen["alike"]) == ALIKE


@pytest.mark.cells(targets=TARGETS)
def test_every_construct_is_in_the_stack_that_its_source_says(targets: Targets, cell: Cell) -> None:
    twin: list[object] = []
    if cell.profile == "release":
        twin = ["--symbols", targets.path(cell.target, "release-debug")]
    with targets.run(cell.target, cell.profile) as running:
        until_parked(running)
        done = rat("tree", running.pid, "--json", *twin)
    assert done.code == 0, done.err
    check(json.loads(done.out), cell.target, with_twin=bool(twin))


def until_parked(running: Running) -> None:
    """No task has anything left to do, but for a job that blocks its thread."""
    reader = live_tasks(running.pid).reader
    before = None
    for _ in range(100):
        tasks = reader.take().tasks
        others = tasks[tasks["state"] != TaskState.WAITING]
        if len(others) <= 1 and set(others["state"].tolist()) <= {TaskState.RUNNING}:
            if others["header"].tolist() == before:
                return
            before = others["header"].tolist()
        time.sleep(0.05)
    pytest.fail("its tasks go on")


def is_blocking(future: str) -> bool:
    return future.startswith("blocking job ")


@pytest.mark.parametrize("profile", ["dev", "release-debug"])
def test_again_and_again_under_load(targets: Targets, profile: str) -> None:
    """Whatever else runs, each parked task is in its stack each time, and no task is made up."""
    with targets.run("parked_tokio", profile, "busy") as running:
        live = live_tasks(running.pid)
        busy = [index for index, one in enumerate(live.binary.functions) if one.name.endswith("own::busy")]
        first = None
        for _ in range(25):
            snapshot = live.reader.take()
            others = snapshot.tasks[~np.isin(snapshot.tasks["function"], busy)]
            assert set(others["state"].tolist()) == {TaskState.WAITING}
            parked = {int(task["id"]): snapshot.stacks[task["stack"]] for task in others}
            first = first or parked
            assert parked == first
            assert len(snapshot.tasks) - len(others) <= 2


def test_without_debug_information_the_tasks_have_their_names(targets: Targets) -> None:
    with targets.run("parked_tokio", "release") as running:
        done = rat("ps", running.pid, "--json")
    futures = {task["future"].split("::")[-1] for task in json.loads(done.out)["tasks"]}
    assert {"nested", "recursion", "in_local_set", "asks", "abortable"} <= futures


STATES = {
    "states::completes": ("complete", False),
    "states::waits": ("waiting", False),
    "states::is_woken": ("ready", False),
    "states::is_aborted": ("ready", True),
    "states::is_new": ("ready", False),
    "states::runs": ("running", False),
}


@pytest.mark.parametrize("profile", ["dev", "release-debug"])
def test_a_task_in_each_state(targets: Targets, profile: str) -> None:
    """What is over and held by nobody is no task; what runs names its thread, and only that."""
    with targets.run("parked_tokio", profile, "states") as running:
        done = rat("ps", running.pid, "--json")
        threads = {
            int(path.name)
            for path in Path(f"/proc/{running.pid}/task").iterdir()
            if (path / "comm").read_text().strip() == "only-worker"
        }
    tasks = json.loads(done.out)["tasks"]
    told = {one["future"].removeprefix("parked_tokio::"): (one["state"], one["aborted"]) for one in tasks}
    assert told == STATES
    assert len(tasks) == len(STATES)
    for one in tasks:
        assert ({one["thread"]} == threads) if one["state"] == "running" else one["thread"] is None
        assert (one["stack"] is None) == (one["state"] in ("running", "complete")), one
    leaf = {one["future"].removeprefix("parked_tokio::"): one["leaf"] for one in tasks}
    assert leaf["states::waits"] == "Forever"
    assert leaf["states::is_woken"] == "Notified"


@pytest.mark.parametrize("profile", ["dev", "release-debug"])
def test_thousands_of_tasks_that_wait_alike_are_one_tree(targets: Targets, profile: str) -> None:
    """Whatever their futures have in them; and the one that does not is another."""
    with targets.run("parked_tokio", profile, "alike") as running:
        words = rat("tree", running.pid).out
        document = json.loads(rat("tree", running.pid, "--json").out)
    first, second = (line for line in words.splitlines() if "waiting  id" in line)
    assert first.startswith("5,000 tasks: alike::alike ")
    assert second.startswith("alike::alike ")
    assert len(document["stacks"]) == 2
    assert len(document["tasks"]) == 5_001
    states = sorted((one["kind"], one["state"]) for stack in document["stacks"] for one in frames(stack))
    coroutines = [state for kind, state in states if kind == "coroutine"]
    assert len(coroutines) == 2
    assert all(3 <= state < 256 for state in coroutines)
    assert {state for kind, state in states if kind != "coroutine"} == {None}


ROWS, STAYING = 47, 7


def test_tasks_that_are_more_than_can_be_read_at_once_are_read_in_parts(
    targets: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of them came or went."""
    with targets.run("parked_tokio", "release-debug") as running:
        until_parked(running)
        reader = live_tasks(running.pid).reader
        whole = reader.take()
        monkeypatch.setattr(read, "_AT_ONCE", np.uint64(1 << 12))
        monkeypatch.setattr(image, "_MOST", 1 << 17)
        parts = reader.take()
    assert np.count_nonzero(whole.tasks["state"] == TaskState.WAITING) > 200
    assert (len(parts.tasks), parts.missed) == (len(whole.tasks), 0)
    for one, other in zip(whole.tasks, parts.tasks, strict=True):
        assert one["header"] == other["header"]
        assert whole.stacks[one["stack"]] == parts.stacks[other["stack"]]


@pytest.mark.parametrize("profile", ["dev", "release-debug"])
def test_tasks_that_are_replaced_while_they_are_read_are_there_or_counted(targets: Targets, profile: str) -> None:
    """Each time all that stay, each once; and of those that come and go mostly all of a moment, the rest counted."""
    with targets.run("parked_tokio", profile, "replaced") as running:
        live = live_tasks(running.pid)
        names = np.array([one.name.split("::")[-1] for one in live.binary.functions])
        seen, missed = [], 0
        for _ in range(30):
            snapshot = live.reader.take()
            futures = names[snapshot.tasks["function"]]
            assert np.count_nonzero(futures == "stays") == STAYING
            assert len(np.unique(snapshot.tasks["id"])) == len(snapshot.tasks)
            seen.append(int(np.count_nonzero(futures == "passes")))
            missed += snapshot.missed
            assert seen[-1] + snapshot.missed >= ROWS
        said = [rat("ps", running.pid).out for _ in range(3)]
    assert sorted(seen)[len(seen) // 2] >= ROWS - 1, seen
    assert max(seen) <= ROWS + 3
    assert missed
    assert any(" more came or went while it was read" in words for words in said), said


def frames(stack: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in stack:
        yield one
        yield from frames(one["children"])
