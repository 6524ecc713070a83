"""How lives end: what tells it, on events written by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.captures import START, busy_plan
from tests.unit.assemble.test_tasks import (
    COMPLETE,
    DROP_PLAIN,
    ENTER_PLAIN,
    HEADER,
    LEAVE_PLAIN,
    LEAVE_TASK,
    PENDING,
    READY,
    SHUTDOWN,
    event,
    outcomes,
    poll,
    run,
    with_future,
)
from tracer.model import Array, EventFlag, Group, Loss, Outcome, PlanChange, PollFlag, WaitFlag

PLAN = busy_plan()
INSIDE = HEADER + 0x40
ENTER_SECOND, LEAVE_SECOND = 24, 25
IDLE, RUNNING, ABORTED = 0, 1, 4
"""Bytes of headers, as the plan's tests read them."""
ENDED = WaitFlag.CANCELLED | WaitFlag.REPLACED


def with_byte(one: Array, byte: int) -> Array:
    one = one.copy()
    one["state"], one["flags"] = byte, one["flags"] | EventFlag.STATE
    return one


def end(time: int, probe: int, self_: int = HEADER, byte: int | None = None, tid: int = 1) -> Array:
    one = event(time, 8, probe, self_, tid=tid)
    return one if byte is None else with_byte(one, byte)


def ending(time: int, *inside: Array) -> list[Array]:
    """A task poll in which the task ends."""
    entry, leave = poll(time)
    return [entry, *inside, end(time + 9, COMPLETE), leave]


def only(items: list[Any]) -> Outcome:
    ((_, _, outcome),) = outcomes(run(items, plan=PLAN))
    return outcome


def test_a_task_that_is_aborted_while_it_waits_is_cancelled() -> None:
    entry, complete, leave = ending(20)
    assert only([*with_future(0, PENDING, INSIDE), with_byte(entry, ABORTED), complete, leave]) is Outcome.CANCELLED
    spans = run([*with_future(0, PENDING, INSIDE), with_byte(entry, ABORTED), complete, leave], plan=PLAN)
    (wait,) = (wait for wait in spans.waits if wait["self"] == HEADER)
    assert (wait["start"] - START, wait["end"] - START) == (10, 20)
    assert wait["flags"] & ENDED == WaitFlag.CANCELLED
    assert [bool(one["flags"] & PollFlag.ABORTED) for one in spans.polls if one["function"] == 0] == [False, True]


def test_a_task_that_is_aborted_while_it_is_polled_is_cancelled() -> None:
    inside = with_future(0, PENDING, INSIDE)[1:-1]
    assert only(ending(0, *inside)) is Outcome.CANCELLED


AWAY = [
    PlanChange(START + 12, frozenset(), "they cost too much"),
    PlanChange(START + 18, frozenset(Group), "for some time"),
]


@pytest.mark.parametrize("before", [poll(0), poll(8)[:1]], ids=["it waited before", "it was being polled"])
def test_a_task_may_have_been_polled_while_nobody_looked(before: list[Any]) -> None:
    """A poll that began unseen, or was cut by that, may have ended it."""
    ends = [end(20, COMPLETE), poll(20)[1]]
    assert only([*before, *AWAY, *ends]) is not Outcome.CANCELLED
    assert only([*before, *ends]) is (Outcome.CANCELLED if len(before) > 1 else Outcome.ENDED)


def test_a_task_that_is_shut_down_is_cancelled() -> None:
    assert only([*poll(0), end(20, SHUTDOWN, byte=IDLE, tid=2)]) is Outcome.CANCELLED
    polled = run([*poll(0), end(20, SHUTDOWN, byte=RUNNING, tid=2)], plan=PLAN)
    assert outcomes(polled) == [(0, 1, Outcome.WAITING)]
    unread = run([*poll(0), end(20, SHUTDOWN, tid=2)], plan=PLAN)
    assert outcomes(unread) == [(0, 1, Outcome.WAITING)]


@pytest.mark.parametrize("mark", [end(30, SHUTDOWN, byte=IDLE, tid=2), end(30, COMPLETE, tid=2)])
def test_a_task_that_is_dropped_unfinished_had_waited_whatever_its_polls_told(mark: Array) -> None:
    spans = run([*poll(0), mark], plan=PLAN)
    (wait,) = spans.waits
    assert (wait["start"] - START, wait["end"] - START, wait["flags"]) == (10, 30, WaitFlag.CANCELLED)
    (task,) = spans.over
    assert (task["outcome"], task["waiting"]) == (Outcome.CANCELLED, 20)
    assert (task["last"] - START, task["until"] - START) == (10, 30)


def test_whether_it_had_waited_is_not_known_after_a_loss() -> None:
    spans = run([*poll(0), Loss(0, 1, START + 11, START + 15), end(30, SHUTDOWN, byte=IDLE, tid=2)], plan=PLAN)
    assert len(spans.waits) == 0


def test_the_wait_of_a_task_that_is_shut_down_is_of_its_own_kind() -> None:
    """What tells that a task is over does not tell which task it is."""
    polled = [event(0, 900, ENTER_SECOND, HEADER), event(10, 900, LEAVE_SECOND, flags=PENDING)]
    for last in (end(20, SHUTDOWN, byte=IDLE), end(20, COMPLETE)):
        (wait,) = run([*polled, last], plan=PLAN).waits
        assert (wait["start"] - START, wait["end"] - START, wait["flags"]) == (10, 20, WaitFlag.CANCELLED)
        assert PLAN.functions[wait["function"]].name == "task other"


