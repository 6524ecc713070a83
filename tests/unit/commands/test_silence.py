"""Whether memory tells why a process that worked sent nothing: its tasks were there, and nobody polled them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.captures import START, busy_plan
from tracer.commands.silence import tasks_left_alone
from tracer.model import PARKED, FunctionKind, MemoryReading, TaskAtRest

PLAN = busy_plan()
TASK = next(number for number, one in enumerate(PLAN.functions) if one.kind is FunctionKind.TASK)
FUTURE = next(number for number, one in enumerate(PLAN.functions) if one.kind is FunctionKind.COROUTINE)
WAITING, READY, RUNNING = TaskAtRest.WAITING, TaskAtRest.READY, TaskAtRest.RUNNING
Row = tuple[int, int, int, int, int, int, int]
"""As PARKED has it."""
OTHER: Row = 0xB00, 8, 3, TASK, 0, 0, WAITING


def row(did: TaskAtRest, places: int = 0, *, id_: int = 7) -> Row:
    return 0xA00, id_, places, TASK, 0, 0, did


def reading(*rows: Row, is_last: bool = False) -> MemoryReading:
    return MemoryReading(START, 5, 0, is_last, len(rows), np.array(list(rows), PARKED))


def alone(first: list[Row], last: list[Row]) -> int:
    return tasks_left_alone([reading(*first)], [reading(*last, is_last=True)], PLAN)


@pytest.mark.parametrize("state", list(TaskAtRest))
def test_what_is_where_it_was_was_not_polled(state: TaskAtRest) -> None:
    assert alone([row(state, 4), OTHER], [OTHER, row(state, 4)]) == 2


def test_what_was_woken_and_what_is_new_was_not_polled_yet() -> None:
    assert alone([row(WAITING, 4)], [row(READY, 4)]) == 1
    assert alone([OTHER], [OTHER, row(READY)]) == 2
    assert tasks_left_alone([], [reading(row(READY, 9), is_last=True)], PLAN) == 1


def test_the_futures_in_tasks_are_not_counted() -> None:
    inside = 0xA40, 7, 0, FUTURE, 0, 4, WAITING
    assert alone([row(WAITING), inside], [row(WAITING), inside]) == 1
    assert alone([row(WAITING), inside], [row(WAITING), (*inside[:5], 5, WAITING)]) == 0


@pytest.mark.parametrize(
    "last", [[], [row(WAITING, 5)], [row(RUNNING, 4)], [row(WAITING, 4, id_=9)]], ids=["gone", "place", "runs", "id"]
)
def test_where_one_was_polled_probes_should_have_told(last: list[Row]) -> None:
    assert alone([row(WAITING, 4), OTHER], [OTHER, *last]) == 0
    assert alone([OTHER], [OTHER, row(WAITING, 4)]) == 0  # a new one has run


def test_of_a_process_that_ended_the_begin_tells() -> None:
    assert tasks_left_alone([reading(row(WAITING))], [], PLAN) == 1
    assert tasks_left_alone([], [], PLAN) == 0
