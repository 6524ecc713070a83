"""What kept processes from running, added up."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tracer.model import Halt, HaltKind, Recording, Standstill

_MOST = 256
"""Different ones, of all processes."""
_MOST_STOPS = 1 << 14


@dataclass(frozen=True, slots=True)
class HaltSum:
    """Of one process and one kind.

    first, latest: with the pieces that follow without a gap.  times: how many such there were.  total, longest: ns.
    periods, throttled, lost: as Halt has them, of all.
    """

    first: Halt
    latest: Halt
    times: int
    total: int
    longest: int
    periods: int
    throttled: int
    lost: int

    @classmethod
    def of(cls, halt: Halt) -> HaltSum:
        """Of one."""
        lasted = halt.until - halt.time
        return cls(halt, halt, 1, lasted, lasted, halt.periods, halt.throttled, halt.lost)

    def with_next(self, halt: Halt) -> HaltSum:
        """With one more, which is a later one."""
        goes_on = halt.time <= self.latest.until
        latest = replace(self.latest, until=halt.until) if goes_on else halt
        return HaltSum(
            first=latest if goes_on and self.times == 1 else self.first,
            latest=latest,
            times=self.times + (not goes_on),
            total=self.total + halt.until - halt.time,
            longest=max(self.longest, latest.until - latest.time),
            periods=self.periods + halt.periods,
            throttled=self.throttled + halt.throttled,
            lost=self.lost + halt.lost,
        )


class Halts:
    """Of a recording: what was before its start does not count."""

    def __init__(self, recording: Recording) -> None:
        self._start = recording.start
        self._pids = [process.pid for process in recording.processes]
        self._sums: dict[tuple[int, HaltKind, str], HaltSum] = {}
        self._stops: list[tuple[int, int]] = []

    def add(self, halt: Halt) -> None:
        """One more."""
        halt = replace(halt, time=max(halt.time, self._start))
        if halt.until <= halt.time:
            return
        if halt.kind is not HaltKind.THROTTLED and len(self._stops) < _MOST_STOPS:
            self._stops.append((halt.time, halt.until))
        key = halt.process, halt.kind, halt.by
        known = self._sums.get(key)
        if known is not None:
            self._sums[key] = known.with_next(halt)
        elif len(self._sums) < _MOST:
            self._sums[key] = HaltSum.of(halt)

    def pid(self, one: HaltSum) -> int:
        """Of whom it is."""
        return self._pids[one.first.process]

    def stood_still(self, time: int, until: int) -> int:
        """ns between these times in which nothing of a process ran, whatever its CPU limit was."""
        within = ((max(time, begin), min(until, end)) for begin, end in self._stops)
        return sum(end - begin for begin, end in within if end > begin)

    def sums(self) -> list[HaltSum]:
        """In the order of their first times."""
        return sorted(self._sums.values(), key=lambda one: one.first.time)


_WORDS = {
    HaltKind.STOPPED: "stopped by a signal",
    HaltKind.TRACED: "stopped by who traces it",
    HaltKind.FROZEN: "its control group is frozen",
    HaltKind.THROTTLED: "its CPU limit was used up",
}
_HOW = {
    HaltKind.STOPPED: "kill -CONT {pid}",
    HaltKind.TRACED: "continue, or detach, in the debugger",
    HaltKind.FROZEN: "docker unpause, or of its control group 0 into the file cgroup.freeze (where it has "
    "freezer.state: THAWED into that)",
}


def halt_words(kind: HaltKind, by: str) -> str:
    """`stopped by gdb (77)`.  by: as Halt has it."""
    if kind is HaltKind.TRACED and by:
        return f"stopped by {by}"
    return _WORDS[kind]


def standstill_words(standstill: Standstill, pid: int) -> str:
    """`nothing of process 7 ran: stopped by a signal; it goes on with: kill -CONT 7`."""
    words = halt_words(standstill.kind, standstill.by)
    return f"nothing of process {pid} ran: {words}; it goes on with: {advice_on(standstill.kind, pid)}"


def advice_on(kind: HaltKind, pid: int) -> str:
    """How somebody lets it go on, the words after a colon; not of THROTTLED."""
    return _HOW[kind].format(pid=pid)
