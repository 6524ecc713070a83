"""Tasks that waited when the recording began, as memory told, until they are polled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.captures import START, busy_plan
from tests.unit.assemble.test_tasks import HEADER, PLAN, SAME, event, poll, run
from tracer.model import PARKED, Array, MemoryReading, TaskAtRest, WaitFlag

UNKNOWN = WaitFlag.START_UNKNOWN


def reading(id_: int, *, header: int = HEADER, is_last: bool = False) -> MemoryReading:
    """Memory has this one task, which waits."""
    parked = np.zeros(1, PARKED)
    parked["self"], parked["id"], parked["task"] = header, id_, TaskAtRest.WAITING
    return MemoryReading(START, 5, 0, is_last, 1, parked)


def waits(items: list[Any]) -> list[tuple[int, int, WaitFlag]]:
    """(start, end, flags), by their ends."""
    found: Array = run(items, plan=PLAN).waits
    return [(one["start"] - START, one["end"] - START, WaitFlag(int(one["flags"]))) for one in found]


def test_it_waits_until_its_first_poll() -> None:
    items = [reading(7), *poll(40, 7), *poll(60, flags=SAME)]
    assert waits(items) == [(0, 40, UNKNOWN), (50, 60, WaitFlag(0))]
    spans = run(items)
    assert spans.over["waiting"].tolist() == [50]
    assert spans.waits["instance"].tolist() == [1, 1]


def test_of_one_that_was_polled_while_memory_was_read_nothing_is_known() -> None:
    """Its spawn may not have been seen."""
    late = replace(reading(7), time=START + 35)
    assert waits([late, *poll(36, 7)]) == waits([late, *poll(20, 7)]) == []
    assert waits([late, *poll(41, 7)]) == [(0, 41, UNKNOWN)]


@pytest.mark.parametrize("id_", [8, 0])
def test_another_id_is_another_task(id_: int) -> None:
    """Without an id nobody knows."""
    assert waits([reading(id_), *poll(40, 7)]) == []


def test_only_before_the_first_of_its_polls() -> None:
    polls = [*poll(40, 7), *poll(60, 8), *poll(80, 7)]
    assert [one for one in waits([reading(7), *polls]) if one[2] & UNKNOWN] == [(0, 40, UNKNOWN)]
    assert [one for one in waits([reading(7), np.concatenate(polls)]) if one[2] & UNKNOWN] == [(0, 40, UNKNOWN)]


def test_one_that_is_never_polled_waits_to_the_end_unless_it_is_woken() -> None:
    first, last = reading(7), reading(7, is_last=True)
    resting = (0, 1000, UNKNOWN | WaitFlag.END_UNKNOWN)
    assert waits([first, last]) == [resting]
    other = poll(40, 9, header=HEADER + 0x1000)
    assert resting in waits([first, *other, last])
    assert waits([first, event(40, 900, 99, HEADER), last]) == [resting]  # nobody knows of what
    busy = busy_plan()
    woken = event(40, 900, next(one.id for one in busy.probes if one.wakes is not None), HEADER)
    assert len(run([first, last], plan=busy).waits) == 1
    assert len(run([first, woken, last], plan=busy).waits) == 0
    (wait,) = run([first, woken, *poll(60, 7)], plan=busy).waits[:1]
    assert (wait["end"] - START, wait["flags"]) == (60, UNKNOWN)
