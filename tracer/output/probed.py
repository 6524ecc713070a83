"""Which functions were not probed all the time, and how long not."""

from __future__ import annotations

import numpy as np

from tracer.model import FunctionKind, Group, Plan, PlanChange


class ProbedTime:
    """Adds up the times by plan changes.  start: ns, when the recording began with the whole plan."""

    def __init__(self, plan: Plan, start: int) -> None:
        group = [Group.TASKS if one.kind is FunctionKind.TASK else Group.FUTURES for one in plan.functions]
        self._is_future = np.array([one is Group.FUTURES for one in group], np.bool_)
        self._off = np.zeros(len(group), np.bool_)
        self._start = self._since = start
        self._without = np.zeros(len(group), np.int64)

    def change(self, change: PlanChange) -> None:
        """Other probes from its time on."""
        self._without = self._until(change.time)
        self._since = change.time
        active = np.where(self._is_future, Group.FUTURES in change.active, Group.TASKS in change.active)
        self._off = ~active
        unprobed = [number for number in change.unprobed if number < len(self._off)]
        self._off[unprobed] |= self._is_future[unprobed]

    def _until(self, time: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return self._without + np.where(self._off, max(0, time - self._since), 0)

    def not_probed(self, end: int) -> list[tuple[int, int]]:
        """(index of a function, ns in which it was not probed until `end`), the longest first."""
        without = self._until(end)
        return sorted(((int(one), int(without[one])) for one in np.flatnonzero(without)), key=lambda row: -row[1])

    def least_share(self, end: int) -> float:
        """The share of the time in which that future was probed that was least of all; 1: there is none."""
        without = self._until(end)[self._is_future]
        return 1.0 - int(without.max(initial=0)) / max(1, end - self._start)
