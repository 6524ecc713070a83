"""Waits added up by the await, and by the kind of task that they are in; memory grows with the awaits only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from tracer.model import Array, WaitFlag
from tracer.output.histogram import BINS, Integers, bins_of, percentile

_UNKNOWN_STATE = 256
_STATES = 257
_NO_KIND = -1


@dataclass(frozen=True, slots=True)
class AwaitFigures:
    """The waits at one await.  All times in ns; p50, p99 within histogram.PERCENTILE_ERROR.

    function: index into Plan.functions.  state: None when unknown.  places: as in WAIT.
    kinds: the functions of the tasks they are in, those that wait most first; a future outside of any task known
    adds none.
    """

    function: int
    state: int | None
    places: int
    kinds: tuple[int, ...]
    count: int
    total: int
    p50: int
    p99: int
    longest: int


@dataclass(slots=True)
class _Sum:
    count: int = 0
    total: int = 0
    longest: int = 0
    bins: Integers = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, other: _Sum) -> None:
        self.count += other.count
        self.total += other.total
        self.longest = max(self.longest, other.longest)
        self.bins += other.bins


class _Key(NamedTuple):
    kind: int
    function: int
    state: int
    places: int


class Waiting:
    """Totals by kind, function, state and places.  is_task: by function."""

    def __init__(self, is_task: Sequence[bool]) -> None:
        self._functions = max(len(is_task), 1)
        self._is_task = np.array([*is_task] or [False])
        self._tasks = np.empty(0, np.uint64)  # alive, ascending, and what they run
        self._kinds = np.empty(0, np.int64)
        self._sums: dict[_Key, _Sum] = {}

    def begin(self, begun: Array) -> None:
        """Tasks (dtype TASK, by number) whose waits come after this."""
        if len(begun):
            tasks = np.concatenate([self._tasks, begun["task"]])
            kinds = np.concatenate([self._kinds, begun["function"].astype(np.int64)])
            order = np.argsort(tasks, kind="stable")
            self._tasks, self._kinds = tasks[order], kinds[order]

    def forget(self, over: Array) -> None:
        """Tasks (dtype TASK) of which no more waits come."""
        if len(over):
            left = ~np.isin(self._tasks, over["task"])
            self._tasks, self._kinds = self._tasks[left], self._kinds[left]

    def add(self, waits: Array) -> None:
        """Count these in (dtype WAIT)."""
        if not len(waits):
            return
        length = waits["end"] - waits["start"]
        state = np.where(waits["flags"] & int(WaitFlag.STATE), waits["state"].astype(np.int64), _UNKNOWN_STATE)
        function = waits["function"].astype(np.int64)
        places, walked = np.unique(waits["places"], return_inverse=True)
        keys, at = np.unique(
            (((self._kinds_of(waits) + 1) * self._functions + function) * _STATES + state) * len(places) + walked,
            return_inverse=True,
        )
        counts = np.bincount(at)
        # Weights are floats: exact as long as one step's sum stays below 2 ** 53 ns, 104 days.
        totals = np.bincount(at, weights=length).astype(np.int64)
        longest = np.zeros(len(keys), np.int64)
        np.maximum.at(longest, at, length)
        bins = np.bincount(at * BINS + bins_of(length), minlength=len(keys) * BINS).reshape(-1, BINS)
        columns = (column.tolist() for column in (keys, counts, totals, longest))
        for key, count, total, most, row in zip(*columns, bins, strict=True):
            rest, walk = divmod(key, len(places))
            rest, one = divmod(rest, _STATES)
            split = _Key(rest // self._functions - 1, rest % self._functions, one, int(places[walk]))
            self._sums.setdefault(split, _Sum()).add(_Sum(count, total, most, row))

    def _kinds_of(self, waits: Array) -> Integers:
        """The function of each wait's task; _NO_KIND where that is not known."""
        kinds = np.full(len(waits), _NO_KIND, np.int64)
        at = np.searchsorted(self._tasks, waits["task"])
        known = at < len(self._tasks)
        known[known] = self._tasks[at[known]] == waits["task"][known]
        kinds[known] = self._kinds[at[known]]
        own = self._is_task[waits["function"]]
        kinds[own] = waits["function"][own]
        return kinds

    def by_await(self) -> list[AwaitFigures]:
        """Of all tasks together, the most waiting first."""
        return _figures(self._sums.items())

    def of_kind(self, kind: int) -> list[AwaitFigures]:
        """Of the tasks that run this function, the most waiting first."""
        return _figures((key, one) for key, one in self._sums.items() if key.kind == kind)


def _figures(parts: Iterable[tuple[_Key, _Sum]]) -> list[AwaitFigures]:
    sums: dict[tuple[int, int, int], _Sum] = {}
    kinds: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
    for key, part in parts:
        place = (key.function, key.state, key.places)
        sums.setdefault(place, _Sum()).add(part)
        kinds.setdefault(place, []).append((-part.total, key.kind))
    rows = []
    for place, one in sorted(sums.items(), key=lambda item: (-item[1].total, item[0])):
        function, state, places = place
        rows.append(
            AwaitFigures(
                function=function,
                state=None if state == _UNKNOWN_STATE else state,
                places=places,
                kinds=tuple(kind for _, kind in sorted(kinds[place]) if kind != _NO_KIND),
                count=one.count,
                total=one.total,
                p50=round(percentile(one.bins, 0.5, one.longest)),
                p99=round(percentile(one.bins, 0.99, one.longest)),
                longest=one.longest,
            )
        )
    return rows
