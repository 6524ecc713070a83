"""Where the polls stand that are under way: the system call or the function that keeps the thread, and its line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import rat
from tests.e2e.test_snapshots import document
from tests.running import Running, Targets
from tracer.commands.ps import take_view
from tracer.commands.snapshots import live_tasks
from tracer.output.task_list import TaskView
from tracer.target.process import TargetProcess

pytestmark = pytest.mark.e2e

SOURCE = Path(__file__).parents[1] / "targets" / "parked" / "src" / "under_way.rs"
PROFILES = ("dev", "release-debug", "release")
LEAST_SEEN, MOST_LOOKS = 10, 300


def line_of(name: str) -> str:
    lines = [line.strip() for line in SOURCE.read_text().splitlines()]
    return f"parked/src/{SOURCE.name}:{2 + lines.index(f'// HERE: {name}')}"


def running_tasks(running: Running) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = document("ps", running.pid, "--state", "running")["tasks"]
    return tasks


@pytest.mark.parametrize("profile", PROFILES)
def test_what_a_thread_of_the_pool_runs_is_told(targets: Targets, profile: str) -> None:
    """tokio's blocking jobs, which are in no list."""
    with targets.run("parked_tokio", profile, "under-way") as running:
        (job,) = document("ps", running.pid)["jobs"]
        names = {thread.tid: thread.name for thread in TargetProcess.open(running.pid).threads()}
        listed, words = rat("ps", running.pid).out, rat("tree", running.pid).out
        others = rat("ps", running.pid, "--state", "waiting").out
    check_blocked(job, with_lines=profile != "release")
    assert names[job["thread"]] == "tokio-rt-worker"
    assert all(name.startswith("blocking job") for name in job["may_be"])
    if profile != "release":  # not by its signature, `fn()`
        assert job["may_be"] == ["blocking job parked::under_way::blocks_thread"]
    (line,) = (line for line in listed.splitlines() if line.lstrip().startswith("1 "))
    assert "blocked in futex" in line
    assert (line_of("receives") in line) == (profile != "release")
    assert "\nblocking job: " in words
    assert "blocking job" not in others


def check_blocked(task: dict[str, Any], *, with_lines: bool) -> None:
    """It receives what nobody sends."""
    poll = task["poll"]
    assert poll["syscall"] == "futex"
    assert poll["whole"]
    functions = [frame["function"] or "" for frame in poll["frames"]]
    (own,) = (function for function in functions if function.startswith("parked::under_way::receives"))
    assert not any("under_way" in function for function in functions[: functions.index(own)])
    assert (poll["at"] or "").endswith(line_of("receives") if with_lines else "")
    assert (poll["at"] is not None) == with_lines


@pytest.mark.parametrize("profile", PROFILES)
def test_the_call_and_the_line_that_keep_a_thread_are_told(targets: Targets, profile: str) -> None:
    """release: without debug information nothing but the stacks tells which thread polls which task; nor any line."""
    with targets.run("parked_tokio", profile, "under-way") as running:
        found = {task["id"]: task for task in running_tasks(running)}
        words = rat("tree", running.pid, "--task", running.ready["blocks"]).out
        listed = rat("ps", running.pid, "--state", "running").out
    blocks, computes = (found[running.ready[name]] for name in ("blocks", "computes"))
    check_blocked(blocks, with_lines=profile != "release")
    assert computes["poll"]["syscall"] is None
    assert any((frame["function"] or "").endswith("::computes_left") for frame in computes["poll"]["frames"])
    assert len({blocks["thread"], computes["thread"], None}) == 3
    assert "under_way::receives" in words
    assert "blocked in futex" in words
    assert "blocked in futex" in listed
    assert (line_of("receives") in listed) == (profile != "release")


@pytest.mark.parametrize("profile", PROFILES)
def test_smols_threads_are_known_by_their_stacks(targets: Targets, profile: str) -> None:
    """Of its tasks and of its jobs."""
    with targets.run("parked_smol", profile, "under-way") as running:
        tasks = running_tasks(running)
        names = {thread.tid: thread.name for thread in TargetProcess.open(running.pid).threads()}
    for task in tasks:
        check_blocked(task, with_lines=profile != "release")
    assert sorted(names[task["thread"]].partition("-")[0] for task in tasks) == ["blocking", "smol"]


@pytest.mark.parametrize("profile", ["dev", "release"])
def test_what_one_task_does_is_not_said_of_another_on_its_thread(targets: Targets, profile: str) -> None:
    """Two tasks of one type take turns on one thread: each is seen in its own function only."""
    seen: list[tuple[int, str]] = []
    with targets.run("parked_tokio", profile, "under-way") as running:
        own = {(running.ready["left"], "computes_left"), (running.ready["right"], "computes_right")}
        source = live_tasks(running.pid)
        for _ in range(MOST_LOOKS):
            seen += functions_of({task for task, _ in own}, take_view(source))
            if len(seen) >= LEAST_SEEN and set(seen) >= own:
                break
    assert set(seen) == own


@pytest.mark.kernel
@pytest.mark.parametrize("profile", ["release-debug", "release"])
def test_a_recording_knows_the_threads_of_polls_from_before(targets: Targets, tmp_path: Path, profile: str) -> None:
    """Those that last for all of it send nothing: neither a begin nor an end."""
    with targets.run("parked_tokio", profile, "under-way") as running:
        threads = {running.ready[name]: name for name in ("blocks", "computes")}
        told = {threads[one["id"]]: one["thread"] for one in running_tasks(running) if one["id"] in threads}
        options = ("-d", 2, "-o", tmp_path / "a.pftrace", "--json", "--max-overhead", 100)
        findings = json.loads(rat("--pid", running.pid, *options).out)["findings"]
    found = {one["tid"]: one["evidence"] for one in findings if one["rule"] == "long-poll"}
    assert len(told) == 2
    assert "under_way::receives" in found[told["blocks"]]["blocked_in"]
    assert "computed_in" in found[told["computes"]]


def functions_of(ids: set[int], view: TaskView) -> Iterator[tuple[int, str]]:
    """(id, name) of the functions of the tasks' own that these are in."""
    for task in view.snapshot.tasks:
        poll = view.poll_of(task)
        if int(task["id"]) in ids and poll is not None:
            names = [(frame.function or "").split("::")[-1] for frame in poll.stack.frames]
            yield from ((int(task["id"]), name) for name in names if name.startswith("computes_"))


def test_it_is_told_as_json_for_tasks_that_run_only(targets: Targets) -> None:
    with targets.run("parked_tokio", "dev", "states") as running:
        tasks = json.loads(rat("ps", running.pid, "--json").out)["tasks"]
    assert {task["state"] for task in tasks if task["poll"] is not None} == {"running"}
    (one,) = (task["poll"] for task in tasks if task["poll"] is not None)
    assert one["syscall"] == "clock_nanosleep"
    states = (SOURCE.parents[2] / "parked_tokio" / "src" / "states.rs").read_text().splitlines()
    line = next(
        number
        for number, text in enumerate(states, 1)
        if text.strip().startswith("std::thread::sleep(Duration::from_secs")
    )
    assert one["at"].endswith(f"parked_tokio/src/states.rs:{line}")
