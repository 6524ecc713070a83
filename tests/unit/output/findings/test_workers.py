"""Unequal workers: how busy, with how many tasks ready, and how idle the other one."""

from __future__ import annotations

import pytest

from tests.unit.output.findings.made import START, WORKERS, found, poll, spans, task, wait
from tracer.model import Finding, Spans


def run(busy: float = 0.6, idle: float = 0.1, ready: float = 1.5, threads: int = 2) -> Spans:
    """Shares of ten seconds, in 500 rounds; ready: tasks that are so on average."""
    polls, waits = [], []
    for number in range(500):
        at = 20 * number
        polls.append(poll(at, 20 * busy, 1, WORKERS[0]))
        waits.append(wait(at - 1, at - 0.5, at - 0.5 + 20 * ready, 3, tid=WORKERS[0]))
        if threads > 1:
            polls.append(poll(at, 20 * idle, 2, WORKERS[1]))
    return spans(polls, waits, [task(1), task(2)])


def imbalances(*parts: Spans) -> list[Finding]:
    return [one for one in found(*parts) if one.rule == "worker-imbalance"]


def test_unequal_workers() -> None:
    (one,) = imbalances(run())
    assert (one.tid, one.time, one.duration) == (WORKERS[0], START, 10_000_000_000)
    assert (one.evidence["busiest_share"], one.evidence["idlest_share"]) == (0.6, 0.1)
    assert (one.evidence["ready_tasks"], one.evidence["idlest_tid"]) == (1.5, WORKERS[1])
    assert one.function == "task echo::conn::handle"
    assert "worker-0 (4243) polled tasks in 60% of the time with 1.5 more ready on average" in one.title


@pytest.mark.parametrize(
    ("made", "is_found"),
    [
        (run(busy=0.49), False),
        (run(busy=0.51), True),
        (run(ready=0.98), False),
        (run(ready=1.02), True),
        (run(idle=0.16), False),
        (run(idle=0.14), True),
        (run(threads=1), False),
    ],
)
def test_thresholds(made: Spans, is_found: bool) -> None:
    assert bool(imbalances(made)) is is_found


def test_new_tasks_are_ready_too() -> None:
    """From their spawn on; they have had no wake."""
    made = run(ready=0.5)
    assert not imbalances(made)
    born = [task(10 + number, 20 * number + 10, spawned=20 * number - 10) for number in range(1, 500)]
    (one,) = imbalances(made, spans(begun=born))
    assert one.evidence["ready_tasks"] == pytest.approx(1.5, rel=0.01)


def test_threads_of_processes_that_are_not_known_are_left_alone() -> None:
    made = run()
    made.polls["tid"] += 10_000
    made.waits["tid"] += 10_000
    assert not imbalances(made)
