"""The waits of futures: between two polls, to their end, and to the end of what is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tracer.assemble.arrays import Flags, Indexes, Numbers, Unsigned
from tracer.assemble.chains import NO_STATE, checked
from tracer.assemble.columns import records_of
from tracer.assemble.known_polls import Polls
from tracer.assemble.roles import Roles
from tracer.assemble.sorting import stable_order
from tracer.assemble.state import PENDING, UNKNOWN, UNKNOWN_STATE, State
from tracer.model import FIRST_SUSPEND, WAIT, Array, PollFlag, WaitFlag

_STATE = np.uint16(PollFlag.STATE)
_CANCELLED, _REPLACED = np.uint16(WaitFlag.CANCELLED), np.uint16(WaitFlag.REPLACED)
_ABORTED = np.uint16(PollFlag.ABORTED)
_UNSEEN = np.uint16(WaitFlag.START_UNKNOWN | WaitFlag.STATE)
_WAIT_STATE, _AMBIGUOUS, _NONE = np.uint16(WaitFlag.STATE), np.uint16(WaitFlag.AMBIGUOUS), np.uint16(0)


@dataclass(frozen=True, slots=True)
class Pairs:
    """The places in `order` of polls that a wait goes before: seen: the poll before stands before it; unseen: nothing
    is known of it.  And of marks and polls that show the end of a future that waited: dropped: that of their own
    future; replaced: that of the one before them at the address.
    """

    order: Indexes
    seen: Indexes
    unseen: Indexes
    dropped: Indexes
    replaced: Indexes


def waits_between(
    polls: Polls, state: State, instance: Unsigned, identified: Flags, pairs: Pairs
) -> tuple[Array, Indexes, Numbers, Unsigned]:
    """The waits (dtype WAIT, by end), and what Identities has of each as within, since and until."""
    order = pairs.order
    parts = [part for part in (pairs.seen, pairs.dropped, pairs.replaced, pairs.unseen) if len(part)]
    places = parts[0] if len(parts) == 1 else np.concatenate([pairs.seen[:0], *parts])
    after = order[places]
    by_place = _by_number(after, len(order))
    by_end = by_place[stable_order(polls.start[after[by_place]])]
    after = after[by_end]
    has_before = by_end < len(places) - len(pairs.unseen)
    ends = by_end >= len(pairs.seen)
    before = np.where(has_before, order[places - 1][by_end], after)
    is_replaced = has_before & (by_end >= len(pairs.seen) + len(pairs.dropped))
    own = np.where(is_replaced, before, after)  # whose wait it is
    is_end = has_before & ends
    known = np.where(is_end, before, after)  # a mark of a task does not tell which kind of task it is of

    # Only a state of a suspended coroutine says where it waits, and that it is the same one.
    entry_state, exit_state = polls.state[after], polls.state_after[before]
    at_entry = ((polls.flags[after] & _STATE) != 0) & (entry_state >= FIRST_SUSPEND) & ~is_replaced
    at_exit = (exit_state >= FIRST_SUSPEND) & (exit_state != UNKNOWN_STATE)
    start = polls.end[before]
    told = at_entry | identified[after] | is_replaced | polls.undone[after]
    ambiguous = ((polls.result[before] == UNKNOWN) & ~told) | (start < state.lost_until)
    cancelled = is_end | ((polls.flags[after] & _ABORTED) != 0)

    flags = np.bitwise_or(np.where(at_entry | at_exit, _WAIT_STATE, _NONE), np.where(ambiguous, _AMBIGUOUS, _NONE))
    flags |= np.where(cancelled, _CANCELLED, _NONE)
    flags |= np.where(is_replaced, _REPLACED, _NONE)
    function = polls.function[known]
    shown = np.where(at_entry, entry_state, np.where(at_exit, exit_state, np.uint8(0)))
    # Nothing was walked at an end: the state alone tells.
    walked = polls.places[after]
    over = np.flatnonzero(is_end)
    at_end = shown[over].astype(np.intp)
    walked[over] = state.roles.settled[function[over], np.where(at_end, at_end, NO_STATE)]
    if len(pairs.unseen):  # of futures that had been polled already when their group was attached
        begun = np.flatnonzero(~has_before)
        of = polls.function[after[begun]]
        start[begun] = np.array(state.since)[state.batch[of]]
        # It may be the one that was being polled then, and has waited only since that poll's end.
        may_be_polled = polls.order[after[begun]] > state.under_way[of]
        flags[begun] = np.where(may_be_polled, _UNSEEN | _AMBIGUOUS, _UNSEEN)
    columns: dict[str, npt.NDArray[Any]] = {
        "start": start,
        "end": polls.start[after],
        "self": polls.self[after],
        "instance": instance[own],
        "function": function,
        "tid": polls.tid[own],
        "flags": flags,
        "state": shown,
        "places": checked(walked, state.roles.places),
    }
    waits = records_of(WAIT, len(after), columns)
    between = has_before & ~ends
    since = np.where(between, polls.start[before], np.iinfo(np.int64).min)
    until = np.where(between, polls.order[after], np.uint64(0))
    return waits, known, since, until


def _by_number(numbers: Indexes, count: int) -> Indexes:
    """The indexes that sort these numbers below `count`, equal ones in the order they have."""
    place = np.full(count, -1)
    place[numbers] = np.arange(len(numbers))
    order = place.compress(place >= 0)
    return order if len(order) == len(numbers) else stable_order(numbers)


def waiting(latest: Array) -> Array:
    """Those of LATEST polls after which their future waits."""
    pending: Array = latest[(latest["result"] == PENDING) & ~latest["gap"]]
    return pending


def open_waits(latest: Array, time: int, lost_until: int, roles: Roles) -> Array:
    """The waits after these LATEST polls, see waiting(), that nothing has ended by `time`."""
    waits = np.zeros(len(latest), WAIT)
    for name in ("self", "instance", "task", "function", "tid"):
        waits[name] = latest[name]
    waits["start"] = latest["end"]
    waits["end"] = np.maximum(latest["end"], time)
    state = latest["state_after"]
    known = (state >= FIRST_SUSPEND) & (state != UNKNOWN_STATE)
    waits["state"] = np.where(known, state, 0)
    settled = roles.settled[latest["function"], np.where(known, state.astype(np.intp), NO_STATE)]
    waits["places"] = checked(settled, roles.places)
    waits["flags"] = WaitFlag.END_UNKNOWN
    waits["flags"] |= np.where(known, _WAIT_STATE, _NONE) | np.where(waits["start"] < lost_until, _AMBIGUOUS, _NONE)
    return waits
