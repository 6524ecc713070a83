"""Tasks that memory had at the begin of a recording, and of which no poll began or ended until its end, or theirs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tracer.assemble.arrays import Flags, Unsigned
from tracer.assemble.chains import checked
from tracer.assemble.lookup import locate
from tracer.assemble.resting import WOKEN, by_identity, never_seen, pairs, seen_all_along
from tracer.assemble.roles import WAKES
from tracer.assemble.state import LATEST, NO_SPANS, UNKNOWN_STATE, State
from tracer.assemble.wakes import with_open_wakes
from tracer.model import (
    FIRST_SUSPEND,
    POLL,
    TASK,
    WAIT,
    Array,
    Group,
    Outcome,
    PollFlag,
    Spans,
    TaskAtRest,
    WaitFlag,
)

_UNSEEN_WAIT = np.uint16(WaitFlag.START_UNKNOWN | WaitFlag.END_UNKNOWN)
_UNSEEN_POLL = np.uint16(PollFlag.START_UNKNOWN | PollFlag.END_UNKNOWN)


@dataclass(frozen=True, slots=True)
class _Unpolled:
    """Tasks.  begun: dtype PARKED, as memory had them at the begin.  waits: dtype WAIT, what they waited, if they were
    not being polled; with their ends and flags.
    """

    begun: Array
    waits: Array
    is_poll: Flags


def never_polled(state: State, time: int) -> tuple[State, Spans]:
    """What such tasks did until `time`: they waited where they were at the end, were ready, or were being polled.  In
    them their async fns and blocks waited.

    Of a process whose memory was not read at the end, and of tasks that were dropped, the begin tells, if memory was
    read while their polls were seen already.  Spans: begun and over are the same tasks.
    """
    at_both, at_begin = _at_both_ends(state, time), [_since_the_begin(state, time), _dropped(state)]
    parts = [(at_both, state.parked), *((part, state.inside) for part in at_begin)]
    found = []
    for part, futures in parts:
        if not len(part.begun):
            continue
        numbers = np.arange(state.next_instance, state.next_instance + len(part.begun), dtype=np.uint64)
        waits = part.waits[~part.is_poll]
        waits["instance"] = waits["task"] = numbers[~part.is_poll]
        waits["places"] = checked(waits["places"], state.roles.places)
        tasks = _tasks(part, numbers)
        polls = _polls(tasks[part.is_poll], time)
        state = replace(state, next_instance=state.next_instance + len(part.begun))
        inside = _waits_inside(tasks[~part.is_poll], waits, futures, state)
        state = replace(state, next_instance=state.next_instance + len(inside))
        found.append(Spans(polls, np.concatenate([waits, inside]), tasks, tasks))
    new = _since_their_spawns(state, time)
    if len(new):
        found.append(replace(NO_SPANS, begun=new, over=new))
        state = replace(state, next_instance=state.next_instance + len(new))
    if not found:
        return state, NO_SPANS
    names = ("polls", "waits", "begun", "over")
    return state, Spans(*(np.concatenate([getattr(one, name) for one in found]) for name in names))


def _at_both_ends(state: State, time: int) -> _Unpolled:
    first = by_identity(state.resting, state.parked)
    begun, at_end = state.resting[first >= 0], state.parked[first[first >= 0]]
    before, after = begun["task"], at_end["task"]
    waited = (before == TaskAtRest.WAITING) & (after == TaskAtRest.WAITING) & (begun["places"] == at_end["places"])
    # The others could have been polled while nobody saw it.
    is_sure = seen_all_along(begun["function"], state) & (state.lost_until <= state.start)
    # No poll of it began since all was seen, so that it was in this one by then.
    since = np.maximum(np.array(state.since)[state.batch[begun["function"]]], max(state.lost_until, state.start))
    was_polled = state.probed[begun["function"]] & (since < time)
    was_polled &= (before == TaskAtRest.RUNNING) & (after == TaskAtRest.RUNNING)
    was_polled &= begun["places"] == at_end["places"]  # on the same thread
    woken = _wakes(begun, state, time)
    woken["start"][was_polled] = since[was_polled]
    was_ready = is_sure & (before != TaskAtRest.RUNNING) & (after == TaskAtRest.READY) & (woken["woken"] != 0)
    woken["places"] = at_end["places"]
    chosen = np.flatnonzero(waited | was_ready | was_polled)
    return _Unpolled(begun[chosen], woken[chosen], was_polled[chosen])


def _since_the_begin(state: State, time: int) -> _Unpolled:
    """Those of processes that had ended before memory could be read again."""
    begun = state.resting[~np.isin(state.resting["process"], list(state.read_at_end))]
    begun = begun[never_seen(begun, state) & (begun["task"] != TaskAtRest.RUNNING)]
    waits = _wakes(begun, state, time)
    waits["places"] = begun["places"]
    is_known = (begun["task"] != TaskAtRest.READY) | (waits["woken"] != 0)
    return _Unpolled(begun[is_known], waits[is_known], np.zeros(int(np.count_nonzero(is_known)), np.bool_))


def _dropped(state: State) -> _Unpolled:
    """Those that were dropped before they were polled."""
    begun = state.dropped
    waits = _unseen_waits(begun, state)
    waits["end"] = np.maximum(begun["time"], state.start)
    waits["flags"] = WaitFlag.START_UNKNOWN | WaitFlag.CANCELLED
    for name in ("places", "tid"):
        waits[name] = begun[name]
    return _Unpolled(begun, waits, np.zeros(len(begun), np.bool_))


def _since_their_spawns(state: State, time: int) -> Array:
    """Those (dtype TASK) whose spawns were seen, that memory had at the end, and of which no poll can have been missed.

    Until memory was read another task can have come to a header.  Not likely to one where none had been polled for
    longer than that: of others nothing is told.
    """
    tasks = np.empty(0, TASK)
    births = state.births[~state.births["is_queued"] & (state.births["time"] >= state.lost_until)]
    births = births[births["time"] <= time - max(state.parked_until - time, 0)]
    ready = state.parked[state.roles.is_task[state.parked["function"]] & (state.parked["task"] == TaskAtRest.READY)]
    ready = ready[state.probed[ready["function"]]]
    if not len(births) or not len(ready):
        return tasks
    births = births[np.argsort(births["order"])]
    headers, last = np.unique(pairs(births["process"], births["self"])[::-1], return_index=True)
    births = births[::-1][last]
    at, known = locate(headers, pairs(ready["process"], ready["self"]))
    ready, births = ready[known], births[at[known]]
    seen = np.array(state.since)[state.batch[ready["function"]]] <= births["time"]
    ready, births = ready[seen], births[seen]
    tasks = np.zeros(len(ready), TASK)
    tasks["task"] = np.arange(state.next_instance, state.next_instance + len(ready))
    for name, source in (("id", "id"), ("header", "self"), ("function", "function"), ("process", "process")):
        tasks[name] = ready[source]
    tasks["first"] = tasks["last"] = tasks["until"] = np.maximum(time, births["time"])
    tasks["outcome"] = Outcome.WAITING
    tasks["spawned"] = births["time"]
    for name in ("by", "by_id", "by_function", "at", "on"):
        tasks[f"spawned_{name}"] = births[name]
    return tasks


def _waits_inside(tasks: Array, own: Array, futures: Array, state: State) -> Array:
    """The waits (WAIT) of the coroutines among `futures` (dtype PARKED) that memory had in these tasks (TASK), whose id
    tells them; own: the waits of the tasks, as many.

    A suspended coroutine has been polled, and not since the begin: its task has not.  Of other futures memory need not
    tell whether they were ever polled.
    """
    waits = np.empty(0, WAIT)
    parked = futures[futures["state"] >= FIRST_SUSPEND]
    parked = parked[~state.roles.is_task[parked["function"]] & (parked["id"] != 0)]
    seen = [pairs(one["process"], one["self"]) for one in (state.latest, state.frames)]
    parked = parked[~np.isin(pairs(parked["process"], parked["self"]), np.concatenate(seen))]
    order = np.argsort(pairs(tasks["process"], tasks["id"]), kind="stable")
    tasks, own = tasks[order], own[order]
    if not len(parked) or not len(tasks):
        return waits
    ids = pairs(tasks["process"], tasks["id"])
    theirs = pairs(parked["process"], parked["id"])
    at = np.minimum(np.searchsorted(ids, theirs), len(ids) - 1)
    parked, at = parked[ids[at] == theirs], at[ids[at] == theirs]
    # A poll function that several crates have is there once for each of them.
    name = state.roles.future[parked["function"]].astype(np.uint64)
    _, first = np.unique(np.stack([pairs(parked["process"], parked["self"]), name]), axis=1, return_index=True)
    parked, at = parked[first], at[first]
    waits = np.zeros(len(parked), WAIT)
    waits["start"] = state.start
    for column in ("end", "tid", "flags"):
        waits[column] = own[column][at]
    waits["flags"] |= np.uint16(WaitFlag.STATE)
    for column in ("self", "function", "state"):
        waits[column] = parked[column]
    waits["places"] = checked(parked["places"], state.roles.places)
    waits["task"] = tasks["task"][at]
    waits["instance"] = np.arange(state.next_instance, state.next_instance + len(parked))
    return waits


def _unseen_waits(begun: Array, state: State) -> Array:
    """The waits (WAIT) of these tasks (dtype PARKED) from the begin on, their ends still missing."""
    waits = np.zeros(len(begun), WAIT)
    waits["start"] = state.start
    for name in ("self", "function"):
        waits[name] = begun[name]
    return waits


def _wakes(begun: Array, state: State, time: int) -> Array:
    """The wait (WAIT) of each of these tasks, had it not been polled; told by which wake it ended, if that is known."""
    waits, latest = _unseen_waits(begun, state), np.zeros(len(begun), LATEST)
    waits["end"], waits["flags"] = max(time, state.start), _UNSEEN_WAIT
    for name in ("self", "function", "process"):
        latest[name] = begun[name]
    latest["start"] = state.start
    with_open_wakes(waits, latest, state)
    all_the_time = Group.WAKES in state.active and state.since[WAKES] <= state.start
    was_ready: Flags = (begun["task"] == TaskAtRest.READY) & all_the_time
    waits["woken"][was_ready] = state.start
    waits["woken"][(begun["task"] != WOKEN) & ~was_ready] = 0
    return waits


def _tasks(part: _Unpolled, numbers: Unsigned) -> Array:
    begun, is_poll, waits = part.begun, part.is_poll, part.waits
    tasks = np.zeros(len(begun), TASK)
    for name, source in (("id", "id"), ("header", "self"), ("function", "function"), ("process", "process")):
        tasks[name] = begun[source]
    tasks["task"], tasks["first"], tasks["last"] = numbers, waits["start"], waits["start"]
    length = waits["end"] - waits["start"]
    tasks["waiting"] = np.where(is_poll, 0, length)
    is_dropped = (waits["flags"] & np.uint16(WaitFlag.CANCELLED)) != 0
    at_rest = np.where(is_dropped, np.uint8(Outcome.CANCELLED), np.uint8(Outcome.WAITING))
    tasks["outcome"] = np.where(is_poll, np.uint8(Outcome.RUNNING), at_rest)
    tasks["busy"] = tasks["longest"] = np.where(is_poll, length, 0)
    tasks["polls"], tasks["tid"] = is_poll, np.where(is_poll, begun["places"], 0)
    tasks["last"][is_poll] = waits["end"][is_poll]
    tasks["until"] = np.where(is_dropped, waits["end"], tasks["last"])
    return tasks


def _polls(tasks: Array, time: int) -> Array:
    """Of tasks on known threads."""
    tasks = tasks[tasks["tid"] != 0]
    polls = np.zeros(len(tasks), POLL)
    polls["start"] = tasks["first"]
    polls["end"] = polls["end_latest"] = np.maximum(time, tasks["first"])
    for name, source in (("self", "header"), ("instance", "task"), ("function", "function"), ("tid", "tid")):
        polls[name] = tasks[source]
    polls["flags"], polls["state_after"] = _UNSEEN_POLL, UNKNOWN_STATE
    return polls
