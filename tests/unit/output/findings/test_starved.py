"""Starved tasks: how long they must have been ready, and which poll is blamed."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.output.findings.made import MS, QUERY, START, WORKERS, found, poll, rules, spans, summary_of, task, wait
from tracer.model import Outcome, PollFlag, Severity, Spans


def quick() -> list[np.void]:
    """Waits that were ready for 20 µs."""
    return [wait(number, number + 0.5, number + 0.52, task=2) for number in range(500)]


def hogs(*starts: float, length: float = 60, tid: int = WORKERS[0]) -> list[np.void]:
    """Polls of task 1 by `query`, and short ones of another task on another thread."""
    short = [poll(number, 0.1, task=2, tid=WORKERS[1]) for number in range(500)]
    return short + [
        made for start in starts for made in (poll(start, length, 1, tid, QUERY, 1, 900), poll(start, length, 1, tid))
    ]


def run(*starved: np.void, hog: float = 60) -> list[Spans]:
    return [spans(hogs(100, 300, 500, length=hog), [*quick(), *starved])]


def test_the_poll_in_the_way_is_named() -> None:
    delays = [wait(90, 110, 160, task=5), wait(280, 302, 360, task=6), wait(480, 505, 560, task=5)]
    one = next(one for one in found(*run(*delays)) if one.rule == "starved-tasks")
    assert (one.function, str(one.where)) == ("echo::db::query", "src/db.rs:77")
    assert (one.time, one.duration, one.tid, one.task) == (START + 300_000_000, 60_000_000, WORKERS[0], 1)
    assert (one.evidence["longest_ns"], one.evidence["times"], one.evidence["starved_task"]) == (58_000_000, 3, 6)
    assert one.evidence["starved"] == "task echo::conn::handle"
    assert one.severity is Severity.WARNING
    assert "up to 58.0 ms for a poll of db::query, 3 times" in one.title


def test_that_it_may_have_been_what_that_poll_polled_is_said() -> None:
    polls = hogs(100, 500, 900, length=300)
    for row in polls:
        if row["function"] == QUERY:
            row["end"], row["flags"] = row["start"], row["flags"] | int(PollFlag.INFERRED_END)
    delays = [wait(start - 10, start + 20, start + 300, task=5) for start in (100, 500, 900)]
    one = next(one for one in found(spans(polls, [*quick(), *delays])) if one.rule == "starved-tasks")
    assert (one.function, one.evidence["perhaps_in"]) == ("task echo::conn::handle", "echo::db::query")
    assert "for a poll of conn::handle (perhaps in db::query: its exit was not seen), 3 times" in one.title


@pytest.mark.parametrize(("ready", "is_found"), [(9, False), (11, True)])
def test_ten_milliseconds_are_long(ready: float, is_found: bool) -> None:
    delays = [wait(start - 10, start + 60 - ready, start + 60, task=5) for start in (100, 300)]
    assert ("starved-tasks" in rules(found(*run(*delays)))) is is_found


@pytest.mark.parametrize(("since", "is_found"), [(35, False), (45, True)])
def test_half_of_the_delay_must_be_that_polls(since: float, is_found: bool) -> None:
    """Else what it waited for is not known."""
    delays = [wait(1, start - (105 - since), start + 60, task=5) for start in (200, 400)]
    assert ("starved-tasks" in rules(found(spans(hogs(200, 400), quick() + delays)))) is is_found


def test_once_is_not_enough() -> None:
    assert "starved-tasks" not in rules(found(*run(wait(90, 110, 160, task=5))))


def test_being_polled_oneself_is_not_being_starved() -> None:
    """Woken while it was polled it is ready only after that."""
    own = [wait(start + 60, start + 5, start + 60.02, task=1, by=1) for start in (100, 300)]
    assert "starved-tasks" not in rules(found(*run(*own)))


def test_what_is_usual_in_this_run_is_not_starving() -> None:
    slow = [wait(number, number + 0.1, number + 8.1, task=2) for number in range(500)]
    delays = [wait(90, 110, 160, task=5), wait(280, 302, 360, task=6)]
    assert "starved-tasks" not in rules(found(spans(hogs(100, 300, 500), slow + delays)))


def test_the_poll_may_be_told_later() -> None:
    """On another thread it can last longer than the wait."""
    delays = [wait(90, 110, 140, task=5, tid=WORKERS[1]), wait(290, 310, 340, task=5, tid=WORKERS[1])]
    parts = spans(waits=[*quick(), *delays]), spans(hogs(100, 300))
    assert "starved-tasks" in rules(found(*parts))


def habit(polls: int = 300, length: float = 30, delays: int = 30, ready: float = 25, usual: float = 0.1) -> Spans:
    """Polls of `query` that are all that long, so many tasks ready for so long behind them, and others not at all."""
    long = [made for number in range(polls) for made in nest(33 * number, length)]
    behind = [wait(33 * at - 5, 33 * at + length - ready, 33 * at + length, task=5) for at in range(delays)]
    others = [wait(33 * at - 1, 33 * at - usual, 33 * at, task=1) for at in range(delays, polls)]
    return spans(long, behind + others)


def nest(start: float, length: float, tid: int = WORKERS[0]) -> tuple[np.void, np.void]:
    """A poll of task 1 by `query`, all of it on a CPU."""
    inner, outer = poll(start, length, 1, tid, QUERY, 1, 900), poll(start, length, 1, tid)
    for row in (inner, outer):
        row["flags"] |= int(PollFlag.SCHEDULED)
    return inner, outer


@pytest.mark.parametrize(
    ("made", "is_found"),
    [
        (habit(), True),
        (habit(delays=28, ready=14), False),  # 20 ms are long for so few
        (habit(delays=32, ready=14), True),
        (habit(delays=32, ready=8), False),
        (habit(delays=11), True),
        (habit(delays=9), False),
        (habit(polls=60, delays=9), False),
        (habit(length=9, delays=300, ready=17), False),  # the polls are not long
    ],
)
def test_that_all_polls_are_long_is_no_excuse_where_tasks_wait_for_them(made: Spans, is_found: bool) -> None:
    """The usual poll takes 30 ms, so that none is ten times as long; but tasks are ready for long behind them."""
    assert rules(found(made)) == (["long-poll", "starved-tasks"] if is_found else [])


@pytest.mark.parametrize(("length", "is_found"), [(9, False), (11, True)])
def test_the_polls_that_they_wait_for_must_be_long_themselves(length: float, is_found: bool) -> None:
    """Others of that function are, for which nobody waits."""
    starts = (33 * number + 15 for number in range(300))
    others = spans([made for at in starts for made in nest(at, 15, WORKERS[1])])
    assert ("starved-tasks" in rules(found(habit(length=length, delays=300, ready=12), others))) is is_found


def test_a_habit_is_told_with_its_longest_and_all_others() -> None:
    starving = next(one for one in found(habit()) if one.rule == "starved-tasks")
    long = next(one for one in found(habit()) if one.rule == "long-poll")
    assert (starving.evidence["times"], starving.evidence["limit_ns"]) == (30, 10_000_000)
    assert (long.evidence["polls"], long.evidence["limit_ns"]) == (300, 10_000_000)
    assert long.evidence["run_median_ns"] == pytest.approx(30_000_000, rel=0.06)


@pytest.mark.parametrize(("times", "ready", "is_found"), [(1, 50, False), (2, 9, False), (2, 11, True), (2, 50, True)])
def test_new_tasks_are_ready_from_their_spawn_on(times: int, ready: float, is_found: bool) -> None:
    """They have had no wake."""
    born = [
        task(50 + number, 160 + 200 * number, spawned=160 + 200 * number - ready, outcome=Outcome.WAITING)
        for number in range(times)
    ]
    findings = found(spans(hogs(100, 300, 500), quick(), begun=born))
    assert ("starved-tasks" in rules(findings)) is is_found
    for one in findings:
        if one.rule == "starved-tasks":
            assert (one.evidence["longest_ns"], one.evidence["times"]) == (round(ready * MS), times)
            assert one.evidence["starved_task"] in {50, 51}


def test_without_wakes_it_is_not_judged() -> None:
    delays = [wait(90, 110, 160, task=5), wait(280, 302, 360, task=6)]
    summary = summary_of(*run(*delays), wakes=False)
    assert "starved-tasks" not in rules(summary.findings)
    unjudged = {one["rule"]: one["why"] for one in summary.as_json()["rules_not_judged"]}
    assert unjudged["starved-tasks"] == unjudged["busy-loop"] == "wakes were not probed"
    assert "long-poll" not in unjudged
