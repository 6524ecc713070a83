"""Looks at all threads of a live process, so close together that they tell of one moment.

A thread that waits is looked at from outside (target/standing.py), one that runs is sampled for some milliseconds
(probe/running_stacks.py).  Nothing is stopped, and nothing is unwound in between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tracer.model import NO_SYSCALL
from tracer.probe.registers import ThreadRegisters, standing_stacks
from tracer.probe.running_stacks import running_stacks
from tracer.target.process import TargetProcess
from tracer.target.standing import Standing, standing_of, waits_of
from tracer.target.unwinding import StackCopy

MOST_THREADS = 512
"""That are looked at; as many as tokio's pool for blocking jobs has."""


@dataclass(frozen=True, slots=True)
class Look:
    """One thread.  there: where it waits; None: it computes.

    is_at_once: it did so at the moment at which the others did; else it has waited since, and was elsewhere then.
    """

    copy: StackCopy
    there: Standing | None = None
    is_at_once: bool = True

    @property
    def call(self) -> int | None:
        """The number of the system call in which it waits, or NO_SYSCALL; None: it computes."""
        if self.there is None:
            return None
        call = int(self.there.call[0], 0)
        return call if call >= 0 else NO_SYSCALL


@dataclass(frozen=True, slots=True)
class Looks:
    """By tid.  polled: what memory told of the same moment: by id of a task the thread that polls it."""

    by_tid: Mapping[int, Look] = field(default_factory=dict)
    polled: Mapping[int, int] = field(default_factory=dict)


class ThreadLooks:
    """Of one process.  polled: by id of a task the thread that polls it now, as far as memory tells."""

    def __init__(self, target: TargetProcess, polled: Callable[[], Mapping[int, int]]) -> None:
        self._target = target
        self._polled = polled
        self._registers = ThreadRegisters()

    def take(self, tids: Sequence[int], longest: float) -> Looks:
        """All looks of one moment.  Threads that moved meanwhile are left out.

        longest: seconds that those are waited for which compute.
        """
        there = standing_of(self._target, tids)
        waits = {tid: waits_of(self._target, tid) for tid in tids if tid not in there}
        polled = self._polled()
        copies = standing_stacks(self._registers.read(), self._target, there)
        found = {tid: Look(copy, there[tid]) for tid, copy in copies.items()}
        for tid, copy in running_stacks(waits, longest).items():
            found[tid] = Look(copy, is_at_once=waits[tid] is not None and waits_of(self._target, tid) == waits[tid])
        return Looks(found, polled)

    def close(self) -> None:
        """Let go of what the kernel was given."""
        self._registers.close()
