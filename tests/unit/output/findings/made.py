"""Small evidence for rules: polls, waits and tasks of the simulation's program, in milliseconds of its recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tests.perfetto.simulation import ACCEPT, HANDLE, PID, QUERY, ROW, START, TASK, WORKERS, make_recording
from tracer.model import (
    OFF_CPU,
    POLL,
    WAIT,
    Array,
    CaptureEnd,
    Finding,
    Group,
    Layout,
    LayoutKind,
    Loss,
    Outcome,
    PlanChange,
    PollFlag,
    Probe,
    Recording,
    Site,
    Source,
    Spans,
    Tally,
    Thread,
    WaitFlag,
)
from tracer.model import TASK as TASK_RECORD
from tracer.output.summary import Summary

__all__ = ["ACCEPT", "HANDLE", "PID", "QUERY", "ROW", "START", "TASK", "WORKERS"]

MS = 1_000_000
_PENDING = int(PollFlag.RESULT | PollFlag.PENDING)


def recording(*, wakes: bool = True) -> Recording:
    """Of ten seconds."""
    made = make_recording()
    probes = made.plan.probes
    if wakes:
        probes = (*probes, Probe(len(probes), 0, 0x9000, Site.WAKE, Group.WAKES, None, None))
    typed = Layout("Sleep", LayoutKind.FUTURE, Source.DWARF, 112)
    return replace(made, plan=replace(made.plan, probes=probes, layouts=(*made.plan.layouts, typed)))


def poll(
    start: float,
    length: float,
    task: int = 1,
    tid: int = WORKERS[0],
    function: int = TASK,
    depth: int = 0,
    instance: int | None = None,
    flags: int = _PENDING,
) -> np.void:
    """In ms; of a task, unless it says otherwise."""
    made = np.zeros(1, POLL)
    made["start"], made["end"] = START + round(start * MS), START + round((start + length) * MS)
    made["end_latest"], made["tid"], made["function"], made["depth"] = made["end"], tid, function, depth
    made["instance"], made["flags"], made["state_after"] = task if instance is None else instance, flags, 255
    made["task"] = 0 if function == TASK else task
    return _row(made)


def wait(
    start: float,
    woken: float | None,
    end: float,
    task: int = 1,
    by: int = 0,
    tid: int = WORKERS[0],
    flags: int = 0,
    function: int = TASK,
    state: int | None = None,
    instance: int | None = None,
) -> np.void:
    """In ms; woken None: by which wake it ended is not known."""
    made = np.zeros(1, WAIT)
    made["start"], made["end"] = START + round(start * MS), START + round(end * MS)
    made["instance"], made["task"], made["tid"] = task if instance is None else instance, task, tid
    made["function"], made["flags"] = function, flags | (int(WaitFlag.STATE) if state is not None else 0)
    made["state"] = state or 0
    if woken is not None:
        made["woken"], made["woken_by"], made["woken_on"] = START + round(woken * MS), by, tid
    return _row(made)


def deeper(row: np.void) -> np.void:
    """The same wait of a future in the task, which is polled a bit later and was a bit sooner done."""
    future = row.copy()
    future["function"], future["task"], future["instance"] = (
        QUERY,
        row["task"] or row["instance"],
        1000 + row["instance"],
    )
    future["start"], future["end"] = row["start"] - 1000, row["end"] + 1000
    future["woken"] = future["woken_by"] = future["woken_by_function"] = 0
    return future


def left(at: float, since: float = 0, stolen: float | None = 0, tid: int = WORKERS[0]) -> np.void:
    """The thread left its CPU, in ms, and got it again 1 ms later; stolen None: it is not known."""
    made = np.zeros(1, OFF_CPU)
    made["since"], made["start"], made["end"] = (START + round(one * MS) for one in (since, at, at + 1))
    made["tid"], made["stolen"], made["woken"] = tid, -1 if stolen is None else round(stolen * MS), made["end"]
    made["state"] = 1
    return _row(made)


def task(
    number: int,
    first: float = 0,
    last: float = 10_000,
    polls: int = 1,
    outcome: Outcome = Outcome.WAITING,
    spawned: float | None = None,
    busy: float = 0,
) -> np.void:
    """In ms."""
    made = np.zeros(1, TASK_RECORD)
    made["task"], made["id"], made["function"], made["outcome"] = number, 100 + number, TASK, outcome
    made["first"], made["last"], made["polls"] = START + round(first * MS), START + round(last * MS), polls
    made["until"] = made["last"]
    made["tid"], made["busy"] = WORKERS[0], round(busy * MS)
    made["spawned"] = 0 if spawned is None else START + round(spawned * MS)
    return _row(made)


def spans(
    polls: Sequence[np.void] = (),
    waits: Sequence[np.void] = (),
    over: Sequence[np.void] = (),
    begun: Sequence[np.void] = (),
    off_cpu: Sequence[np.void] = (),
) -> Spans:
    """In the order of their ends."""
    return Spans(
        _joined(polls, POLL, "end"), _joined(waits, WAIT, "end"), _joined(begun, TASK_RECORD, "task"),
        _joined(over, TASK_RECORD, "task"), off_cpu=_joined(off_cpu, OFF_CPU, "end"),
    )  # fmt: skip


def _row(made: Array) -> np.void:
    row: np.void = made[0]
    return row


def _joined(rows: Sequence[np.void], kind: np.dtype[np.void], by: str) -> Array:
    made = np.array([*rows], kind) if rows else np.empty(0, kind)
    ordered: Array = made[np.argsort(made[by], kind="stable")]
    return ordered


def summary_of(
    *parts: Spans,
    wakes: bool = True,
    lost: int = 0,
    of: Recording | None = None,
    changes: Sequence[PlanChange] = (),
    shares: tuple[float | None, float | None] = (None, None),
) -> Summary:
    """Of a recording of ten seconds that told these, after the changes.  shares: overhead, of_processor of its end."""
    summary = Summary(of or recording(wakes=wakes))
    summary.threads([Thread(tid, PID, f"worker-{number}") for number, tid in enumerate(WORKERS)])
    for change in changes:
        summary.plan_change(change)
    for part in parts:
        summary.spans(part)
    if lost:
        summary.loss(Loss(0, lost, None, None))
    summary.close(Tally(), CaptureEnd(START + 10_000 * MS, "10 s are over", 100, lost, *shares))
    return summary


def found(*parts: Spans, wakes: bool = True, lost: int = 0, changes: Sequence[PlanChange] = ()) -> list[Finding]:
    """What is found in it."""
    return summary_of(*parts, wakes=wakes, lost=lost, changes=changes).findings


def rules(findings: Sequence[Finding]) -> list[str]:
    """Their ids."""
    return [one.rule for one in findings]
