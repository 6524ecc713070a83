"""Where polls had been waiting below their own future, as far as the state alone tells.

Numbers of places are packed into 64 bits, 16 each, the lowest first; 0: none.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from tracer.assemble.arrays import Unsigned
from tracer.model import FIRST_SUSPEND, FunctionKind, LayoutKind, Plan

NO_STATE = 256
_BRANCHES = 4
_BITS = 16


def settled_places(plan: Plan) -> Unsigned:
    """Shape (functions, 257): the places where a poll waits that begins with this state (NO_STATE: not known), as far
    down as the state alone tells."""
    settled = np.zeros((len(plan.functions), NO_STATE + 1), np.uint64)
    below: dict[int, list[int]] = defaultdict(list)
    for number, place in enumerate(plan.places, 1):
        below[place.parent].append(number)
    ends = _ends(plan, below)
    for root in below[0]:
        place = plan.places[root - 1]
        assert place.layout is not None
        if plan.functions[place.function].kind is FunctionKind.TASK:
            continue
        if plan.layouts[place.layout].kind is not LayoutKind.COROUTINE:
            settled[place.function] = _packed(ends[root])
            continue
        of_state: dict[int, list[int]] = defaultdict(list)
        for number in below[root]:
            state = plan.places[number - 1].state
            if state is not None and FIRST_SUSPEND <= state < NO_STATE:
                of_state[state].append(number)
        for state, numbers in of_state.items():
            settled[place.function, state] = _packed(_joined([ends[number] for number in numbers]) or numbers)
    return settled


def _ends(plan: Plan, below: dict[int, list[int]]) -> list[list[int]]:
    """By place: where a walk from there ends if it need not read anything; else [].  No more than can be packed."""
    ends: list[list[int]] = [[] for _ in range(len(plan.places) + 1)]
    for number in range(len(plan.places), 0, -1):  # each comes after the one above it
        layout = plan.places[number - 1].layout
        if not below[number]:
            ends[number] = [number]
        elif layout is None or plan.layouts[layout].discriminant_offset is None:
            ends[number] = _joined([ends[one] for one in below[number]])
    return ends


def _joined(ends: list[list[int]]) -> list[int]:
    """[]: some walk has to read."""
    return [one for several in ends for one in several][:_BRANCHES] if all(ends) else []


def _packed(numbers: list[int]) -> int:
    return sum(number << _BITS * place for place, number in enumerate(numbers[:_BRANCHES]))


def checked(places: Unsigned, count: int) -> Unsigned:
    """Without the numbers that are none of the plan's `count` places."""
    if not places.any():
        return places
    numbers = np.ascontiguousarray(places, "<u8").view("<u2")
    return np.where(numbers <= count, numbers, np.uint16(0)).astype("<u2").view(np.uint64)
