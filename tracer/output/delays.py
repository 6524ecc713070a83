"""From the wakes of tasks, and from their spawns, to their polls, by the future that they run; memory grows with the
kinds of tasks only."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from tracer.model import Array, WaitFlag
from tracer.output.histogram import BINS, Integers, bins_of, percentile


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lengths of time in ns; p50, p99 within histogram.PERCENTILE_ERROR."""

    total: int
    p50: int
    p99: int
    longest: int


@dataclass(frozen=True, slots=True)
class DelayFigures(Lengths):
    """How long one kind of task was ready before it was polled, where the wake is known.

    own: how many of these wakes were by the task itself.
    """

    polls: int
    own: int


@dataclass(frozen=True, slots=True)
class FirstDelayFigures(Lengths):
    """The same before first polls, of tasks whose spawns were seen."""

    tasks: int


class Sums:
    """Lengths of time in ns, by function: count, total and what of() yields."""

    def __init__(self, functions: int) -> None:
        self.count = np.zeros(functions, np.int64)
        self.total = np.zeros(functions, np.int64)
        self._longest = np.zeros(functions, np.int64)
        self._bins: dict[int, Integers] = {}

    def add(self, function: Integers, delay: Integers) -> None:
        np.add.at(self.count, function, 1)
        np.add.at(self.total, function, delay)
        np.maximum.at(self._longest, function, delay)
        for one in np.unique(function).tolist():
            bins = np.bincount(bins_of(delay[function == one]), minlength=BINS)
            self._bins[one] = self._bins[one] + bins if one in self._bins else bins

    def of(self, function: int) -> Lengths | None:
        """None: there is nothing."""
        bins = self._bins.get(function)
        if bins is None:
            return None
        longest = int(self._longest[function])
        p50, p99 = (round(percentile(bins, share, longest)) for share in (0.5, 0.99))
        return Lengths(int(self.total[function]), p50, p99, longest)


class Delays:
    """Totals by function."""

    def __init__(self, functions: int) -> None:
        count = max(functions, 1)
        self._own = np.zeros(count, np.int64)
        self._woken, self._spawned = Sums(count), Sums(count)

    def add(self, waits: Array, begun: Array) -> None:
        """Count in waits (dtype WAIT), but for those that no poll has ended, and new tasks (dtype TASK)."""
        woken = waits[(waits["woken"] != 0) & ((waits["flags"] & int(WaitFlag.END_UNKNOWN)) == 0)]
        function = woken["function"].astype(np.intp)
        self._woken.add(function, woken["end"] - np.maximum(woken["woken"], woken["start"]))
        np.add.at(self._own, function, woken["woken_by"] == woken["instance"])
        spawned = begun[begun["spawned"] != 0]
        self._spawned.add(spawned["function"].astype(np.intp), spawned["first"] - spawned["spawned"])

    def of(self, function: int) -> DelayFigures | None:
        """From wakes, of the tasks that run this function; None: no wake of theirs is known."""
        figures = self._woken.of(function)
        if figures is None:
            return None
        return DelayFigures(**asdict(figures), polls=int(self._woken.count[function]), own=int(self._own[function]))

    def first_of(self, function: int) -> FirstDelayFigures | None:
        """From spawns, of the tasks that run this function; None: no spawn of theirs was seen."""
        figures = self._spawned.of(function)
        return (
            FirstDelayFigures(**asdict(figures), tasks=int(self._spawned.count[function]))
            if figures is not None
            else None
        )
