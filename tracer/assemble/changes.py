"""Everything but events: probes that come and go, processes that end, losses, thread names, the end."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import chain, count

import numpy as np
import numpy.typing as npt

from tracer.assemble.arrays import Flags, Indexes
from tracer.assemble.continuity import doubt_open_waits
from tracer.assemble.instances import results_of
from tracer.assemble.resting import as_told, place_open_waits
from tracer.assemble.roles import FUTURES, GROUP_INDEX, SCHEDULING, TASKS, WAKES
from tracer.assemble.schedule import NEVER
from tracer.assemble.scheduling import cut_off, of_polls, still_off
from tracer.assemble.sorting import stable_order
from tracer.assemble.state import (
    FINISHED,
    FRAME,
    HANDED_ON,
    HANDING,
    LATEST,
    NO_CAP,
    NO_ROW,
    NO_SPANS,
    NOT_HANDED,
    SHARED_FIELDS,
    UNKNOWN,
    UNKNOWN_PROCESS,
    UNKNOWN_STATE,
    State,
    Threads,
)
from tracer.assemble.tasks import ended, polled, with_spans, without_over
from tracer.assemble.unpolled import never_polled
from tracer.assemble.waits import open_waits, waiting
from tracer.assemble.wakes import with_open_wakes
from tracer.model import POLL, Array, Loss, PlanChange, PollFlag, ProcessEnd, Spans, Thread

_INFERRED_END, _END_UNKNOWN = np.uint16(PollFlag.INFERRED_END), np.uint16(PollFlag.END_UNKNOWN)
_SCHEDULED = np.uint16(PollFlag.SCHEDULED)


def note_loss(state: State, loss: Loss) -> State:
    """From now on an exit without an entry proves nothing, nor does a wait that began before the loss ended."""
    until = max(state.lost_until, state.now if loss.before is None else loss.before)
    return replace(state, lossy=(True,) * len(state.lossy), lost_until=until, schedule=state.schedule.restarted(until))


def learn_threads(state: State, threads: Sequence[Thread]) -> State:
    """Which process a thread belongs to matters only when there are several."""
    if len(state.pids) <= 1 or not threads:
        return state
    tids = np.array([thread.tid for thread in threads], np.uint32)
    known, _ = state.threads.including(tids, state)
    process = known.process.copy()
    for thread in threads:
        if thread.pid in state.pids:
            process[np.searchsorted(known.tid, thread.tid)] = state.pids.index(thread.pid)
    return replace(state, threads=replace(known, process=process))


def change_plan(state: State, change: PlanChange) -> tuple[State, Spans]:
    """End, with an unknown end, what is open in functions that are detached; expect polls under way in new ones."""
    off = [GROUP_INDEX[group] for group in state.active - change.active]
    on = [GROUP_INDEX[group] for group in change.active - state.active]
    probed, entries_only = _probed(state, change)
    leaving, coming = state.probed & ~probed, probed & ~state.probed
    paused = leaving[state.latest["function"]]
    # What has one inside it that is still seen goes on as long.  Of what comes, none may be taken for the next one.
    switched = (leaving | coming)[state.frames["function"]] | state.frames["leaving"]
    ended = switched & _none_inside(state, ~switched)
    pending = waiting(state.latest[paused])
    waits = open_waits(pending, change.time, state.lost_until, state.roles)
    doubt_open_waits(waits, pending, state)
    with_open_wakes(waits, pending, state)
    after, polls = _cut(state, ended, change.time)
    latest = state.latest.copy()
    latest["gap"] |= (leaving | coming)[latest["function"]]
    interrupted = _interrupted(state.frames[ended], polls, state.lost_until)
    latest = _newest(np.concatenate([latest, interrupted]), state.roles.key)
    sees_exit = replace(state, probed=probed, entries_only=entries_only).sees_exit
    frames = after.frames.copy()
    frames["blind"] |= ~sees_exit[frames["function"]]
    frames["leaving"] |= leaving[frames["function"]] & (frames["handing"] == NOT_HANDED)
    batch, threads, batches = _attached(replace(after, probed=state.probed & probed), coming, on, change.time)
    schedule, off_cpu = state.schedule, NO_SPANS.off_cpu
    if state.roles.scheduling and SCHEDULING in off:
        off_cpu = still_off(schedule, np.ones(len(schedule.pending), np.bool_), change.time, state.lost_until)
        schedule = schedule.restarted(NEVER)
    elif state.roles.scheduling and SCHEDULING in on:
        schedule = schedule.resumed(max(change.time, state.lost_until))
    is_task, under_way = state.roles.is_task, state.under_way.copy()
    under_way[coming] = NO_ROW
    left = state.wakes[:0] if {TASKS, WAKES} & set(off) else state.wakes  # more could come unseen
    tasks = with_spans(state.tasks, polls, waits, is_task)
    tasks, over = without_over(tasks, polled(after.frames, is_task), latest, state)
    more = len(threads.top) - len(state.since)
    since, lossy = [*state.since, *[0] * more], [*state.lossy, *[False] * more]
    for number in batches:
        since[number], lossy[number] = change.time, False
    return replace(
        after,
        active=change.active,
        batch=batch,
        probed=probed,
        entries_only=entries_only,
        frames=frames,
        since=tuple(since),
        under_way=under_way,
        lossy=tuple(lossy),
        threads=threads,
        tasks=tasks,
        births=state.births[:0] if TASKS in off else state.births,  # of others nothing will be seen
        wakes=left,
        schedule=schedule,
        latest=latest,
        tally=replace(after.tally, waits=after.tally.waits + len(waits)),
    ), _in_order(polls, waits, over, off_cpu)


def _probed(state: State, change: PlanChange) -> tuple[Flags, Flags]:
    """State.probed and entries_only after the change."""
    active = np.array([group in change.active for group in GROUP_INDEX])
    probed: Flags = active[state.roles.function_group]
    is_future = state.roles.function_group == FUTURES
    probed &= ~(_flags(change.unprobed, len(probed)) & is_future)
    return probed, probed & _flags(change.entries_only, len(probed)) & is_future


def _flags(numbers: Collection[int], count: int) -> Flags:
    """Which of `count` are among these numbers; others may be."""
    flags = np.zeros(count, np.bool_)
    flags[[number for number in numbers if number < count]] = True
    return flags


def _attached(state: State, coming: Flags, on: Sequence[int], time: int) -> tuple[Indexes, Threads, list[int]]:
    """State.batch, its threads, and the batches that begin, when these functions and groups are attached.

    The batch of functions is that of their group, unless others of that are probed; else one that has none.
    """
    batch, threads, begun = state.batch.copy(), state.threads, set(on)
    taken = set(batch[state.probed].tolist())
    for group in (TASKS, FUTURES):
        new = coming & (state.roles.function_group == group)
        if not new.any():
            continue
        number = next(number for number in chain([group], count(len(GROUP_INDEX))) if number not in taken)
        batch[new] = number
        begun.add(number)
        if number == len(threads.top):
            top = np.append(threads.top, threads.top[:1], axis=0)
            threads = replace(threads, top=top, since=np.append(threads.since, threads.since[:1], axis=0))
    numbers = sorted(begun)
    top, since = threads.top.copy(), threads.since.copy()
    top[numbers] = 0
    since[numbers] = np.maximum(time, threads.last)
    return batch, replace(threads, top=top, since=since), numbers


def end_process(state: State, end: ProcessEnd) -> tuple[State, Spans]:
    """End what is open in one process; what it leaves behind is forgotten."""
    if end.pid not in state.pids:
        return state, NO_SPANS
    process = state.pids.index(end.pid)
    frames, latest, tasks = (one["process"] == process for one in (state.frames, state.latest, state.tasks.alive))
    state = replace(state, births=state.births[state.births["process"] != process])
    pending = state.schedule.pending["tid"]
    place, is_known = state.threads.places(pending)
    of_process = np.full(len(pending), UNKNOWN_PROCESS if len(state.pids) > 1 else 0)
    of_process[is_known] = state.threads.process[place[is_known]]
    after, spans = _end(state, frames, latest, tasks, of_process == process, end.time)
    return _without_wakes(after, after.wakes["process"] == process), spans


def end_everything(state: State, time: int) -> tuple[State, Spans]:
    """End all that is open."""
    frames, latest, tasks = (np.ones(len(one), np.bool_) for one in (state.frames, state.latest, state.tasks.alive))
    state, unpolled = never_polled(state, time)
    pending = np.ones(len(state.schedule.pending), np.bool_)
    after, spans = _end(state, frames, latest, tasks, pending, time)
    after = _without_wakes(after, np.ones(len(after.wakes), np.bool_))
    if not len(unpolled.begun):
        return after, spans
    tally = replace(
        after.tally,
        polls=after.tally.polls + len(unpolled.polls),
        waits=after.tally.waits + len(unpolled.waits),
        instances=after.tally.instances + len(unpolled.begun),
        open_at_start=after.tally.open_at_start + len(unpolled.polls),
        open_at_end=after.tally.open_at_end + len(unpolled.polls),
    )
    polls = np.concatenate([spans.polls, unpolled.polls])
    waits = np.concatenate([spans.waits, unpolled.waits])
    over = np.concatenate([spans.over, unpolled.over])
    polls, waits = polls[stable_order(polls["end"])], waits[stable_order(waits["end"])]
    return replace(after, tally=tally), Spans(polls, waits, unpolled.begun, over, off_cpu=spans.off_cpu)


def _without_wakes(state: State, ended: Flags) -> State:
    """No poll will follow these wakes."""
    count = state.tally.unanswered_wakes + int(np.count_nonzero(ended))
    return replace(state, wakes=state.wakes[~ended], tally=replace(state.tally, unanswered_wakes=count))


def _end(state: State, frames: Flags, latest: Flags, tasks: Flags, pending: Flags, time: int) -> tuple[State, Spans]:
    """pending: which of state.schedule.pending."""
    off_cpu = still_off(state.schedule, pending, time, state.lost_until)
    after, polls = _cut(state, frames, time)
    left_over = waiting(as_told(state.latest[latest], state))
    waits = open_waits(left_over, time, state.lost_until, state.roles)
    doubt_open_waits(waits, left_over, state)
    place_open_waits(waits, left_over, state)
    with_open_wakes(waits, left_over, state)
    added = with_spans(state.tasks, polls, waits, state.roles.is_task)
    left, over = ended(added, tasks, polled(state.frames[frames], state.roles.is_task), state)
    return replace(
        after,
        latest=state.latest[~latest],
        tasks=left,
        schedule=replace(state.schedule, pending=state.schedule.pending[~pending]),
        tally=replace(after.tally, waits=after.tally.waits + len(waits)),
    ), _in_order(polls, waits, over, off_cpu)


def _cut(state: State, ended: Flags, time: int) -> tuple[State, Array]:
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
    inferred = _none_inside(state, ~state.frames["blind"] & ~jumped)[ended]
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


def _none_inside(state: State, which: Flags) -> Flags:
    """The frames that, as all that are open inside them, are none of these."""
    innermost = np.ones(len(state.frames), np.bool_)
    innermost[:-1] = state.frames["tid"][1:] != state.frames["tid"][:-1]
    from_here = np.cumsum(which[::-1])[::-1]
    last = np.flatnonzero(innermost)
    beyond = last[np.searchsorted(last, np.arange(len(innermost)))] + 1
    none: Flags = from_here == np.append(from_here, 0)[beyond]
    return none


def _interrupted(frames: Array, polls: Array, lost_until: int) -> Array:
    """Cut polls as dtype LATEST: whether the same future is polled when the group is back, nobody can tell."""
    latest = np.empty(len(frames), LATEST)
    for name in LATEST.names or ():
        if name in (FRAME.names or ()):
            latest[name] = frames[name]
    latest["end"] = polls["end"]
    result = results_of(polls["flags"], polls["state_after"], polls["start"], lost_until)
    latest["result"] = np.where(result == FINISHED, FINISHED, UNKNOWN)
    latest["state_after"], latest["gap"] = UNKNOWN_STATE, True
    known: Array = latest[frames["known"]]
    return known


def _newest(latest: Array, key: npt.NDArray[np.uint32]) -> Array:
    """Of several polls of one function and address, the one that began last."""
    keys = latest["process"], key[latest["function"]], latest["self"]
    latest = latest[np.lexsort((latest["order"], *keys))]
    last = np.ones(len(latest), np.bool_)
    last[:-1] = False
    for column in (latest["process"], key[latest["function"]], latest["self"]):
        last[:-1] |= column[1:] != column[:-1]
    return latest[last]


def _in_order(polls: Array, waits: Array, over: Array, off_cpu: Array) -> Spans:
    """By end; of frames that end together the inner ones first."""
    inner_first = polls[::-1]
    polls, waits = inner_first[stable_order(inner_first["end"])], waits[stable_order(waits["end"])]
    return Spans(polls, waits, over=over, off_cpu=off_cpu[stable_order(off_cpu["end"])])
