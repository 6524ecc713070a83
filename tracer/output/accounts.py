"""Polls and waits added up by function, in memory bounded by the number of functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracer.model import POLL, Array, PollFlag, WaitFlag
from tracer.output.records import join, pick

_BINS_AN_OCTAVE = 6
_BINS = 64 * _BINS_AN_OCTAVE
PERCENTILE_ERROR = 2 ** (0.5 / _BINS_AN_OCTAVE) - 1
"""The largest relative error of a percentile: half a bin, 5.9 %."""
_UNKNOWN_STATE = 256
_STATES = 257
_MAX_INSTANCE = 1 << 28
_LONGEST = 64

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class WaitsAt:
    """The waits of one function in one state (None: unknown) at the same places, as in WAIT.  total, longest: ns."""

    function: int
    state: int | None
    places: int
    count: int
    total: int
    longest: int


class Accounts:
    """Totals by function; of instances one bit each (they are numbered from 1 on).

    is_task: by function.  uncertain_waits: those not added up, because nobody knows whether the polls before and after
    were of one future or of two at one address; a task's header is taken for one task.
    """

    def __init__(self, is_task: Sequence[bool]) -> None:
        self._functions = max(len(is_task), 1)
        self._is_task = np.array([*is_task] or [False])
        self.uncertain_waits = 0
        self.polls = np.zeros(self._functions, np.int64)
        self.busy = np.zeros(self._functions, np.int64)
        self.longest_poll = np.zeros(self._functions, np.int64)
        self.instances = np.zeros(self._functions, np.int64)
        self.waits = np.zeros(self._functions, np.int64)
        self.waiting = np.zeros(self._functions, np.int64)
        self.unwound = np.zeros(self._functions, np.int64)
        self._histogram = np.zeros((self._functions, _BINS), np.int64)
        self._waits_at: dict[tuple[int, int], tuple[int, int, int]] = {}
        self._seen = np.zeros(1 << 13, np.uint8)
        self.root_busy = 0
        self.latest = 0
        self.longest = np.empty(0, POLL)

    def add(self, polls: Array, waits: Array) -> None:
        """Count these in."""
        if len(polls):
            self._add_polls(polls)
        if len(waits):
            self._add_waits(waits)

    def _add_polls(self, polls: Array) -> None:
        function = polls["function"].astype(np.int64)
        length = polls["end"] - polls["start"]
        self.latest = max(self.latest, int(polls["end"].max()))
        self.polls += np.bincount(function, minlength=self._functions)
        # Weights are floats: exact as long as one step's sum stays below 2 ** 53 ns, 104 days.
        self.busy += np.bincount(function, weights=length, minlength=self._functions).astype(np.int64)
        np.maximum.at(self.longest_poll, function, length)
        self.root_busy += int(length[polls["depth"] == 0].sum())
        unwound = (polls["flags"] & int(PollFlag.UNWOUND)) != 0
        self.unwound += np.bincount(function[unwound], minlength=self._functions)
        octave = np.log2(np.maximum(length, 1)) * _BINS_AN_OCTAVE
        keys = function * _BINS + octave.astype(np.int64)
        self._histogram += np.bincount(keys, minlength=self._histogram.size).reshape(self._histogram.shape)
        self._count_instances(polls["instance"], function)
        self._keep_longest(polls, length)

    def _count_instances(self, instances: npt.NDArray[np.uint64], functions: Integers) -> None:
        known = (instances != 0) & (instances < _MAX_INSTANCE)
        numbers, functions = instances[known].astype(np.int64), functions[known]
        if not len(numbers):
            return
        needed = int(numbers.max()) // 8 + 1
        if needed > len(self._seen):
            self._seen = np.concatenate([self._seen, np.zeros(2 * needed - len(self._seen), np.uint8)])
        bit = np.left_shift(1, numbers & 7).astype(np.uint8)
        new = (self._seen[numbers >> 3] & bit) == 0
        fresh, first = np.unique(numbers[new], return_index=True)
        self.instances += np.bincount(functions[new][first], minlength=self._functions)
        np.bitwise_or.at(self._seen, fresh >> 3, np.left_shift(1, fresh & 7).astype(np.uint8))

    def _keep_longest(self, polls: Array, length: Integers) -> None:
        """Of each nest of long polls the innermost that took 90 % of it: the one to look at."""
        least = int((self.longest["end"] - self.longest["start"]).min()) if len(self.longest) == _LONGEST else 0
        candidates = np.flatnonzero(length > least)
        if not len(candidates):
            return
        candidates = candidates[np.argsort(-length[candidates], kind="stable")[:_LONGEST]]
        ends = np.ascontiguousarray(polls["end"])
        chosen = polls.take([_innermost(polls, ends, length, one) for one in candidates.tolist()])
        together = join([self.longest, chosen], POLL)
        _, first = np.unique(together[["tid", "start", "end", "depth"]], return_index=True)
        together = together.take(np.sort(first))
        self.longest = together.take(np.argsort(together["start"] - together["end"], kind="stable")[:_LONGEST])

    def _add_waits(self, waits: Array) -> None:
        self.latest = max(self.latest, int(waits["end"].max()))
        ambiguous = (waits["flags"] & int(WaitFlag.AMBIGUOUS)) != 0
        certain = ~ambiguous | self._is_task[waits["function"]]
        self.uncertain_waits += int(np.count_nonzero(~certain))
        waits = pick(waits, certain)
        if not len(waits):
            return
        function = waits["function"].astype(np.int64)
        length = waits["end"] - waits["start"]
        self.waits += np.bincount(function, minlength=self._functions)
        self.waiting += np.bincount(function, weights=length, minlength=self._functions).astype(np.int64)
        state = np.where(waits["flags"] & int(WaitFlag.STATE), waits["state"].astype(np.int64), _UNKNOWN_STATE)
        walked, which = np.unique(waits["places"], return_inverse=True)
        combinations, keys = np.unique((function * _STATES + state) * len(walked) + which, return_inverse=True)
        counts = np.bincount(keys)
        totals = np.bincount(keys, weights=length)
        longest = np.zeros(len(counts), np.int64)
        np.maximum.at(longest, keys, length)
        await_, places = combinations // len(walked), walked[combinations % len(walked)]
        columns = (await_, places, counts, totals.astype(np.int64), longest)
        for *one, count, total, most in zip(*(column.tolist() for column in columns), strict=True):
            key = one[0], one[1]
            old = self._waits_at.get(key, (0, 0, 0))
            self._waits_at[key] = old[0] + count, old[1] + total, max(old[2], most)

    def waits_at(self) -> list[WaitsAt]:
        """By await and by what is known to be below it, the most waiting first."""
        rows = []
        for (await_, places), (count, total, longest) in self._waits_at.items():
            function, state = divmod(await_, _STATES)
            rows.append(WaitsAt(function, None if state == _UNKNOWN_STATE else state, places, count, total, longest))
        return sorted(rows, key=lambda row: -row.total)

    def percentile(self, function: int, share: float) -> float:
        """The poll length in ns that `share` of a function's polls do not exceed, within PERCENTILE_ERROR."""
        bins = self._histogram[function]
        total = int(bins.sum())
        if not total:
            return 0.0
        at = int(np.searchsorted(np.cumsum(bins), share * total))
        middle: float = 2 ** ((at + 0.5) / _BINS_AN_OCTAVE)
        return min(middle, float(self.longest_poll[function]))

    def longest_apart(self, count: int) -> list[np.void]:
        """The longest polls, no two of them nested."""
        chosen: list[np.void] = []
        for row in self.longest:
            if len(chosen) < count and not any(_overlap(row, other) for other in chosen):
                chosen.append(row)
        return chosen


def _innermost(polls: Array, ends: Integers, length: Integers, outer: int) -> int:
    """The deepest poll inside `outer` (an index) that took 90 % of its time; polls are in the order of their ends."""
    start, end, tid = (int(polls[name][outer]) for name in ("start", "end", "tid"))
    first = int(np.searchsorted(ends, start))
    inside = polls[first : outer + 1]
    fits = (inside["tid"] == tid) & (inside["start"] >= start) & (inside["end"] <= end)
    places = first + np.flatnonzero(fits & (length[first : outer + 1] >= 0.9 * length[outer]))
    return int(places[np.argmax(polls["depth"][places])])


def _overlap(one: np.void, other: np.void) -> bool:
    return bool(one["tid"] == other["tid"] and one["start"] < other["end"] and other["start"] < one["end"])
