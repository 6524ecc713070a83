"""Jobs in the queue of the blocking pool: how long, how many, and beside how long they run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.perfetto.simulation import SITES, with_sites
from tests.unit.output.findings.made import START, recording, spans, summary_of, task
from tracer.model import Finding, Outcome, Recording, Spans


def of_jobs() -> Recording:
    made = with_sites(recording())
    functions = (replace(made.plan.functions[0], is_job=True), *made.plan.functions[1:])
    return replace(made, plan=replace(made.plan, functions=functions))


def jobs(late: int, prompt: int = 0, queued: float = 15, ran: float = 5) -> Spans:
    """Some that were queued for so many ms, and some that were not."""
    begun, over = [], []
    for number in range(1, late + prompt + 1):
        spawned = 100 + 10 * number
        first = spawned + (queued + number / 100 if number <= late else 0.1)
        one = task(number, first, first + ran, outcome=Outcome.FINISHED, spawned=spawned, busy=ran)
        one["spawned_at"] = 1
        over.append(one)
        begun.append(one)
    return spans(over=over, begun=begun)


def found(made: Spans) -> list[Finding]:
    return [one for one in summary_of(made, of=of_jobs()).findings if one.rule == "blocking-pool"]


def test_jobs_that_wait_for_a_thread() -> None:
    (one,) = found(jobs(30))
    assert (one.evidence["jobs"], one.evidence["queued_jobs"]) == (30, 30)
    assert one.evidence["queued_longest_ns"] == 15_300_000
    assert one.evidence["ran_p50_ns"] == pytest.approx(5_000_000, rel=0.06)
    assert (one.time, one.duration, one.task) == (START + 400_000_000, 15_300_000, 30)
    assert one.where is not None
    assert str(one.where) == f"{SITES[0].file}:{SITES[0].line}"


@pytest.mark.parametrize(
    ("made", "is_found"),
    [
        (jobs(9), False),
        (jobs(10), True),
        (jobs(20, 20), True),
        (jobs(20, 21), False),
        (jobs(30, queued=9), False),
        (jobs(30, queued=11), True),
        (jobs(30, ran=16), False),  # they run for longer than they wait
        (jobs(30, ran=14), True),
    ],
)
def test_thresholds(made: Spans, is_found: bool) -> None:
    assert bool(found(made)) is is_found


def test_where_spawns_are_not_seen_it_is_not_judged() -> None:
    made = of_jobs()
    made = replace(made, plan=replace(made.plan, spawns=()))
    summary = summary_of(jobs(30), of=made)
    assert "blocking-pool" in {one["rule"] for one in summary.as_json()["rules_not_judged"]}
    assert not summary.findings
