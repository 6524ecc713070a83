"""The tasks that are alive: what each has done so far, and when it is over.

A task is over when its future has returned, or when another task has its header; nothing else tells, so
that there are as many here as addresses were in use.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracer.assemble.columns import joined, pick
from tracer.assemble.sorting import stable_order
from tracer.assemble.state import NO_TASKS, Flags, Indexes, Numbers, Tasks, Unsigned
from tracer.model import Array, Outcome, PollFlag

_OUTCOMES = np.array([Outcome.UNKNOWN, Outcome.FINISHED, Outcome.UNKNOWN, Outcome.WAITING], np.uint8)
"""By the flags RESULT and PENDING of the last poll."""
_ENDED = (Outcome.FINISHED, Outcome.REPLACED)
_RESULT, _PENDING = np.uint16(PollFlag.RESULT), np.uint16(PollFlag.PENDING)


def with_begun(tasks: Tasks, begun: Array) -> Tasks:
    """Take in new tasks (dtype TASK, by number); those before them at the same header are over."""
    if not len(begun):
        return tasks
    count = len(begun)
    alive = joined(tasks.alive, begun)
    leaving = np.concatenate([tasks.leaving, np.zeros(count, np.bool_)])
    latest = np.concatenate([tasks.latest, np.full(count, np.iinfo(np.int64).min)])
    rows = np.flatnonzero(np.isin(alive["header"], begun["header"]))
    rows = rows[np.lexsort((rows, alive["header"][rows], alive["process"][rows]))]
    before, after = rows[:-1], rows[1:]
    same = (alive["header"][before] == alive["header"][after]) & (alive["process"][before] == alive["process"][after])
    before, after = before[same], after[same]
    leaving[before] = True
    # A type of its own, or an id of its own: it is certainly another task.
    other = alive["function"][before] != alive["function"][after]
    other |= (alive["id"][before] != 0) & (alive["id"][after] != 0) & (alive["id"][before] != alive["id"][after])
    other &= alive["outcome"][before] != Outcome.FINISHED
    outcome = alive["outcome"]
    outcome[before[other]] = Outcome.REPLACED
    return Tasks(alive, leaving, latest)


def with_spans(tasks: Tasks, polls: Array, waits: Array, is_task: Flags) -> Tasks:
    """Add up the polls (dtype POLL, by end) and waits of the tasks themselves."""
    if not len(tasks.alive):
        return tasks
    alive, leaving, latest = tasks.alive, tasks.leaving, tasks.latest
    of_tasks = np.flatnonzero(is_task[polls["function"]])
    if len(of_tasks):
        alive, leaving, latest = alive.copy(), leaving.copy(), latest.copy()
        _add_polls(alive, leaving, latest, _by_task(alive, polls["instance"][of_tasks]), polls, of_tasks)
    of_tasks = np.flatnonzero(is_task[waits["function"]])
    if len(of_tasks):
        alive = alive.copy()
        each = _by_task(alive, waits["instance"][of_tasks])
        of_tasks = of_tasks[each.order]
        if len(of_tasks):
            alive["waiting"][each.row] += np.add.reduceat(waits["end"][of_tasks] - waits["start"][of_tasks], each.begin)
    return Tasks(alive, leaving, latest)


@dataclass(frozen=True, slots=True)
class _ByTask:
    """order: the spans of known tasks, those of one task together.  begin: where in it each task's begin.
    row: its row among the tasks.
    """

    order: Indexes
    begin: Indexes
    row: Indexes


def _by_task(alive: Array, numbers: Unsigned) -> _ByTask:
    at = np.searchsorted(alive["task"], numbers)
    known = at < len(alive)
    known[known] = alive["task"][at[known]] == numbers[known]
    spans = np.flatnonzero(known)
    order = spans[stable_order(at[spans])]
    row = at[order]
    begin = np.flatnonzero(np.append(True, row[1:] != row[:-1])) if len(row) else np.zeros(0, np.intp)
    return _ByTask(order, begin, row[begin])


def _add_polls(alive: Array, leaving: Flags, latest: Numbers, each: _ByTask, polls: Array, of_tasks: Indexes) -> None:
    """In place."""
    chosen = of_tasks[each.order]
    if not len(chosen):
        return
    row, begin = each.row, each.begin
    counts = np.diff(np.append(begin, len(chosen)))
    start, end, flags = polls["start"][chosen], polls["end"][chosen], polls["flags"][chosen]
    length = end - start
    alive["polls"][row] += counts.astype(np.uint64)
    alive["busy"][row] += np.add.reduceat(length, begin)
    alive["longest"][row] = np.maximum(alive["longest"][row], np.maximum.reduceat(length, begin))
    alive["last"][row] = np.maximum(alive["last"][row], np.maximum.reduceat(end, begin))
    # The result of the poll that began last counts, in whatever order their ends were seen.
    result = _OUTCOMES[(flags & (_RESULT | _PENDING)) // _RESULT]
    newest = np.maximum.reduceat(start, begin)
    of_newest = np.where(start == np.repeat(newest, counts), result, np.uint8(0))
    outcome = np.maximum.reduceat(of_newest, begin)
    before = alive["outcome"][row]
    outcome = np.where(newest >= latest[row], outcome, np.uint8(0))
    outcome = np.where(newest > latest[row], outcome, np.maximum(before, outcome))
    latest[row] = np.maximum(latest[row], newest)
    finished = np.maximum.reduceat((result == Outcome.FINISHED).view(np.uint8), begin) != 0
    outcome = np.where(np.isin(before, _ENDED), before, outcome)
    alive["outcome"][row] = np.where(finished, np.uint8(Outcome.FINISHED), outcome)
    leaving[row[finished]] = True


def without_over(tasks: Tasks, polled: Unsigned) -> tuple[Tasks, Array]:
    """Take out the tasks that are over (dtype TASK).  polled: the tasks with a poll under way."""
    if not tasks.leaving.any():
        return tasks, NO_TASKS
    over = tasks.leaving & ~np.isin(tasks.alive["task"], polled)
    return _only(tasks, ~over), pick(tasks.alive, over)


def ended(tasks: Tasks, which: Flags, cut: Unsigned) -> tuple[Tasks, Array]:
    """Take out tasks because nothing more is seen of them.  cut: the tasks with a poll under way until now."""
    over = pick(tasks.alive, which)
    over["outcome"][np.isin(over["task"], cut) & ~np.isin(over["outcome"], _ENDED)] = Outcome.RUNNING
    return _only(tasks, ~which), over


def polled(frames: Array, is_task: Flags) -> Unsigned:
    """The tasks of the open task polls among frames (dtype FRAME)."""
    tasks: Unsigned = frames["instance"][is_task[frames["function"]]]
    return tasks


def _only(tasks: Tasks, which: Flags) -> Tasks:
    return Tasks(pick(tasks.alive, which), tasks.leaving[which], tasks.latest[which])
