"""What threads did during polls: on their CPUs, waiting for one, or blocked; by function, and by system call."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracer.model import Array, OffCpuFlag, PollFlag
from tracer.output.histogram import Integers
from tracer.output.records import pick


def is_blocked_in_poll(off: Array) -> npt.NDArray[np.bool_]:
    """In which of these (OFF_CPU) a thread left its CPU during a poll, and not to run on."""
    blocked: npt.NDArray[np.bool_] = ((off["flags"] & np.uint8(OffCpuFlag.IN_POLL)) != 0) & (off["state"] != 0)
    return blocked


def blocked_until(off: Array) -> Integers:
    """Until when threads (OFF_CPU) were blocked: their wake, as far as it is known."""
    return np.where(off["woken"] != 0, np.minimum(off["woken"], off["end"]), off["end"])


@dataclass(frozen=True, slots=True)
class Split:
    """polls: those of which it is known; the times, in ns, are theirs."""

    polls: int
    on_cpu: int
    runnable: int
    blocked: int


@dataclass(frozen=True, slots=True)
class Blocking:
    """How often threads were blocked in a system call (its number, or as OFF_CPU has it) during polls.  Times in ns;
    runnable: after they were woken.
    """

    syscall: int
    times: int
    blocked: int
    longest: int
    runnable: int


@dataclass(frozen=True, slots=True)
class StolenTime:
    """What the host took of the time that threads seem to have been on their CPUs.  ns; longest: in one stretch."""

    of: int
    total: int
    longest: int


LEAST_STOLEN = 100_000
"""ns of a stretch; the two clocks that tell differ by some microseconds."""


class Scheduled:
    """Totals by function."""

    def __init__(self, functions: int) -> None:
        count = max(functions, 1)
        self._polls = np.zeros(count, np.int64)
        self._length = np.zeros(count, np.int64)
        self._runnable = np.zeros(count, np.int64)
        self._blocked = np.zeros(count, np.int64)
        self._by_syscall: dict[int, list[int]] = {}
        self._on_cpu = self._stolen = self._longest_stolen = 0

    def add(self, polls: Array, off_cpu: Array) -> None:
        """Count in polls (dtype POLL) and OFF_CPU."""
        known = pick(polls, (polls["flags"] & int(PollFlag.SCHEDULED)) != 0)
        function = known["function"].astype(np.intp)
        np.add.at(self._polls, function, 1)
        np.add.at(self._length, function, known["end"] - known["start"])
        np.add.at(self._runnable, function, known["runnable"])
        np.add.at(self._blocked, function, known["blocked"])
        self._add_stolen(off_cpu)
        in_polls = pick(off_cpu, is_blocked_in_poll(off_cpu))
        until = blocked_until(in_polls)
        blocked, runnable = until - in_polls["start"], in_polls["end"] - until
        for number in np.unique(in_polls["syscall"]).tolist():
            which = in_polls["syscall"] == number
            sums = self._by_syscall.setdefault(number, [0, 0, 0, 0])
            sums[0] += int(np.count_nonzero(which))
            sums[1] += int(blocked[which].sum())
            sums[2] = max(sums[2], int(blocked[which].max()))
            sums[3] += int(runnable[which].sum())

    def _add_stolen(self, off: Array) -> None:
        known = off["stolen"] >= 0
        if known.any():
            stolen = np.where(known & (off["stolen"] >= LEAST_STOLEN), off["stolen"], 0)
            self._on_cpu += int((off["start"] - off["since"])[known].sum())
            self._stolen += int(stolen.sum())
            self._longest_stolen = max(self._longest_stolen, int(stolen.max()))

    def stolen(self) -> StolenTime | None:
        """None: nothing is known of it."""
        return StolenTime(self._on_cpu, self._stolen, self._longest_stolen) if self._on_cpu else None

    def of(self, function: int) -> Split | None:
        """None: of no poll of this function it is known."""
        polls, length = int(self._polls[function]), int(self._length[function])
        if not polls:
            return None
        runnable, blocked = int(self._runnable[function]), int(self._blocked[function])
        return Split(polls, length - runnable - blocked, runnable, blocked)

    def by_syscall(self) -> list[Blocking]:
        """The most blocked time first."""
        found = [Blocking(number, *sums) for number, sums in self._by_syscall.items()]
        return sorted(found, key=lambda one: (-one.blocked, one.syscall))
