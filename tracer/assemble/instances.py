"""Which polls are polls of the same future, and the waits between them.

A future is known by its function and its address; the address is used again after it is freed, so
that a new instance begins when the previous poll there was the last one, or this one is a first one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracer.assemble.state import (
    FINISHED,
    FUTURES,
    LATEST,
    PENDING,
    UNKNOWN,
    UNKNOWN_STATE,
    Flags,
    Indexes,
    Numbers,
    Roles,
    Small,
    Unsigned,
)
from tracer.model import FIRST_SUSPEND, PANICKED, RETURNED, UNRESUMED, WAIT, Array, PollFlag, WaitFlag

STILL_OPEN = np.uint64(2**64 - 1)

_NOT_ODD = np.uint64(0x9E3779B97F4A7C15)
_FUNCTION_SHIFT, _PROCESS_SHIFT = np.uint64(40), np.uint64(56)


@dataclass(frozen=True, slots=True)
class Polls:
    """Polls of known futures, earlier ones first: the latest of earlier blocks (fresh is False), then those
    that began in this block.

    over: order of the row that ended the poll; 0: in an earlier block; STILL_OPEN.  end, result,
    state_after: valid when it is over.  gap: see LATEST.  instance: valid where fresh is False.
    """

    function: npt.NDArray[np.uint32]
    self: Unsigned
    process: npt.NDArray[np.uint16]
    tid: npt.NDArray[np.uint32]
    task: Unsigned
    order: Unsigned
    over: Unsigned
    start: Numbers
    end: Numbers
    flags: npt.NDArray[np.uint16]
    state: Small
    state_after: Small
    result: Small
    gap: Flags
    instance: Unsigned
    fresh: Flags


@dataclass(frozen=True, slots=True)
class Identities:
    """instance: of every poll.  capped, cap: polls that were over by a certain time, whatever their exits say.
    is_latest: nothing of the same function and address begins after it.  is_forgotten: nothing can follow
    it.  new: number of new instances.
    """

    instance: Unsigned
    capped: Indexes
    cap: Numbers
    is_latest: Flags
    is_forgotten: Flags
    waits: Array
    new: int


def results_of(flags: npt.NDArray[np.uint16], state_after: Small) -> Small:
    """What is known of the ends of polls: by the return value, else by the coroutine's own state."""
    by_state = np.where(
        (state_after == RETURNED) | (state_after == PANICKED),
        FINISHED,
        np.where((state_after >= FIRST_SUSPEND) & (state_after != UNKNOWN_STATE), PENDING, UNKNOWN),
    )
    by_state[(flags & PollFlag.TAIL) != 0] = UNKNOWN  # the state was read before it was final
    by_value = np.where(flags & PollFlag.PENDING, PENDING, FINISHED)
    return np.where(flags & PollFlag.RESULT, by_value, by_state).astype(np.uint8)


def identify(
    polls: Polls, roles: Roles, since: tuple[int, int], lossy: tuple[bool, bool], next_instance: int
) -> Identities:
    """Number the instances, from next_instance on in the order of their first polls, and find the waits."""
    order = _by_key(polls)
    before, at = order[:-1], order[1:]  # pairs of neighbours
    same = np.zeros(len(order), np.bool_)
    same[1:] = (
        (polls.self[before] == polls.self[at])
        & (polls.function[before] == polls.function[at])
        & (polls.process[before] == polls.process[at])
    )
    is_latest = np.zeros(len(order), np.bool_)
    is_latest[order[:-1]] = ~same[1:]
    is_latest[order[-1:]] = True
    # A finished poll is still needed while an earlier one is open, which would be taken for the latest.
    future = np.cumsum(~same)
    open_polls = np.bincount(future, polls.over[order] == STILL_OPEN)
    is_forgotten = np.empty(len(order), np.bool_)
    is_forgotten[order] = (polls.result[order] == FINISHED) & (open_polls[future] == 0)

    previous = np.empty_like(order)
    previous[1:] = before
    previous[:1] = order[:1]
    has_state = (polls.flags[order] & PollFlag.STATE) != 0
    state = polls.state[order]
    suspended = has_state & (state >= FIRST_SUSPEND)
    over = same & (polls.over[previous] <= polls.order[order])
    in_time = polls.end[previous] <= polls.start[order]
    finished = over & (polls.result[previous] == FINISHED)
    gap = over & polls.gap[previous]
    clash = same & ~(over & in_time) & ~roles.may_overlap[polls.function[order]]
    begins = ~same | finished | (gap & ~suspended) | clash | (has_state & (state == UNRESUMED))
    begins &= polls.fresh[order]

    instance, new = _number(polls, order, begins, next_instance)

    fresh_next = polls.fresh[order] & ((polls.flags[order] & PollFlag.START_UNKNOWN) == 0)
    continued = fresh_next & same & ~begins
    seen = np.flatnonzero(continued & over & in_time & ~gap)
    group = roles.function_group[polls.function[order]]
    group_since = np.where(group == FUTURES, since[FUTURES], since[0])
    unseen = np.flatnonzero(
        fresh_next
        & suspended
        & (~same | finished | gap)
        & (polls.start[order] >= group_since)
        & ~np.array(lossy)[group]
    )
    waits = np.concatenate(
        [
            _seen_waits(polls, previous[seen], order[seen], instance),
            _unseen_waits(polls, group_since[unseen], order[unseen], instance),
        ]
    )
    overlapped = np.flatnonzero(continued & ~over)
    return Identities(
        instance, previous[overlapped], polls.start[order[overlapped]], is_latest, is_forgotten, waits, new
    )


