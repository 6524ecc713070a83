"""Polls that are cut off: from a certain time on nobody knows what became of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tracer.assemble.arrays import Flags
from tracer.assemble.instances import results_of
from tracer.assemble.scheduling import cut_off, of_polls
from tracer.assemble.sorting import stable_order
from tracer.assemble.state import (
    FINISHED,
    FRAME,
    HANDED_ON,
    HANDING,
    LATEST,
    NO_CAP,
    SHARED_FIELDS,
    UNKNOWN,
    UNKNOWN_STATE,
    State,
)
from tracer.model import POLL, Array, PollFlag, Spans

_INFERRED_END, _END_UNKNOWN = np.uint16(PollFlag.INFERRED_END), np.uint16(PollFlag.END_UNKNOWN)
_SCHEDULED = np.uint16(PollFlag.SCHEDULED)


def cut(state: State, ended: Flags, time: int) -> tuple[State, Array]:
    """Take frames out of the stacks.  Yields their polls (dtype POLL), in the order of State.frames."""
    frames = state.frames[ended]
    thread = np.searchsorted(state.threads.tid, frames["tid"])
    seen = state.threads.last[thread]
    # One whose instance is polled elsewhere by now is over, unless something inside it is still open.
    innermost = np.ones(len(state.frames), np.bool_)
    innermost[:-1] = state.frames["tid"][1:] != state.frames["tid"][:-1]
    cap = np.where(innermost[ended], frames["cap"], NO_CAP)
    polls = np.empty(len(frames), POLL)
    for name in SHARED_FIELDS:
        polls[name] = frames[name]
    polls["end"] = np.maximum(np.maximum(np.minimum(time, cap), seen), frames["start"])
    polls["end_latest"] = polls["end"]
    # Without an exit probe an end is seen only by what comes next: nothing came, so it may have ended long ago.
    # What left by a jump ends when the next one inside it does.
    jumped = (state.frames["handing"] == HANDING) & ~innermost
    inferred = none_inside(state, ~state.frames["blind"] & ~jumped)[ended]
    polls["end"][inferred] = np.maximum(seen, frames["start"])[inferred]
    polls["flags"] |= np.where(inferred, _INFERRED_END, _END_UNKNOWN)
    clocks = cut_off(state.schedule, frames["tid"], polls["end"], state.lost_until)
    clocks.is_on[inferred] = False
    at_start = (frames["runnable"], frames["blocked"])
    known, polls["runnable"], polls["blocked"] = of_polls(at_start, clocks, polls["start"], polls["end"])
    polls["flags"] |= np.where(known, _SCHEDULED, np.uint16(0))

    handed_to_one_that_ended = np.zeros(len(state.frames), np.bool_)
    handed_to_one_that_ended[:-1] = ended[1:] & ~innermost[:-1] & (state.frames["handing"][:-1] == HANDING)
    left = state.frames.copy()
    left["handing"][handed_to_one_that_ended] = HANDED_ON
    last = state.threads.last.copy()
    np.maximum.at(last, thread, polls["end"])  # what encloses these polls was seen until then
    return replace(
        state,
        frames=left[~ended],
        threads=replace(state.threads, last=last),
        tally=replace(
            state.tally,
            polls=state.tally.polls + len(polls),
            open_at_end=state.tally.open_at_end + int(np.count_nonzero(~inferred)),
        ),
    ), polls


def none_inside(state: State, which: Flags) -> Flags:
    """The frames that, as all that are open inside them, are none of these."""
    innermost = np.ones(len(state.frames), np.bool_)
    innermost[:-1] = state.frames["tid"][1:] != state.frames["tid"][:-1]
    from_here = np.cumsum(which[::-1])[::-1]
    last = np.flatnonzero(innermost)
    beyond = last[np.searchsorted(last, np.arange(len(innermost)))] + 1
    none: Flags = from_here == np.append(from_here, 0)[beyond]
    return none


def interrupted(frames: Array, polls: Array, lost_until: int, gap: Flags) -> Array:
    """Cut polls (their frames, and as dtype POLL) as dtype LATEST.  gap: of each, as LATEST has it."""
    latest = np.empty(len(frames), LATEST)
    for name in LATEST.names or ():
        if name in (FRAME.names or ()):
            latest[name] = frames[name]
    latest["end"] = polls["end"]
    result = results_of(polls["flags"], polls["state_after"], polls["start"], lost_until)
    latest["result"] = np.where(result == FINISHED, FINISHED, UNKNOWN)
    latest["state_after"], latest["gap"] = UNKNOWN_STATE, gap
    known: Array = latest[frames["known"]]
    return known


def newest(latest: Array, key: npt.NDArray[np.uint32]) -> Array:
    """Of several polls of one function and address, the one that began last."""
    keys = latest["process"], key[latest["function"]], latest["self"]
    latest = latest[np.lexsort((latest["order"], *keys))]
    last = np.ones(len(latest), np.bool_)
    last[:-1] = False
    for column in (latest["process"], key[latest["function"]], latest["self"]):
        last[:-1] |= column[1:] != column[:-1]
    return latest[last]


def in_order(polls: Array, waits: Array, over: Array, off_cpu: Array) -> Spans:
    """By end; of frames that end together the inner ones first."""
    inner_first = polls[::-1]
    polls, waits = inner_first[stable_order(inner_first["end"])], waits[stable_order(waits["end"])]
    return Spans(polls, waits, over=over, off_cpu=off_cpu[stable_order(off_cpu["end"])])
