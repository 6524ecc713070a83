"""Looks at threads that moved are taken again, and what is told of jobs is of one moment."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from tracer.commands import polling_threads, running_polls
from tracer.commands.polling_threads import PollingThreads
from tracer.commands.running_polls import RunningPolls
from tracer.commands.thread_looks import Look, Looks
from tracer.model import Array, Binary, FunctionKind, Stack
from tracer.snapshot.read import SnapshotReader
from tracer.stacks import SNAPSHOT_TASK, Snapshot, TaskState, UnderWay
from tracer.target.process import TargetProcess
from tracer.target.standing import Standing
from tracer.target.unwinding import StackCopy, Unwound

WORKER, OTHER, POOL = 11, 12, 13
TASK, NEXT_TASK, JOB, NOTHING = 0x100, 0x200, 1, 0
"""What a thread does, in the first register: polls the task of this header, runs a job of this function, or nothing."""
WAITS = Standing(("202",), 8, 16, (1, 1))


def look(does: int, *, computes: bool = False, at_once: bool = True) -> Look:
    return Look(StackCopy((does,), b"", 0), None if computes else WAITS, at_once)


class Stacks:
    """Knows by the first register what a thread does."""

    modules = SimpleNamespace(at=lambda address: (None, address), close=lambda: None)

    def __init__(self, *about: object) -> None: ...

    def polled(
        self, copy: StackCopy, tasks: Array, found: Collection[int], elsewhere: Collection[int] = ()
    ) -> Iterator[tuple[int, Unwound]]:
        for index in np.flatnonzero(tasks["header"] == copy.registers[0]).tolist():
            if index not in found:
                yield index, self.unwound(copy, 0)

    def unwound(self, copy: StackCopy, function: int) -> Unwound:
        return Unwound((copy.registers[0] or 0,), True)

    def unwound_to(self, copy: StackCopy, polls: object) -> Unwound:
        return Unwound((copy.registers[0] or 0,), copy.registers[0] == JOB)


class Taken:
    """Looks of which each is asked for once."""

    def __init__(self, *taken: dict[int, Look], polled: dict[int, int] | None = None) -> None:
        self._taken = list(taken)
        self._by_id = polled or {}
        self.asked: list[list[int]] = []

    def take(self, tids: Sequence[int], longest: float) -> Looks:
        self.asked.append(list(tids))
        return Looks({tid: one for tid, one in self._taken.pop(0).items() if tid in tids}, self._by_id)

    def close(self) -> None: ...

    @property
    def left(self) -> int:
        return len(self._taken)


def snapshot_of(*headers: int) -> Snapshot:
    tasks = np.zeros(len(headers), SNAPSHOT_TASK)
    tasks["header"], tasks["state"] = headers, TaskState.RUNNING
    tasks["id"] = np.array(headers) // 0x100
    return Snapshot(1, 1, tasks, ())


TARGET = cast(
    TargetProcess,
    SimpleNamespace(
        pid=7,
        executable="/app",
        threads=lambda: [SimpleNamespace(tid=tid) for tid in (WORKER, OTHER, POOL)],
        thread_ids=lambda: frozenset({WORKER, OTHER, POOL}),
    ),
)


@pytest.fixture
def under_way(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What is told of tasks after such looks."""

    class Polls:
        def __init__(self, jobs: object) -> None: ...

        def which(self, module: object, address: int) -> list[int]:
            return [address]

    monkeypatch.setattr(running_polls, "PollStacks", Stacks)
    monkeypatch.setattr(running_polls, "TaskPolls", Polls)
    monkeypatch.setattr(running_polls, "is_unlisted", lambda one: one.is_job)
    monkeypatch.setattr(running_polls, "named", lambda places, *about: [Stack((), True)] * len(places))

    def told(looks: Taken, *headers: int, has_jobs: bool = False) -> tuple[Snapshot, UnderWay]:
        monkeypatch.setattr(running_polls, "ThreadLooks", lambda *about: looks)
        function = SimpleNamespace(address=JOB, is_job=True, kind=FunctionKind.TASK)
        binary = cast(Binary, SimpleNamespace(functions=(function,) if has_jobs else ()))
        polls = RunningPolls(TARGET, binary, cast(SnapshotReader, SimpleNamespace(polled=dict)))
        return polls.of(snapshot_of(*headers))

    return told


