"""Polls and waits added up by function, in memory bounded by the number of functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tracer.model import POLL, Array, PollFlag, WaitFlag
from tracer.output.histogram import BINS, NO_LEAST, Integers, bins_of, percentile
from tracer.output.poll_ends import is_cut, is_length_known
from tracer.output.records import join, pick
from tracer.output.tasks_inside import TasksInside
from tracer.output.waiting import Waiting

_MAX_INSTANCE = 1 << 28
_LONGEST = 64
_WHOLE = int(WaitFlag.START_UNKNOWN | WaitFlag.END_UNKNOWN)
"""Of waits of what was not polled in the recording."""
_NOT_BETWEEN = _WHOLE | int(WaitFlag.REPLACED | WaitFlag.CANCELLED)
"""Of waits that no poll of what may be the same future ends, or that show themselves that it is another one."""


class Accounts:
    """Totals by function; of instances one bit each (they are numbered from 1 on).

    is_task: by function.  uncertain_waits: those not added up, because nobody knows whether the polls before and after
    were of one future or of two at one address; a task's header is taken for one task.
    more_instances: by function, how many more instances there may be: as many polls may be of one of their own.
    born: of the polls that were added last, which are the first of their instance.
    timed, timed_busy: the polls of which the length is known, and their sum; percentiles are of those.  busy,
    longest_poll: of those and of the `cut` ones, as long as they were seen: see is_cut().  in_tasks: ns of `busy` in
    which tasks were polled inside.
    """

    def __init__(self, is_task: Sequence[bool]) -> None:
        self._functions = max(len(is_task), 1)
        self._is_task = np.array([*is_task] or [False])
        self.uncertain_waits = 0
        self.polls = np.zeros(self._functions, np.int64)
        self.timed = np.zeros(self._functions, np.int64)
        self.timed_busy = np.zeros(self._functions, np.int64)
        self.cut = np.zeros(self._functions, np.int64)
        self.busy = np.zeros(self._functions, np.int64)
        self.in_tasks = np.zeros(self._functions, np.int64)
        self.longest_poll = np.zeros(self._functions, np.int64)
        self._least_timed = np.full(self._functions, NO_LEAST)
        self._longest_timed = np.zeros(self._functions, np.int64)
        self.instances = np.zeros(self._functions, np.int64)
        self.more_instances = np.zeros(self._functions, np.int64)
        self.waits = np.zeros(self._functions, np.int64)
        self.waiting = np.zeros(self._functions, np.int64)
        self.unwound = np.zeros(self._functions, np.int64)
        self._histogram = np.zeros((self._functions, BINS), np.int64)
        self.by_await = Waiting(is_task)
        self._seen = np.zeros(1 << 13, np.uint8)
        self.latest = 0
        self._tasks_inside = TasksInside(self._is_task)
        self.longest = np.empty(0, POLL)
        self._longest_in_tasks = np.zeros(0, np.int64)
        self.born = np.zeros(0, np.bool_)

    def add(self, polls: Array, waits: Array) -> None:
        """Count these in."""
        self.born = np.zeros(len(polls), np.bool_)
        if len(polls):
            self._add_polls(polls)
        if len(waits):
            self._add_waits(waits)

    def _add_polls(self, polls: Array) -> None:
        function = polls["function"].astype(np.int64)
        length = polls["end"] - polls["start"]
        self.latest = max(self.latest, int(polls["end"].max()))
        self.polls += np.bincount(function, minlength=self._functions)
        unwound = (polls["flags"] & int(PollFlag.UNWOUND)) != 0
        self.unwound += np.bincount(function[unwound], minlength=self._functions)
        is_known = is_length_known(polls)
        self._add_timed(function[is_known], length[is_known])
        cut = is_cut(polls)
        self.cut += np.bincount(function[cut], minlength=self._functions)
        is_told = is_known | cut
        np.add.at(self.busy, function[is_told], length[is_told])
        np.maximum.at(self.longest_poll, function[is_told], length[is_told])
        in_tasks = np.minimum(self._tasks_inside.of(polls), length)
        np.add.at(self.in_tasks, function[is_told], in_tasks[is_told])
        self.born[self._count_instances(polls["instance"], function)] = True
        self._keep_longest(polls, in_tasks)

    def _add_timed(self, function: Integers, length: Integers) -> None:
        self.timed += np.bincount(function, minlength=self._functions)
        np.add.at(self.timed_busy, function, length)
        np.maximum.at(self._longest_timed, function, length)
        np.minimum.at(self._least_timed, function, length)
        np.add.at(self._histogram.reshape(-1), function * BINS + bins_of(length), 1)

    def _count_instances(self, instances: npt.NDArray[np.uint64], functions: Integers) -> npt.NDArray[np.intp]:
        """Which of them are the first of their instance that is told."""
        known = (instances != 0) & (instances < _MAX_INSTANCE)
        numbers, functions = instances[known].astype(np.int64), functions[known]
        if not len(numbers):
            return np.empty(0, np.intp)
        needed = int(numbers.max()) // 8 + 1
        if needed > len(self._seen):
            self._seen = np.concatenate([self._seen, np.zeros(2 * needed - len(self._seen), np.uint8)])
        bit = np.left_shift(1, numbers & 7).astype(np.uint8)
        new = (self._seen[numbers >> 3] & bit) == 0
        fresh, first = np.unique(numbers[new], return_index=True)
        self.instances += np.bincount(functions[new][first], minlength=self._functions)
        np.bitwise_or.at(self._seen, fresh >> 3, np.left_shift(1, fresh & 7).astype(np.uint8))
        born: npt.NDArray[np.intp] = np.flatnonzero(known)[new][first]
        return born

    def _keep_longest(self, polls: Array, in_tasks: Integers) -> None:
        """Of each nest of long polls the innermost that took 90 % of it: the one to look at.

        in_tasks: ns of each in which tasks were polled, which are apart.
        """
        kept = self.longest["end"] - self.longest["start"] - self._longest_in_tasks
        least = int(kept.min()) if len(kept) == _LONGEST else 0
        length = polls["end"] - polls["start"] - in_tasks
        candidates = np.flatnonzero(length > least)
        if not len(candidates):
            return
        candidates = candidates[np.argsort(-length[candidates], kind="stable")[:_LONGEST]]
        ends = np.ascontiguousarray(polls["end"])
        of_task = self._tasks_of(polls)
        chosen = np.array([_innermost(polls, ends, length, of_task, one) for one in candidates.tolist()])
        together = join([self.longest, polls.take(chosen)], POLL)
        told = np.concatenate([self._longest_in_tasks, in_tasks[chosen]])
        _, first = np.unique(together[["tid", "start", "end", "depth"]], return_index=True)
        own = together["end"] - together["start"] - told
        first = np.sort(first)
        first = first[np.argsort(-own[first], kind="stable")[:_LONGEST]]
        self.longest, self._longest_in_tasks = together.take(first), told[first]

    def _add_waits(self, waits: Array) -> None:
        self.latest = max(self.latest, int(waits["end"].max()))
        unpolled = pick(waits, (waits["flags"] & _WHOLE) == _WHOLE)
        self._count_instances(unpolled["instance"], unpolled["function"].astype(np.int64))
        is_unsure = (waits["flags"] & int(WaitFlag.AMBIGUOUS | WaitFlag.REPLACED)) != 0
        certain = ~is_unsure | self._is_task[waits["function"]]
        self.uncertain_waits += int(np.count_nonzero(~certain))
        doubtful = waits["function"][~certain & ((waits["flags"] & _NOT_BETWEEN) == 0)]
        self.more_instances += np.bincount(doubtful, minlength=self._functions)
        waits = pick(waits, certain)
        if not len(waits):
            return
        function = waits["function"].astype(np.int64)
        length = waits["end"] - waits["start"]
        self.waits += np.bincount(function, minlength=self._functions)
        np.add.at(self.waiting, function, length)
        self.by_await.add(waits)

    def percentile(self, function: int, share: float) -> float:
        """The poll length in ns that `share` of a function's timed polls do not exceed, within PERCENTILE_ERROR."""
        least, longest = int(self._least_timed[function]), int(self._longest_timed[function])
        return percentile(self._histogram[function], share, least, longest)

    def percentile_of_tasks(self, share: float) -> int:
        """The same of the polls of all tasks."""
        bins = self._histogram[: len(self._is_task)][self._is_task].sum(axis=0)
        least = int(self._least_timed[self._is_task].min(initial=NO_LEAST))
        return round(percentile(bins, share, least, int(self._longest_timed[self._is_task].max(initial=0))))

    def longest_apart(self, count: int) -> list[tuple[np.void, int]]:
        """(poll, ns of it in which tasks were polled) of the longest without that; no two of one task nested."""
        of_task = self._tasks_of(self.longest)
        chosen: list[int] = []
        for at, row in enumerate(self.longest):
            before = [self.longest[one] for one in chosen if of_task[one] == of_task[at]]
            if len(chosen) < count and not any(_overlap(row, other) for other in before):
                chosen.append(at)
        return [(self.longest[at], int(self._longest_in_tasks[at])) for at in chosen]

    def _tasks_of(self, polls: Array) -> npt.NDArray[np.uint64]:
        """The number of the task that each is a poll of, or in which it is; 0: none, or unknown."""
        return np.where(self._is_task[polls["function"]], polls["instance"], polls["task"])


def _innermost(polls: Array, ends: Integers, length: Integers, of_task: npt.NDArray[np.uint64], outer: int) -> int:
    """The deepest poll inside `outer` (an index) and of its task that took 90 % of its time; polls are in the order of
    their ends."""
    start, end, tid = (int(polls[name][outer]) for name in ("start", "end", "tid"))
    first = int(np.searchsorted(ends, start))
    inside = polls[first : outer + 1]
    fits = (inside["tid"] == tid) & (inside["start"] >= start) & (inside["end"] <= end)
    fits &= of_task[first : outer + 1] == of_task[outer]
    places = first + np.flatnonzero(fits & (length[first : outer + 1] >= 0.9 * length[outer]))
    return int(places[np.argmax(polls["depth"][places])])


def _overlap(one: np.void, other: np.void) -> bool:
    return bool(one["tid"] == other["tid"] and one["start"] < other["end"] and other["start"] < one["end"])
