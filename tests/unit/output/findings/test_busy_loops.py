"""Busy loops: how many wakes, how fast, of how short polls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.unit.output.findings.made import (
    START,
    WORKERS,
    found,
    left,
    poll,
    recording,
    rules,
    spans,
    summary_of,
    task,
    wait,
)
from tracer.model import Finding, Group, PlanChange, Severity, Spans, WakeOrigin


def loop(wakes: int = 1200, apart: float = 0.5, length: float = 0.02, by: int = 1, polls: int | None = None) -> Spans:
    """Task 1 wakes itself so often, so many ms apart, in polls of that length."""
    starts = [100 + apart * number for number in range(wakes)]
    own = [wait(at + length, at + length / 2, at + apart, by=by) for at in starts]
    over = task(1, 100, 100 + apart * wakes, polls or wakes + 1, busy=length * wakes)
    return spans([poll(at, length) for at in starts], own, [over])


def busy(*parts: Spans) -> list[Finding]:
    return [one for one in found(*parts) if one.rule == "busy-loop"]


def test_a_loop_is_found() -> None:
    (one,) = busy(loop())
    assert one.evidence["own_wakes"] == 1200
    assert one.evidence["own_wakes_per_second"] == pytest.approx(2000, rel=0.01)
    assert (one.time, one.task) == (START + 100_020_000, 1)
    assert one.function == "task echo::conn::handle"
    assert str(one.where) == "src/conn.rs:12"
    assert one.severity is Severity.WARNING


def test_one_that_uses_up_a_processor_is_critical() -> None:
    (one,) = busy(loop(apart=0.1, length=0.06))
    assert one.severity is Severity.CRITICAL


def test_what_its_probes_use_is_not_its_own() -> None:
    """Half of a processor and more, but for 30 µs of each 60."""
    made = recording()
    made = replace(made, hit_costs=(30_000.0,) * (len(made.plan.probes) - 1) + (0.0,))
    findings = summary_of(loop(apart=0.1, length=0.06), of=made).findings
    (one,) = [one for one in findings if one.rule == "busy-loop"]
    assert one.severity is Severity.WARNING
    assert one.evidence["processors"] == pytest.approx(0.3, abs=0.02)
    assert one.evidence["processors_of_probes"] == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize(
    ("length", "overhead", "is_critical"), [(0.095, 0.02, True), (0.095, 0.1, False), (0.06, 0.02, False)]
)
def test_one_that_never_sleeps_takes_what_it_gets(length: float, overhead: float, is_critical: bool) -> None:
    """Most of it by its probes, while it has them; most of the time it has none, and the program uses a processor."""
    made = recording()
    made = replace(made, hit_costs=(90_000.0,) * (len(made.plan.probes) - 1) + (0.0,))
    findings = summary_of(loop(apart=0.1, length=length), of=made, shares=(overhead, 0.02)).findings
    (one,) = [one for one in findings if one.rule == "busy-loop"]
    assert float(one.evidence["processors"]) < 0.1
    assert one.severity is (Severity.CRITICAL if is_critical else Severity.WARNING)
    assert ("without a pause" in one.title) == (length > 0.09)


def quick_loop(*others: np.void, off: Sequence[np.void] = ()) -> Spans:
    """Polls of 0.02 ms, 0.1 ms from one to the next."""
    made, more = loop(apart=0.1), spans([*others], off_cpu=off)
    return replace(made, polls=np.concatenate([made.polls, more.polls]), off_cpu=more.off_cpu)


def away(at: float, state: int) -> np.void:
    """Its thread left its CPU for 0.04 ms, between two polls; state 0: it would have run on."""
    row = left(at)
    row["state"], row["end"] = state, row["start"] + 40_000
    row["woken"] = row["end"] if state else row["start"]
    return row


BETWEEN = [100.03 + 0.1 * number for number in range(1200)]


@pytest.mark.parametrize(
    ("made", "scheduling", "processors"),
    [
        (quick_loop(), True, 1.0),
        (quick_loop(), False, 0.2),  # for all that is known its thread slept in between
        (quick_loop(off=[away(at, 1) for at in BETWEEN]), True, 0.6),
        (quick_loop(off=[away(at, 0) for at in BETWEEN]), True, 1.0),  # it takes all that it gets
        (quick_loop(*(poll(at, 0.06, 2) for at in BETWEEN), off=[away(at, 1) for at in BETWEEN]), True, 0.4),
        (quick_loop(*(poll(at, 0.06, 2) for at in BETWEEN)), True, 0.4),
        (quick_loop(*(poll(at, 0.06, 2, WORKERS[1]) for at in BETWEEN)), True, 1.0),
    ],
)
def test_what_it_takes_between_its_polls_counts(made: Spans, scheduling: bool, processors: float) -> None:
    """Its thread wakes it, looks for what to do and comes back to it: that is most of what such a loop costs."""
    plain = recording()
    of = replace(plain, plan=replace(plain.plan, scheduling=scheduling))
    (one,) = [one for one in summary_of(made, of=of).findings if one.rule == "busy-loop"]
    assert one.evidence["processors"] == pytest.approx(processors, abs=0.01)
    assert one.severity is (Severity.CRITICAL if processors >= 0.5 else Severity.WARNING)


@pytest.mark.parametrize(
    ("made", "is_found"),
    [
        (loop(999), False),
        (loop(1000), True),
        (loop(apart=0.99), True),
        (loop(apart=1.1), False),
        (loop(length=0.24, apart=0.3), True),
        (loop(length=0.28, apart=0.3), False),
        (loop(polls=2300), True),
        (loop(polls=2500), False),
        (loop(by=2), False),
    ],
)
def test_thresholds(made: Spans, is_found: bool) -> None:
    assert bool(busy(made)) is is_found


@pytest.mark.parametrize(("others", "is_found"), [(20_000, True), (30_000, False)])
def test_a_small_part_of_the_runs_polls_is_none(others: int, is_found: bool) -> None:
    assert bool(busy(loop(), spans(over=[task(9, polls=others)]))) is is_found


def test_steps_do_not_matter() -> None:
    whole = loop()
    parts = [
        Spans(whole.polls[at : at + 100], whole.waits[at : at + 100], whole.begun, whole.over[:0])
        for at in range(0, 1200, 100)
    ]
    parts.append(Spans(whole.polls[:0], whole.waits[:0], whole.begun, whole.over))
    assert busy(*parts) == busy(whole)


def test_several_tasks_of_a_kind_are_one_finding() -> None:
    second = loop(1500)
    second.waits["instance"] = second.waits["woken_by"] = second.waits["task"] = 2
    second.over["task"] = 2
    (one,) = busy(loop(), second)
    assert (one.evidence["tasks"], one.evidence["own_wakes"], one.task) == (2, 1500, 2)


def test_it_is_the_only_finding() -> None:
    assert rules(found(loop())) == ["busy-loop"]
    assert np.all(loop().waits["woken"] > 0)


@pytest.mark.parametrize(("polls", "others", "is_found"), [(200_000, 100, True), (200_000, 5_000_000, False)])
def test_where_wakes_were_probed_for_a_moment_only(polls: int, others: int, is_found: bool) -> None:
    """The rest of its polls are taken to be as those of that moment."""
    part = loop(wakes=150, apart=0.5)
    part.over["polls"], part.over["last"] = polls, START + 9_000_000_000
    without = PlanChange(START + 180_000_000, frozenset({Group.TASKS, Group.FUTURES}), "they cost too much")
    of_others = spans(over=[task(9, polls=others)])
    found_ones = [one for one in found(part, of_others, changes=[without]) if one.rule == "busy-loop"]
    assert bool(found_ones) is is_found
    for one in found_ones:
        assert one.evidence["own_wakes_per_second"] == pytest.approx(2000, rel=0.1)
        assert "times a second while it was probed, for 75.0 ms" in one.title


def put_off(after: float = 0.002, origin: WakeOrigin = WakeOrigin.RUNTIME, on: int = WORKERS[0], **of: Any) -> Spans:
    """Task 1 is woken by its thread's runtime so many ms after each of its polls."""
    made = loop(apart=0.5, **of)
    made.waits["woken_by"], made.waits["woken_from"], made.waits["woken_on"] = 0, origin, on
    made.waits["woken"] = made.waits["start"] + round(after * 1e6)
    return made


