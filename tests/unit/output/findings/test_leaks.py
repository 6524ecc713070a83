"""Leaks: how steadily they must grow, and what tells a task's futures from tasks that become more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.captures import plan_of
from tests.unit.output.findings.made import (
    HANDLE,
    QUERY,
    START,
    found,
    poll,
    recording,
    rules,
    spans,
    summary_of,
    task,
    wait,
)
from tracer.model import (
    WAIT,
    AwaitPoint,
    CaptureEnd,
    Finding,
    Layout,
    LayoutEdge,
    LayoutKind,
    Outcome,
    PollFlag,
    Source,
    SourceLocation,
    Spans,
    Tally,
    WaitFlag,
)
from tracer.output.summary import Summary

READY = int(PollFlag.RESULT)
OPEN = int(WaitFlag.END_UNKNOWN)
CANCELLED = int(WaitFlag.CANCELLED)


def tasks(times: list[float], ended: int = 0, *, spawned: bool = True) -> Spans:
    """Tasks that began at these times (ms); so many of them ended a moment later."""
    begun = [task(number, at, spawned=at - 0.1 if spawned else None) for number, at in enumerate(times, 1)]
    over = [
        task(number, at, at + 50, outcome=Outcome.FINISHED if number <= ended else Outcome.WAITING)
        for number, at in enumerate(times, 1)
    ]
    return spans(waits=[wait(times[-1], None, 10_000, len(times), flags=OPEN)], begun=begun, over=over)


def evenly(count: int, begin: float = 100, end: float = 9900) -> list[float]:
    return [float(at) for at in np.linspace(begin, end, count)]


def test_tasks_that_become_more() -> None:
    (one,) = found(tasks(evenly(40)))
    assert one.rule == "task-leak"
    assert (one.evidence["begun"], one.evidence["ended"], one.evidence["growth"]) == (40, 0, 40)
    assert one.evidence["growth_per_second"] == 4
    assert (one.function, str(one.where)) == ("task echo::conn::handle", "src/conn.rs:12")
    assert (one.time, one.duration, one.task) == (START + 9_900_000_000, 100_000_000, 40)


def test_the_longest_wait_is_the_example() -> None:
    """However the waits that are still open come in: this one before, after and beside others."""
    made = tasks(evenly(40))
    others = [wait(at, None, 10_000, number, flags=OPEN) for number, at in enumerate((300, 100, 200), 1)]
    ended_sooner = wait(50, None, 5_000, 9, flags=OPEN)
    parts = [[[one] for one in (*others, ended_sooner)], [[one] for one in reversed(others)], [others]]
    for waits in parts:
        (one,) = found(replace(made, waits=np.empty(0, WAIT)), *(spans(waits=part) for part in waits))
        assert (one.time, one.task) == (START + 100_000_000, 2)


def test_tasks_that_waited_since_before_were_not_born() -> None:
    """Memory at the begin knew them; their first polls come one by one, as of those that wait for one lock."""
    made = tasks(evenly(40), spawned=False)
    assert "task-leak" in rules(found(made))
    unseen = [wait(0, None, at, number, flags=int(WaitFlag.START_UNKNOWN)) for number, at in enumerate(evenly(40), 1)]
    assert "task-leak" not in rules(found(replace(made, waits=spans(waits=unseen).waits)))


@pytest.mark.parametrize(
    ("made", "is_found"),
    [
        (tasks(evenly(19)), False),
        (tasks(evenly(20)), True),
        (tasks(evenly(40, end=7000)), False),  # none any more in the last quarter
        (tasks([*evenly(36, end=7400), *evenly(4, 7600)]), True),
        (tasks([*evenly(37, end=7400), *evenly(3, 7600)]), False),
        (tasks(evenly(400), ended=40), True),
        (tasks([*evenly(40, 2600), *evenly(4, 2600, 2700)], ended=0), True),
        (tasks(evenly(40), ended=20), False),
    ],
)
def test_thresholds_of_tasks(made: Spans, is_found: bool) -> None:
    assert rules(found(made)) == (["task-leak"] if is_found else [])


def test_tasks_that_were_there_before_are_no_growth() -> None:
    there = [task(number, 0) for number in range(100, 400)]
    grown = tasks(evenly(40))
    made = spans(begun=[*grown.begun, *there], over=[*grown.over, *there])
    (one,) = found(made)
    assert one.evidence["growth"] == 40


def test_a_short_run_tells_nothing() -> None:
    for length, is_found in ((900, False), (1100, True)):
        summary = Summary(recording())
        summary.spans(tasks(evenly(40, 10, length - 10)))
        summary.close(Tally(), CaptureEnd(START + length * 1_000_000, "over", 1, 0))
        assert bool(summary.findings) is is_found


def test_lost_events_may_have_been_ends() -> None:
    assert not found(tasks(evenly(40)), lost=1)


def futures(
    count: int, tasks_of: int = 1, ended: int = 0, dropped: int = 0, function: int = QUERY, known: bool = True
) -> Spans:
    """Futures that are polled once each; some end in a second poll, some are dropped."""
    times = evenly(count)
    flags = READY | int(PollFlag.PENDING) if known else 0
    polls, waits = [], []
    for number, at in enumerate(times):
        whose, instance = 1 + number % tasks_of, 100 + number
        polls.append(poll(at, 0.05, whose, function=function, depth=1, instance=instance, flags=flags))
        if number < ended:
            polls.append(poll(at + 1, 0.05, whose, function=function, depth=1, instance=instance, flags=READY))
        elif number < ended + dropped:
            waits.append(wait(at + 0.05, None, at + 1, whose, flags=CANCELLED, function=function, instance=instance))
    over = [task(number, 10, polls=count) for number in range(1, tasks_of + 1)]
    return spans(polls, waits, over)


def leaked(*parts: Spans) -> list[Finding]:
    return [one for one in found(*parts) if one.rule == "future-leak"]


def test_futures_that_one_task_collects() -> None:
    (one,) = leaked(futures(40))
    assert (one.function, str(one.where)) == ("echo::db::query", "src/db.rs:77")
    assert (one.evidence["growth"], one.evidence["in_one_task"]) == (40, 40)


@pytest.mark.parametrize(
    ("made", "is_found"),
    [
        (futures(19), False),
        (futures(20), True),
        (futures(40, tasks_of=2), True),
        (futures(40, tasks_of=3), False),  # it is the tasks that become more
        (futures(400, ended=36), True),
        (futures(40, ended=30), False),
        (futures(40, dropped=30), False),
        (futures(40, known=False), False),  # nobody sees their ends
    ],
)
def test_thresholds_of_futures(made: Spans, is_found: bool) -> None:
    assert bool(leaked(made)) is is_found


def test_futures_of_tasks_that_are_over_are_none() -> None:
    made = futures(40)
    made.over["outcome"] = Outcome.FINISHED
    assert not leaked(made)


def test_of_futures_inside_each_other_the_users_own_are_told() -> None:
    made = recording()
    functions = list(made.plan.functions)
    place = SourceLocation("/srv/b/.cargo/registry/src/x/tokio-1.0/src/lib.rs", 1)
    functions[QUERY] = replace(functions[QUERY], location=place)
    made = replace(made, plan=replace(made.plan, functions=tuple(functions)))
    both = futures(40), futures(40, function=HANDLE)
    both[1].polls["instance"] += 1000
    told = [one.function for one in summary_of(*both, of=made).findings if one.rule == "future-leak"]
    assert told == ["echo::conn::handle"]
    told = [one.function for one in summary_of(both[0], of=made).findings if one.rule == "future-leak"]
    assert told == ["echo::db::query"]


@pytest.mark.parametrize("askers", [1, 2])
def test_of_a_librarys_futures_the_users_own_await_is_told_if_there_is_one(askers: int) -> None:
    made = recording()
    library = SourceLocation("/srv/b/.cargo/registry/src/x/tokio-1.0/src/sync/oneshot.rs", 1)
    answer = Layout("oneshot::Receiver", LayoutKind.FUTURE, Source.DWARF, 8)
    asks = [
        Layout(
            f"app::ask_{number}", LayoutKind.COROUTINE, Source.DWARF, 64, edges=(LayoutEdge(3, 8, False, 0),),
            awaits=(AwaitPoint(3, SourceLocation("src/ask.rs", 7 + number), "oneshot::Receiver"),),
        )
        for number in range(askers)
    ]  # fmt: skip
    functions = list(made.plan.functions)
    functions[QUERY] = replace(functions[QUERY], location=library, layout=0)
    made = replace(made, plan=replace(made.plan, functions=tuple(functions), layouts=(answer, *asks)))
    still = wait(9950, None, 10_000, 1, flags=OPEN, function=QUERY, instance=139)
    (one,) = [
        one
        for one in summary_of(futures(40), spans(waits=[still], over=[task(1)]), of=made).findings
        if one.rule == "future-leak"
    ]
    assert " in a task conn::handle: " in one.title
    assert str(one.where) == ("src/ask.rs:7" if askers == 1 else str(library))
    assert one.evidence.get("awaited_by") == ("app::ask_0" if askers == 1 else None)


def test_the_users_own_lies_where_dependencies_do() -> None:
    made = recording()
    (binary,) = plan_of([], []).binaries
    functions = list(made.plan.functions)
    folder = "/srv/b/.cargo/registry/src/x/echo-1.0.0"
    functions[QUERY] = replace(functions[QUERY], location=SourceLocation(f"{folder}/src/db.rs", 1))
    binaries = (replace(binary, own_folder=folder),)
    made = replace(made, plan=replace(made.plan, functions=tuple(functions), binaries=binaries))
    both = futures(40), futures(40, function=HANDLE)
    both[1].polls["instance"] += 1000
    told = {one.function for one in summary_of(*both, of=made).findings if one.rule == "future-leak"}
    assert "echo::db::query" in told
