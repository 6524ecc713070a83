"""Processes that were kept from running: what is added up, and from where on it is told."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.unit.output.findings.made import MS, START, poll, recording, spans
from tracer.model import CaptureEnd, Finding, Halt, HaltKind, Severity, Tally
from tracer.output.summary import Summary


def summary_of(halts: Sequence[Halt]) -> Summary:
    summary = Summary(recording())
    for one in halts:
        summary.halt(one)
    summary.close(Tally(), CaptureEnd(START + 10_000 * MS, "10 s are over", 0, 0))
    return summary


def found(*halts: Halt) -> list[Finding]:
    return summary_of(halts).findings


def stopped(begin: float, end: float, kind: HaltKind = HaltKind.STOPPED, by: str = "") -> Halt:
    """Times in ms."""
    return Halt(START + round(begin * MS), START + round(end * MS), 0, kind, by)


def limit(second: int, periods: int, throttled: int, quota: float = 0.5) -> Halt:
    """In that second."""
    times = START + second * 1000 * MS, START + (second + 1) * 1000 * MS
    return Halt(*times, 0, HaltKind.THROTTLED, "", quota, periods, throttled, throttled * 20 * MS)


def test_a_short_stop_is_nothing() -> None:
    assert not found(stopped(100, 199))


def test_pieces_are_one_time() -> None:
    summary = summary_of([stopped(0, 1000), stopped(1000, 1500), stopped(2000, 2100)])
    (one,) = summary.as_json()["halts"]
    assert (one["times"], one["total"], one["longest"]) == (2, 1600 * MS, 1500 * MS)
    (finding,) = summary.findings
    assert (finding.rule, finding.severity) == ("halted", Severity.CRITICAL)
    assert "ran for 1.60 s in 2 parts: stopped by a signal" in finding.title
    assert (finding.time, finding.duration) == (START, 1500 * MS)
    assert finding.advice == f"Let it go on: kill -CONT {recording().processes[0].pid}."


@pytest.mark.parametrize(("milliseconds", "severity"), [(100, Severity.WARNING), (1000, Severity.CRITICAL)])
def test_how_bad_it_is(milliseconds: int, severity: Severity) -> None:
    (one,) = found(stopped(0, milliseconds, HaltKind.TRACED, "gdb (9)"))
    assert one.severity is severity
    assert one.title.endswith("stopped by gdb (9)")


def test_what_was_before_the_recording_is_left_out() -> None:
    summary = summary_of([stopped(-500, 50), stopped(-900, -700)])
    (one,) = summary.as_json()["halts"]
    assert (one["total"], one["seconds"]) == (50 * MS, 0)


@pytest.mark.parametrize(("begin", "end", "is_said"), [(1000, 1900, True), (1300, 2500, True), (1600, 2500, False)])
def test_a_poll_that_was_long_because_nothing_ran_is_no_fault(begin: int, end: int, is_said: bool) -> None:
    """Of one second from 1 s on."""
    summary = Summary(recording())
    summary.spans(spans([poll(number * 10, 0.01) for number in range(50)]))
    summary.spans(spans([poll(1000, 1000)]))
    summary.halt(stopped(begin, end))
    summary.close(Tally(), CaptureEnd(START + 10_000 * MS, "10 s are over", 0, 0))
    (one,) = [one for one in summary.findings if one.rule == "long-poll"]
    assert (one.severity is Severity.INFO) == is_said
    assert one.title.endswith("of that nothing of the process ran, see halted") == is_said
    assert one.evidence.get("stood_still_ns") == ((min(end, 2000) - begin) * MS if is_said else None)


def test_a_limit() -> None:
    (one,) = found(limit(0, 10, 4), limit(1, 10, 3), limit(4, 10, 2))
    assert (one.rule, one.severity) == ("cpu-throttled", Severity.WARNING)
    assert one.evidence == {"periods": 30, "throttled_periods": 9, "lost_ns": 180 * MS, "quota_processors": 0.5}
    assert "the CPU limit of 0.5 processors kept process" in one.title
    assert "in 9 of 30 periods, for 180 ms" in one.title


def test_a_limit_that_holds_it_back_most_of_the_time_is_critical() -> None:
    (one,) = found(limit(0, 10, 5))
    assert one.severity is Severity.CRITICAL


def test_a_limit_that_it_met_now_and_then() -> None:
    assert not found(limit(0, 10, 4))
    assert not found(limit(0, 10, 9), *(limit(second, 10, 0) for second in range(1, 10)))
