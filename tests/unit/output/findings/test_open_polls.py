"""Polls that had not ended when the recording did, or had begun before it, or both."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.output.findings.made import (
    QUERY,
    START,
    TASK,
    WORKERS,
    found,
    poll,
    recording,
    spans,
    summary_of,
    task,
)
from tracer.model import Finding, FunctionKind, Group, Outcome, PlanChange, PollFlag, Severity, Spans

OPEN = int(PollFlag.END_UNKNOWN)
UNSEEN = int(PollFlag.START_UNKNOWN | PollFlag.END_UNKNOWN)


def long_polls(*parts: Spans) -> list[Finding]:
    return [one for one in found(*parts) if one.rule == "long-poll"]


def test_one_that_did_not_end() -> None:
    (one,) = long_polls(spans([poll(6_000, 4_000, flags=OPEN)]))
    assert (one.time, one.duration, one.tid) == (START + 6_000_000_000, 4_000_000_000, WORKERS[0])
    assert one.severity is Severity.CRITICAL
    assert "for 4.00 s or more (its end was not seen)" in one.title


def test_the_innermost_is_named() -> None:
    outer, inner = poll(6_000, 4_000, flags=OPEN), poll(6_000.1, 3_999.9, function=QUERY, depth=1, flags=OPEN)
    (one,) = long_polls(spans([inner, outer]))
    assert one.function != recording().plan.functions[TASK].name
    assert one.function == recording().plan.functions[QUERY].name


def test_one_all_the_time() -> None:
    (one,) = long_polls(spans([poll(0, 10_000, flags=UNSEEN)]))
    assert "neither its begin nor its end was seen" in one.title


def test_of_an_unknown_thread() -> None:
    running = task(1, outcome=Outcome.RUNNING, busy=10_000)
    running["tid"], running["longest"] = 0, 10_000_000_000
    (one,) = long_polls(spans(over=[running]))
    assert (one.tid, one.task) == (None, 1)
    assert "kept a thread for 10.0 s or more" in one.title


@pytest.mark.parametrize("length", [50, 99])
def test_what_is_short_is_under_way_at_any_end(length: float) -> None:
    assert not long_polls(spans([poll(10_000 - length, length, flags=OPEN)]))


def test_a_future_outside_of_tasks_may_take_its_time() -> None:
    assert not long_polls(spans([poll(0, 10_000, function=QUERY, flags=UNSEEN)]))


def test_one_that_began_before_anybody_looked() -> None:
    (one,) = long_polls(spans([poll(0, 4_000, flags=int(PollFlag.START_UNKNOWN))]))
    assert one.severity is Severity.CRITICAL
    assert "for 4.00 s or more (its begin was not seen)" in one.title
    assert not long_polls(spans([poll(0, 4_000, flags=int(PollFlag.START_UNKNOWN | PollFlag.UNWOUND))]))


def test_probes_that_were_taken_away_cut_a_poll() -> None:
    """It took that long, and how many they are in truth nobody knows."""
    off = PlanChange(START + 5_000_000_000, frozenset({Group.WAKES}), "they cost too much")
    on = PlanChange(START + 6_000_000_000, frozenset(Group), "for some time")
    parts = [poll(2_000, 3_000, flags=OPEN), poll(6_000, 2_000, flags=int(PollFlag.START_UNKNOWN))]
    (one,) = [one for one in found(spans(parts), changes=[off, on]) if one.rule == "long-poll"]
    assert one.title.endswith("for 3.00 s or more (its end was not seen)")


def test_what_is_done_in_place_hands_the_tasks_over() -> None:
    made = recording()
    functions = list(made.plan.functions)
    functions[QUERY] = replace(functions[QUERY], kind=FunctionKind.IN_PLACE)
    of = replace(made, plan=replace(made.plan, functions=tuple(functions)))
    call = poll(6_000, 3_950, function=QUERY, depth=1, flags=OPEN)
    assert not summary_of(spans([call, poll(6_000, 4_000, flags=OPEN)]), of=of).findings
    (one,) = summary_of(spans([poll(0, 10_000, flags=UNSEEN)]), of=of).findings  # nobody saw how it began
    assert "perhaps in block_in_place" in one.title
    assert one.severity is Severity.WARNING
