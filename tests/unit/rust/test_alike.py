"""What nothing but its address tells apart has a number in its name."""

from __future__ import annotations

from dataclasses import replace

from tracer.model import FunctionKind, PollFunction, Source
from tracer.rust.alike import numbered

TASK = PollFunction(16, 16, 8, "tokio task", FunctionKind.TASK, Source.SYMBOLS, (), runtime="tokio")


def at(address: int, name: str, *, is_job: bool = False) -> PollFunction:
    return replace(TASK, address=address, name=name, is_job=is_job)


def test_jobs_and_tasks_of_which_nothing_is_known() -> None:
    """By their addresses, in whatever order they come."""
    functions = [
        at(48, "blocking job", is_job=True),
        at(16, "blocking job", is_job=True),
        at(32, "blocking job app::zip", is_job=True),
        at(80, "tokio task"),
        at(64, "tokio task"),
    ]
    names = [
        "blocking job #2",
        "blocking job #1",
        "blocking job app::zip",
        "tokio task #2",
        "tokio task #1",
    ]
    assert [one.name for one in numbered(functions)] == names


def test_what_is_alone_has_no_number() -> None:
    functions = (at(16, "blocking job", is_job=True), at(32, "tokio task"))
    assert numbered(functions) == functions


def test_the_polls_of_one_future_by_several_schedulers_have_none() -> None:
    functions = (at(16, "task app::serve"), at(32, "task app::serve"))
    assert numbered(functions) == functions
