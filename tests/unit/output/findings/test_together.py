"""All rules together: in what steps a recording is told does not matter, and how findings are printed."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from tests.perfetto.simulation import blocks
from tests.unit.output.findings import test_busy_loops, test_cancellations, test_leaks, test_long_polls, test_starved
from tests.unit.output.findings.made import START, left, poll, recording, spans, summary_of, task, wait
from tests.unit.output.findings.test_workers import run as unequal
from tracer.model import Finding, Spans, Tally
from tracer.output.printed_summary import print_summary
from tracer.output.summary import Summary

DELAYS = [wait(90, 110, 160, task=5), wait(280, 302, 360, task=6)]
FAULTS = {
    "long-poll": spans(test_long_polls.usual() + test_long_polls.nest(100, 20) + test_long_polls.nest(300, 40)),
    "starved-tasks": test_starved.run(*DELAYS)[0],
    "busy-loop": test_busy_loops.loop(),
    "task-leak": test_leaks.tasks(test_leaks.evenly(40)),
    "future-leak": test_leaks.futures(40),
    "cancel-storm": test_cancellations.storm(60, 20),
    "select-cancelled": test_cancellations.rounds(40),
    "worker-imbalance": unequal(),
}


def found(parts: list[Spans]) -> list[Finding]:
    return summary_of(*parts).findings


@pytest.mark.parametrize("rule", FAULTS)
@pytest.mark.parametrize("steps", [2, 3, 17])
def test_steps_do_not_matter(rule: str, steps: int) -> None:
    made = FAULTS[rule]
    if not len(made.polls):
        made = replace(made, polls=spans([poll(9000, 0.1, task=2)]).polls)
    whole = found([made])
    assert rule in {one.rule for one in whole}
    assert found(list(blocks(made, steps))) == whole


def rendered(summary: Summary, width: int = 160) -> list[str]:
    out = io.StringIO()
    print_summary(summary.as_json(), Console(file=out, width=width, no_color=True, highlight=False))
    return out.getvalue().splitlines()


def test_the_worst_come_first() -> None:
    slow = [poll(5000 + 400 * number, 300, number + 10) for number in range(2)]
    summary = summary_of(FAULTS["long-poll"], spans(slow), FAULTS["busy-loop"])
    severities = [one.severity for one in summary.findings]
    assert severities == sorted(severities, reverse=True)
    assert len(set(severities)) == 2
    lines = rendered(summary)
    (first, advice), second = lines[2:4], lines[4]
    assert first.startswith("critical long-poll: conn::handle kept thread worker-0 (4243) for 300 ms, and once more")
    assert first.endswith("(perhaps waiting for a CPU) · src/conn.rs:12 · at 5.000 s")
    assert advice.startswith("  Move what blocks")
    assert second.startswith("warning ")
    document = summary.as_json()
    assert [one["severity"] for one in document["findings"]] == ["critical", "warning", "warning"]
    assert document["findings"][0]["time"] == START + 5_000_000_000
    assert document["findings"][0]["seconds"] == 5.0
    assert document["findings"][0]["thread"] == "worker-0"


def test_both_counts_of_own_wakes_say_of_what_they_are() -> None:
    """One wake was its own, and the poll after it began before the last one had ended."""
    summary = Summary(recording())
    summary.spans(spans(waits=[wait(1, 2, 3, by=2)], over=[task(1)]))
    summary.close(Tally(wakes=2, self_wakes=1), None)
    line = next(one for one in rendered(summary) if "wakes of tasks" in one)
    assert line.startswith("2 wakes of tasks, 0 without effect, 1 by themselves,")
    assert line.endswith("; above are the polls that waited for one")


def test_that_there_are_none_is_said_in_a_line() -> None:
    lines = rendered(summary_of(spans(test_long_polls.usual())))
    (line,) = [line for line in lines if "findings" in line]
    assert line.startswith("findings: none")
    lines = rendered(summary_of(FAULTS["long-poll"]))
    assert not [line for line in lines if "findings" in line]


def test_only_so_many_are_printed() -> None:
    polls = test_long_polls.usual()
    for function in (1, 2, 3, 4, 5):
        for at in (100 * function, 100 * function + 50):
            inner = poll(at + 0.01, 39.98, 50 + function, function=function, depth=1, instance=60 + function)
            polls += [inner, poll(at, 40, 50 + function)]
    summary = summary_of(spans(polls), FAULTS["busy-loop"])
    assert len(summary.findings) == 6
    lines = rendered(summary)
    assert len([line for line in lines if line.startswith(("critical ", "warning "))]) == 5
    assert "1 more finding: see --json" in lines


def test_what_the_host_took_is_said() -> None:
    """Of what is known, and where it is much."""
    made = recording()
    made = replace(made, plan=replace(made.plan, scheduling=True))
    off = [left(100, stolen=3), left(300, 200, stolen=0.05), left(500, 400, stolen=1), left(900, 600, stolen=None)]
    summary = summary_of(spans(test_long_polls.usual(), off_cpu=off), of=made)
    assert summary.as_json()["scheduling"]["stolen"] == {"of": 300_000_000, "total": 4_000_000, "longest": 3_000_000}
    (line,) = [line for line in rendered(summary) if "the host" in line]
    assert "took 1.3% of the time that threads seem to have been on their CPUs, up to 3.00 ms of one stretch" in line
    quiet = summary_of(spans(test_long_polls.usual(), off_cpu=off[1:3]), of=made)
    assert not [line for line in rendered(quiet) if "the host" in line]
    unknown = summary_of(spans(test_long_polls.usual(), off_cpu=off[3:]), of=made)
    assert unknown.as_json()["scheduling"]["stolen"] is None
