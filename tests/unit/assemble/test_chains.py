"""Places below each other, as captures of somebody else's may have them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.captures import busy_plan
from tracer.assemble.chains import NO_STATE, settled_places
from tracer.capture.layouts import read_places, write_place
from tracer.model import FunctionKind, Layout, LayoutKind, Place, Source

DEPTH = 5000


def test_a_walk_that_reads_nothing_may_be_of_any_depth() -> None:
    plan = busy_plan()
    function = next(n for n, one in enumerate(plan.functions) if one.kind is not FunctionKind.TASK)
    places = tuple(Place(number, function, 0, None, False) for number in range(DEPTH))
    settled = settled_places(replace(plan, layouts=(Layout("A", LayoutKind.FUTURE, Source.DWARF, 8),), places=places))
    assert np.array_equal(settled[function], np.full(NO_STATE + 1, DEPTH, np.uint64))


def test_what_is_polled_has_a_layout() -> None:
    with pytest.raises(ValueError, match="no layout"):
        read_places([write_place(Place(0, 0, None, None, False))], 1, 1)
