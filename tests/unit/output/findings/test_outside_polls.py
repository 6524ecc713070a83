"""Threads that poll tasks and block outside of all polls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.captures import busy_plan
from tests.unit.output.findings.made import MS, START, TASK, WORKERS, found, poll, recording, spans, summary_of
from tracer.model import OFF_CPU, Finding, Group, OffCpuFlag, PlanChange, Severity

SLEEP, FUTEX, EPOLL = 230, 202, 232


def blocked(
    at: float, length: float, syscall: int = SLEEP, tid: int = WORKERS[0], flags: int = 0, late: float = 0
) -> np.void:
    """In ms; late: so long it waited for a CPU then."""
    made = np.zeros(1, OFF_CPU)
    made["start"], made["woken"] = START + round(at * MS), START + round((at + length) * MS)
    made["end"] = made["woken"] + round(late * MS)
    made["syscall"], made["tid"], made["flags"], made["state"] = syscall, tid, flags, 1
    row: np.void = made[0]
    return row


FIRST = poll(1, 1)
"""Of a task, on the thread."""


def of(*off_cpu: np.void, polls: tuple[np.void, ...] = (FIRST,), changes: tuple[PlanChange, ...] = ()) -> list[Finding]:
    return found(spans(polls, off_cpu=off_cpu), changes=changes)


def test_it_is_found() -> None:
    (one,) = of(blocked(100, 80), blocked(300, 20))
    assert (one.rule, one.severity) == ("long-poll", Severity.WARNING)
    assert (one.time, one.duration, one.tid) == (START + 100 * MS, 80 * MS, WORKERS[0])
    assert (one.function, one.task) == (None, None)
    assert one.title.endswith("for 80.0 ms, and once more for long, in clock_nanosleep")
    (one,) = of(blocked(100, 300))
    assert one.severity is Severity.CRITICAL


@pytest.mark.parametrize(
    "row",
    [
        blocked(100, 300, FUTEX),
        blocked(100, 300, EPOLL),
        blocked(100, 300, -1),
        blocked(100, 300, tid=WORKERS[1]),
        blocked(100, 300, flags=int(OffCpuFlag.IN_POLL)),
        blocked(100, 300, flags=int(OffCpuFlag.MAYBE_IN_POLL)),
        blocked(100, 300, flags=int(OffCpuFlag.END_UNKNOWN)),
        blocked(0, 0.9, late=300),
        blocked(0.5, 300),
        blocked(100, 80),
        blocked(100, 9),
    ],
    ids=[
        *(
            "it is idle",
            "it is idle, too",
            "nobody knows how",
            "it polls no task",
            "in a poll",
            "perhaps in one",
            "to the end",
        ),
        *("it waited for a CPU", "perhaps in a poll from before", "once", "not for long"),
    ],
)
def test_it_is_not(row: np.void) -> None:
    assert of(row) == []


def test_only_where_tasks_were_probed_all_the_time() -> None:
    change = PlanChange(START + 9_000_000_000, frozenset({Group.WAKES}), "they cost too much")
    assert of(blocked(100, 300), changes=(change,)) == []


def test_it_may_have_been_a_task_that_is_left_out() -> None:
    plan = recording().plan
    left_out = replace(plan.functions[TASK], address=plan.functions[TASK].address + 0x7000)
    plan = replace(plan, binaries=(replace(busy_plan().binaries[0], functions=(*plan.functions, left_out)),))
    of = replace(recording(), plan=plan)
    (one,) = summary_of(spans((FIRST,), off_cpu=(blocked(100, 300),)), of=of).findings
    assert one.title.startswith("what block_on runs, a destructor, or a task that is not probed, blocked thread")
