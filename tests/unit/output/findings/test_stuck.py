"""Tasks that will not go on: what memory told, and wakes without polls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.output.findings.made import MS, START, TASK, WORKERS, recording, rules, spans, wait
from tracer.model import (
    PARKED,
    CaptureEnd,
    Finding,
    MemoryReading,
    Outcome,
    Severity,
    SourceLocation,
    Spans,
    Stuck,
    StuckKind,
    Tally,
    WaitFlag,
)
from tracer.model import TASK as TASK_RECORD
from tracer.output.summary import Summary

OPEN = int(WaitFlag.END_UNKNOWN)
PLACE = SourceLocation("src/db.rs", 80)


def summary_of(parts: list[Spans], *stuck: Stuck, read: bool = True, read_at: int = 9_990, lost: int = 0) -> Summary:
    summary = Summary(recording())
    for part in parts:
        summary.spans(part)
    if read:
        nothing = np.empty(0, PARKED)
        summary.memory_reading(
            MemoryReading(START + read_at * MS, 5, 0, is_last=True, tasks=3, parked=nothing, stuck=stuck)
        )
    summary.close(Tally(), CaptureEnd(START + 10_000 * MS, "over", 100, lost))
    return summary


def waiting(since: float, task: int = 5, header: int = 0x500) -> Spans:
    open_wait = wait(since, None, 10_000, task, flags=OPEN)
    open_wait["self"] = header
    return spans(waits=[open_wait])


def stuck(kind: StuckKind, *, is_certain: bool = True, tasks: tuple[int, ...] = (0x500,)) -> Stuck:
    return Stuck(kind, tasks, is_certain, f"{kind}: it waits", "echo::db::query", PLACE)


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (StuckKind.DEADLOCK, "deadlock"),
        (StuckKind.FUTURELOCK, "futurelock"),
        (StuckKind.UNWAKEABLE, "lost-wake"),
    ],
)
def test_each_kind_has_a_rule(kind: StuckKind, rule: str) -> None:
    (one,) = summary_of([waiting(2_000)], stuck(kind)).findings
    assert (one.rule, one.title, one.severity) == (rule, "it waits", Severity.CRITICAL)
    assert (one.function, one.where) == ("echo::db::query", PLACE)
    assert (one.time, one.duration, one.task, one.tid) == (START + 2_000 * MS, 7_990 * MS, 5, WORKERS[0])
    assert (one.evidence["waiting_ns"], one.evidence["tasks"]) == (7_990 * MS, 1)


def test_what_was_read_after_the_end_lasts_until_the_end() -> None:
    (one,) = summary_of([waiting(2_000)], stuck(StuckKind.DEADLOCK), read_at=10_020).findings
    assert (one.time, one.duration) == (START + 2_000 * MS, 8_000 * MS)
    assert one.evidence["waiting_ns"] == 8_020 * MS


def test_what_may_be_otherwise_is_a_warning() -> None:
    (one,) = summary_of([waiting(2_000)], stuck(StuckKind.DEADLOCK, is_certain=False)).findings
    assert (one.severity, one.evidence["certain"]) == (Severity.WARNING, 0)


@pytest.mark.parametrize(("since", "is_found"), [(8_980, True), (9_000, False)])
def test_what_is_perhaps_a_deadlock_must_have_lasted_for_a_second(since: float, is_found: bool) -> None:
    """For each of the tasks: any can have gone on in between, by another branch."""
    parts = [waiting(2_000), waiting(since, 6, 0x600)]
    perhaps = stuck(StuckKind.DEADLOCK, is_certain=False, tasks=(0x500, 0x600))
    assert bool(summary_of(parts, perhaps).findings) is is_found
    assert summary_of(parts, replace(perhaps, is_certain=True)).findings


@pytest.mark.parametrize(("since", "is_found"), [(8_980, True), (9_000, False)])
def test_a_task_without_a_waker_must_have_waited_for_a_second(since: float, is_found: bool) -> None:
    findings = summary_of([waiting(since)], stuck(StuckKind.UNWAKEABLE)).findings
    assert bool(findings) is is_found


def test_the_place_in_the_trace_is_of_any_of_its_tasks() -> None:
    (one,) = summary_of([waiting(2_000)], stuck(StuckKind.DEADLOCK, tasks=(0x400, 0x500))).findings
    assert one.task == 5
    (one,) = summary_of([waiting(2_000)], stuck(StuckKind.DEADLOCK, tasks=(0x400,))).findings
    assert (one.task, one.tid, one.time) == (None, None, START)


def test_where_memory_was_not_read_it_is_not_judged() -> None:
    summary = summary_of([waiting(2_000)], read=False)
    unjudged = {one["rule"]: one["why"] for one in summary.as_json()["rules_not_judged"]}
    assert {"deadlock", "futurelock", "lost-wake"} <= unjudged.keys()
    assert unjudged["lost-wake"] == "the tasks' memory was not read at the end"
    unjudged = {one["rule"]: one["why"] for one in summary_of([]).as_json()["rules_not_judged"]}
    assert not {"deadlock", "futurelock", "lost-wake"} & unjudged.keys()


def unpolled(woken: float, longest: float = 1) -> list[Spans]:
    """A task that was woken and not polled to the end; others were ready for so long at most."""
    return [spans(waits=[wait(100, 200, 200 + longest, 3), wait(100, woken, 10_000, 5, flags=OPEN)])]


def of_wakes(parts: list[Spans], lost: int = 0) -> list[Finding]:
    return [one for one in summary_of(parts, lost=lost).findings if one.rule == "unpolled-wake"]


def test_a_wake_that_no_poll_followed() -> None:
    (one,) = of_wakes(unpolled(7_000))
    assert (one.time, one.duration, one.task) == (START + 7_000 * MS, 3_000 * MS, 5)
    assert one.evidence["ready_ns"] == 3_000 * MS
    assert one.severity is Severity.CRITICAL


def test_wakes_of_several_tasks_are_counted() -> None:
    waits = [wait(100, woken, 10_000, task, flags=OPEN) for task, woken in ((5, 7_000), (6, 6_000))]
    (one,) = of_wakes([spans(waits=[wait(100, 200, 201, 3), *waits])])
    assert one.title.startswith("2 tasks ")
    assert one.title.endswith(" were woken and not polled for up to 4.00 s, until the end")


@pytest.mark.parametrize(
    ("woken", "longest", "is_found"),
    [(9_010, 1, False), (8_990, 1, True), (7_000, 310, False), (7_000, 290, True)],
)
def test_thresholds_of_a_wake(woken: float, longest: float, is_found: bool) -> None:
    assert bool(of_wakes(unpolled(woken, longest))) is is_found


def new_task(outcome: Outcome) -> np.void:
    """Spawned 3 s before the end; it ends, or begins to be polled, there."""
    task = np.zeros(1, TASK_RECORD)
    task["task"], task["first"], task["spawned"], task["outcome"] = 5, START + 10_000 * MS, START + 7_000 * MS, outcome
    task["function"], task["spawned_on"] = TASK, WORKERS[1]
    row: np.void = task[0]
    return row


def with_begun(task: np.void) -> Spans:
    return replace(spans(), begun=np.array([task], TASK_RECORD))


def test_a_spawn_that_no_poll_followed() -> None:
    (one,) = of_wakes([with_begun(new_task(Outcome.WAITING))])
    assert one.title.startswith("a task ")
    assert one.title.endswith(" was spawned and not polled for 3.00 s, until the end")
    assert (one.time, one.duration, one.tid, one.task) == (START + 7_000 * MS, 3_000 * MS, WORKERS[1], 5)
    assert not of_wakes([with_begun(new_task(Outcome.UNKNOWN))])  # a poll follows


def test_lost_events_may_have_been_the_poll() -> None:
    assert not of_wakes(unpolled(7_000), lost=1)
    assert rules(summary_of(unpolled(7_000)).findings) == ["unpolled-wake"]
