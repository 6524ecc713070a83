"""Which of a plan's places are in certain futures; the waits at places as what they are of their tasks; their times.

A wait has a row for the task and for each future in it that has polls of its own, and those that the chain of a task
leads to no further (`dyn Future`) are told by rows of futures only.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from tracer.model import Array, FunctionKind, Layout, Plan, WaitFlag
from tracer.output.labels import duration_words

_NONE = -1
_MOST_PARTS = 1 << 12
"""Of what is remembered of a union: nothing that is told later reaches back that far."""


def inside(plan: Plan, is_one: Callable[[Layout], bool]) -> npt.NDArray[np.bool_]:
    """By number, whether the place is that of such a future, or below one."""
    found = [False]
    for place in plan.places:
        layout = plan.layouts[place.layout] if place.layout is not None else None
        found.append((layout is not None and is_one(layout)) or found[place.parent])
    return np.array(found)


def numbers_of(waits: Array) -> npt.NDArray[np.uint16]:
    """Shape (waits, 4): the numbers of the places of each (dtype WAIT); 0: none."""
    return np.ascontiguousarray(waits["places"], "<u8").view("<u2").reshape(-1, 4)


def length_of(wait: np.void) -> int:
    """ns, of one (dtype WAIT)."""
    return int(wait["end"] - wait["start"])


def is_cut(wait: np.void) -> bool:
    """Whether it (dtype WAIT) had begun before the recording, or had not ended when that did."""
    return bool(wait["flags"] & int(WaitFlag.START_UNKNOWN | WaitFlag.END_UNKNOWN))


def length_words(wait: np.void) -> str:
    """`4.02 s`, or `4.02 s or more` of one (dtype WAIT) that is cut."""
    return duration_words(length_of(wait)) + (" or more" if is_cut(wait) else "")


class Union:
    """Times in which at least one of several things was so."""

    def __init__(self) -> None:
        self._before, self._since = 0, 0
        self._parts: list[tuple[int, int]] = []

    def add(self, start: int, end: int) -> None:
        """ns."""
        start, parts = max(start, self._since), self._parts
        if start >= end:
            return
        first = bisect_left(parts, start, key=lambda part: part[1])
        last = bisect_right(parts, end, key=lambda part: part[0])
        if first < last:
            start, end = min(start, parts[first][0]), max(end, parts[last - 1][1])
        parts[first:last] = [(start, end)]
        if len(parts) > _MOST_PARTS:
            old = parts[: _MOST_PARTS // 2]
            self._before, self._since = self._before + _length(old), old[-1][1]
            del parts[: len(old)]

    @classmethod
    def of(cls, unions: Iterable[Union]) -> Union:
        """All of them as one."""
        several, whole = list(unions), cls()
        for begin, end in sorted(part for one in several for part in one._parts):
            whole.add(begin, end)
        whole._before += sum(one._before for one in several)
        return whole

    @property
    def total(self) -> int:
        """ns."""
        return self._before + _length(self._parts)


def _length(parts: Iterable[tuple[int, int]]) -> int:
    return sum(until - begin for begin, until in parts)


class TaskWaits:
    """Of the waits of tasks and of the futures in them, in the order of their ends."""

    def __init__(self, plan: Plan) -> None:
        self._is_task = np.array([one.kind is FunctionKind.TASK for one in plan.functions] or [False])
        self._until: dict[int, int] = {}

    def tasks(self, waits: Array) -> npt.NDArray[np.uint64]:
        """The number of each one's task; 0: it is in none."""
        return np.where(self._is_task[waits["function"]], waits["instance"], waits["task"])

    def own(self, waits: Array, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """For each of these rows that of its task's wait, which ended by the same wake; -1: it is not among them."""
        if not len(rows):
            return rows
        tasks = self.tasks(waits.take(rows))
        owns = np.flatnonzero(self._is_task[waits["function"]])
        known, rank = np.unique(waits["instance"][owns], return_inverse=True)
        if not len(known):
            return np.full(len(rows), _NONE)
        keys = np.sort(rank * len(waits) + owns)
        place = np.minimum(np.searchsorted(known, tasks), len(known) - 1)
        at = np.searchsorted(keys, place * len(waits) + rows, side="right") - 1
        found = keys[np.maximum(at, 0)]
        is_there = (at >= 0) & (found // len(waits) == place) & (known[place] == tasks)
        return np.where(is_there, found % len(waits), _NONE)

    def around(self, waits: Array, rows: npt.NDArray[np.intp]) -> list[list[int]]:
        """For each of these rows those of the futures that wait for its own in the same task, the innermost first.

        Polls that are inside of others begin later and end sooner; the waits between them do the opposite.
        """
        if not len(rows):
            return []
        tasks = self.tasks(waits)
        order = np.argsort(tasks, kind="stable")
        found = []
        for row, task in zip(rows.tolist(), tasks[rows].tolist(), strict=True):
            first, last = np.searchsorted(tasks, [task, task + 1], sorter=order).tolist()
            mine = order[first:last]
            start, end = waits["start"][mine], waits["end"][mine]
            is_outside = (start >= waits["start"][row]) & (end <= waits["end"][row]) & (mine != row)
            mine, start, end = mine[is_outside], start[is_outside], end[is_outside]
            found.append(mine[np.lexsort((start, -end))].tolist())
        return found

    def is_first(self, task: int, start: int, end: int) -> bool:
        """Whether no other wait of the task is known by now that goes on at the same time: of one that several rows
        tell, only the outermost counts."""
        if start < self._until.get(task, start):
            return False
        self._until[task] = end
        return True

    def forget(self, tasks: Iterable[int]) -> None:
        """These are over."""
        for task in tasks:
            self._until.pop(task, None)
