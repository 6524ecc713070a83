"""Finished tasks that nobody takes: how many more at the end, and which of those that seem so are not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.unit.output.findings.made import QUERY, START, TASK, recording, spans, task, wait
from tracer.model import (
    PARKED,
    CaptureEnd,
    Finding,
    KeptTasks,
    MemoryReading,
    Outcome,
    SourceLocation,
    Spans,
    Tally,
    WaitFlag,
)
from tracer.output.summary import Summary

MS = 1_000_000
WHERE = SourceLocation("src/pool.rs", 31)


def ended(count: int, first: float = 100, last: float = 9_900) -> Spans:
    """So many tasks that began, and ended at once, from first to last, in ms."""
    at = np.linspace(first, last, count).tolist()
    begun = [task(number, time) for number, time in enumerate(at, 1)]
    over = [task(number, time, time + 1, outcome=Outcome.FINISHED) for number, time in enumerate(at, 1)]
    return spans(begun=begun, over=over)


def summary_of(
    *parts: Spans, before: Sequence[KeptTasks] | None, after: Sequence[KeptTasks] | None, length: float = 10_000
) -> Summary:
    summary = Summary(recording())
    nothing = np.empty(0, PARKED)
    for is_last, kept in ((False, before), (True, after)):
        told = tuple(kept) if kept is not None else None
        summary.memory_reading(MemoryReading(START, 5, 0, is_last, 3, nothing, (), 0, told))
    for made in parts:
        summary.spans(made)
    summary.close(Tally(), CaptureEnd(START + round(length * MS), "over", 100, 0))
    return summary


def found(
    *parts: Spans, before: Sequence[KeptTasks] | None, after: Sequence[KeptTasks] | None, length: float = 10_000
) -> list[Finding]:
    return [
        one
        for one in summary_of(*parts, before=before, after=after, length=length).findings
        if one.rule == "result-leak"
    ]


def test_what_is_told_of_them() -> None:
    kept = KeptTasks(TASK, 140, "app::collects", 138, location=WHERE)
    (one,) = found(ended(100), before=[KeptTasks(TASK, 40)], after=[kept])
    assert one.title.startswith("140 finished tasks conn::handle are kept by app::collects with their results, ")
    assert one.title.endswith(
        " are kept by app::collects with their results, 100 more than at the begin; 100 ended meanwhile"
    )
    assert (one.function, one.where) == ("app::collects", WHERE)
    assert one.evidence["kept_at_begin"] == 40
    assert one.evidence["growth_per_second"] == 10.0


def test_it_leads_to_who_keeps_them() -> None:
    """By the wait that this one is in at the end."""
    open_wait = wait(5_000, None, 10_000, task=4_000, flags=int(WaitFlag.END_UNKNOWN))
    open_wait["self"] = 0x500
    both = ended(100), spans(waits=[open_wait])
    (one,) = found(*both, before=[], after=[KeptTasks(TASK, 100, "app::collects", 100, keeper=0x500)])
    assert (one.task, one.tid) == (4_000, int(open_wait["tid"]))


def test_who_keeps_them_need_not_be_known() -> None:
    (one,) = found(ended(100), before=[], after=[KeptTasks(TASK, 100)])
    assert one.function == "task echo::conn::handle"
    assert "kept_by" not in one.evidence


@pytest.mark.parametrize(
    ("made", "before", "after", "is_found"),
    [
        (ended(40), 5, 24, False),
        (ended(40), 5, 25, True),
        (ended(100), 0, 49, False),  # more of them went than stayed
        (ended(100), 0, 50, True),
        (ended(100, last=4_000), 0, 100, False),  # a batch: nothing was spawned any more
    ],
)
def test_thresholds(made: Spans, before: int, after: int, is_found: bool) -> None:
    assert bool(found(made, before=[KeptTasks(TASK, before)], after=[KeptTasks(TASK, after)])) is is_found


def test_who_waits_for_tasks_takes_results() -> None:
    assert not found(ended(100), before=[], after=[KeptTasks(TASK, 100, "app::collects", 100, is_asked=True)])


def test_a_short_run_tells_nothing() -> None:
    assert not found(ended(100, 10, 890), before=[], after=[KeptTasks(TASK, 100)], length=900)


@pytest.mark.parametrize(("before", "after"), [(None, [KeptTasks(TASK, 100)]), ([], None)])
def test_both_ends_are_needed(before: Sequence[KeptTasks] | None, after: Sequence[KeptTasks] | None) -> None:
    summary = summary_of(ended(100), before=before, after=after)
    assert not [one for one in summary.findings if one.rule == "result-leak"]
    unjudged = {one["rule"]: one["why"] for one in summary.as_json()["rules_not_judged"]}
    assert unjudged["result-leak"] == "the tasks' memory was not read at both ends"


def test_functions_that_are_no_tasks_are_left_out() -> None:
    """A damaged capture can have any number."""
    assert not found(ended(100), before=[], after=[KeptTasks(QUERY, 100), KeptTasks(9_999, 100)])