def test_a_task_whose_future_is_unwound_has_panicked() -> None:
    assert only(ending(0, event(1, 800, ENTER_PLAIN, INSIDE))) is Outcome.PANICKED
    elsewhere = ending(0, event(1, 800, ENTER_PLAIN, HEADER + 0x400))
    assert only(elsewhere) is Outcome.ENDED


def test_whether_a_future_was_unwound_is_not_known_where_its_exit_may_be_lost() -> None:
    begin, *rest = ending(0, event(1, 800, ENTER_PLAIN, INSIDE))
    assert only([begin, Loss(0, 1, None, START + 2), *rest]) is Outcome.ENDED
    assert only([begin, Loss(0, 1, None, START), *rest]) is Outcome.PANICKED  # lost before it began


def test_a_task_whose_future_returned_is_finished() -> None:
    assert only(ending(0, *with_future(0, READY, INSIDE)[1:-1])) is Outcome.FINISHED


def test_a_task_that_has_not_ended_is_alive() -> None:
    """Its end would have been seen, unless events were lost since."""
    assert only(poll(0)) is Outcome.WAITING
    assert only(poll(0)[:1]) is Outcome.RUNNING
    assert only([*poll(0), Loss(0, 1, None, START + 50)]) is Outcome.UNKNOWN


def test_how_a_task_ended_is_not_known_after_a_loss() -> None:
    waiting = with_future(0, PENDING, INSIDE)
    lost = Loss(0, 1, START + 11, START + 15)
    assert only([*waiting, end(20, COMPLETE)]) is Outcome.CANCELLED
    assert only([*waiting, lost, end(20, COMPLETE)]) is Outcome.ENDED


def test_after_its_end_another_task_has_the_header() -> None:
    spans = run([*ending(0), *poll(20)], plan=PLAN)
    assert outcomes(spans) == [(0, 1, Outcome.ENDED), (0, 1, Outcome.WAITING)]
    assert len(spans.waits) == 0


def future(time: int, result: int = PENDING, self_: int = INSIDE) -> list[Array]:
    return [event(time, 800, ENTER_PLAIN, self_), event(time + 10, 800, LEAVE_PLAIN, flags=result)]


@pytest.mark.parametrize("state", [None, 3, 7])
def test_a_wait_ends_where_its_future_is_dropped(state: int | None) -> None:
    spans = run([*future(0), end(30, DROP_PLAIN, INSIDE, state, tid=2), *future(60)], plan=PLAN)
    first, second = spans.waits
    told = WaitFlag.CANCELLED | (WaitFlag.STATE if state else 0)
    assert (first["start"] - START, first["end"] - START, first["flags"]) == (10, 30, told)
    assert (first["instance"], first["state"], first["tid"]) == (1, state or 0, 2)
    assert second["flags"] == WaitFlag.END_UNKNOWN
    assert spans.polls["instance"].tolist() == [1, 2]


@pytest.mark.parametrize(("result", "state"), [(READY, 1), (READY, None), (0, None), (PENDING, 1), (PENDING, 2)])
def test_what_did_not_wait_is_not_cancelled(result: int, state: int | None) -> None:
    spans = run([*future(0, result), end(30, DROP_PLAIN, INSIDE, state), *future(60, READY)], plan=PLAN)
    assert len(spans.waits) == 0
    assert spans.polls["instance"].tolist() == [1, 2]


def test_the_drop_of_what_was_never_polled_says_nothing() -> None:
    spans = run([end(0, DROP_PLAIN, INSIDE, 0), *future(10, READY), end(30, DROP_PLAIN, INSIDE, 1)], plan=PLAN)
    assert (len(spans.waits), spans.polls["instance"].tolist()) == (0, [1])


def test_a_wait_without_a_drop_ends_when_another_has_the_address() -> None:
    again = [with_byte(event(60, 800, ENTER_PLAIN, INSIDE), 0), event(70, 800, LEAVE_PLAIN, flags=READY)]
    spans = run([*future(0), *again], plan=PLAN)
    (wait,) = spans.waits
    assert (wait["start"] - START, wait["end"] - START, wait["flags"], wait["instance"]) == (10, 60, ENDED, 1)


def test_the_poll_of_a_task_goes_on_after_its_end() -> None:
    spans = run([*ending(0)[:-1], event(50, 900, LEAVE_TASK)], plan=PLAN)
    assert [int(one["end"]) - START for one in spans.polls] == [50]


def test_what_has_the_memory_of_a_task_after_it_says_nothing_of_it() -> None:
    """A job of the runtime that is no task, at the same address, while the task's last poll has not returned yet."""
    first, complete, leave = ending(0)
    done, other = with_byte(complete, IDLE), end(20, COMPLETE, byte=2, tid=2)
    shut = end(21, SHUTDOWN, byte=IDLE, tid=2)
    assert only([first, done, other, shut, leave]) is Outcome.FINISHED
    assert only([np.concatenate([first, done, other, shut, leave])]) is Outcome.FINISHED
