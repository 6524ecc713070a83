"""The tasks that are alive: what each has done so far, and when it is over.

A task is over when its future has returned, or when another task has its header; nothing else tells, so
that there are as many here as addresses were in use.
"""

from __future__ import annotations

import numpy as np

from tracer.assemble.columns import joined, pick
from tracer.assemble.state import NO_TASKS, Flags, Indexes, Tasks, Unsigned
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
    polls, waits = pick(polls, is_task[polls["function"]]), pick(waits, is_task[waits["function"]])
    if (not len(polls) and not len(waits)) or not len(tasks.alive):
        return tasks
    alive, leaving, latest = tasks.alive.copy(), tasks.leaving.copy(), tasks.latest.copy()
    at, known = _places(alive, polls["instance"])
    at, polls = at[known], pick(polls, known)
    length = polls["end"] - polls["start"]
    np.add.at(alive["polls"], at, np.uint64(1))
    np.add.at(alive["busy"], at, length)
    np.maximum.at(alive["longest"], at, length)
    np.maximum.at(alive["last"], at, polls["end"])
    result = _OUTCOMES[((polls["flags"] & (_RESULT | _PENDING)) // _RESULT)]
    # The result of the poll that began last counts, in whatever order their ends were seen.
    order = np.lexsort((result, polls["start"], at))
    order = order[np.append(at[order][1:] != at[order][:-1], True)] if len(order) else order
    row, start, outcome = at[order], polls["start"][order], result[order]
    settled = np.isin(alive["outcome"][row], _ENDED)
    newer = ~settled & ((start > latest[row]) | ((start == latest[row]) & (outcome > alive["outcome"][row])))
    alive["outcome"][row[newer]] = outcome[newer]
    latest[row] = np.maximum(latest[row], start)
    finished = at[result == Outcome.FINISHED]
    alive["outcome"][finished] = Outcome.FINISHED
    leaving[finished] = True
    at, known = _places(alive, waits["instance"])
    np.add.at(alive["waiting"], at[known], (waits["end"] - waits["start"])[known])
    return Tasks(alive, leaving, latest)


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


def _places(alive: Array, numbers: Unsigned) -> tuple[Indexes, Flags]:
    at = np.searchsorted(alive["task"], numbers)
    known = at < len(alive)
    known[known] = alive["task"][at[known]] == numbers[known]
    return at, known
