"""Which row ends which frame: the rules of the stack, for all threads at once.

A frame is over at the first later row of its thread whose stack pointer is not below the frame's own:
its exit when that row is an exit of its function at its stack pointer, anything else shows that it is
gone.  A tail jump does not end a frame: the frame whose entry is the very next row, at the same stack
pointer, runs in its place, and both end together.  Task polls take no part in that: a runtime's poll
jumps to functions of the runtime (tokio's to the one that frees the task), and is called, not jumped to.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tracer.assemble.arrays import Flags, Indexes, Small, Unsigned
from tracer.assemble.stream import END, ENTRY, EXIT, TAIL, Rows

_NOBODY = -1
_MANY_ROUNDS = 500
_MOST_PEELS, _LEAST_PEEL = 16, 16
"""Rounds; the share of the rows that has to go in one for the next to be worth its while."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """One element for each frame (entry row), in thread order.

    entry: its row.  close: the row that ends it or shows that it is gone; an end row: it stays open.
    returned: `close` is its exit (or that of the frame that ran in its place).
    tail: the row of its tail jump, or -1.  child: the frame that runs in its place, or -1.
    last: the frame at the end of that chain (itself without one).
    matched_exits: per row: an exit that belongs to a frame.
    """

    entry: Indexes
    close: Indexes
    returned: Flags
    tail: Indexes
    child: Indexes
    last: Indexes
    matched_exits: Flags


def pair(rows: Rows, is_task: Flags) -> Pairs:
    """Pair all rows of a stream.  is_task: per function."""
    kind, sp, function = rows.kind, rows.sp, rows.function
    entry = np.flatnonzero(kind == ENTRY)
    close = _closes(sp, kind, entry)
    ends_it = (sp[close] == sp[entry]) & (function[close] == function[entry]) & (kind[close] >= EXIT)
    returned = ends_it & (kind[close] == EXIT)
    matched = np.zeros(len(kind), np.bool_)
    matched[close[ends_it]] = True
    last = np.arange(len(entry))
    tail = np.full(len(entry), _NOBODY)
    child = np.full(len(entry), _NOBODY)
    jumping = np.flatnonzero(ends_it & ~returned)
    if len(jumping):
        jump = close[jumping]
        tail[jumping] = jump
        close[jumping] = _next_not_below(sp, _Higher(sp, kind), jump)
        after = jump + 1
        handed = (kind[jump] == TAIL) & (kind[after] == ENTRY) & (sp[after] == sp[jump])
        handed &= (function[after] != function[jump]) & ~is_task[function[jump]] & ~is_task[function[after]]
        frame_of_row = np.cumsum(kind == ENTRY) - 1
        child[jumping[handed]] = frame_of_row[after[handed]]
        _cut_loops(child, function[entry])
        last = _follow(child)
        close, returned = close[last], returned[last]
    return Pairs(entry, close, returned, tail, child, last, matched)


def innermost_seen(leaving: Flags) -> Indexes:
    """Of each frame, in thread order, itself, or, where nobody will see its end, the next one inside it that is not so.

    leaving: which they are; each has another one inside it.
    """
    count = len(leaving)
    own = np.where(leaving, count, np.arange(count))
    inner: Indexes = np.minimum.accumulate(own[::-1])[::-1]
    return inner


def with_leaving(pairs: Pairs, leaving: Flags) -> Pairs:
    """Frames whose functions are not probed any more end with what was open in them; their own exits are nobody's."""
    inner, matched = innermost_seen(leaving), pairs.matched_exits.copy()
    matched[pairs.close[leaving & pairs.returned]] = False
    return replace(pairs, close=pairs.close[inner], returned=pairs.returned & ~leaving, matched_exits=matched)


