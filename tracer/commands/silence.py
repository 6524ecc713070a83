"""Whether a process that worked and sent nothing is one in which nothing can be seen."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from tracer.commands.computing import computing_words
from tracer.errors import NoEvents
from tracer.model import FIRST_SUSPEND, PARKED, Array, FunctionKind, MemoryReading, Plan, Process, TaskAtRest
from tracer.target.process import TargetProcess
from tracer.target.workers import words_on_workers
from tracer.terminal import remark, shell_word

BUSY_SHARE = 0.05
"""A target that used this share of a core and sent nothing was not idle: something is wrong."""

LEAST_TO_JUDGE = 1_000_000_000
"""Nanoseconds: a program that ended sooner, or was let go sooner, may have done no more than start."""


def tasks_left_alone(before: Sequence[MemoryReading], after: Sequence[MemoryReading], plan: Plan) -> int:
    """Of how many tasks memory tells, at the begin and the end of a recording, none of which was polled meanwhile;
    0: of none, or it tells that one was.

    What was there is where it was, unless its process has ended, and what came since has not run yet.
    """
    processes = [reading.process for reading in after]
    first, last = _told(before), _told(after)
    ended = ~np.isin(first["process"], processes)
    there, still = set(_alike(first[~ended])), _alike(last)
    fresh = last[[row not in there for row in still]]
    has_run = (fresh["task"] != TaskAtRest.READY) | (fresh["state"] >= FIRST_SUSPEND)
    if there - set(still) or has_run.any():
        return 0
    is_task = np.array([one.kind is FunctionKind.TASK for one in plan.functions])
    return sum(int(np.count_nonzero(is_task[one["function"]])) for one in (first[ended], last))


def _told(readings: Sequence[MemoryReading]) -> Array:
    """dtype PARKED."""
    return np.concatenate([np.empty(0, PARKED), *(reading.parked for reading in readings)])


def _alike(told: Array) -> list[tuple[int, ...]]:
    """What waited, and was then woken, as if it had been ready all the time: it was not polled."""
    told = told.copy()
    told["task"][told["task"] == TaskAtRest.WAITING] = TaskAtRest.READY
    rows: list[tuple[int, ...]] = told.tolist()
    return rows


def judge_silence(
    process: Process,
    target: TargetProcess | None,
    plan: Plan,
    readings: tuple[Sequence[MemoryReading], Sequence[MemoryReading]],
    asked: Collection[str],
    *,
    is_short: bool,
    elapsed: int,
    used: int,
) -> None:
    """Of a recording without a hit of a probe.  Raises NoEvents.

    target: None: the process has ended.  readings: of memory, at the begin and at the end.  asked: names of the
    options.  is_short: it may end at any time.  elapsed, used: ns that passed, and of CPU time.
    """
    if target is not None and (workers := words_on_workers(target)):
        remark(f"  no poll was seen; {workers}")
    if used < BUSY_SHARE * elapsed or (is_short and elapsed < LEAST_TO_JUDGE):
        return
    doing = computing_words(target, plan.binaries[process.binary]) if target is not None else ""
    instead = f"; right now {doing}" if doing else ""
    if tasks := tasks_left_alone(*readings, plan):
        from tracer.output.tables import some  # takes long to import

        remark(f"  no poll was seen, and memory tells of none: {some(tasks, 'task')} did not go on{instead}")
        return
    chosen = {"filter", "notrace", "generated_futures"} & set(asked)
    why = "its futures run in code that has no probe, or it does no async work"
    if chosen:
        why = "the futures that you chose were not polled in that time"
    raise NoEvents(
        "The probes were attached, the process worked, and no poll was seen.",
        why=f"{why}{instead}",
        fix=f"rat-ebpf list {process.pid if target is not None else shell_word(process.executable)}",
    )