@pytest.mark.parametrize(
    ("made", "typed", "is_told"),
    [
        (put_off(), False, True),
        (put_off(), True, False),  # there a yield is known by its name
        (put_off(after=0.03), False, False),
        (put_off(origin=WakeOrigin.IO), False, False),
        (put_off(origin=WakeOrigin.TIMER), False, False),
        (put_off(on=WORKERS[1]), False, False),
        (put_off(wakes=999), False, False),
        (put_off(length=0.3), False, False),  # it does something
    ],
)
def test_what_may_yield_for_nothing_is_not_judged(made: Spans, typed: bool, is_told: bool) -> None:
    """Without types that is not known from a task that has used up its budget, which its runtime wakes alike."""
    plain = recording()
    of = plain if typed else replace(plain, plan=replace(plain.plan, layouts=()))
    summary = summary_of(made, of=of)
    assert "busy-loop" not in rules(summary.findings)
    unjudged = {one["rule"]: one["why"] for one in summary.as_json()["rules_not_judged"]}
    assert ("busy-loop" in unjudged) is is_told
    if is_told:
        assert unjudged["busy-loop"].startswith("a task conn::handle was woken 2,00")


def test_of_what_surely_wakes_itself_a_part_may_be_put_off() -> None:
    sure, unsure = loop(1000), put_off(wakes=100)
    unsure.waits["start"] += 700_000_000
    for name in ("end", "woken"):
        unsure.waits[name] += 700_000_000
    plain = recording()
    of = replace(plain, plan=replace(plain.plan, layouts=()))
    together = replace(sure, waits=np.concatenate([sure.waits, unsure.waits]))
    (one,) = [one for one in summary_of(together, of=of).findings if one.rule == "busy-loop"]
    assert one.evidence["own_wakes"] == 1000
    fewer = replace(together, waits=together.waits[1:])
    summary = summary_of(fewer, of=of)
    assert "busy-loop" not in rules(summary.findings)
    assert "busy-loop" in {one["rule"] for one in summary.as_json()["rules_not_judged"]}


def test_of_half_of_those_that_were_seen() -> None:
    part = loop(wakes=150, apart=0.5)
    part.over["last"] = START + 9_000_000_000
    by_others = spans(waits=[wait(100 + at, 100.1 + at, 100.2 + at, by=2) for at in range(151)])
    without = PlanChange(START + 180_000_000, frozenset({Group.TASKS, Group.FUTURES}), "they cost too much")
    assert "busy-loop" in rules(found(part, changes=[without]))
    both = replace(part, waits=np.concatenate([part.waits, by_others.waits]))
    assert "busy-loop" not in rules(found(both, changes=[without]))
