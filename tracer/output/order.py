"""The order of a thread's slices in the file, where times are equal.

trace_processor sorts by time and keeps the file's order among equal times: there an END has to precede
the next BEGIN, and an outer BEGIN an inner one.  Polls arrive in the order of their ends, so a parent
comes after its children, perhaps blocks later, and may have begun at the very time of its first child.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tracer.model import POLL, Array
from tracer.output.slices import BEGIN, END, INSTANT, Integers

Booleans = npt.NDArray[np.bool_]


class Holder:
    """Holds back the polls whose parent may still arrive with the same start.

    These are, per thread and depth, the first poll since a poll of less depth ended, and all that began when
    tracing did (frames under way then begin there, whatever their depth).  So what is held is bounded by the
    threads times their depth of nesting.
    """

    def __init__(self, tracing_start: int) -> None:
        self._tracing_start = tracing_start
        self._held = np.empty(0, POLL)

    def release(self, polls: Array) -> Array:
        """The polls (POLL, in order of arrival) that can be written now, held ones of before among them."""
        if len(self._held):
            polls = np.concatenate([self._held, polls])
        if not len(polls):
            return polls
        hold = (polls["start"] <= self._tracing_start) | _first_of_unseen_parent(polls)
        if hold.any():
            keys = polls["start"][hold]
            same_start = np.flatnonzero(np.isin(polls["start"], keys) & ~hold)
            if len(same_start):
                held = set(zip(polls["tid"][hold].tolist(), keys.tolist(), strict=True))
                pairs = zip(polls["tid"][same_start].tolist(), polls["start"][same_start].tolist(), strict=True)
                hold[same_start[[pair in held for pair in pairs]]] = True
        self._held = polls[hold]
        return polls[~hold]

    def rest(self) -> Array:
        """All that is held, in order of arrival; nothing is held then."""
        held, self._held = self._held, np.empty(0, POLL)
        return held


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
    order = np.argsort(polls["tid"], kind="stable")
    tids = polls["tid"][order]
    thread = np.zeros(len(tids), np.int64)
    np.cumsum(tids[1:] != tids[:-1], out=thread[1:])
    return order, thread


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
    return np.isin(polls["start"], times) | np.isin(polls["end"], times)


def tied_events(polls: Array) -> Iterator[tuple[int, int]]:
    """The events of tied polls in the order in which they have to be written: (index, BEGIN, END or INSTANT).

    At one time: ENDs in order of arrival, then BEGINs from the outermost in (the last to end).  A poll of no
    length stands among the ENDs by its arrival, or inside the BEGINs of less depth when its parent begins there.
    """
    starts, ends, tids, depths = (polls[name].tolist() for name in ("start", "end", "tid", "depth"))
    last_end: dict[tuple[int, int], int] = {}
    begins: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for index, (start, end, tid, depth) in enumerate(zip(starts, ends, tids, depths, strict=True)):
        if start != end:
            last_end[tid, end] = index
            begins.setdefault((tid, start), []).append((depth, end))
    events: list[tuple[tuple[int, int, int, int, int], int, int]] = []
    for index, (start, end, tid, depth) in enumerate(zip(starts, ends, tids, depths, strict=True)):
        if start != end:
            events.append(((end, tid, 0, index, 0), index, END))
            events.append(((start, tid, 1, -end, -index), index, BEGIN))
            continue
        outer = [its_end for its_depth, its_end in begins.get((tid, start), ()) if its_depth < depth]
        if outer and last_end.get((tid, start), -1) < index:
            events.append(((start, tid, 1, -min(outer), 1), index, INSTANT))
        else:
            events.append(((start, tid, 0, index, 0), index, INSTANT))
    events.sort(key=lambda event: event[0])
    for _, index, kind in events:
        yield index, kind
