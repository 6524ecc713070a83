"""How frames end: when, by which exit or without one, with which result; and the polls that those are which ended."""

from __future__ import annotations

import numpy as np

from tracer.assemble.arrays import Flags, Indexes
from tracer.assemble.columns import Endings, Frames, records_of
from tracer.assemble.known_polls import STILL_OPEN
from tracer.assemble.nesting import Nesting
from tracer.assemble.pairing import Pairs, innermost_seen
from tracer.assemble.scheduling import Account, Readings, of_polls
from tracer.assemble.sorting import stable_order
from tracer.assemble.state import NO_CAP, SHARED_FIELDS, State
from tracer.assemble.stream import Stream, begins_of, row_order
from tracer.model import POLL, Array, EventFlag, PollFlag

_PENDING = np.uint16(PollFlag.RESULT | PollFlag.PENDING)
_READY, _UNWOUND, _INFERRED = np.uint16(PollFlag.RESULT), np.uint16(PollFlag.UNWOUND), np.uint16(PollFlag.INFERRED_END)
_PANICKED, _NONE = np.uint16(PollFlag.PANICKED), np.uint16(0)
_END_UNKNOWN, _SCHEDULED = np.uint16(PollFlag.END_UNKNOWN), np.uint16(PollFlag.SCHEDULED)
_STATE, _RESULT = np.uint8(EventFlag.STATE), np.uint8(EventFlag.RESULT)
_PENDING_EVENT = np.uint8(EventFlag.PENDING)

_SMALLEST_TASK = np.uint64(128)
"""Bytes.  No task of tokio's is smaller (runtime/task/core.rs: Cell is aligned to 128), and in one of async-task's
(raw.rs: RawTask, behind its Header of 32 to 40) the future lies before that: an address so near is inside it."""


def endings_of(state: State, stream: Stream, pairs: Pairs, frames: Frames, is_open: Flags) -> Endings:
    rows, events, close, returned = stream.rows, stream.events, pairs.close, pairs.returned
    time, seen = rows.time[close], rows.time[close - 1]
    shown = np.flatnonzero(rows.begun_before[close] & frames.blind & ~frames.leaving & ~is_open)
    if len(shown):
        # Whether it was polled in what was under way then, or before that began, nobody saw.
        since = begins_of(state, stream, close[shown])
        seen[shown] = np.where(frames.start[shown] < since, np.minimum(seen[shown], since), seen[shown])
    source = np.where(returned, rows.source[close], 0)
    event_flags = np.where(returned, events["flags"][source], np.uint8(0))
    told = (event_flags & _RESULT) != 0
    result = np.where(event_flags & _PENDING_EVENT, _PENDING, _READY)
    flags = np.bitwise_or(
        np.where(told, frames.flags & ~_PENDING, frames.flags), np.where(told, result, _NONE), dtype=np.uint16
    )
    own_exit = (event_flags & _STATE != 0) & (pairs.tail < 0) & ~state.roles.is_task[frames.function]
    gone = np.flatnonzero(~returned & ~is_open)
    if len(gone):
        last = pairs.last[gone]
        how = np.where(frames.blind[last], _INFERRED, _UNWOUND)
        flags[gone] |= np.where(pairs.tail[last] < 0, how, _NONE)  # else it jumped to something without a probe
    end, end_latest = np.where(returned, time, seen), time
    if frames.leaving.any():
        left = np.flatnonzero(frames.leaving & ~is_open)
        inner = innermost_seen(frames.leaving)[left]
        flags[left] = frames.flags[left] | _END_UNKNOWN
        end[left] = end_latest[left] = end[inner]
    return Endings(
        over=np.where(is_open, STILL_OPEN, row_order(state, stream, close)),
        end=end,
        end_latest=end_latest,
        seen=seen,
        flags=flags,
        told=told,
        state_after=np.where(own_exit, events["state"][source], frames.state_after),
    )


def give_results_to_tasks(state: State, nesting: Nesting, frames: Frames, endings: Endings, is_open: Flags) -> None:
    """A task poll's result is that of the task's own future, where that is seen: in place.

    It is told from others of its type by its place inside the task.  One that was unwound has panicked, unless its
    exit may have been lost; so has the task whose poll itself was unwound, where the runtime does not catch.
    """
    roles = state.roles
    unwound = ((endings.flags & _UNWOUND) != 0) & (frames.start >= state.lost_until)
    own = np.flatnonzero(roles.may_be_root[frames.function])
    own = own[(nesting.parent[own] >= 0) & ~is_open[own] & (((endings.flags[own] & _READY) != 0) | unwound[own])]
    task = nesting.parent[own]
    is_own = roles.is_task[frames.function[task]] & frames.known[own] & frames.known[task]
    is_own &= roles.future[frames.function[own]] == roles.future[frames.function[task]]
    is_own &= frames.self[own] - frames.self[task] - np.uint64(1) < _SMALLEST_TASK - np.uint64(1)
    own, task = own[is_own], task[is_own]
    panicked = unwound[own]
    for flags in (frames.flags, endings.flags):
        flags[task[panicked]] |= _PANICKED
    thrown = np.flatnonzero(roles.is_task[frames.function] & ~is_open & unwound)
    endings.flags[thrown] |= _PANICKED
    own, task = own[~panicked], task[~panicked]
    result = endings.flags[own] & _PENDING
    frames.flags[task] = (frames.flags[task] & ~_PENDING) | result
    untold = ~endings.told[task]
    task, result = task[untold], result[untold]
    endings.flags[task] = (endings.flags[task] & ~_PENDING) | result


def clocks_at_ends(told: Account, stream: Stream, pairs: Pairs, frames: Frames, closed: Indexes) -> Readings | None:
    """The clocks of threads where these frames ended; None: nobody needs them."""
    if not told.is_needed:
        return None
    close = pairs.close[closed]
    readings = told.at(frames.tid[closed], np.where(pairs.returned[closed], stream.rows.source[close], 0))
    readings.is_on[~pairs.returned[closed]] = False
    return readings


def polls_of(frames: Frames, endings: Endings, closed: Indexes, clocks: Readings | None) -> Array:
    """The closed frames as polls (dtype POLL), by end.  clocks: of their threads, at their ends."""
    # A poll is over when the next poll of its instance begins, but not before the last event inside it.
    cap = frames.cap
    if frames.leaving.any():  # such a one is not over before what was in it
        cap = np.where(frames.leaving, NO_CAP, cap)
    end = np.maximum(np.minimum(endings.end, cap), endings.seen)
    end_latest = np.maximum(np.minimum(endings.end_latest, cap), end)
    # Of frames that one event ends the inner ones come first: those that began later.
    inner_first = closed[::-1]
    by_close = inner_first[stable_order(endings.over[inner_first])]
    order = by_close[stable_order(end[by_close])]
    columns = {name: getattr(frames, name) for name in SHARED_FIELDS}
    columns |= {"end": end, "end_latest": end_latest, "flags": endings.flags, "state_after": endings.state_after}
    polls = records_of(POLL, len(order), columns, order)
    if clocks is not None:
        at_start = (frames.runnable[closed], frames.blocked[closed])
        scheduled = np.zeros((3, len(end)), np.int64)
        scheduled[:, closed] = of_polls(at_start, clocks, frames.start[closed], end[closed])
        is_known, polls["runnable"], polls["blocked"] = scheduled[:, order]
        polls["flags"] |= np.where(is_known != 0, _SCHEDULED, _NONE)
    return polls
