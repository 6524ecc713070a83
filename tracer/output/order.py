"""The order of a thread's slices in the file, where times are equal.

trace_processor sorts by time and keeps the file's order among equal times: there an END has to precede
the next BEGIN, and an outer BEGIN an inner one.  Polls arrive in the order of their ends, so a parent
comes after its children, perhaps blocks later, and may have begun at the very time of its first child.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tracer.assemble.lookup import locate
from tracer.model import POLL, Array
from tracer.output.histogram import Integers
from tracer.output.records import join
from tracer.output.slices import BEGIN, END, INSTANT

Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Due:
    """Polls (POLL, in order of arrival) of which something is to be written now: masks of beginnings and ends.

    A poll of no length has no end of its own: it is one instant.
    """

    polls: Array
    begins: Booleans
    ends: Booleans


class Holder:
    """Holds back the beginnings of polls whose parent may still arrive with the same start.

    These are, per thread and depth, the first poll since a poll of less depth ended, and all that began when
    tracing did (frames under way then begin there, whatever their depth).  So what is held is bounded by the
    threads times their depth of nesting.  Ends never wait: the end of a poll precedes what begins then.
    """

    def __init__(self, tracing_start: int) -> None:
        self._tracing_start = tracing_start
        self._held = np.empty(0, POLL)

    @property
    def held(self) -> Array:
        """The polls (POLL) of which the beginning is not written yet."""
        return self._held

    def due(self, new: Array) -> Due:
        """What can be written once these polls have arrived."""
        polls = join([self._held, new], POLL) if len(self._held) else new
        ends = polls["end"] > polls["start"]
        ends[: len(self._held)] = False
        hold = (polls["start"] <= self._tracing_start) | _first_of_unseen_parent(polls)
        if hold.any():
            keys = polls["start"][hold]
            same_start = np.flatnonzero(np.isin(polls["start"], keys) & ~hold)
            if len(same_start):
                held = set(zip(polls["tid"][hold].tolist(), keys.tolist(), strict=True))
                pairs = zip(polls["tid"][same_start].tolist(), polls["start"][same_start].tolist(), strict=True)
                hold[same_start[[pair in held for pair in pairs]]] = True
        self._held = polls[hold]
        return Due(polls, ~hold, ends)

    def rest(self) -> Due:
        """All that is held; nothing is held then."""
        held, self._held = self._held, np.empty(0, POLL)
        return Due(held, np.ones(len(held), np.bool_), np.zeros(len(held), np.bool_))


def _first_of_unseen_parent(polls: Array) -> Booleans:
    """Per thread and depth (above 0), the first poll that no later poll of less depth on its thread follows."""
    depth = polls["depth"].astype(np.int64)
    found = np.zeros(len(polls), np.bool_)
    if not depth.any():
        return found
    order, thread = by_thread(polls)
    # A running minimum from the back, kept apart by thread: later threads have larger values throughout.
    shifted = depth[order] + (thread << 17)
    least = np.minimum.accumulate(shifted[::-1])[::-1]
    least_after = np.full(len(polls), np.iinfo(np.int64).max)
    least_after[:-1] = np.where(thread[1:] == thread[:-1], least[1:], least_after[:-1])
    waiting = np.flatnonzero((least_after >= shifted) & (depth[order] > 0))
    _, first = np.unique(shifted[waiting], return_index=True)
    found[order[waiting[first]]] = True
    return found


def by_thread(polls: Array) -> tuple[npt.NDArray[np.intp], Integers]:
    """Indices sorted by thread (arrival order within one), and the number of the thread of each."""
    order = stable_order(polls["tid"])
    tids = polls["tid"][order]
    thread = np.zeros(len(tids), np.int64)
    np.cumsum(tids[1:] != tids[:-1], out=thread[1:])
    return order, thread


def stable_order(keys: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.intp]:
    """The indices that sort keys, equal ones in their order; 16-bit keys by radix, many times faster."""
    if len(keys) and int(keys.max()) - int(keys.min()) < 1 << 16:
        keys = (keys - keys.min()).astype(np.uint16)
    return np.argsort(keys, kind="stable")


def tied(polls: Array) -> Booleans:
    """The polls that share a time with another in a way in which the order matters; almost always none."""
    starts = np.sort(polls["start"])
    times = np.unique(starts[1:][starts[1:] == starts[:-1]])
    empty = polls["start"] == polls["end"]
    if empty.any():
        at = polls["start"][empty]
        times = np.union1d(times, at[np.isin(at, polls["end"][~empty])])
    if not len(times):
        return np.zeros(len(polls), np.bool_)
    return locate(times, polls["start"])[1] | locate(times, polls["end"])[1]


def tied_events(due: Due, which: Integers) -> Iterator[tuple[int, int]]:
    """The events of tied polls in the order in which they have to be written: (index, BEGIN, END or INSTANT).

    which: indices of the tied polls.

    At one time: ENDs in order of arrival, then BEGINs from the outermost in (the last to end).  A poll of no
    length stands among the ENDs by its arrival, or inside the BEGINs of less depth when its parent begins there.
    """
    polls = due.polls.take(which)
    starts, ends, tids, depths = (polls[name].tolist() for name in ("start", "end", "tid", "depth"))
    last_end: dict[tuple[int, int], int] = {}
    begins: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for index, (start, end, tid, depth) in enumerate(zip(starts, ends, tids, depths, strict=True)):
        if start != end:
            last_end[tid, end] = index
            begins.setdefault((tid, start), []).append((end, index, depth))
    events: list[tuple[tuple[int, ...], int, int]] = []
    for index, (start, end, tid, depth) in enumerate(zip(starts, ends, tids, depths, strict=True)):
        if start != end:
            events.append(((end, tid, 0, index), index, END))
            events.append(((start, tid, 1, -end, -index, 0), index, BEGIN))
            continue
        outer = [
            (its_end, its_index) for its_end, its_index, its_depth in begins.get((tid, start), ()) if its_depth < depth
        ]
        if outer and last_end.get((tid, start), -1) < index:
            its_end, its_index = min(outer)
            events.append(((start, tid, 1, -its_end, -its_index, 1), index, INSTANT))
        else:
            events.append(((start, tid, 0, index), index, INSTANT))
    events.sort(key=lambda event: event[0])
    for _, index, kind in events:
        if (due.ends if kind == END else due.begins)[which[index]]:
            yield int(which[index]), kind
