"""Each blocking job was in the queue, and ran, as long as the target's own log says; and tasks were ready as long."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.assembled import assembled, joined
from tests.e2e.command import rat, recording
from tests.running import Result, Targets
from tests.truth import Records, enclosing
from tracer.model import Array, FunctionKind, Plan

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

SPAWN, RUN, WAKE, NEW_TASK, POLL, IN_PLACE = range(6)
"""Places of the log."""
SHARE = 0.999
"""Of them all, but for the first one on each thread: there the log's buffer is made before it reads the clock."""
NEAR, NEAR_SHARE = {"dev": 400_000, "release": 100_000, "size": 100_000}, 0.05
"""Nanoseconds between what the log and the trace say, or the share of it.  What is not optimised has many instructions
probed in between that the kernel steps, for ten to twenty thousand each.
"""
NEAR_OF_ALL = 0.97
"""So many are as near as that: the host of a virtual machine takes its processors away at any time, between the log's
clock and the probe, too."""

RUNS = [
    pytest.param(target, mode, profile, id="-".join((target, *mode, profile)))
    for profile in ("dev", "release")
    for target, mode in (
        ("jobs_tokio", ("multi",)),
        ("jobs_tokio", ("current",)),
        ("jobs_smol", ()),
        ("jobs_async_std", ()),
    )
] + [pytest.param("jobs_tokio", ("multi",), "size", id="jobs_tokio-multi-size")]


@dataclass(frozen=True, slots=True)
class Assembled:
    """polls: of tasks and jobs, waits: of tasks, tasks: as they began; dtypes POLL, WAIT, TASK.  in_place: as polls.
    near: as NEAR has it."""

    plan: Plan
    polls: Array
    waits: Array
    tasks: Array
    in_place: Array
    near: int

    @property
    def is_job(self) -> npt.NDArray[np.bool_]:
        """By function."""
        return np.array([one.is_job for one in self.plan.functions])


