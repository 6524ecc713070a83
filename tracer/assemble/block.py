"""One block of events: what begins, what ends, and what stays open."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tracer.assemble.instances import STILL_OPEN, Identities, Polls, identify, latest_of, results_of
from tracer.assemble.nesting import Nesting, enclosing_tasks, nest
from tracer.assemble.pairing import Pairs, pair
from tracer.assemble.state import (
    FRAME,
    HANDED_ON,
    HANDING,
    NO_CAP,
    SHARED_FIELDS,
    UNKNOWN,
    UNKNOWN_STATE,
    Flags,
    Indexes,
    Numbers,
    Roles,
    Small,
    State,
    Unsigned,
)
from tracer.assemble.stream import END, EXIT, TAIL, Stream, make_stream
from tracer.model import POLL, Array, EventFlag, PollFlag, Spans

T = TypeVar("T", bound=np.generic)


def step_events(state: State, events: Array) -> tuple[State, Spans]:
    """Take in one block (dtype EVENT)."""
    opening = make_stream(state, events)
    stream, roles, rows = opening.stream, state.roles, opening.stream.rows
    pairs = pair(rows)
    nesting = nest(pairs, len(rows.kind))
    frames, carried = _frames(state, stream, pairs, nesting)
    is_open = rows.kind[pairs.close] == END
    over = np.where(is_open, STILL_OPEN, _row_order(state, stream, pairs.close))
    closed = np.flatnonzero(~is_open)
    polls = _polls(roles, stream, pairs, frames, closed)

    untouched = opening.untouched.copy()
    candidates = _candidates(state.latest, untouched, frames, carried, _file_order(stream, pairs))
    known = candidates.polls(state.latest, untouched, frames, closed, polls, over)
    identities = identify(known, roles, state.since, state.lossy, state.next_instance)
    candidates.write_back(identities, untouched, frames)
    _set_parents(roles, nesting, frames, carried)
    polls["instance"], polls["parent"] = frames["instance"][closed], frames["parent"][closed]
    _cap(polls, frames["cap"][closed], rows.time[pairs.close[closed] - 1])

    by_close = np.lexsort((-closed, over[closed]))  # of frames that one event ends, the inner ones first
    polls = polls[by_close][np.argsort(polls["end"][by_close], kind="stable")]
    waits = identities.waits[np.argsort(identities.waits["end"], kind="stable")]
    is_exit = (rows.kind >= EXIT) & (stream.place >= stream.carried_rows)
    unmatched = int(np.count_nonzero(is_exit & ~pairs.matched_exits))
    tally = state.tally
    after = replace(
        state,
        threads=stream.threads,
        frames=np.concatenate([untouched, frames[is_open]]),
        latest=latest_of(known, identities),
        next_instance=state.next_instance + identities.new,
        next_order=state.next_order + stream.event_rows,
        tally=replace(
            tally,
            events=tally.events + len(events),
            polls=tally.polls + len(polls),
            waits=tally.waits + len(waits),
            instances=tally.instances + identities.new,
            unmatched_exits=tally.unmatched_exits + unmatched + opening.rejected,
            unwound=tally.unwound + int(np.count_nonzero(polls["flags"] & PollFlag.UNWOUND)),
            open_at_start=tally.open_at_start + int(np.count_nonzero(rows.begun_before)),
        ),
    )
    return after, Spans(polls, waits)


def _row_order(state: State, stream: Stream, row: Indexes) -> Unsigned:
    """The numbers of event rows among all rows of the capture."""
    return (stream.place[row] + (state.next_order - stream.carried_rows)).astype(np.uint64)


def _file_order(stream: Stream, pairs: Pairs) -> Indexes:
    """The frames that began in this block, in the order of their entries in the file."""
    at = np.full(stream.carried_rows + stream.event_rows, -1)
    at[stream.place[pairs.entry]] = np.arange(len(pairs.entry))
    at = at[stream.carried_rows :]
    return at[at >= 0]


def _frames(state: State, stream: Stream, pairs: Pairs, nesting: Nesting) -> tuple[Array, Flags]:
    """All frames of the stream (dtype FRAME; instance and parent are still missing), and which are carried."""
    rows, events, roles = stream.rows, stream.events, state.roles
    frames = np.zeros(len(pairs.entry), FRAME)
    carried = stream.place[pairs.entry] < stream.carried_rows
    frames[carried] = stream.frames[rows.source[pairs.entry[carried]]]

    new = np.flatnonzero(~carried)
    row = pairs.entry[new]
    source, thread, function = rows.source[row], rows.thread[row], rows.function[row]
    begun = rows.begun_before[row]
    event_flags = events["flags"][source]
    has_state = ((event_flags & EventFlag.STATE) != 0) & ~begun  # what an exit reads is the state after
    group = roles.function_group[function]
    start = rows.time[row]
    if begun.any():
        start = np.where(begun, np.minimum(start, stream.threads.since[group, thread]), start)
    frames["start"][new] = start
    frames["cap"][new] = NO_CAP
    known = (event_flags & EventFlag.SELF) != 0
    frames["known"][new] = known
    frames["self"][new] = np.where(known, events["self"][source], 0)
    frames["sp"][new] = rows.sp[row]
    frames["order"][new] = _row_order(state, stream, row)
    frames["function"][new] = function
    frames["tid"][new] = stream.threads.tid[thread]
    frames["process"][new] = stream.threads.process[thread]
    frames["depth"][new] = nesting.depth[new]
    frames["state"][new] = np.where(has_state, events["state"][source], 0)
    frames["flags"][new] = np.where(has_state, PollFlag.STATE, 0) | np.where(begun, PollFlag.START_UNKNOWN, 0)
    frames["state_after"][new] = UNKNOWN_STATE

    jumped = np.flatnonzero(pairs.tail >= 0)
    if len(jumped):
        jump = pairs.tail[jumped]
        frames["flags"][jumped] |= np.uint16(PollFlag.TAIL)
        fresh = stream.place[jump] >= stream.carried_rows
        exits = events[rows.source[jump[fresh]]]
        frames["state_after"][jumped[fresh]] = _state_after(exits)
        handing = (pairs.child[jumped] >= 0) | ((rows.kind[jump] == TAIL) & (rows.kind[jump + 1] == END))
        frames["handing"][jumped] = np.where(handing, HANDING, HANDED_ON)
    enclosing_tasks(nesting, roles.is_task[frames["function"]], frames["self"], frames["task"], carried)
    return frames, carried


def _state_after(exits: Array) -> Small:
    return np.where(exits["flags"] & EventFlag.STATE, exits["state"], UNKNOWN_STATE).astype(np.uint8)


def _polls(roles: Roles, stream: Stream, pairs: Pairs, frames: Array, closed: Indexes) -> Array:
    """The polls that end in this stream (dtype POLL; instance and parent are still missing)."""
    rows = stream.rows
    polls = np.empty(len(closed), POLL)
    for name in SHARED_FIELDS:
        polls[name] = frames[name][closed]
    close, returned, last = pairs.close[closed], pairs.returned[closed], pairs.last[closed]
    polls["end_latest"] = rows.time[close]
    polls["end"] = np.where(returned, rows.time[close], rows.time[close - 1])

    ret = np.flatnonzero(returned)
    exits = stream.events[rows.source[close[ret]]]
    result = exits["flags"] & (EventFlag.RESULT | EventFlag.PENDING)
    polls["flags"][ret] |= np.where(
        result & EventFlag.RESULT,
        np.where(result & EventFlag.PENDING, PollFlag.RESULT | PollFlag.PENDING, PollFlag.RESULT),
        0,
    ).astype(np.uint16)
    own_exit = (polls["flags"][ret] & PollFlag.TAIL) == 0
    polls["state_after"][ret[own_exit]] = _state_after(exits[own_exit])

    gone = np.flatnonzero(~returned)
    vanished = pairs.tail[last[gone]] < 0  # else it ends in a tail jump to something without a probe
    has_exit = roles.has_exit[rows.function[pairs.entry[last[gone]]]]
    polls["flags"][gone] |= np.where(vanished, np.where(has_exit, PollFlag.UNWOUND, PollFlag.INFERRED_END), 0).astype(
        np.uint16
    )
    return polls


def _cap(polls: Array, cap: Numbers, seen: Numbers) -> None:
    """A poll is over when the next poll of its instance begins, but not before the last event seen inside it."""
    polls["end"] = np.maximum(np.minimum(polls["end"], cap), seen)
    polls["end_latest"] = np.maximum(np.minimum(polls["end_latest"], cap), polls["end"])


def _set_parents(roles: Roles, nesting: Nesting, frames: Array, carried: Flags) -> None:
    inside = np.flatnonzero((nesting.parent >= 0) & ~carried)
    around = nesting.parent[inside]
    is_task = roles.is_task[frames["function"][around]]
    frames["parent"][inside] = np.where(is_task, 0, frames["instance"][around])


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Where the polls of known futures come from, earlier ones first: `old` sorts the latest polls of
    earlier blocks and the frames open since then (untouched, then carried); `new` are this block's.
    """

    latest_count: int
    untouched: Indexes
    carried: Indexes
    old: Indexes
    new: Indexes

    def polls(
        self, latest: Array, untouched: Array, frames: Array, closed: Indexes, ended: Array, over: Unsigned
    ) -> Polls:
        def join(of_latest: npt.NDArray[T], of_untouched: npt.NDArray[T], of_frames: npt.NDArray[T]) -> npt.NDArray[T]:
            old = np.concatenate([of_latest, of_untouched[self.untouched], of_frames[self.carried]])[self.old]
            return np.concatenate([old, of_frames[self.new]])

        def named(name: str) -> npt.NDArray[Any]:
            return join(latest[name], untouched[name], frames[name])

        def at_entry(name: str) -> npt.NDArray[Any]:
            return join(np.zeros(len(latest), FRAME[name]), untouched[name], frames[name])

        end = np.zeros(len(frames), np.int64)
        state_after = np.full(len(frames), UNKNOWN_STATE, np.uint8)
        result = np.full(len(frames), UNKNOWN, np.uint8)
        end[closed], state_after[closed] = ended["end"], ended["state_after"]
        result[closed] = results_of(ended["flags"], ended["state_after"])
        nothing = np.zeros(len(untouched), np.int64)
        count = len(self.old) + len(self.new)
        return Polls(
            function=named("function"),
            self=named("self"),
            process=named("process"),
            tid=named("tid"),
            task=named("task"),
            order=named("order"),
            over=join(np.zeros(len(latest), np.uint64), np.full(len(untouched), STILL_OPEN), over),
            start=at_entry("start"),
            end=join(latest["end"], nothing, end),
            flags=at_entry("flags"),
            state=at_entry("state"),
            state_after=join(latest["state_after"], untouched["state_after"], state_after),
            result=join(latest["result"], nothing.astype(np.uint8), result),
            gap=join(latest["gap"], nothing.astype(np.bool_), np.zeros(len(frames), np.bool_)),
            instance=named("instance"),
            fresh=np.arange(count) >= len(self.old),
        )

    def write_back(self, identities: Identities, untouched: Array, frames: Array) -> None:
        """Tell the frames their instances and caps, in place."""
        frames["instance"][self.new] = identities.instance[len(self.old) :]
        is_new = identities.capped >= len(self.old)
        frames["cap"][self.new[identities.capped[is_new] - len(self.old)]] = identities.cap[is_new]
        place = self.old[identities.capped[~is_new]] - self.latest_count
        in_untouched = place < len(self.untouched)
        cap = identities.cap[~is_new]
        untouched["cap"][self.untouched[place[in_untouched]]] = cap[in_untouched]
        frames["cap"][self.carried[place[~in_untouched] - len(self.untouched)]] = cap[~in_untouched]


def _candidates(latest: Array, untouched: Array, frames: Array, carried: Flags, new: Indexes) -> _Candidates:
    known = frames["known"]
    open_before = np.flatnonzero(carried & known)
    elsewhere = np.flatnonzero(untouched["known"])
    order = np.concatenate([latest["order"], untouched["order"][elsewhere], frames["order"][open_before]])
    return _Candidates(len(latest), elsewhere, open_before, np.argsort(order, kind="stable"), new[known[new]])
