"""Cancelled work: how much of it, how fast, and whether it had got anywhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.output.findings.made import QUERY, ROW, START, found, poll, rules, spans, task, wait
from tracer.model import TASK as TASK_RECORD
from tracer.model import Finding, Outcome, PollFlag, Severity, Spans, WaitFlag

PENDING = int(PollFlag.RESULT | PollFlag.PENDING | PollFlag.STATE)
READY = int(PollFlag.RESULT)
CANCELLED = int(WaitFlag.CANCELLED)


def storm(cancelled: int, finished: int = 0, seconds: float = 0.9, later: bool = True) -> Spans:
    """Tasks that end in so many seconds; later: others begin after that."""
    over = [
        task(number, 100, 1000 + 1000 * seconds * number / cancelled, outcome=Outcome.CANCELLED)
        for number in range(1, cancelled + 1)
    ]
    over += [task(1000 + number, 100, 1500, outcome=Outcome.FINISHED) for number in range(finished)]
    begun = [task(5000, 8000 if later else 500)]
    return spans(begun=begun, over=over)


def test_a_storm_of_tasks() -> None:
    (one,) = found(storm(60, 20))
    assert (one.rule, one.severity) == ("cancel-storm", Severity.WARNING)
    assert (one.evidence["cancelled"], one.evidence["finished"]) == (60, 20)
    assert one.evidence["share_cancelled"] == 0.75
    assert one.evidence["cancelled_per_second"] == pytest.approx(60, abs=1)
    assert (one.function, str(one.where)) == ("task echo::conn::handle", "src/conn.rs:12")
    assert START + 900_000_000 < one.time < START + 1_200_000_000
    assert one.time + one.duration <= START + 2_200_000_000


@pytest.mark.parametrize(
    ("made", "is_found"),
    [
        (storm(49), False),
        (storm(50), True),
        (storm(60, 60), True),
        (storm(60, 61), False),
        (storm(100, seconds=1.9), True),
        (storm(100, seconds=4), False),
        (storm(100, later=False), False),  # the program was ending
    ],
)
def test_thresholds_of_a_storm(made: Spans, is_found: bool) -> None:
    assert rules(found(made)) == (["cancel-storm"] if is_found else [])


def test_tasks_of_which_none_is_meant_to_end_are_told_mildly() -> None:
    assert [one.severity for one in found(storm(60))] == [Severity.INFO]


def rounds(
    cancelled: int,
    tasks: int = 1,
    finished: int = 0,
    first: int = 3,
    last: int = 4,
    child: bool = False,
    fast: bool = False,
) -> Spans:
    """`query` begins, suspends in state `first`, and is dropped in state `last`.  child: what it awaited was done."""
    polls, waits = [], []
    apart = 2 if fast else 30
    for number in range(cancelled + finished):
        at, whose, instance = 100 + apart * number, 1 + number % tasks, 100 + number
        begin = poll(at, 0.1, whose, function=QUERY, depth=1, instance=instance, flags=PENDING)
        begin["state"], begin["state_after"] = 0, first
        polls.append(begin)
        if child:
            row = poll(at + 0.02, 0.02, whose, function=ROW, depth=2, instance=10_000 + instance, flags=PENDING)
            done = poll(at + 1, 0.02, whose, function=ROW, depth=2, instance=10_000 + instance, flags=READY)
            row["parent"] = done["parent"] = instance
            polls += [row, done]
        if number < finished:
            end = poll(at + 1.2, 0.05, whose, function=QUERY, depth=1, instance=instance, flags=READY)
            end["state_after"] = 1
            polls.append(end)
        else:
            waits.append(wait(at + 0.1, None, at + 1.5, whose, 0, 4243, CANCELLED, QUERY, last, instance))
    over = [task(number, 50, polls=10) for number in range(1, tasks + 1)]
    return spans(polls, waits, over, [task(5000, 9000)])


def always(*parts: Spans) -> list[Finding]:
    return [one for one in found(*parts) if one.rule == "select-cancelled"]


def test_a_branch_that_never_ends() -> None:
    (one,) = always(rounds(40))
    assert (one.function, str(one.where)) == ("echo::db::query", "src/db.rs:77")
    assert (one.evidence["cancelled"], one.evidence["past_an_await"], one.evidence["tasks"]) == (40, 40, 1)
    assert one.task == 1
    assert one.time == START + 100_100_000 + 39 * 30_000_000


@pytest.mark.parametrize(
    ("made", "is_found"),
    [
        (rounds(19), False),
        (rounds(20), True),
        (rounds(40, tasks=8), True),
        (rounds(40, tasks=9), False),
        (rounds(50, finished=1), True),
        (rounds(49, finished=1), False),
        (rounds(40, last=3), False),  # it only waits: for a signal to stop, say
        (rounds(40, first=5, last=5), False),  # the order of the states is not that of the awaits
        (rounds(40, last=3, child=True), True),  # around a loop, at the same await
    ],
)
def test_thresholds_of_a_branch(made: Spans, is_found: bool) -> None:
    assert bool(always(made)) is is_found


def test_a_storm_of_futures_that_sometimes_finish() -> None:
    made = rounds(60, finished=20, fast=True)
    (one,) = found(made)
    assert one.rule == "cancel-storm"
    assert "futures db::query" in one.title
    assert not found(rounds(60, finished=20, last=3, fast=True))


def test_futures_need_no_task_that_begins_to_be_known_to_go_on() -> None:
    """A server's connections were there before the recording."""
    made = replace(rounds(60, finished=20, fast=True), begun=np.empty(0, TASK_RECORD))
    assert rules(found(made)) == ["cancel-storm"]


def test_one_that_all_but_never_ends_is_told_once_and_how_often_it_did() -> None:
    (one,) = found(rounds(1000, finished=2, fast=True))
    assert one.rule == "select-cancelled"
    assert one.title == "db::query began 1,002 times and was dropped 1,000 times before its end"
    assert one.evidence["finished"] == 2


def test_lost_events_may_have_been_ends() -> None:
    assert not found(rounds(40), lost=1)
    assert not found(storm(60), lost=1)
