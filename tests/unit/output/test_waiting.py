"""Waits by await and kind of task against the waits they are made of."""

from __future__ import annotations

import numpy as np
import pytest

from tests.perfetto.simulation import HANDLE, QUERY, TASK, blocks, many, simulate
from tracer.model import TASK as TASK_RECORD
from tracer.model import WAIT, Array, Spans, WaitFlag
from tracer.output.histogram import PERCENTILE_ERROR
from tracer.output.waiting import AwaitFigures, Waiting

IS_TASK = [True, False, False, False, False, False]


def summed(spans: Spans, pieces: int) -> Waiting:
    waiting = Waiting(IS_TASK)
    for block in blocks(spans, pieces):
        waiting.begin(block.begun)
        waiting.add(block.waits)
        waiting.forget(block.over)
    return waiting


def exact(lengths: np.ndarray, share: float) -> int:
    return int(np.sort(lengths)[int(np.ceil(share * len(lengths))) - 1])


def check(rows: list[AwaitFigures], waits: Array) -> None:
    assert sum(row.count for row in rows) == len(waits)
    assert [row.total for row in rows] == sorted((row.total for row in rows), reverse=True)
    for row in rows:
        mine = waits[(waits["function"] == row.function) & (waits["state"] == row.state)]
        length = mine["end"] - mine["start"]
        assert (row.count, row.total, row.longest) == (len(mine), int(length.sum()), int(length.max()))
        assert row.p50 == pytest.approx(exact(length, 0.5), rel=PERCENTILE_ERROR + 0.001)
        assert row.p99 == pytest.approx(exact(length, 0.99), rel=PERCENTILE_ERROR + 0.001)


@pytest.mark.parametrize("pieces", [1, 7])
def test_all_of_one_kind(pieces: int) -> None:
    """Tasks come and go; each wait is counted with its task while that lives."""
    spans = many(60_000, churn=7)
    waiting = summed(spans, pieces)
    check(waiting.by_await(), spans.waits)
    check(waiting.of_kind(TASK), spans.waits)
    assert all(row.kinds == (TASK,) for row in waiting.by_await())
    assert waiting.of_kind(HANDLE) == []


def tasks(*pairs: tuple[int, int]) -> Array:
    """(number, function)."""
    records = np.zeros(len(pairs), TASK_RECORD)
    records["task"], records["function"] = zip(*pairs, strict=True)
    return records


def wait(length: int, function: int, task: int, state: int = 3) -> Array:
    waits = np.zeros(1, WAIT)
    waits["end"], waits["function"], waits["task"], waits["state"] = length, function, task, state
    waits["flags"] = int(WaitFlag.STATE)
    return waits


def test_one_future_in_tasks_of_two_kinds() -> None:
    waiting = Waiting([True, True, False])
    waiting.begin(tasks((7, 0), (9, 1)))
    for length, task in ((10, 7), (500, 9), (20, 7), (40, 8), (80, 0)):
        waiting.add(wait(length, 2, task))
    (row,) = waiting.by_await()
    assert (row.count, row.total, row.longest, row.kinds) == (5, 650, 500, (1, 0))  # of task 8 nothing is known
    assert [(one.count, one.total) for one in waiting.of_kind(0)] == [(2, 30)]
    assert [(one.count, one.total) for one in waiting.of_kind(1)] == [(1, 500)]


def test_a_task_waits_as_its_own_kind() -> None:
    waiting = Waiting([True, False])
    waiting.add(wait(10, 0, 0))
    assert [row.kinds for row in waiting.by_await()] == [(0,)]
    assert len(waiting.of_kind(0)) == 1


@pytest.mark.parametrize(("flag", "longest_is_cut"), [(WaitFlag.START_UNKNOWN, False), (WaitFlag.END_UNKNOWN, True)])
def test_those_that_the_recording_cut_are_counted(flag: WaitFlag, longest_is_cut: bool) -> None:
    waiting = Waiting([True, False])
    cut = wait(50 if longest_is_cut else 30, 0, 0)
    cut["flags"] |= int(flag)
    for one in (wait(10, 0, 0), cut, wait(40, 0, 0)):
        waiting.add(one)
    (row,) = waiting.by_await()
    assert (row.count, row.cut, row.longest_is_cut) == (3, 1, longest_is_cut)


def test_an_unknown_state_is_a_row_of_its_own() -> None:
    spans = simulate()
    spans.waits["flags"][spans.waits["function"] == QUERY] = 0
    rows = [row for row in summed(spans, 2).by_await() if row.function == QUERY]
    assert [row.state for row in rows] == [None]


def test_nothing() -> None:
    waiting = Waiting([])
    waiting.add(np.empty(0, WAIT))
    assert waiting.by_await() == waiting.of_kind(0) == []
