"""Which of a plan's places are in certain futures, and at which places something waits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tracer.model import Array, Layout, Plan


def numbers_of(waits: Array) -> npt.NDArray[np.uint16]:
    """Shape (waits, 4): the numbers of the places of each (dtype WAIT); 0: none."""
    return np.ascontiguousarray(waits["places"], "<u8").view("<u2").reshape(-1, 4)


def inside(plan: Plan, is_one: Callable[[Layout], bool]) -> npt.NDArray[np.bool_]:
    """By number, whether the place is that of such a future, or below one."""
    found = [False]
    for place in plan.places:
        layout = plan.layouts[place.layout] if place.layout is not None else None
        found.append((layout is not None and is_one(layout)) or found[place.parent])
    return np.array(found)