def go_first(pid: int) -> None:
    """Let no thread of this machine, nor of the target, take a processor from one of the target's: nothing should come
    between a record of the log and the probe that it is compared with."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setscheduler(int(thread.name), os.SCHED_FIFO, os.sched_param(1))


def trace_of(capture: Path, near: int) -> Assembled:
    recording, parts, _ = assembled(capture)
    plan, spans = recording.plan, joined(parts)
    polls, waits, tasks = spans.polls, spans.waits, spans.begun
    is_task = np.isin(polls["instance"], tasks["task"])
    in_place = np.array([one.kind is FunctionKind.IN_PLACE for one in plan.functions])[polls["function"]]
    of_tasks = waits[np.isin(waits["instance"], tasks["task"])]
    return Assembled(plan, polls[is_task], of_tasks, tasks, polls[in_place], near)


def assert_near(what: str, got: npt.ArrayLike, told: npt.ArrayLike, near: int, but_for: int) -> None:
    """These times, in ns, are as they should be, with so many exceptions."""
    off = np.abs(np.array(got, np.int64) - np.array(told, np.int64))
    right = int(np.count_nonzero(off <= np.maximum(near, NEAR_SHARE * np.array(told))))
    print(f"{what}: {right} of {len(off)} as long, usually {np.median(off) if len(off) else 0:,.0f} ns off")
    assert right >= NEAR_OF_ALL * (len(off) - but_for)


def instances_of(records: Records, polls: Array) -> dict[int, int]:
    """By the log's number the trace's number, of what the polls around these records are of."""
    around = enclosing(records, polls["start"], polls["end"], polls["tid"])
    assert np.all(around >= 0)
    pairs = {(int(one), int(polls["instance"][at])) for one, at in zip(records["instance"], around, strict=True)}
    found = dict(pairs)
    assert len(found) == len(set(found.values())) == len(pairs)
    return found


@pytest.mark.parametrize(("target", "mode", "profile"), RUNS)
def test_jobs_and_first_polls(
    targets: Targets, tmp_path: Path, target: str, mode: tuple[str, ...], profile: str
) -> None:
    capture = tmp_path / "x.ratcap"
    # Unoptimised, the exits of the futures in a job take longer than what is measured here.
    exits = ("--exits", "task") if profile == "dev" else ()
    options = ("--format", "capture", "-o", capture, "--max-overhead", 100, *exits)
    with targets.run(target, profile, *mode) as running, recording("--pid", running.pid, *options) as rec:
        go_first(running.pid)
        running.go()
        result = running.wait()
        done = rec.wait()
    assert (result.returncode, done.code) == (0, 0), done.err
    assert result.log is not None
    log, trace = result.log.records, trace_of(capture, NEAR[profile])
    of_job = trace.is_job[trace.polls["function"]]
    jobs = instances_of(log[log["place"] == RUN], trace.polls[of_job])
    check_jobs(log, trace, jobs)
    first = check_first_polls(log, trace)
    if target != "jobs_async_std":
        check_wakes(log, trace, jobs, first)
    check_in_place(log, trace, first, is_possible=mode == ("multi",))
    check_summary(capture, log, trace.near)


def test_jobs_of_two_processes(targets: Targets, tmp_path: Path) -> None:
    """Their threads begin during the recording: by the first event of each it is known of which process it is."""
    capture = tmp_path / "x.ratcap"
    options = ("--format", "capture", "-o", capture, "--max-overhead", 100)
    with targets.run("jobs_tokio", "release", "multi") as one, targets.run("jobs_tokio", "release", "current") as other:
        pids = one.pid, other.pid
        with recording("--pid", one.pid, "--pid", other.pid, *options) as rec:
            for running in (one, other):
                running.go()
            jobs = [count_jobs(running.wait()) for running in (one, other)]
            done = rec.wait()
    assert done.code == 0, done.err
    header, parts, _ = assembled(capture)
    assert tuple(process.pid for process in header.processes) == pids
    tasks = joined(parts).begun
    is_job = np.array([function.is_job for function in header.plan.functions])
    of_jobs = tasks["process"][is_job[tasks["function"]]]
    assert [int(np.count_nonzero(of_jobs == number)) for number in range(2)] == jobs
    assert tasks["process"].max() == 1


def count_jobs(result: Result) -> int:
    """How many the target ran."""
    assert result.log is not None
    return int(np.count_nonzero(result.log.records["place"] == RUN))


def check_in_place(log: Records, trace: Assembled, tasks: dict[int, int], *, is_possible: bool) -> None:
    """Each call of block_in_place, in the task that made it."""
    told, got = log[log["place"] == IN_PLACE], trace.in_place
    assert len(told) == len(got)
    assert bool(len(got)) is is_possible
    around = enclosing(told, got["start"], got["end"], got["tid"])
    assert np.all(around >= 0)
    assert [int(one) for one in got["task"][around]] == [tasks[int(one)] for one in told["instance"]]
    lengths = (got["end"] - got["start"])[around], (told["end"] - told["begin"]).astype(np.int64)
    assert_near("calls in place", *lengths, trace.near, but_for=len(np.unique(told["tid"])))


def check_jobs(log: Records, trace: Assembled, jobs: dict[int, int]) -> None:
    """Queue and run times; by which task, and where, each was spawned."""
    spawned = {int(one["instance"]): one for one in log[log["place"] == SPAWN]}
    ran = {int(one["instance"]): one for one in log[log["place"] == RUN]}
    assert jobs.keys() == ran.keys() == spawned.keys()
    assert len(jobs) >= 1000
    tasks = {int(one["task"]): one for one in trace.tasks}
    polls = {int(one["instance"]): one for one in trace.polls}
    numbers = [number for number in jobs if tasks[jobs[number]]["spawned"]]
    told = [int(ran[one]["begin"]) - int(spawned[one]["begin"]) for one in numbers]
    got = [int(tasks[jobs[one]]["first"]) - int(tasks[jobs[one]]["spawned"]) for one in numbers]
    threads = {int(one["tid"]) for one in ran.values()}
    assert len(numbers) >= SHARE * (len(jobs) - len(threads))
    assert_near("jobs in the queue", got, told, trace.near, but_for=len(threads))
    if np.any(log["place"] == WAKE):
        lengths = np.array([*run_times(log, jobs, polls)])
        assert_near("jobs", lengths[:, 0], lengths[:, 1], trace.near, but_for=len(threads))
    check_order(log, jobs, polls)
    by = {int(tasks[jobs[one]]["spawned_by"]) for one in jobs}
    assert len(by) == len({int(one["address"]) for one in spawned.values()})
    assert 0 not in by


def run_times(log: Records, jobs: dict[int, int], polls: dict[int, np.void]) -> Iterator[tuple[int, int]]:
    """Of each job: (by the trace, by the log).  A job's last act is to wake who awaits it."""
    woken = {int(one["address"]): one for one in log[log["place"] == WAKE]}
    for one in log[log["place"] == RUN]:
        number = int(one["instance"])
        poll, wake = polls[jobs[number]], woken.get(number)
        is_last = wake is not None and wake["tid"] == one["tid"]
        end = int(wake["end"]) if wake is not None and is_last else int(one["end"])
        yield int(poll["end"]) - int(poll["start"]), end - int(one["begin"])


