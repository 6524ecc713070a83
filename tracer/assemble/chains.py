"""Where polls had been waiting below their own future: by the records that tell it, else by the state alone.

A record stands before the entry that it belongs to, with its thread, time and `self`; other threads' events
may stand between, or the end of a block.  A poll whose record is missing waited somewhere that is not known.
Numbers of places are packed into 64 bits, 16 each, the lowest first; 0: none.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from tracer.assemble.columns import joined, pick
from tracer.assemble.sorting import stable_order
from tracer.assemble.state import Indexes, Unsigned
from tracer.model import CHAIN_RECORD, FIRST_SUSPEND, Array, FunctionKind, LayoutKind, Plan

NO_STATE = 256
_BRANCHES = 4
_BITS = 16


@dataclass(frozen=True, slots=True)
class Walked:
    """hits: the events without the records (dtype EVENT).  places: of each hit; None: nothing is told.

    records: those whose entry is still to come.
    """

    hits: Array
    places: Unsigned | None
    records: Array


def take_chains(events: Array, earlier: Array) -> Walked:
    """earlier: the records left over from earlier blocks, dtype EVENT."""
    is_record = events["probe"] == CHAIN_RECORD
    if not len(earlier) and not is_record.any():
        return Walked(events, None, earlier)
    if len(earlier):
        events = joined(earlier, events)
        is_record = events["probe"] == CHAIN_RECORD
    places = np.zeros(len(events), np.uint64)
    at = np.flatnonzero(is_record)
    beside = at[:-1] if at[-1] == len(events) - 1 else at
    beside = beside[events["tid"][beside] == events["tid"][beside + 1]]
    _give(places, events, beside, beside + 1)
    left = np.ones(len(events), np.bool_)
    left[beside] = False
    waiting = at[left[at]]
    if len(waiting):
        order = stable_order(events["tid"].astype(np.uint64))
        position = np.empty(len(order), np.intp)
        position[order] = np.arange(len(order))
        after = position[waiting] + 1
        following = order[np.minimum(after, len(order) - 1)]
        has = (after < len(order)) & (events["tid"][following] == events["tid"][waiting])
        _give(places, events, waiting[has], following[has])
        waiting = waiting[~has]
    hits = ~is_record
    return Walked(pick(events, hits), places[hits], events.take(waiting))


def _give(places: Unsigned, events: Array, records: Indexes, entries: Indexes) -> None:
    """Tell the places of records to those of the events after them that are meant, in place."""
    meant = (events["time"][records] == events["time"][entries]) & (events["self"][records] == events["self"][entries])
    places[entries[meant]] = events["sp"][records[meant]]


def settled_places(plan: Plan) -> Unsigned:
    """Shape (functions, 257): the places where a poll waits that begins with this state (NO_STATE: not known), as far
    down as the state alone tells."""
    settled = np.zeros((len(plan.functions), NO_STATE + 1), np.uint64)
    below: dict[int, list[int]] = defaultdict(list)
    for number, place in enumerate(plan.places, 1):
        below[place.parent].append(number)
    for root in below[0]:
        place = plan.places[root - 1]
        assert place.layout is not None
        if plan.functions[place.function].kind is FunctionKind.TASK:
            continue
        if plan.layouts[place.layout].kind is not LayoutKind.COROUTINE:
            settled[place.function] = _packed(_ends(plan, below, root))
            continue
        of_state: dict[int, list[int]] = defaultdict(list)
        for number in below[root]:
            state = plan.places[number - 1].state
            if state is not None and FIRST_SUSPEND <= state < NO_STATE:
                of_state[state].append(number)
        for state, numbers in of_state.items():
            ends = [_ends(plan, below, number) for number in numbers]
            settled[place.function, state] = _packed(
                [one for several in ends for one in several] if all(ends) else numbers
            )
    return settled


def _ends(plan: Plan, below: dict[int, list[int]], number: int) -> list[int]:
    """Where a walk from this place ends if it need not read anything; else []."""
    layout = plan.places[number - 1].layout
    if not below[number]:
        return [number]
    if layout is not None and plan.layouts[layout].discriminant_offset is not None:
        return []
    ends = [_ends(plan, below, one) for one in below[number]]
    return [one for several in ends for one in several] if all(ends) else []


def _packed(numbers: list[int]) -> int:
    return sum(number << _BITS * place for place, number in enumerate(numbers[:_BRANCHES]))


def checked(places: Unsigned, count: int) -> Unsigned:
    """Without the numbers that are none of the plan's `count` places."""
    numbers = np.ascontiguousarray(places, "<u8").view("<u2")
    return np.where(numbers <= count, numbers, np.uint16(0)).astype("<u2").view(np.uint64)