def _by_key(polls: Polls) -> Indexes:
    """The polls sorted by future, those of one future in their order.

    A sort of plain integers, hash above and position below, is several times faster than an argsort.
    """
    count = len(polls.self)
    bits = np.uint64(max(count, 1).bit_length())
    low = (np.uint64(1) << bits) - np.uint64(1)
    key = (
        polls.self
        ^ (polls.function.astype(np.uint64) << _FUNCTION_SHIFT)
        ^ (polls.process.astype(np.uint64) << _PROCESS_SHIFT)
    ) * _NOT_ODD
    sorted_keys = np.sort((key & ~low) | np.arange(count, dtype=np.uint64))
    order = (sorted_keys & low).astype(np.intp)
    high = sorted_keys >> bits
    together = high[1:] == high[:-1]
    before, at = order[:-1], order[1:]
    mixed = together & (
        (polls.self[before] != polls.self[at])
        | (polls.function[before] != polls.function[at])
        | (polls.process[before] != polls.process[at])
    )
    if mixed.any():  # two futures of one hash
        return np.lexsort((polls.process, polls.function, polls.self))
    return order


def _number(polls: Polls, order: Indexes, begins: Flags, next_instance: int) -> tuple[Unsigned, int]:
    instance = polls.instance.copy()
    first = np.zeros(len(order), np.bool_)
    first[order[begins]] = True
    new = int(np.count_nonzero(first))
    instance[first] = np.arange(next_instance, next_instance + new, dtype=np.uint64)
    known = begins | ~polls.fresh[order]
    source = np.maximum.accumulate(np.where(known, np.arange(len(order)), 0))
    instance[order] = instance[order[source]]
    return instance, new


def _seen_waits(polls: Polls, before: Indexes, after: Indexes, instance: Unsigned) -> Array:
    waits = _waits_until(polls, after, instance)
    waits["start"] = polls.end[before]
    at_entry = (polls.flags[after] & PollFlag.STATE) != 0
    at_exit = polls.state_after[before]
    waits["state"] = np.where(at_entry, polls.state[after], np.where(at_exit == UNKNOWN_STATE, 0, at_exit))
    waits["flags"] = np.where(at_entry | (at_exit != UNKNOWN_STATE), WaitFlag.STATE, 0)
    proven = at_entry & (polls.state[after] >= FIRST_SUSPEND)
    waits["flags"] |= np.where((polls.result[before] == UNKNOWN) & ~proven, WaitFlag.AMBIGUOUS, 0).astype(np.uint16)
    return waits


def _unseen_waits(polls: Polls, since: Numbers, after: Indexes, instance: Unsigned) -> Array:
    """Of futures that had been polled already when the recording began."""
    waits = _waits_until(polls, after, instance)
    waits["start"] = since
    waits["state"] = polls.state[after]
    waits["flags"] = WaitFlag.START_UNKNOWN | WaitFlag.STATE
    return waits


def _waits_until(polls: Polls, after: Indexes, instance: Unsigned) -> Array:
    waits = np.zeros(len(after), WAIT)
    waits["end"] = polls.start[after]
    waits["self"] = polls.self[after]
    waits["instance"] = instance[after]
    waits["task"] = polls.task[after]
    waits["function"] = polls.function[after]
    waits["tid"] = polls.tid[after]
    return waits


def open_waits(latest: Array, time: int) -> Array:
    """The waits of LATEST polls that nothing has ended by `time`."""
    waiting = latest[(latest["result"] == PENDING) & ~latest["gap"]]
    waits = np.zeros(len(waiting), WAIT)
    for name in ("self", "instance", "task", "function", "tid"):
        waits[name] = waiting[name]
    waits["start"] = waiting["end"]
    waits["end"] = np.maximum(waiting["end"], time)
    known = waiting["state_after"] != UNKNOWN_STATE
    waits["state"] = np.where(known, waiting["state_after"], 0)
    waits["flags"] = np.where(known, WaitFlag.END_UNKNOWN | WaitFlag.STATE, WaitFlag.END_UNKNOWN)
    return waits


def latest_of(polls: Polls, identities: Identities) -> Array:
    """What to remember of these polls: dtype LATEST."""
    kept = np.flatnonzero(identities.is_latest & (polls.over != STILL_OPEN) & ~identities.is_forgotten)
    latest = np.empty(len(kept), LATEST)
    for name in ("end", "self", "task", "order", "function", "tid", "process", "result", "state_after", "gap"):
        latest[name] = getattr(polls, name)[kept]
    latest["instance"] = identities.instance[kept]
    return latest
