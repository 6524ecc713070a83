"""One block of events: what begins, what ends, and what stays open."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tracer.assemble.arrays import Flags, Indexes, Numbers, Small, Unsigned
from tracer.assemble.candidates import choose
from tracer.assemble.catches import caught_in, frames_around
from tracer.assemble.chains import NO_STATE, checked
from tracer.assemble.columns import Frames, joined, overwrite, packed, pick
from tracer.assemble.continuity import doubt_waits, elsewhere, tell_inside
from tracer.assemble.endings import clocks_at_ends, endings_of, give_results_to_tasks, polls_of
from tracer.assemble.instances import Identities, identify, latest_of, may_be_among
from tracer.assemble.known_polls import Polls
from tracer.assemble.nesting import Nesting, enclosing_tasks, nest
from tracer.assemble.pairing import Pairs, pair, with_leaving
from tracer.assemble.resting import first_waits, still_in_poll, still_resting
from tracer.assemble.roles import Roles
from tracer.assemble.schedule import NO_READING
from tracer.assemble.scheduling import Account, account
from tracer.assemble.sorting import stable_order
from tracer.assemble.spawns import tell_spawners, with_spawns
from tracer.assemble.state import (
    HANDED_ON,
    HANDING,
    NO_CAP,
    NOT_HANDED,
    NOT_READ,
    UNDONE,
    UNKNOWN_STATE,
    State,
)
from tracer.assemble.stream import END, EXIT, TAIL, Stream, begins_of, make_stream, row_order
from tracer.assemble.tasks import polled, with_begun, with_ends, with_spans, without_over
from tracer.assemble.wakes import answered, tell_origins, with_wakes
from tracer.model import SWITCH_OUT_RECORD, TASK, Array, EventFlag, OffCpuFlag, PollFlag, Spans

_UNWOUND, _PANICKED = np.uint16(PollFlag.UNWOUND), np.uint16(PollFlag.PANICKED)
_START_UNKNOWN, _NONE = np.uint16(PollFlag.START_UNKNOWN), np.uint16(0)
_SELF, _STATE = np.uint8(EventFlag.SELF), np.uint8(EventFlag.STATE)


def step_events(state: State, events: Array) -> tuple[State, Spans]:
    """Take in one block (dtype EVENT)."""
    opening = make_stream(state, events)
    stream, rows, roles = opening.stream, opening.stream.rows, state.roles
    pairs = pair(rows, state.roles.is_task)
    carried = stream.place[pairs.entry] < stream.carried_rows
    if stream.frames["leaving"].any():
        pairs = with_leaving(pairs, _leaving(stream, pairs, carried))
    nesting = nest(pairs, len(rows.kind))
    frames = _frames(state, stream, pairs, nesting, carried)
    state = _with_under_way(state, stream)
    is_open = rows.kind[pairs.close] == END
    endings = endings_of(state, stream, pairs, frames, is_open)
    give_results_to_tasks(state, nesting, frames, endings, is_open)
    panicked = caught_in(opening.catches, stream, pairs, nesting)
    panicked = panicked[roles.is_task[frames.function[panicked]]]
    for flags in (frames.flags, endings.flags):
        flags[panicked] |= _PANICKED

    tell_inside(nesting, frames, roles, carried)
    untouched = opening.untouched.copy()
    marks = opening.marks
    is_task = roles.is_task
    involved = may_be_among(state.latest, (untouched, frames, marks), state.roles.key)
    latest = pick(state.latest, involved)
    candidates = choose(latest, untouched, frames, carried, _file_order(stream, pairs), marks)
    known = candidates.polls(latest, untouched, frames, endings, marks, state.lost_until)
    identities = identify(known, state)
    while True:
        candidates.write_back(identities, untouched, frames)
        enclosing_tasks(nesting, is_task[frames.function], frames.instance, frames.task, carried)
        around = candidates.around("task", latest, untouched, frames)
        moved = elsewhere(known, identities, around)
        if not moved.any():
            break
        identities = identify(known, state, moved)
    _set_parents(state, nesting, frames, carried)
    doubt_waits(identities, known, candidates, nesting, frames, carried)

    closed = np.flatnonzero(~is_open)
    switches = opening.switches
    _tell_leaving(switches, stream, frames_around(opening.leaving, stream, pairs, nesting), nesting, frames, is_task)
    told, off_cpu = account(state.schedule, switches, state.lost_until)
    _read_clocks(told, stream, pairs, frames, ~carried)
    polls = polls_of(frames, endings, closed, clocks_at_ends(told, stream, pairs, frames, closed))
    is_exit = (rows.kind >= EXIT) & (stream.place >= stream.carried_rows)
    unmatched = int(np.count_nonzero(is_exit & ~pairs.matched_exits))
    first = _first_polls(known, identities, is_task)
    begun = _begun(known, identities, first)
    waits, since, until = _waits(known, identities, around, begun, first, state)
    born = opening.births.rows
    inside = frames_around(opening.births.where, stream, pairs, nesting)
    tell_spawners(born, inside, nesting, frames, is_task, state.lost_until)
    woken = opening.wakes.rows
    inside = frames_around(opening.wakes.where, stream, pairs, nesting)
    wakers = tell_spawners(woken, inside, nesting, frames, is_task, state.lost_until)
    pollers = tell_origins(woken, wakers, inside, frames, candidates.new, state)
    by_task = np.flatnonzero(wakers >= 0)
    waker = wakers[by_task]
    is_own = frames.known[waker] & (frames.self[waker] == woken["self"][by_task])
    made = pick(born, ~born["is_queued"])
    answers = answered(joined(state.wakes, woken), marks, made, frames, candidates.new, is_task)
    with_wakes(waits, since, until, answers, state)
    births = joined(state.births, born)
    births = with_spawns(births, marks, is_task, begun, known.order[first], state.lost_until)
    tasks = with_begun(state.tasks, begun)
    tasks = with_spans(tasks, polls, waits, is_task)
    is_undone = marks.if_idle & candidates.of_marks(identities.idle)
    says = np.where(is_undone, np.uint8(UNDONE), marks.says)
    again, late = candidates.of_marks(identities.again), candidates.of_marks(identities.late)
    tasks = with_ends(tasks, candidates.of_marks(identities.instance), says, again, late)
    open_frames = np.concatenate([untouched, packed(frames, np.flatnonzero(is_open))])
    parents = candidates.around("parent", latest, untouched, frames)
    remembered = joined(pick(state.latest, ~involved), latest_of(known, identities, around, parents, state.probed))
    tasks, over = without_over(tasks, polled(open_frames, is_task), remembered, state)
    tally = state.tally
    resting, dropped = state.resting, state.dropped
    if len(resting):
        resting, dropped = still_resting(state, events, stream.threads)
    after = replace(
        state,
        threads=stream.threads,
        frames=open_frames,
        latest=remembered,
        tasks=tasks,
        records=opening.records,
        chains=opening.chains,
        calls=opening.calls,
        births=births,
        wakes=answers.left,
        pollers=pollers,
        schedule=told.schedule,
        resting=resting,
        dropped=dropped,
        in_poll=still_in_poll(state, events) if len(state.in_poll) else state.in_poll,
        next_instance=state.next_instance + identities.new,
        next_order=state.next_order + stream.event_rows,
        tally=replace(
            tally,
            events=tally.events + len(events),
            polls=tally.polls + len(polls),
            waits=tally.waits + len(waits),
            instances=tally.instances + identities.new,
            unmatched_exits=tally.unmatched_exits + unmatched + opening.rejected,
            unwound=tally.unwound + int(np.count_nonzero(polls["flags"] & _UNWOUND)),
            open_at_start=tally.open_at_start + int(np.count_nonzero(rows.begun_before)),
            task_ids=tally.task_ids + opening.task_ids,
            ends=tally.ends + opening.ends,
            chains=tally.chains + opening.chain_count,
            spawns=tally.spawns + opening.made,
            spawn_calls=tally.spawn_calls + opening.call_count,
            wakes=tally.wakes + opening.woken,
            switches=tally.switches + len(switches),
            unpaired_switches=tally.unpaired_switches + told.unpaired,
            idle_wakes=tally.idle_wakes + opening.wakes.idle,
            self_wakes=tally.self_wakes + int(np.count_nonzero(is_own)),
            unanswered_wakes=tally.unanswered_wakes + answers.unanswered,
        ),
    )
    return after, Spans(polls, waits, begun, over, off_cpu=off_cpu)


def _with_under_way(state: State, stream: Stream) -> State:
    """Take in the exits of polls whose entries were not seen."""
    begun = np.flatnonzero(stream.rows.begun_before)
    if not len(begun):
        return state
    under_way = state.under_way.copy()
    np.minimum.at(under_way, stream.rows.function[begun], row_order(state, stream, begun))
    return replace(state, under_way=under_way)


def _file_order(stream: Stream, pairs: Pairs) -> Indexes:
    """The frames that began in this block, in the order of their entries in the file."""
    at = np.full(stream.carried_rows + stream.event_rows, -1)
    at[stream.place[pairs.entry]] = np.arange(len(pairs.entry))
    at = at[stream.carried_rows :]
    return at.compress(at >= 0)


def _leaving(stream: Stream, pairs: Pairs, carried: Flags) -> Flags:
    leaving = np.zeros(len(pairs.entry), np.bool_)
    leaving[carried] = stream.frames["leaving"][stream.rows.source[pairs.entry[carried]]]
    return leaving


def _frames(state: State, stream: Stream, pairs: Pairs, nesting: Nesting, carried: Flags) -> Frames:
    """All frames of the stream; instance and parent of the new ones are still missing."""
    rows, events, roles, row = stream.rows, stream.events, state.roles, pairs.entry
    source, thread = np.where(carried, 0, rows.source[row]), rows.thread[row]
    function = rows.function[row].astype(np.intp)
    begun = rows.begun_before[row]
    event_flags = events["flags"][source]
    has_state = ((event_flags & _STATE) != 0) & ~begun  # what an exit reads is the state after
    of_task, byte = roles.is_task[function], events["state"][source]
    aborted = has_state & of_task & roles.aborted.passed(function, byte)
    has_state &= ~of_task
    start = rows.time[row]
    if begun.any():
        start = np.where(begun, begins_of(state, stream, row), start)
    known = (event_flags & _SELF) != 0
    flags = np.where(has_state, np.uint16(PollFlag.STATE), _NONE)
    flags |= np.where(begun, np.uint16(PollFlag.START_UNKNOWN), _NONE)
    flags |= np.where(aborted, np.uint16(PollFlag.ABORTED), _NONE)
    count = len(row)
    frames = Frames(
        start=start,
        cap=np.full(count, NO_CAP),
        self=np.where(known, events["self"][source], np.uint64(0)),
        instance=np.zeros(count, np.uint64),
        task=np.zeros(count, np.uint64),
        parent=np.zeros(count, np.uint64),
        sp=rows.sp[row],
        order=row_order(state, stream, row),
        id=np.zeros(count, np.uint64),
        since=start.copy(),
        places=_places(
            stream, roles, source, function, np.where(has_state, events["state"][source].astype(np.intp), NO_STATE)
        ),
        function=function.astype(np.uint32),
        tid=stream.threads.tid[thread],
        process=stream.threads.process[thread],
        depth=nesting.depth.copy(),
        flags=flags,
        state=np.where(has_state, events["state"][source], np.uint8(0)),
        state_after=np.full(count, UNKNOWN_STATE, np.uint8),
        runnable=np.full(count, NO_READING),
        blocked=np.full(count, NO_READING),
        known=known,
        handing=np.full(count, NOT_HANDED, np.uint8),
        telling=np.full(count, NOT_READ, np.uint8),
        blind=~state.sees_exit[function],
        inside=np.zeros(count, np.bool_),
        leaving=np.zeros(count, np.bool_),
    )
    if stream.ids is not None and stream.telling is not None:
        read = np.flatnonzero(roles.is_task[function] & ~begun & ~carried)
        frames.id[read], frames.telling[read] = stream.ids[source[read]], stream.telling[source[read]]
    overwrite(frames, np.flatnonzero(carried), stream.frames[rows.source[row[carried]]])

    jumped = np.flatnonzero(pairs.tail >= 0)
    if len(jumped):
        jump = pairs.tail[jumped]
        frames.flags[jumped] |= np.uint16(PollFlag.TAIL)
        # What is read at the end of a task's poll is no coroutine.
        fresh = (stream.place[jump] >= stream.carried_rows) & ~roles.is_task[function[jumped]]
        frames.state_after[jumped[fresh]] = _state_after(events, rows.source[jump[fresh]])
        at_end = (rows.kind[jump] == TAIL) & (rows.kind[jump + 1] == END)
        handing = (pairs.child[jumped] >= 0) | at_end
        frames.handing[jumped] = np.where(handing, HANDING, HANDED_ON)
    return frames


def _places(stream: Stream, roles: Roles, source: Indexes, function: Indexes, state: Indexes) -> Unsigned:
    """Where polls that begin with these events had been waiting."""
    settled: Unsigned = roles.settled.take(function * roles.settled.shape[1] + state)
    if stream.places is None:
        return settled
    told = stream.places[source]
    return np.where(told != 0, told, settled)


def _state_after(events: Array, source: Indexes) -> Small:
    return np.where(events["flags"][source] & _STATE, events["state"][source], np.uint8(UNKNOWN_STATE))


def _first_polls(polls: Polls, identities: Identities, is_task: Flags) -> Indexes:
    """Those of the new tasks, by number."""
    first = identities.begun[is_task[polls.function[identities.begun]]]
    return first[np.argsort(identities.instance[first])]


def _begun(polls: Polls, identities: Identities, first: Indexes) -> Array:
    """The new tasks (dtype TASK) with these first polls."""
    begun = np.zeros(len(first), TASK)
    begun["task"], begun["id"] = identities.instance[first], identities.id[first]
    begun["header"], begun["first"], begun["last"] = polls.self[first], polls.start[first], polls.start[first]
    for name in ("function", "tid", "process"):
        begun[name] = getattr(polls, name)[first]
    return begun


def _waits(
    polls: Polls, identities: Identities, around: Unsigned, begun: Array, first: Indexes, state: State
) -> tuple[Array, Numbers, Unsigned]:
    """The waits (dtype WAIT, by end), with what Identities has of each as since and until.

    around: the tasks of all polls.  begun: the new tasks (dtype TASK), with these first polls.
    """
    waits, since, until = identities.waits, identities.since, identities.until
    waits["task"] = around[identities.within]
    is_seen = np.flatnonzero((polls.flags[first] & _START_UNKNOWN) == 0)
    rested, which = first_waits(begun[is_seen], state)
    if not len(rested):
        return waits, since, until
    polled = first[is_seen[which]]
    rested["places"] = checked(polls.places[polled], state.roles.places)
    order = stable_order(np.concatenate([waits["end"], rested["end"]]))
    # An effective wake since then is the first one: memory had none.
    since = np.concatenate([since, np.full(len(rested), state.start)])
    return joined(waits, rested)[order], since[order], np.concatenate([until, polls.order[polled]])[order]


def _set_parents(state: State, nesting: Nesting, frames: Frames, carried: Flags) -> None:
    around = np.maximum(nesting.parent, 0)
    is_future = (nesting.parent >= 0) & ~state.roles.is_task[frames.function[around]]
    np.copyto(frames.parent, np.where(is_future, frames.instance[around], np.uint64(0)), where=~carried)


def _tell_leaving(
    switches: Array, stream: Stream, around: Indexes, nesting: Nesting, frames: Frames, is_task: Flags
) -> None:
    """Tell threads that leave their CPUs (SWITCH, in place) the innermost poll that they are certainly in.

    around: the frame around each one whose thread is known, or -1.  One whose exit is not probed may be over by then:
    `block_on` parks its thread between two polls of its future.
    """
    out = np.flatnonzero(switches["kind"] == SWITCH_OUT_RECORD)
    out = out[stream.threads.places(switches["tid"][out])[1]]
    sure, left = around.copy(), np.flatnonzero(around >= 0)
    while len(left := left[frames.blind[sure[left]]]):
        sure[left] = nesting.parent[sure[left]]
        left = left[sure[left] >= 0]
    switches["flags"][out[(around >= 0) & (sure < 0)]] |= np.uint8(OffCpuFlag.MAYBE_IN_POLL)
    inside = np.flatnonzero(sure >= 0)
    out, frame = out[inside], sure[inside]
    function = frames.function[frame]
    switches["instance"][out], switches["function"][out] = frames.instance[frame], function
    switches["task"][out] = np.where(is_task[function], frames.instance[frame], frames.task[frame])
    switches["flags"][out] |= np.uint8(OffCpuFlag.IN_POLL)


def _read_clocks(told: Account, stream: Stream, pairs: Pairs, frames: Frames, is_new: Flags) -> None:
    """Let the frames that begin here read the clocks of their threads, in place."""
    new = np.flatnonzero(is_new & ((frames.flags & _START_UNKNOWN) == 0))
    if not told.is_needed or not len(new):
        return
    readings = told.at(frames.tid[new], stream.rows.source[pairs.entry[new]])
    frames.runnable[new] = np.where(readings.is_on, readings.runnable, NO_READING)
    frames.blocked[new] = np.where(readings.is_on, readings.blocked, NO_READING)