def check_order(log: Records, jobs: dict[int, int], polls: dict[int, np.void]) -> None:
    """A job is over after its work, and before the next one on its thread begins."""
    ran = log[log["place"] == RUN]
    for tid in np.unique(ran["tid"]):
        mine = np.sort(ran[ran["tid"] == tid], order="begin")
        ends = np.array([int(polls[jobs[int(one)]]["end"]) for one in mine["instance"]])
        assert np.all(ends >= mine["end"].astype(np.int64))
        assert np.all(ends[:-1] <= mine["begin"][1:].astype(np.int64))


def check_first_polls(log: Records, trace: Assembled) -> dict[int, int]:
    """From spawns to first polls; yields the trace's numbers of tasks by the log's."""
    of_task = ~trace.is_job[trace.polls["function"]]
    tasks = instances_of(log[log["place"] == POLL], trace.polls[of_task])
    spawned = {int(one["instance"]): int(one["begin"]) for one in log[log["place"] == NEW_TASK]}
    polled = log[log["place"] == POLL]
    first = {int(one): int(polled["begin"][polled["instance"] == one].min()) for one in np.unique(polled["instance"])}
    assert tasks.keys() == spawned.keys() == first.keys()
    rows = {int(one["task"]): one for one in trace.tasks}
    numbers = [one for one in tasks if rows[tasks[one]]["spawned"]]
    got = [int(rows[tasks[one]]["first"]) - int(rows[tasks[one]]["spawned"]) for one in numbers]
    threads = len(np.unique(polled["tid"]))
    assert len(numbers) >= SHARE * (len(tasks) - threads)
    ready = [first[one] - spawned[one] for one in numbers]
    assert_near("tasks before their first poll", got, ready, trace.near, but_for=threads)
    return tasks


def check_wakes(log: Records, trace: Assembled, jobs: dict[int, int], tasks: dict[int, int]) -> None:
    """A task that awaits a job is woken by it."""
    ran = {int(one["instance"]): int(one["tid"]) for one in log[log["place"] == RUN]}
    wakes = log[log["place"] == WAKE]
    waits = {int(one): trace.waits[trace.waits["instance"] == one] for one in tasks.values()}
    right = known = 0
    for wake in wakes:
        job = int(wake["address"])
        rows = waits[tasks[int(wake["instance"])]]
        at = int(np.searchsorted(rows["end"], int(wake["begin"])))
        if at == len(rows) or not rows["woken"][at]:
            continue
        known += 1
        right += (int(rows["woken_by"][at]), int(rows["woken_on"][at])) == (jobs[job], ran[job])
    print(f"{len(wakes)} wakes by jobs: {known} known, {right} right")
    assert len(wakes) >= 100
    assert right >= SHARE * len(wakes)


def check_summary(capture: Path, log: Records, near: int) -> None:
    """Jobs are counted as jobs, and nowhere else."""
    done = rat("report", "--json", capture)
    assert done.code == 0, done.err
    document = json.loads(done.out)
    jobs = int(np.count_nonzero(log["place"] == RUN))
    assert sum(one["jobs"] for one in document["jobs"]) == jobs
    assert sum(one["queued"]["jobs"] for one in document["jobs"]) >= SHARE * jobs
    assert sum(one["ran"]["jobs"] for one in document["jobs"]) == jobs
    assert all(one["function"].startswith("blocking job") for one in document["jobs"])
    others = [*document["functions"], *document["task_kinds"], *document["longest_polls"]]
    assert not [one["function"] for one in others if one["function"].startswith(("blocking job", "block_in_place"))]
    assert document["instances"] == sum(one["instances"] or 0 for one in document["functions"])
    in_place = int(np.count_nonzero(log["place"] == IN_PLACE))
    assert (document["in_place"] or {"jobs": 0})["jobs"] == in_place
    ran = log[log["place"] == RUN]
    total = sum(one["ran"]["total"] for one in document["jobs"])
    told = int((ran["end"] - ran["begin"]).sum())
    assert (1 - NEAR_SHARE) * told <= total <= (1 + NEAR_SHARE) * told + near * jobs