def test_a_thread_that_moved_is_looked_at_again(under_way: Any) -> None:
    looks = Taken({OTHER: look(NOTHING)}, {OTHER: look(NOTHING), WORKER: look(TASK)}, {})
    snapshot, found = under_way(looks, TASK)
    assert snapshot.tasks["tid"].tolist() == [WORKER]
    assert found.polls[TASK].syscall == 202
    assert looks.left == 1  # once all is known nobody is looked at any more


def test_memory_tells_of_tasks_of_one_type_apart(under_way: Any) -> None:
    """Where a stack would not."""
    looks = Taken({WORKER: look(0x999)}, {}, {}, polled={NEXT_TASK // 0x100: WORKER})
    snapshot, _ = under_way(looks, TASK, NEXT_TASK)
    assert snapshot.tasks["tid"].tolist() == [0, WORKER]


def test_a_thread_is_told_to_poll_one_of_the_tasks_that_it_polled_one_after_the_other(under_way: Any) -> None:
    looks = Taken({WORKER: look(TASK)}, {WORKER: look(NEXT_TASK)}, {OTHER: look(NEXT_TASK)})
    snapshot, _ = under_way(looks, TASK, NEXT_TASK)
    assert snapshot.tasks["tid"].tolist() == [WORKER, OTHER]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (look(JOB), look(JOB, computes=True, at_once=False)),
        (look(JOB, computes=True, at_once=False), look(JOB, computes=True, at_once=False)),
    ],
)
def test_jobs_that_follow_each_other_are_no_two(under_way: Any, first: Look, second: Look) -> None:
    """Nobody knows whether the second one had begun when the first one ran."""
    each = {WORKER: look(NOTHING), OTHER: first, POOL: second}
    _, found = under_way(Taken(each, each, each), has_jobs=True)
    assert len(found.jobs) == 1
    _, found = under_way(Taken({**each, OTHER: look(JOB), POOL: look(JOB, computes=True)}), has_jobs=True)
    assert [job.tid for job in found.jobs] == [OTHER, POOL]


def test_what_is_told_of_jobs_is_of_one_moment(under_way: Any) -> None:
    """A thread of which an earlier look knew more may run another one now."""
    looks = Taken({OTHER: look(JOB)}, {WORKER: look(NOTHING), OTHER: look(NOTHING), POOL: look(JOB)})
    _, found = under_way(looks, has_jobs=True)
    assert [job.tid for job in found.jobs] == [POOL]


def test_a_recording_keeps_to_the_threads_that_it_has_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another thread polls later on the probes tell."""
    looks = Taken({WORKER: look(TASK), OTHER: look(NEXT_TASK)}, {WORKER: look(TASK), OTHER: look(NOTHING)})
    monkeypatch.setattr(polling_threads, "PollStacks", Stacks)
    monkeypatch.setattr(polling_threads, "ThreadLooks", lambda *about: looks)
    polling = PollingThreads(TARGET, cast(Binary, SimpleNamespace(current_task=None)))
    told = [polling.named(snapshot_of(TASK, NEXT_TASK, 0x300)).tasks["tid"].tolist() for _ in range(2)]
    assert told == [[WORKER, OTHER, 0], [WORKER, 0, 0]]
    assert looks.asked == [[WORKER, OTHER, POOL], [WORKER, OTHER]]


def test_a_recording_looks_at_no_thread_where_memory_tells() -> None:
    polling = PollingThreads(TARGET, cast(Binary, SimpleNamespace(current_task=8)))
    assert polling.named(snapshot_of(TASK)).tasks["tid"].tolist() == [0]  # its poll was over by then
    polling.close()
