"""Branches of select! that have no polls of their own: of which it is said that nobody sees if they are dropped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.output.findings.made import QUERY, TASK, recording, spans, summary_of, wait
from tracer.model import AwaitPoint, Layout, LayoutKind, Place, Recording, Source, SourceLocation, Spans

MACRO = SourceLocation("/srv/b/.cargo/registry/src/i/tokio-1.54.1/src/macros/select.rs", 746)
FOREIGN = SourceLocation("/srv/b/.cargo/registry/src/i/pool-1.0.0/src/pool.rs", 7)
OWN = SourceLocation("src/refresh.rs", 3)
SELECT, TIMEOUT, JOIN, PLAIN = 3, 4, 5, 6
"""States of `app::serve`, by what it awaits there."""


def coroutine(name: str, *states: int, location: SourceLocation = OWN) -> Layout:
    awaits = tuple(AwaitPoint(state, location, "app::load") for state in states)
    return Layout(name, LayoutKind.COROUTINE, Source.DWARF, 64, awaits=awaits, location=location)


def future(name: str, kind: LayoutKind = LayoutKind.FUTURE) -> Layout:
    return Layout(name, kind, Source.DWARF, 64)


SERVE = replace(
    coroutine("app::serve", TIMEOUT, PLAIN),
    awaits=(
        AwaitPoint(SELECT, None, "PollFn", macro=MACRO),
        AwaitPoint(TIMEOUT, OWN, "Timeout"),
        AwaitPoint(JOIN, None, "PollFn", macro=replace(MACRO, file="/x/src/macros/join.rs")),
        AwaitPoint(PLAIN, OWN, "app::refresh"),
    ),
)
POLL_FN = future("core::future::poll_fn::PollFn<app::serve::{closure#0}>")
LAYOUTS = (
    SERVE,
    POLL_FN,
    future("(app::refresh, app::tick)", LayoutKind.GLUE),
    coroutine("app::refresh", 3, 4),
    coroutine("app::tick", 3),
    coroutine("pool::get", 3, 4, location=FOREIGN),
    future("tokio::time::timeout::Timeout<app::refresh>"),
    coroutine("app::query", 3, 4),
)
ROOT, IN_SELECT, PAIR, REFRESH = 1, 2, 3, 4


def place(layout: int | None, parent: int, state: int | None = None, is_polled: bool = False) -> Place:
    return Place(parent, TASK, layout, state, is_polled)


BEFORE = (place(0, 0, is_polled=True), place(1, ROOT, SELECT), place(2, IN_SELECT))


def of(*places: Place) -> Recording:
    """Where a task can be; the last of these places is where it waits."""
    made = recording()
    return replace(made, plan=replace(made.plan, layouts=LAYOUTS, places=(*BEFORE, *places)))


def waits(count: int, at: int, tasks: int = 1, function: int = TASK) -> Spans:
    rows = []
    for number in range(count):
        row = wait(10 * number, None, 10 * number + 9, 1 + number % tasks, function=function)
        row["places"] = at
        rows.append(row)
    return spans(waits=rows)


def why(recorded: Recording, *parts: Spans) -> str | None:
    """What is said of the rule."""
    found = [one.why for one in summary_of(*parts, of=recorded).unjudged() if one.rule == "select-cancelled"]
    return found[0] if found else None


def last(recorded: Recording) -> int:
    return len(recorded.plan.places)


@pytest.mark.parametrize(
    ("places", "is_told"),
    [
        ([place(3, PAIR)], True),
        ([place(3, PAIR, is_polled=True)], False),  # its polls are seen, and so is its end
        ([place(4, PAIR)], False),  # one await only: it loses nothing
        ([place(5, PAIR)], False),  # not the user's own
        ([place(5, PAIR), place(3, REFRESH, 3)], True),  # inside of a library's, which is dropped with it
        ([place(3, PAIR, is_polled=True), place(7, REFRESH, 3)], False),  # dropped with one that is seen
        ([place(1, ROOT, JOIN), place(3, REFRESH)], False),  # join! waits for all
        ([place(6, ROOT, TIMEOUT), place(3, REFRESH)], True),
        ([place(3, ROOT, PLAIN)], False),  # nothing but its parent's own end drops it
    ],
)
def test_which_of_them_are_told(places: list[Place], is_told: bool) -> None:
    recorded = of(*places)
    assert bool(why(recorded, waits(40, last(recorded)))) is is_told


@pytest.mark.parametrize(
    ("made", "is_told"),
    [
        (waits(19, REFRESH), False),  # it cannot have been dropped so often while it waited
        (waits(20, REFRESH), True),
        (waits(40, REFRESH, tasks=8), True),
        (waits(40, REFRESH, tasks=9), False),  # each begins it a few times only
    ],
)
def test_as_many_waits_as_the_rule_wants_drops(made: Spans, is_told: bool) -> None:
    assert bool(why(of(place(3, PAIR)), made)) is is_told


def test_rows_of_one_wait_count_once() -> None:
    rows = waits(15, REFRESH).waits, waits(15, REFRESH, function=QUERY).waits
    both = replace(spans(), waits=np.sort(np.concatenate(rows), order="end"))
    assert why(of(place(3, PAIR)), both) is None


def test_the_words_name_them_the_most_often_first() -> None:
    recorded = of(place(3, PAIR), place(7, PAIR))
    told = why(recorded, waits(20, REFRESH), waits(30, last(recorded)))
    assert told is not None
    assert told.startswith("for app::query, app::refresh: inlined into the future around")


def test_without_types_nobody_knows_what_was_inlined() -> None:
    made = recording()
    told = why(replace(made, plan=replace(made.plan, layouts=())))
    assert told is not None
    assert "without types" in told