def _closes(sp: Unsigned, kind: Small, entry: Indexes) -> Indexes:
    """For each entry the next row whose stack pointer is not lower.

    A call and its return right after it need no search, and are in nobody's way: without them the calls that they
    were made in stand so, too, and so on.  What is left after a few rounds is searched for.
    """
    found = np.empty(len(sp), np.intp)
    rows: Indexes = np.arange(len(sp))
    is_entry = kind == ENTRY
    for _ in range(_MOST_PEELS):
        below = sp[1:] < sp[:-1]
        level = sp[1:] == sp[:-1]
        call = is_entry[:-1] & ~is_entry[1:] & level
        # What is open before the call lies higher, or was closed by the row before it.
        call[1:] &= below[:-1] | (level[:-1] & ~is_entry[:-2])
        at = np.flatnonzero(call)
        found[rows[at]] = rows[at + 1]
        left = np.ones(len(rows), np.bool_)
        left[at] = left[at + 1] = False
        enough = len(at) * _LEAST_PEEL < len(rows)
        rows, sp, is_entry = rows.compress(left), sp.compress(left), is_entry.compress(left)
        if enough:
            break
    kind = kind[rows]
    start = np.flatnonzero(is_entry)
    found[rows[start]] = rows[_next_not_below(sp, _Higher(sp, kind), start)]
    return found[entry]


class _Higher:
    """For each row the next one with a higher stack pointer; computed when first asked for.

    Polls without polls in them, one after the other, need none of it.
    """

    def __init__(self, sp: Unsigned, kind: Small) -> None:
        self._sp = sp
        self._kind = kind

    @cached_property
    def rows(self) -> Indexes:
        return _next_higher(self._sp, self._kind)


def _next_higher(sp: Unsigned, kind: Small) -> Indexes:
    """For each row the next one with a higher stack pointer; of an end row, the row after it.

    All rows look at once, and jump over what the row they stopped at has jumped over already.
    """
    target, rounds = np.arange(1, len(sp) + 1), 0
    here = np.flatnonzero((sp[1:] <= sp[:-1]) & (kind[:-1] != END))
    own, at = sp[here], here + 1
    while len(here):
        if (rounds := rounds + 1) > _MANY_ROUNDS:
            return _one_by_one(sp, equal_is_enough=False)
        at = target[at]
        target[here] = at
        on = sp[at] <= own
        here, own, at = here[on], own[on], at[on]
    return target


def _next_not_below(sp: Unsigned, higher: _Higher, start: Indexes) -> Indexes:
    """For each of the rows `start` the next one whose stack pointer is not lower."""
    target, rounds = start + 1, 0
    below = np.flatnonzero(sp[target] < sp[start])
    own, at = sp[start[below]], target[below]
    while len(below):
        if (rounds := rounds + 1) > _MANY_ROUNDS:
            return _one_by_one(sp, equal_is_enough=True)[start]
        at = higher.rows[at]
        target[below] = at
        on = sp[at] < own
        below, own, at = below[on], own[on], at[on]
    return target


def _one_by_one(sp: Unsigned, *, equal_is_enough: bool) -> Indexes:
    """The same for stacks that no program has, which would take the quick way too many rounds."""
    target = list(range(1, len(sp) + 1))
    stack: list[tuple[int, int]] = []
    for row, value in enumerate(sp.tolist()):
        limit = value + equal_is_enough
        while stack and stack[-1][0] < limit:
            target[stack.pop()[1]] = row
        stack.append((value, row))
    return np.array(target)


def _cut_loops(child: Indexes, function: np.ndarray[tuple[int], np.dtype[np.int32]]) -> None:
    """A function does not come twice in one chain: in place, the second call of it begins a chain of its own.

    A wrapper whose callee has no probe, polled again and again from one place, looks like a chain.
    """
    parents = np.flatnonzero(child >= 0)
    is_child = np.zeros(len(child), np.bool_)
    is_child[child[parents]] = True
    heads = parents[~is_child[parents]]
    while len(heads):
        begun: list[Indexes] = []
        seen = [function[heads]]
        at = heads
        while len(at):
            following = child[at]
            on = following >= 0
            at, following, seen = at[on], following[on], [column[on] for column in seen]
            again = np.zeros(len(at), np.bool_)
            for column in seen:
                again |= column == function[following]
            child[at[again]] = _NOBODY
            begun.append(following[again])
            seen = [column[~again] for column in seen]
            at = following[~again]
            seen.append(function[at])
        heads = np.concatenate(begun)


def _follow(child: Indexes) -> Indexes:
    """The last frame of the chain that each frame stands in."""
    last = np.where(child >= 0, child, np.arange(len(child)))
    while True:
        further = last[last]
        if np.array_equal(further, last):
            return last
        last = further
