"""Waits added up by the await, and by the kind of task that they are in; memory grows with the awaits only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracer.assemble.lookup import locate
from tracer.model import Array, WaitFlag
from tracer.output.histogram import BINS, NO_LEAST, Integers, bins_of, percentile

_UNKNOWN_STATE = 256
_STATES = 257
_NO_KIND = -1
_CUT = int(WaitFlag.START_UNKNOWN | WaitFlag.END_UNKNOWN)
_MIXER = np.uint64(0x9E3779B97F4A7C15)
_LEAST_BITS, _SPARE_BITS = 12, 5
"""The table of rows has room for many more than there are, so that few have the hash of another."""


@dataclass(frozen=True, slots=True)
class AwaitFigures:
    """The waits at one await.  All times in ns; p50, p99 within histogram.PERCENTILE_ERROR.

    function: index into Plan.functions.  state: None when unknown.  places: as in WAIT.
    kinds: the functions of the tasks they are in, those that wait most first; a future outside of any task known
    adds none.  cut: those of which the recording did not see both ends: they took at least as long as they count, so
    that percentiles are not too long.  longest_is_cut: the longest is one of these.
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
    cut: int = 0
    longest_is_cut: bool = False


class Waiting:
    """Totals by kind, function, state and places.  is_task: by function."""

    def __init__(self, is_task: Sequence[bool]) -> None:
        self._functions = max(len(is_task), 1)
        self._is_task = np.array([*is_task] or [False])
        self._tasks = np.empty(0, np.uint64)  # alive, ascending, and what they run
        self._kinds = np.empty(0, np.int64)
        # One row for each combination of kind, function and state, as one number, and places; the first one is none's.
        self._rows: dict[tuple[int, int], int] = {}
        self._keys, self._places = np.array([-1]), np.zeros(1, np.uint64)
        self._count, self._total, self._longest, self._cut, self._longest_cut = (
            np.zeros(1, np.int64) for _ in range(5)
        )
        self._least = np.full(1, NO_LEAST)
        self._bins = np.zeros((1, BINS), np.int64)
        self._row_of = np.zeros(1 << _LEAST_BITS, np.int32)  # by hash: the row of one with that hash

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
        keys = ((self._kinds_of(waits) + 1) * self._functions + waits["function"]) * _STATES + state
        rows = self._find(keys, np.ascontiguousarray(waits["places"]))
        self._count += np.bincount(rows, minlength=len(self._count))
        np.add.at(self._total, rows, length)
        np.maximum.at(self._longest, rows, length)
        np.minimum.at(self._least, rows, length)
        is_cut = (waits["flags"] & _CUT) != 0
        self._cut += np.bincount(rows[is_cut], minlength=len(self._cut))
        np.maximum.at(self._longest_cut, rows[is_cut], length[is_cut])
        np.add.at(self._bins.reshape(-1), rows * BINS + bins_of(length), 1)

    def _find(self, keys: Integers, places: npt.NDArray[np.uint64]) -> Integers:
        """The row of each; what is seen for the first time gets one."""
        rows = self._row_of[self._hashes(keys, places)].astype(np.int64)
        others = np.flatnonzero((self._keys[rows] != keys) | (self._places[rows] != places))
        if not len(others):
            return rows
        both, which = np.unique(np.stack([keys[others].astype(np.uint64), places[others]]), axis=1, return_inverse=True)
        missing = [key for key in zip(*both.tolist(), strict=True) if key not in self._rows]
        if missing:
            self._add_rows(missing)
        rows[others] = np.array([self._rows[key] for key in zip(*both.tolist(), strict=True)])[which.ravel()]
        return rows

    def _add_rows(self, keys: Sequence[tuple[int, int]]) -> None:
        first, more = len(self._keys), len(keys)
        self._rows |= {key: first + number for number, key in enumerate(keys)}
        self._keys = np.append(self._keys, np.array([key for key, _ in keys], np.int64))
        self._places = np.append(self._places, np.array([places for _, places in keys], np.uint64))
        self._count, self._total, self._longest, self._cut, self._longest_cut = (
            np.append(one, np.zeros(more, np.int64))
            for one in (self._count, self._total, self._longest, self._cut, self._longest_cut)
        )
        self._least = np.append(self._least, np.full(more, NO_LEAST))
        self._bins = np.append(self._bins, np.zeros((more, BINS), np.int64), axis=0)
        bits = max(_LEAST_BITS, len(self._keys).bit_length() + _SPARE_BITS)
        if 1 << bits != len(self._row_of):
            self._row_of = np.zeros(1 << bits, np.int32)
            first = 1
        self._row_of[self._hashes(self._keys[first:], self._places[first:])] = np.arange(first, len(self._keys))

    def _hashes(self, keys: Integers, places: npt.NDArray[np.uint64]) -> npt.NDArray[np.intp]:
        mixed = (keys.astype(np.uint64) * _MIXER ^ places) * _MIXER
        bits = len(self._row_of).bit_length() - 1
        return (mixed >> np.uint64(64 - bits)).astype(np.intp)

    def _kinds_of(self, waits: Array) -> Integers:
        """The function of each wait's task; _NO_KIND where that is not known."""
        kinds = np.full(len(waits), _NO_KIND, np.int64)
        at, known = locate(self._tasks, waits["task"])
        if len(self._tasks):
            kinds = np.where(known, self._kinds[at], kinds)
        own = self._is_task[waits["function"]]
        kinds[own] = waits["function"][own]
        return kinds

    def by_await(self) -> list[AwaitFigures]:
        """Of all tasks together, the most waiting first."""
        return self._figures(self._rows)

    def of_kind(self, kind: int) -> list[AwaitFigures]:
        """Of the tasks that run this function, the most waiting first."""
        least = (kind + 1) * self._functions * _STATES
        rows = np.flatnonzero((self._keys >= least) & (self._keys < least + self._functions * _STATES))
        return self._figures(zip(self._keys[rows].tolist(), self._places[rows].tolist(), strict=True))

    def _figures(self, keys: Iterable[tuple[int, int]]) -> list[AwaitFigures]:
        """Those of several kinds at one await as one."""
        together: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
        for key, places in keys:
            rest, state = divmod(key, _STATES)
            kind, function = divmod(rest, self._functions)
            together.setdefault((function, state, places), []).append((self._rows[key, places], kind - 1))
        figures = [self._figure(*place, rows) for place, rows in together.items()]
        return sorted(figures, key=lambda one: (-one.total, one.function, _number(one.state), one.places))

    def _figure(self, function: int, state: int, places: int, parts: Sequence[tuple[int, int]]) -> AwaitFigures:
        """parts: (row, kind)."""
        rows = [row for row, _ in parts]
        bins = self._bins[rows].sum(axis=0)
        least, longest = int(self._least[rows].min()), int(self._longest[rows].max())
        return AwaitFigures(
            function=function,
            state=None if state == _UNKNOWN_STATE else state,
            places=places,
            kinds=tuple(kind for _, kind in sorted((-int(self._total[row]), kind) for row, kind in parts) if kind >= 0),
            count=int(self._count[rows].sum()),
            total=int(self._total[rows].sum()),
            p50=round(percentile(bins, 0.5, least, longest)),
            p99=round(percentile(bins, 0.99, least, longest)),
            longest=longest,
            cut=int(self._cut[rows].sum()),
            longest_is_cut=int(self._longest_cut[rows].max()) == longest > 0,
        )


def _number(state: int | None) -> int:
    return _UNKNOWN_STATE if state is None else state
