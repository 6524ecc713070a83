"""How long groups of probes were there, and which functions, or functions' exits, were not probed all the time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from tracer.model import FunctionKind, Group, Plan, PlanChange

ALL_THE_TIME = 0.999
"""The share of a recording from which on something counts as having been there in all of it."""

Numbers = npt.NDArray[np.int64]


class GroupTime:
    """When a group of probes was there.  start: ns, when the recording began with the whole plan."""

    def __init__(self, group: Group, plan: Plan, start: int) -> None:
        self._group = group
        self._active = group in plan.groups
        self._times, self._before = [start], [0]

    def change(self, change: PlanChange) -> None:
        """Other probes from its time on."""
        time = max(change.time, self._times[-1])
        self._before.append(self.until(time))
        self._times.append(time)
        self._active = self._group in change.active

    def until(self, time: int) -> int:
        """ns from the start to then in which it was there."""
        at = bisect_right(self._times, time)
        if at < len(self._times):
            part = self._before[at] - self._before[at - 1] if at else 0
            return self._before[at - 1] + min(part, time - self._times[at - 1]) if at else 0
        return self._before[-1] + (time - self._times[-1] if self._active else 0)

    def between(self, first: int, last: int) -> int:
        """The same, from one time to another."""
        return self.until(last) - self.until(first)


class ProbedTime:
    """Adds up the times by plan changes.  start: ns, when the recording began with the whole plan."""

    def __init__(self, plan: Plan, start: int) -> None:
        group = [Group.TASKS if one.kind is FunctionKind.TASK else Group.FUTURES for one in plan.functions]
        self._is_future = np.array([one is Group.FUTURES for one in group], np.bool_)
        self._start = self._since = start
        # By function: not probed; probed without its exits.
        self._now = np.zeros((2, len(group)), np.bool_)
        self._before = np.zeros((2, len(group)), np.int64)

    def change(self, change: PlanChange) -> None:
        """Other probes from its time on."""
        self._before = self._until(change.time)
        self._since = change.time
        active = np.where(self._is_future, Group.FUTURES in change.active, Group.TASKS in change.active)
        off = ~active | self._futures(change.unprobed)
        self._now = np.stack([off, self._futures(change.entries_only) & ~off])

    def _futures(self, numbers: Collection[int]) -> npt.NDArray[np.bool_]:
        """Which functions are futures' and among these."""
        flags = np.zeros(len(self._is_future), np.bool_)
        flags[[number for number in numbers if number < len(flags)]] = True
        return flags & self._is_future

    def _until(self, time: int) -> Numbers:
        return self._before + np.where(self._now, max(0, time - self._since), 0)

    def not_probed(self, end: int) -> list[tuple[int, int]]:
        """(index of a function, ns in which it was not probed until `end`), the longest first."""
        return _longest_first(self._until(end)[0])

    def entries_only(self, end: int) -> list[tuple[int, int]]:
        """(index of a function, ns in which it was, but its exits were not), the longest first."""
        return _longest_first(self._until(end)[1])

    def least_share(self, end: int, which: npt.NDArray[np.bool_] | None = None) -> float:
        """The share of the time in which that future was probed that was least of all; 1: there is none.

        which: of the functions, those that are looked at; None: all.
        """
        looked_at = self._is_future if which is None else self._is_future & which
        without = self._until(end)[0][looked_at]
        return 1.0 - int(without.max(initial=0)) / max(1, end - self._start)


def _longest_first(lengths: Numbers) -> list[tuple[int, int]]:
    return sorted(((int(one), int(lengths[one])) for one in np.flatnonzero(lengths)), key=lambda row: -row[1])
