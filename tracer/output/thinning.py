"""Which polls and waits are drawn when all of them would make a trace too large to open."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracer.model import POLL, Array, PollFlag
from tracer.output.histogram import Integers
from tracer.output.order import Booleans, by_thread, stable_order
from tracer.output.poll_ends import is_length_known, longest_possible

SLICES_A_POLL = 3
"""A poll on its thread's track, the same on its instance's track, and the wait after it."""

_MERGED_SHARE = 0.15
_ALWAYS = int(PollFlag.START_UNKNOWN | PollFlag.END_UNKNOWN | PollFlag.UNWOUND)


class Budget:
    """How many slices each block may draw: its share of the recording's events, what is left over goes on."""

    def __init__(self, max_slices: int, total_events: int) -> None:
        self._left = max_slices
        self._events_left = total_events

    def of(self, polls: int, wanted: int) -> int:
        """The slices that a block of so many polls (two events each) may draw.  wanted: all that it has."""
        events, left = 2 * polls, max(0, self._left)
        after_it = max(0, self._events_left - events) // 2 * SLICES_A_POLL
        if not polls or wanted + after_it <= left:
            return min(wanted, left)
        return left * events // max(self._events_left, events)

    def spend(self, polls: int, slices: int) -> None:
        """Book a block."""
        self._events_left -= 2 * polls
        self._left -= slices


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a block is drawn.

    polls, waits: masks.  merged: POLL records that stand for several polls (flag MERGED; `instance` holds their
    number, `parent` their polling time in ns, with INFERRED_END at the least: the length of some is not known;
    `function` is one of their sort), `position` their places among the polls in order of arrival.
    singles: polls that are drawn on their thread's track only.  represented: polls in merged slices.
    """

    polls: Booleans
    waits: Booleans
    singles: Booleans
    merged: Array
    position: Integers
    represented: int


def all_slices(polls: Array, waits: Array) -> int:
    """How many slices these are, those on the tracks of instances too."""
    return len(polls) + int(np.count_nonzero(polls["instance"])) + len(waits)


def select(polls: Array, waits: Array, budget: int, sorts: Integers) -> Selection:
    """The longest polls and waits within `budget` slices; runs of short neighbours of one sort become merged slices.

    sorts: by function; a job is no poll, and what stands for several is of one sort.
    A poll that is longer than its children stays before them, so what is drawn nests.
    """
    if all_slices(polls, waits) <= budget:
        none = np.zeros(len(polls), np.bool_)
        return Selection(~none, np.ones(len(waits), np.bool_), none, np.empty(0, POLL), np.empty(0, np.int64), 0)
    for_merged = int(budget * _MERGED_SHARE)
    rest = budget - for_merged
    for_waits = min(len(waits), rest // SLICES_A_POLL)
    for_polls = min(len(polls), (rest - for_waits) // 2)
    for_waits = min(len(waits), rest - 2 * for_polls)

    length = longest_possible(polls)
    length[(polls["flags"] & _ALWAYS) != 0] = np.iinfo(np.int64).max
    keep = _largest(length, for_polls)
    keep_waits = _largest(waits["end"] - waits["start"], for_waits)
    runs = _runs(polls, keep, for_merged, sorts)
    return Selection(keep, keep_waits, *runs)


def _largest(values: Integers, count: int) -> Booleans:
    """The `count` largest."""
    chosen = np.zeros(len(values), np.bool_)
    if count >= len(values):
        chosen[:] = True
    elif count:
        chosen[np.argpartition(values, len(values) - count)[len(values) - count :]] = True
    return chosen


def _parents(polls: Array, order: npt.NDArray[np.intp], thread: Integers) -> Integers:
    """For each poll in thread order, the position of its parent in that order; len(polls) when it is not among them."""
    depth = polls["depth"][order].astype(np.int64)
    parents = np.full(len(polls), len(polls))
    for level in range(1, int(depth.max(initial=0)) + 1):
        inner, outer = np.flatnonzero(depth == level), np.flatnonzero(depth == level - 1)
        if not len(inner) or not len(outer):
            continue
        after = np.searchsorted(outer, inner)
        found = after < len(outer)
        inner, candidate = inner[found], outer[after[found]]
        same = thread[inner] == thread[candidate]
        parents[inner[same]] = candidate[same]
    return parents


def _runs(polls: Array, keep: Booleans, limit: int, sorts: Integers) -> tuple[Booleans, Array, Integers, int]:
    """Merge what is not kept: (polls left single, merged slices, their positions, polls represented)."""
    single = np.zeros(len(polls), np.bool_)
    order, thread = by_thread(polls)
    kept = keep[order]
    parent = _parents(polls, order, thread)
    inside_dropped = np.zeros(len(polls), np.bool_)
    has_parent = parent < len(polls)
    inside_dropped[has_parent] = ~kept[parent[has_parent]]
    # Siblings side by side: what is dropped inside something dropped is out of the question.
    outermost = np.flatnonzero(~inside_dropped)
    depth = polls["depth"][order].astype(np.int64)
    row = outermost[stable_order((thread * (int(depth.max(initial=0)) + 1) + depth)[outermost])]
    dropped = ~kept[row]
    sort = sorts[polls["function"][order[row]]]
    joined = np.zeros(len(row), np.bool_)  # the poll continues the run of the one before it
    joined[1:] = (
        dropped[1:]
        & dropped[:-1]
        & (thread[row[1:]] == thread[row[:-1]])
        & (depth[row[1:]] == depth[row[:-1]])
        & (parent[row[1:]] == parent[row[:-1]])
        & (sort[1:] == sort[:-1])
    )
    start, end = polls["start"][order[row]], polls["end"][order[row]]
    room = limit - int(np.count_nonzero(dropped & ~joined))
    if room > 0 and joined.any():
        # Split where nothing was polled for the longest, so that a merged slice shows work, not idleness.
        inner = np.flatnonzero(joined)
        joined[inner[_largest(start[inner] - end[inner - 1], room)]] = False
    firsts = np.flatnonzero(dropped & ~joined)
    if not len(firsts):
        return single, np.empty(0, POLL), np.empty(0, np.int64), 0
    run = np.cumsum(dropped & ~joined) - 1
    counts = np.bincount(run[dropped], minlength=len(firsts))
    busy = np.bincount(run[dropped], weights=(end - start)[dropped], minlength=len(firsts)).astype(np.int64)
    untimed = np.bincount(run[dropped], weights=~is_length_known(polls)[order[row]][dropped], minlength=len(firsts))
    lasts = firsts + counts - 1
    chosen = _largest(busy, limit)
    alone = chosen & (counts == 1)
    single[order[row[firsts[alone]]]] = True
    many = np.flatnonzero(chosen & (counts > 1))
    merged = polls.take(order[row[firsts[many]]])
    merged["end"] = merged["end_latest"] = end[lasts[many]]
    merged["flags"] = int(PollFlag.MERGED) | np.where(untimed[many], int(PollFlag.INFERRED_END), 0)
    merged["instance"], merged["parent"], merged["task"] = counts[many], busy[many], 0
    return single, merged, order[row[lasts[many]]].astype(np.int64), int(counts[many].sum())
