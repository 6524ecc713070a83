"""Everything but events: probes that come and go, processes that end, thread names, the end."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import chain, count

import numpy as np

from tracer.assemble.arrays import Flags, Indexes
from tracer.assemble.continuity import doubt_open_waits
from tracer.assemble.cuts import cut, in_order, interrupted, newest, none_inside
from tracer.assemble.resting import as_told, place_open_waits
from tracer.assemble.roles import FUTURES, GROUP_INDEX, SCHEDULING, TASKS, WAKES
from tracer.assemble.schedule import NEVER
from tracer.assemble.scheduling import still_off
from tracer.assemble.sorting import stable_order
from tracer.assemble.state import (
    NO_ROW,
    NO_SPANS,
    NOT_HANDED,
    UNKNOWN_PROCESS,
    State,
    Threads,
)
from tracer.assemble.tasks import ended, polled, with_spans, without_over
from tracer.assemble.unpolled import never_polled
from tracer.assemble.waits import open_waits, waiting
from tracer.assemble.wakes import with_open_wakes
from tracer.model import PlanChange, ProcessEnd, Spans, Thread


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
    ended = switched & none_inside(state, ~switched)
    pending = waiting(state.latest[paused])
    waits = open_waits(pending, change.time, state.lost_until, state.roles)
    doubt_open_waits(waits, pending, state)
    with_open_wakes(waits, pending, state)
    after, polls = cut(state, ended, change.time)
    latest = state.latest.copy()
    latest["gap"] |= (leaving | coming)[latest["function"]]
    # Whether the same future is polled when the probes are back, nobody can tell.
    left_open = interrupted(state.frames[ended], polls, state.lost_until, np.ones(len(polls), np.bool_))
    latest = newest(np.concatenate([latest, left_open]), state.roles.key)
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
    ), in_order(polls, waits, over, off_cpu)


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
    rested = [one["process"] == process for one in (state.resting, state.dropped)]
    mine = replace(state, resting=state.resting[rested[0]], dropped=state.dropped[rested[1]])
    told, unpolled = never_polled(mine, end.time)
    new = told.next_instance - state.next_instance
    left = state.resting[~rested[0]], state.dropped[~rested[1]]
    state = replace(state, resting=left[0], dropped=left[1], next_instance=told.next_instance)
    pending = state.schedule.pending["tid"]
    place, is_known = state.threads.places(pending)
    of_process = np.full(len(pending), UNKNOWN_PROCESS if len(state.pids) > 1 else 0)
    of_process[is_known] = state.threads.process[place[is_known]]
    after, spans = _end(state, frames, latest, tasks, of_process == process, end.time)
    return _with_unpolled(_without_wakes(after, after.wakes["process"] == process), spans, unpolled, new)


def end_everything(state: State, time: int) -> tuple[State, Spans]:
    """End all that is open."""
    frames, latest, tasks = (np.ones(len(one), np.bool_) for one in (state.frames, state.latest, state.tasks.alive))
    known = state.next_instance
    state, unpolled = never_polled(state, time)
    new = state.next_instance - known
    pending = np.ones(len(state.schedule.pending), np.bool_)
    after, spans = _end(state, frames, latest, tasks, pending, time)
    return _with_unpolled(_without_wakes(after, np.ones(len(after.wakes), np.bool_)), spans, unpolled, new)


def _with_unpolled(state: State, spans: Spans, unpolled: Spans, new: int) -> tuple[State, Spans]:
    """And what never_polled() yields, in so many instances."""
    if not len(unpolled.begun):
        return state, spans
    tally = replace(
        state.tally,
        polls=state.tally.polls + len(unpolled.polls),
        waits=state.tally.waits + len(unpolled.waits),
        instances=state.tally.instances + new,
        open_at_start=state.tally.open_at_start + len(unpolled.polls),
        open_at_end=state.tally.open_at_end + len(unpolled.polls),
    )
    polls = np.concatenate([spans.polls, unpolled.polls])
    waits = np.concatenate([spans.waits, unpolled.waits])
    over = np.concatenate([spans.over, unpolled.over])
    polls, waits = polls[stable_order(polls["end"])], waits[stable_order(waits["end"])]
    return replace(state, tally=tally), Spans(polls, waits, unpolled.begun, over, off_cpu=spans.off_cpu)


def _without_wakes(state: State, ended: Flags) -> State:
    """No poll will follow these wakes."""
    count = state.tally.unanswered_wakes + int(np.count_nonzero(ended))
    return replace(state, wakes=state.wakes[~ended], tally=replace(state.tally, unanswered_wakes=count))


def _end(state: State, frames: Flags, latest: Flags, tasks: Flags, pending: Flags, time: int) -> tuple[State, Spans]:
    """pending: which of state.schedule.pending."""
    off_cpu = still_off(state.schedule, pending, time, state.lost_until)
    after, polls = cut(state, frames, time)
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
    ), in_order(polls, waits, over, off_cpu)
