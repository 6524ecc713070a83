"""Tasks that have what others wait for and did not go on, as memory at the end tells it."""

from __future__ import annotations

import pytest

from tests.unit.output.findings.made import MS, START, WORKERS, spans, wait
from tests.unit.output.findings.test_stuck import PLACE, summary_of
from tracer.model import Finding, Severity, Spans, Stuck, StuckKind, WaitFlag

OPEN = int(WaitFlag.END_UNKNOWN)
HOLDER, OTHER = 0x500, 0x510
BEHIND = 0x600


def waiting(*tasks: tuple[int, float]) -> Spans:
    """Tasks that wait until the end: (header, ms from which on)."""
    waits = [wait(since, None, 10_000, header, flags=OPEN) for header, since in tasks]
    for one, (header, _) in zip(waits, tasks, strict=True):
        one["self"] = header
    return spans(waits=waits)


def stuck(kind: StuckKind, behind: int, tasks: tuple[int, ...] = (HOLDER,)) -> Stuck:
    others = tuple(BEHIND + one for one in range(behind))
    return Stuck(
        kind, tasks, is_certain=True, words="it waits", function="echo::db::query", location=PLACE, behind=others
    )


def found(parts: Spans, told: Stuck) -> list[Finding]:
    return summary_of([parts], told).findings


@pytest.mark.parametrize(("kind", "rule"), [(StuckKind.HELD, "held-lock"), (StuckKind.IN_LINE, "long-queue")])
def test_each_kind_has_a_rule(kind: StuckKind, rule: str) -> None:
    (one,) = found(waiting((HOLDER, 2_000), (BEHIND, 3_000), (BEHIND + 1, 4_000)), stuck(kind, 2))
    assert (one.rule, one.severity) == (rule, Severity.WARNING)
    assert one.title == "it waits, up to 6.99 s until the end"
    assert (one.function, one.where) == ("echo::db::query", PLACE)
    assert (one.time, one.duration, one.task, one.tid) == (START + 2_000 * MS, 7_990 * MS, HOLDER, WORKERS[0])
    assert (one.evidence["tasks"], one.evidence["waiting_tasks"]) == (1, 2)
    assert (one.evidence["waiting_ns"], one.evidence["longest_ns"]) == (7_990 * MS, 6_990 * MS)


@pytest.mark.parametrize(("since", "is_found"), [(8_980, True), (9_000, False)])
def test_who_has_it_must_have_waited_for_a_second(since: float, is_found: bool) -> None:
    assert bool(found(waiting((HOLDER, since), (BEHIND, 1_000)), stuck(StuckKind.HELD, 1))) is is_found


@pytest.mark.parametrize(
    ("behind", "since", "is_found"), [(1, 8_980, True), (1, 9_000, False), (9, 9_000, False), (10, 9_000, True)]
)
def test_one_waits_as_long_or_many_do(behind: int, since: float, is_found: bool) -> None:
    tasks = [(BEHIND + one, since) for one in range(behind)]
    assert bool(found(waiting((HOLDER, 1_000), *tasks), stuck(StuckKind.HELD, behind))) is is_found


@pytest.mark.parametrize(("kind", "is_found"), [(StuckKind.HELD, True), (StuckKind.IN_LINE, False)])
def test_one_permit_that_is_given_back_helps(kind: StuckKind, is_found: bool) -> None:
    """Of locks all that have them are waited for."""
    tasks = waiting((HOLDER, 1_000), (OTHER, 9_900), (BEHIND, 1_000))
    assert bool(found(tasks, stuck(kind, 1, (HOLDER, OTHER)))) is is_found


def test_a_single_task_in_line_may_be_meant_to_wait() -> None:
    (one,) = found(waiting((HOLDER, 1_000), (BEHIND, 1_000)), stuck(StuckKind.IN_LINE, 1))
    assert one.severity is Severity.INFO


def test_of_whom_no_wait_is_known_nothing_is_said() -> None:
    assert not found(waiting((BEHIND, 1_000)), stuck(StuckKind.HELD, 1))
    assert not found(waiting((HOLDER, 1_000)), stuck(StuckKind.HELD, 1))


def test_where_memory_was_not_read_nothing_is_said() -> None:
    summary = summary_of([waiting((HOLDER, 1_000), (BEHIND, 1_000))], stuck(StuckKind.HELD, 1), read=False)
    assert not summary.findings


@pytest.mark.parametrize(
    ("behind", "since", "severity"),
    [(2, 8_980, Severity.WARNING), (1, 8_980, Severity.INFO), (20, 9_000, None)],
)
def test_permits_that_nobody_is_known_to_have(behind: int, since: float, severity: Severity | None) -> None:
    waits = waiting(*((BEHIND + one, since) for one in range(behind)))
    told = found(waits, stuck(StuckKind.LENT_OUT, behind, ()))
    assert [one.severity for one in told] == ([severity] if severity is not None else [])
    for one in told:
        assert (one.rule, one.where, one.evidence["tasks"], one.evidence["waiting_tasks"]) == (
            "long-queue", PLACE, 0, behind,
        )  # fmt: skip
        assert "give them back" in one.advice
