"""What is said to block: the user's own function, and how long."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from tests.unit.output.findings.made import poll, recording, spans, summary_of
from tracer.model import LOOK, Array, Frame, SourceLocation, Stack, StackCensus, StackKind, Stacks
from tracer.output.blockers import Blockers, blocker_of, is_own, stack_words
from tracer.output.poll_stacks import PollStacks
from tracer.output.printed_summary import print_summary

_STD = "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/std/src/thread/functions.rs"
SYSTEM = Frame("clock_nanosleep", None, False, "libc.so.6")
SLEEP = Frame("std::thread::sleep", SourceLocation(_STD, 314), False, "app", "std")
PARK = Frame("tokio::park", SourceLocation("/srv/b/.cargo/registry/src/i/tokio-1.54.1/src/park.rs", 3), False, "app")
NAP = Frame("app::nap", SourceLocation("src/nap.rs", 40), True, "app", "app")
NAP_LATER = Frame("app::nap", SourceLocation("src/nap.rs", 41), True, "app", "app")
MAIN = Frame("app::main", SourceLocation("src/main.rs", 12), False, "app", "app")
PERIOD = 10
STACKS = Stacks(
    (Stack((SYSTEM, SLEEP, NAP, MAIN), True), Stack((SYSTEM, NAP_LATER, MAIN), True), Stack((SYSTEM, SLEEP), False)),
    StackCensus(period=PERIOD),
)
BLOCKED, RUNNING = StackKind.BLOCKED, StackKind.RUNNING


@pytest.mark.parametrize(
    ("frame", "own"),
    [
        (NAP, True),
        (MAIN, True),
        (SYSTEM, False),
        (SLEEP, False),
        (PARK, False),
        (Frame("app::f", None, False, "app", "app"), True),  # no debug information
        (Frame("std::thread::sleep", None, False, "app", "std"), False),
        (Frame("tokio::park", None, False, "app", "tokio"), False),
        (Frame("<T as core::ops::FnOnce>::call_once", SourceLocation("src/own.rs", 1), True, "app", "core"), False),
    ],
)
def test_what_is_the_users_own(frame: Frame, own: bool) -> None:
    assert is_own(frame) == own


def test_the_innermost_own_function_is_what_blocks() -> None:
    assert [blocker_of(stack) for stack in STACKS.stacks] == [NAP, NAP_LATER, None]


def test_where_lines_are_known_a_function_without_one_goes_by_the_crates_of_those_that_have_some() -> None:
    parse = Frame("<&mut json::Deserializer>::deserialize_str", None, False, "app", "json")
    copied = Frame("app::copied", None, False, "app", "app")
    lines = Frame("json::read", PARK.location, True, "app", "json")
    assert blocker_of(Stack((parse, NAP, MAIN), True)) == NAP
    assert blocker_of(Stack((parse, copied, NAP, MAIN), True)) == copied
    assert blocker_of(Stack((parse, lines), True)) is None
    assert blocker_of(Stack((parse, SLEEP), True)) == parse  # the standard library brings its own lines along


def test_the_users_own_lies_where_dependencies_do() -> None:
    own_folders = ["/srv/b/.cargo/registry/src/i/tokio-1.54.1"]
    stack = Stack((SYSTEM, PARK, MAIN), True)
    assert (blocker_of(stack), blocker_of(stack, own_folders)) == (MAIN, PARK)
    found = Blockers(Stacks((stack,), StackCensus()), own_folders)
    found.add(_looks((BLOCKED, 100, 105, 125, 1)))
    assert [one.frame for one in found.most()] == [PARK]


@pytest.mark.parametrize(
    ("frames", "is_in"),
    [
        ((SYSTEM, NAP), False),
        ((SYSTEM, NAP, Frame("tokio::task::block_in_place<fn(), u8>", None, False, "app", "tokio")), True),
        ((SYSTEM, Frame("app::nap", None, False, "app", "app")), None),  # what is inlined there nobody knows
    ],
)
def test_a_function_that_may_be_on_stacks(frames: tuple[Frame, ...], is_in: bool | None) -> None:
    found = Blockers(Stacks((Stack(frames, True),), StackCensus()))
    assert found.is_in("block_in_place") is None
    found.add(_looks((BLOCKED, 100, 105, 125, 1)))
    assert found.is_in("block_in_place") is is_in


def test_a_stack_in_words() -> None:
    assert stack_words(STACKS.stacks[0])[1:] == [
        "std::thread::sleep std/src/thread/functions.rs:314",
        "app::nap src/nap.rs:40",
        "app::main src/main.rs:12",
    ]
    assert stack_words(STACKS.stacks[2])[-1].startswith("…")


def _looks(*rows: tuple[StackKind, int, int, int, int]) -> Array:
    """(kind, start of its poll, time, until, stack)."""
    looks = np.zeros(len(rows), LOOK)
    for look, (kind, start, time, until, stack) in zip(looks, rows, strict=True):
        look["kind"], look["start"], look["time"], look["until"], look["stack"] = kind, start, time, until, stack
        look["tid"] = 7
    return looks


def test_blocked_threads_by_the_line() -> None:
    found = Blockers(STACKS)
    found.add(_looks((BLOCKED, 100, 105, 125, 1), (BLOCKED, 100, 130, 140, 2), (BLOCKED, 200, 205, 255, 1)))
    found.add(_looks((BLOCKED, 300, 301, 0, 1), (BLOCKED, 300, 310, 311, 3)))
    told = [(one.frame, one.count, one.polls, one.time, one.longest) for one in found.most()]
    assert told == [(NAP, 3, 3, 70, 50), (NAP_LATER, 1, 1, 10, 10), (None, 1, 1, 1, 1)]


def test_what_ran_on_by_the_function() -> None:
    found = Blockers(STACKS)
    found.add(_looks((RUNNING, 100, 105, 125, 1), (RUNNING, 100, 115, 125, 2), (RUNNING, 200, 205, 215, 2)))
    told = [(one.frame, one.count, one.polls, one.time, one.longest) for one in found.most()]
    assert told == [(NAP_LATER, 3, 2, 3 * PERIOD, 2 * PERIOD)]


def test_what_ran_on_is_no_longer_than_its_polls() -> None:
    found = Blockers(STACKS)
    found.add(_looks((RUNNING, 100, 105, 107, 2), (RUNNING, 200, 201, 215, 2), (RUNNING, 200, 213, 215, 2)))
    told = [(one.polls, one.time, one.longest) for one in found.most()]
    assert told == [(2, 7 + 2 * 7, 2 * 7)]


def test_a_capture_that_does_not_tell_its_stacks() -> None:
    found = Blockers(None)
    found.add(_looks((BLOCKED, 100, 105, 125, 1)))
    assert [(one.frame, one.time) for one in found.most()] == [(None, 20)]


def test_a_poll_has_the_stack_that_most_of_its_time_went_to() -> None:
    from tracer.model import POLL

    told = PollStacks(STACKS)
    told.add(_looks((BLOCKED, 100, 105, 125, 1), (RUNNING, 100, 130, 140, 2), (RUNNING, 200, 205, 220, 2)))
    polls = np.zeros(4, POLL)
    polls["start"], polls["tid"], polls["function"] = [100, 200, 100, 100], [7, 7, 8, 7], [0, 0, 0, 1]
    assert told.of(polls, np.array([True, False])).tolist() == [1, 2, 0, 0]


def test_who_was_woken_before_it_had_left_is_not_printed() -> None:
    looks = _looks((BLOCKED, 100, 105, 125, 1), (BLOCKED, 200, 205, 205, 2))
    part = replace(spans([poll(0, 1)]), looks=looks)
    document = summary_of(part, of=replace(recording(), stacks=STACKS)).as_json() | {"polls": 1}
    assert [(one["line"], one["time"]) for one in document["blockers"]] == [(40, 20), (41, 0)]
    out = io.StringIO()
    print_summary(document, Console(file=out, width=160))
    assert "src/nap.rs:40" in out.getvalue()
    assert "src/nap.rs:41" not in out.getvalue()
