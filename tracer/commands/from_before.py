"""Threads that were in a task's poll before the recording began, as memory told: what keeps them there.

The kernel side looks at them as at others once it is told of them.  But it sees a thread that blocks when that leaves
its CPU: one that did so before the recording, and is away until its end, is looked at from outside.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from tracer.errors import RatError
from tracer.model import Array, MemoryReading, Process, StackKind, TaskAtRest
from tracer.probe.registers import NO_REGISTERS, standing_stacks, thread_registers
from tracer.probe.stacks import StackRecord
from tracer.snapshot.read import SnapshotReader
from tracer.target.process import TargetProcess
from tracer.target.standing import Standing, standing

_Poll = tuple[int, int, int]
"""Index of the process, tid, and the task's header."""

_MAIN_STACK = "[stack]"


class PollsBefore:
    """Of one recording.  before: what memory told at its begin.  targets, readers: by pid."""

    def __init__(
        self,
        before: Iterable[MemoryReading],
        processes: Sequence[Process],
        targets: Mapping[int, TargetProcess],
        readers: Mapping[int, SnapshotReader],
    ) -> None:
        self._targets = {number: targets[one.pid] for number, one in enumerate(processes) if one.pid in targets}
        self._there: dict[_Poll, Standing | None] = {}
        self.stack_ends: dict[int, int] = {}
        """By tid, at least as high as the task's poll."""
        for reading in before:
            polls = list(_polls(reading))
            if not polls:
                continue  # threads are searched for in all memory
            target = self._targets[reading.process]
            self._there |= {poll: standing(target, poll[1]) for poll in polls}
            with contextlib.suppress(RatError, OSError):  # it ended
                ends = _stack_ends(target, readers[target.pid])
                self.stack_ends |= {tid: ends[tid] for _, tid, _ in polls if tid in ends}

    def last_until(self, after: Iterable[MemoryReading]) -> bool:
        """Whether one of them may still go on.  after: what memory tells at the end of the recording."""
        return any(poll in self._there for reading in after for poll in _polls(reading))

    def blocked(self, after: Iterable[MemoryReading], began: int) -> Iterator[StackRecord]:
        """The stacks of those that blocked from the begin of the recording on.

        after: what memory tells at its end.  began: ns.
        """
        still: defaultdict[int, dict[int, Standing]] = defaultdict(dict)
        for poll in (poll for reading in after for poll in _polls(reading)):
            there = self._there.get(poll)
            if there is not None:
                still[poll[0]][poll[1]] = there
        registers = thread_registers() if still else NO_REGISTERS
        for process, threads in still.items():
            target = self._targets[process]
            for tid, copy in standing_stacks(registers, target, threads).items():
                pid, kind = target.pid, StackKind.BLOCKED
                yield StackRecord(began, None, tid, pid, kind, copy, is_cut=False, is_from_before=True)


def _polls(reading: MemoryReading) -> Iterator[_Poll]:
    """Under way, on threads that are known."""
    parked: Array = reading.parked
    running = parked[(parked["task"] == TaskAtRest.RUNNING) & (parked["places"] != 0)]
    for tid, header in np.unique(running[["places", "self"]]).tolist():
        yield reading.process, tid, header


def _stack_ends(target: TargetProcess, reader: SnapshotReader) -> dict[int, int]:
    """By tid.  Raises NoSuchProcess, PermissionMissing.

    A thread's own variables lie above its stack, in the same mapping; but for the main thread, whose stack is the
    kernel's.
    """
    ends = reader.thread_pointers()
    ends.pop(target.pid, None)
    for mapping in target.maps():
        if mapping.path == _MAIN_STACK:
            ends[target.pid] = mapping.end
    return ends
