"""What a trace does not draw one by one, of any format: what is too short to be asked for, merged, or left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tracer.model import Array, PollFlag, PollFunction
from tracer.output.histogram import Integers
from tracer.output.labels import category
from tracer.output.poll_ends import longest_possible
from tracer.output.records import pick
from tracer.output.tables import some
from tracer.output.thinning import Selection

POLLS, JOBS, CALLS = "poll", "job", "in place"
"""The categories of functions; what is merged is of one of them."""
SORTS = (POLLS, JOBS, CALLS)
_WORDS = {POLLS: "poll", JOBS: "blocking job", CALLS: "call"}
_NAMES = {POLLS: "polls", JOBS: "blocking jobs", CALLS: "blocking calls in place"}
_BOUNDS_ONLY = int(PollFlag.START_UNKNOWN | PollFlag.END_UNKNOWN)


def sorts_of(functions: Sequence[PollFunction]) -> Integers:
    """By function: the index of its sort in SORTS."""
    return np.array([SORTS.index(category(one)) for one in functions] or [0])


def sort_words(sort: int) -> str:
    """Several of a sort."""
    return _NAMES[SORTS[sort]]


class Undrawn:
    """Counts it, and says it.  sorts: see sorts_of().  min_us: shorter polls are left out.

    merged: those in merged slices.  omitted: polls and waits that are not drawn at all.
    """

    def __init__(self, sorts: Integers, min_us: float) -> None:
        self._sorts = sorts
        self._min_us = min_us
        self.min_ns = int(min_us * 1000)
        self._merged = np.zeros(len(SORTS), np.int64)
        self._too_short = np.zeros(len(SORTS), np.int64)
        self._left_out = np.zeros(len(SORTS), np.int64)
        self._waits = self._slices = 0

    def long_enough(self, polls: Array) -> Array:
        """Those of these (dtype POLL) that are long enough, or of which nobody knows that they are not."""
        if not self.min_ns:
            return polls
        chosen = (longest_possible(polls) >= self.min_ns) | ((polls["flags"] & _BOUNDS_ONLY) != 0)
        short = self._sorts[polls["function"][~chosen]]
        self._too_short += np.bincount(short, minlength=len(SORTS))
        return pick(polls, chosen)

    def add(self, polls: Array, chosen: Selection) -> None:
        """What was chosen of these (dtype POLL)."""
        self._waits += int(np.count_nonzero(~chosen.waits))
        not_drawn = ~(chosen.polls | chosen.singles)
        if not not_drawn.any():
            return
        merged = np.zeros(len(SORTS), np.int64)
        np.add.at(merged, self._sorts[chosen.merged["function"]], chosen.merged["instance"].astype(np.int64))
        self._merged += merged
        self._left_out += np.bincount(self._sorts[polls["function"][not_drawn]], minlength=len(SORTS)) - merged
        self._slices += len(chosen.merged)

    @property
    def merged(self) -> int:
        return int(self._merged.sum())

    @property
    def omitted(self) -> int:
        return int(self._left_out.sum() + self._too_short.sum()) + self._waits

    def remarks(self) -> list[str]:
        """One sentence for each way."""
        remarks = []
        if self._slices:
            remarks.append(
                f"{_listed(_counted(self._merged, 'short '))} are drawn as {some(self._slices, 'merged slice')},"
                " to keep the trace openable (--max-slices)"
            )
        left_out = _counted(self._left_out, "short ")
        left_out += [some(self._waits, "short wait")] if self._waits else []
        if left_out:
            remarks.append(f"{_listed(left_out)} are not drawn, to keep the trace openable (--max-slices)")
        if self._too_short.any():
            too_short = _listed(_counted(self._too_short))
            remarks.append(f"{too_short} shorter than {self._min_us:g} µs are not drawn (--min-us)")
        return remarks


def _counted(counts: Integers, which: str = "") -> list[str]:
    """Counts by sort in words."""
    return [
        some(count, f"{which}{_WORDS[sort]}") + (" in place" if sort == CALLS else "")
        for sort, count in zip(SORTS, counts.tolist(), strict=True)
        if count
    ]


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
