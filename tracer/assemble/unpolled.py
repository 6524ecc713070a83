"""Tasks that memory had at both ends of a recording, and of which no poll began or ended in between."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tracer.assemble.arrays import Flags, Unsigned
from tracer.assemble.chains import checked
from tracer.assemble.resting import WOKEN, by_identity, pairs, seen_all_along
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


def never_polled(state: State, time: int) -> tuple[State, Spans]:
    """What such tasks did until `time`: they waited where they were at the end, were ready, or were being polled.  In
    them their async fns and blocks waited.

    Spans: begun and over are the same tasks.
    """
    first = by_identity(state.resting, state.parked)
    begun, at_end = state.resting[first >= 0], state.parked[first[first >= 0]]
    before, after = begun["task"], at_end["task"]
    waited = (before == TaskAtRest.WAITING) & (after == TaskAtRest.WAITING) & (begun["places"] == at_end["places"])
    # The others could have been polled while nobody saw it.
    is_sure = seen_all_along(begun["function"], state) & (state.lost_until <= state.start)
    was_polled = is_sure & (before == TaskAtRest.RUNNING) & (after == TaskAtRest.RUNNING)
    was_polled &= begun["places"] == at_end["places"]  # on the same thread
    woken = _wakes(begun, state, time)
    was_ready = is_sure & (before != TaskAtRest.RUNNING) & (after == TaskAtRest.READY) & (woken["woken"] != 0)
    chosen = np.flatnonzero(waited | was_ready | was_polled)
    if not len(chosen):
        return state, NO_SPANS
    begun, at_end, is_poll = begun[chosen], at_end[chosen], was_polled[chosen]
    numbers = np.arange(state.next_instance, state.next_instance + len(chosen), dtype=np.uint64)
    waits = woken[chosen[~is_poll]]
    waits["instance"] = waits["task"] = numbers[~is_poll]
    waits["places"] = checked(at_end["places"][~is_poll], state.roles.places)
    tasks = _tasks(begun, numbers, is_poll, state.start, time)
    polls = _polls(tasks[is_poll], state.start, time)
    state = replace(state, next_instance=state.next_instance + len(chosen))
    inside = _waits_inside(tasks[~is_poll], state, time)
    state = replace(state, next_instance=state.next_instance + len(inside))
    return state, Spans(polls, np.concatenate([waits, inside]), tasks, tasks)


def _waits_inside(tasks: Array, state: State, time: int) -> Array:
    """The waits (WAIT) of the coroutines that memory had in these tasks (TASK), whose id tells them.

    A suspended coroutine has been polled, and not since the begin: its task has not.  Of other futures memory need not
    tell whether they were ever polled.
    """
    waits = np.empty(0, WAIT)
    parked = state.parked[state.parked["state"] >= FIRST_SUSPEND]
    parked = parked[~state.roles.is_task[parked["function"]] & (parked["id"] != 0)]
    seen = [pairs(one["process"], one["self"]) for one in (state.latest, state.frames)]
    parked = parked[~np.isin(pairs(parked["process"], parked["self"]), np.concatenate(seen))]
    tasks = tasks[np.argsort(pairs(tasks["process"], tasks["id"]), kind="stable")]
    if not len(parked) or not len(tasks):
        return waits
    ids = pairs(tasks["process"], tasks["id"])
    own = pairs(parked["process"], parked["id"])
    at = np.minimum(np.searchsorted(ids, own), len(ids) - 1)
    parked, at = parked[ids[at] == own], at[ids[at] == own]
    # A poll function that several crates have is there once for each of them.
    name = state.roles.future[parked["function"]].astype(np.uint64)
    _, first = np.unique(np.stack([pairs(parked["process"], parked["self"]), name]), axis=1, return_index=True)
    parked, at = parked[first], at[first]
    waits = np.zeros(len(parked), WAIT)
    waits["start"], waits["end"] = state.start, max(time, state.start)
    waits["flags"] = _UNSEEN_WAIT | np.uint16(WaitFlag.STATE)
    for column in ("self", "function", "state"):
        waits[column] = parked[column]
    waits["places"] = checked(parked["places"], state.roles.places)
    waits["task"] = tasks["task"][at]
    waits["instance"] = np.arange(state.next_instance, state.next_instance + len(parked))
    return waits


def _wakes(begun: Array, state: State, time: int) -> Array:
    """The wait (WAIT) of each of these tasks, had it not been polled; told by which wake it ended, if that is known."""
    waits, latest = np.zeros(len(begun), WAIT), np.zeros(len(begun), LATEST)
    waits["start"], waits["end"], waits["flags"] = state.start, max(time, state.start), _UNSEEN_WAIT
    waits["self"], waits["function"] = begun["self"], begun["function"]
    for name in ("self", "function", "process"):
        latest[name] = begun[name]
    latest["start"] = state.start
    with_open_wakes(waits, latest, state)
    all_the_time = Group.WAKES in state.active and state.since[WAKES] <= state.start
    was_ready: Flags = (begun["task"] == TaskAtRest.READY) & all_the_time
    waits["woken"][was_ready] = state.start
    waits["woken"][(begun["task"] != WOKEN) & ~was_ready] = 0
    return waits


def _tasks(begun: Array, numbers: Unsigned, is_poll: Flags, start: int, time: int) -> Array:
    tasks = np.zeros(len(begun), TASK)
    for name, source in (("id", "id"), ("header", "self"), ("function", "function"), ("process", "process")):
        tasks[name] = begun[source]
    tasks["task"], tasks["first"], tasks["last"] = numbers, start, start
    length = max(time - start, 0)
    tasks["waiting"] = np.where(is_poll, 0, length)
    tasks["outcome"] = np.where(is_poll, np.uint8(Outcome.RUNNING), np.uint8(Outcome.WAITING))
    tasks["busy"] = tasks["longest"] = np.where(is_poll, length, 0)
    tasks["polls"], tasks["tid"] = is_poll, np.where(is_poll, begun["places"], 0)
    tasks["last"][is_poll] = start + length
    tasks["until"] = tasks["last"]
    return tasks


def _polls(tasks: Array, start: int, time: int) -> Array:
    """Of tasks on known threads."""
    tasks = tasks[tasks["tid"] != 0]
    polls = np.zeros(len(tasks), POLL)
    polls["start"], polls["end"], polls["end_latest"] = start, max(time, start), max(time, start)
    for name, source in (("self", "header"), ("instance", "task"), ("function", "function"), ("tid", "tid")):
        polls[name] = tasks[source]
    polls["flags"], polls["state_after"] = _UNSEEN_POLL, UNKNOWN_STATE
    return polls
