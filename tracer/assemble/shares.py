"""From samples to shares: how much time all tasks spent where, and how far from the truth that may be.

Each sample stands for the time since its place was looked at before: what is there now was found at a random moment
of that time, so the sum is the expected time, whatever comes and goes in between.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracer.stacks import TaskState, Tick

Numbers = npt.NDArray[np.float64]

MOST_ROUNDS = 256
"""Kept apart; neighbours are added up as a run goes on."""

_CONFIDENT = 1.96
"""Standard errors that hold the truth in 95 of 100 cases."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Tasks that did the same.  function: the poll, index into Binary.functions.  stack: index; -1: not known."""

    function: int
    state: TaskState
    stack: int


@dataclass(frozen=True, slots=True)
class Shares:
    """kinds: all that were met.  times: ns that all tasks together spent so.  samples: how often each was seen.

    rounds: the same times by round, shape (rounds, kinds): each round looked once at all tasks.  begins: ns of
    CLOCK_MONOTONIC, when each began.  seen: how many tasks did so at a time, shape (rounds, kinds).
    """

    kinds: tuple[Kind, ...]
    times: Numbers
    samples: npt.NDArray[np.int64]
    rounds: Numbers
    begins: npt.NDArray[np.int64]
    seen: Numbers

    def error(self, part: npt.NDArray[np.bool_], whole: npt.NDArray[np.bool_]) -> float | None:
        """How far the share that some kinds (masks) have of others may be from the truth, in 95 of 100 cases.

        None: too few rounds tell.  By the differences of neighbouring rounds: slow changes of the process are no error.
        """
        total = float(self.times[whole].sum())
        if len(self.rounds) < 3 or not total:
            return None
        share = float(self.times[part].sum()) / total
        rest = self.rounds[:, part].sum(axis=1) - share * self.rounds[:, whole].sum(axis=1)
        count = len(rest)
        variance = count / (2 * (count - 1)) * float((np.diff(rest) ** 2).sum())
        return float(_CONFIDENT * np.sqrt(variance) / total)


class ShareSums:
    """Adds up ticks, in bounded memory."""

    def __init__(self) -> None:
        self._index: dict[Kind, int] = {}
        self._samples = np.zeros(0, np.int64)
        self._rounds = np.zeros((MOST_ROUNDS, 0))
        self._seen = np.zeros((MOST_ROUNDS, 0))
        self._begins = np.zeros(MOST_ROUNDS, np.int64)
        self._looked = np.zeros(MOST_ROUNDS)  # at how many times all places
        self._first = 0
        self._per_row = 1

    def add(self, tick: Tick) -> None:
        """One more tick; in the order of time."""
        samples = tick.samples
        if not len(samples):
            return
        key = samples["function"].astype(np.uint64) << np.uint64(36)
        key |= samples["state"].astype(np.uint64) << np.uint64(32)
        key |= (samples["stack"].astype(np.int64) & 0xFFFFFFFF).astype(np.uint64)
        _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        columns = np.array([self._column(*one) for one in samples[["function", "state", "stack"]][first].tolist()])
        row = self._row(tick.round)
        if not self._begins[row]:
            self._begins[row] = tick.time
        self._looked[row] += tick.share
        self._seen[row, columns] += np.bincount(inverse)
        self._rounds[row, columns] += np.bincount(inverse, weights=samples["since"].astype(np.float64))
        self._samples[columns] += np.bincount(inverse)

    def result(self) -> Shares:
        """All until now."""
        rows = np.flatnonzero(self._begins)
        times, seen = self._rounds[rows, : len(self._index)], self._seen[rows, : len(self._index)]
        samples = self._samples[: len(self._index)].copy()
        kinds, begins = tuple(self._index), self._begins[rows]
        return Shares(kinds, times.sum(axis=0), samples, times, begins, seen / self._looked[rows, None])

    def _column(self, function: int, state: int, stack: int) -> int:
        kind = Kind(function, TaskState(state), stack)
        column = self._index.setdefault(kind, len(self._index))
        if column >= len(self._samples):
            room = max(64, 2 * column)
            self._samples = np.concatenate([self._samples, np.zeros(room - len(self._samples), np.int64)])
            more = np.zeros((MOST_ROUNDS, room - self._rounds.shape[1]))
            self._rounds = np.concatenate([self._rounds, more], axis=1)
            self._seen = np.concatenate([self._seen, more], axis=1)
        return column

    def _row(self, number: int) -> int:
        if not self._first:
            self._first = number
        while (number - self._first) // self._per_row >= MOST_ROUNDS:
            half = MOST_ROUNDS // 2
            for matrix in (self._rounds, self._seen):
                matrix[:half] = matrix[0::2] + matrix[1::2]
                matrix[half:] = 0
            self._begins[:half] = np.where(self._begins[0::2] > 0, self._begins[0::2], self._begins[1::2])
            self._looked[:half] = self._looked[0::2] + self._looked[1::2]
            self._begins[half:] = self._looked[half:] = 0
            self._per_row *= 2
        return (number - self._first) // self._per_row
