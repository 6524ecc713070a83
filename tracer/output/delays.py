"""From the wakes of tasks to their polls, by the future that they run; memory grows with the kinds of tasks only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracer.model import Array, WaitFlag
from tracer.output.histogram import BINS, bins_of, percentile


@dataclass(frozen=True, slots=True)
class DelayFigures:
    """The polls of one kind of task whose wakes are known.  own: how many of these wakes were by the task itself.

    total and what follows: how long the tasks were ready, in ns; p50, p99 within histogram.PERCENTILE_ERROR.
    """

    polls: int
    own: int
    total: int
    p50: int
    p99: int
    longest: int


class Delays:
    """Totals by function."""

    def __init__(self, functions: int) -> None:
        count = max(functions, 1)
        self._polls = np.zeros(count, np.int64)
        self._own = np.zeros(count, np.int64)
        self._total = np.zeros(count, np.int64)
        self._longest = np.zeros(count, np.int64)
        self._bins: dict[int, np.ndarray[tuple[int], np.dtype[np.int64]]] = {}

    def add(self, waits: Array) -> None:
        """Count these in (dtype WAIT), but for those that no poll has ended."""
        woken = waits[(waits["woken"] != 0) & ((waits["flags"] & int(WaitFlag.END_UNKNOWN)) == 0)]
        if not len(woken):
            return
        function = woken["function"].astype(np.intp)
        delay = woken["end"] - np.maximum(woken["woken"], woken["start"])
        np.add.at(self._polls, function, 1)
        np.add.at(self._own, function, woken["woken_by"] == woken["instance"])
        np.add.at(self._total, function, delay)
        np.maximum.at(self._longest, function, delay)
        for one in np.unique(function).tolist():
            bins = np.bincount(bins_of(delay[function == one]), minlength=BINS)
            self._bins[one] = self._bins[one] + bins if one in self._bins else bins

    def of(self, function: int) -> DelayFigures | None:
        """Of the tasks that run this function; None: no wake of theirs is known."""
        bins = self._bins.get(function)
        if bins is None:
            return None
        longest = int(self._longest[function])
        return DelayFigures(
            polls=int(self._polls[function]),
            own=int(self._own[function]),
            total=int(self._total[function]),
            p50=round(percentile(bins, 0.5, longest)),
            p99=round(percentile(bins, 0.99, longest)),
            longest=longest,
        )
