"""Which functions, or which functions' exits, were not probed all the time, and how long not."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from tracer.model import FunctionKind, Group, Plan, PlanChange

Numbers = npt.NDArray[np.int64]


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

    def least_share(self, end: int) -> float:
        """The share of the time in which that future was probed that was least of all; 1: there is none."""
        without = self._until(end)[0][self._is_future]
        return 1.0 - int(without.max(initial=0)) / max(1, end - self._start)


def _longest_first(lengths: Numbers) -> list[tuple[int, int]]:
    return sorted(((int(one), int(lengths[one])) for one in np.flatnonzero(lengths)), key=lambda row: -row[1])
