"""The tasks that are alive: what each has done so far, and when it is over.

A task is over when its future has returned or panicked, when the runtime says so, or when another task has its
header, so that there are never more here than addresses were in use.
"""

from __future__ import annotations

import numpy as np

from tracer.assemble.arrays import Flags, Indexes, Numbers, Small, Unsigned
from tracer.assemble.columns import copied, joined, pick
from tracer.assemble.lookup import locate
from tracer.assemble.resting import tasks_at_rest
from tracer.assemble.roles import TASKS
from tracer.assemble.state import ANOTHER, DONE, END, NO_TASKS, NOTHING, PAST, UNDONE, State, Tasks
from tracer.model import Array, Group, Outcome, PollFlag, WaitFlag

_OUTCOMES = np.array([Outcome.UNKNOWN, Outcome.FINISHED, Outcome.UNKNOWN, Outcome.WAITING], np.uint8)
"""By the flags RESULT and PENDING of the last poll."""
_SURE = (Outcome.FINISHED, Outcome.PANICKED, Outcome.CANCELLED)
_BY_RANK = (Outcome.UNKNOWN, Outcome.CANCELLED, Outcome.PANICKED, Outcome.FINISHED)
"""What polls say for sure: of several the last here counts."""
_RANK = np.array([_BY_RANK.index(one) if one in _BY_RANK else 0 for one in Outcome], np.uint8)
_IS_SURE = np.isin(np.array(Outcome), _SURE)
_ABORTED, _PANICKED = np.uint16(PollFlag.ABORTED), np.uint16(PollFlag.PANICKED)
_RESULT, _PENDING = np.uint16(PollFlag.RESULT), np.uint16(PollFlag.PENDING)
_CANCELLED, _REPLACED = np.uint16(WaitFlag.CANCELLED), np.uint16(WaitFlag.REPLACED)


def with_begun(tasks: Tasks, begun: Array) -> Tasks:
    """Take in new tasks (dtype TASK, by number); those before them at the same header are over."""
    if not len(begun):
        return tasks
    count = len(begun)
    alive = joined(tasks.alive, begun)
    leaving = np.concatenate([tasks.leaving, np.zeros(count, np.bool_)])
    latest = np.concatenate([tasks.latest, np.full(count, np.iinfo(np.int64).min)])
    told = np.concatenate([tasks.told, np.full(count, NOTHING, np.uint8)])
    rows = np.flatnonzero(np.isin(alive["header"], begun["header"]))
    rows = rows[np.lexsort((rows, alive["header"][rows], alive["process"][rows]))]
    before, after = rows[:-1], rows[1:]
    same = (alive["header"][before] == alive["header"][after]) & (alive["process"][before] == alive["process"][after])
    before, after = before[same], after[same]
    leaving[before] = True
    # A type of its own, or an id of its own: it is certainly another task.
    other = alive["function"][before] != alive["function"][after]
    other |= (alive["id"][before] != 0) & (alive["id"][after] != 0) & (alive["id"][before] != alive["id"][after])
    told[before[other]] = np.maximum(told[before[other]], ANOTHER)
    return Tasks(alive, leaving, latest, told)


def with_spans(tasks: Tasks, polls: Array, waits: Array, is_task: Flags) -> Tasks:
    """Add up the polls (dtype POLL, by end) and waits of the tasks themselves."""
    if not len(tasks.alive):
        return tasks
    of_polls, of_waits = (np.flatnonzero(is_task[spans["function"]]) for spans in (polls, waits))
    if not len(of_polls) and not len(of_waits):
        return tasks
    alive, leaving, latest = copied(tasks.alive), tasks.leaving.copy(), tasks.latest.copy()
    rows, known = locate(alive["task"], polls["instance"][of_polls])
    _add_polls(alive, leaving, latest, rows[known], polls, of_polls[known])
    rows, known = locate(alive["task"], waits["instance"][of_waits])
    of_waits = of_waits[known]
    rows, end = rows[known], waits["end"][of_waits]
    np.add.at(alive["waiting"], rows, end - waits["start"][of_waits])
    dropped = np.flatnonzero((waits["flags"][of_waits] & (_CANCELLED | _REPLACED)) == _CANCELLED)
    np.maximum.at(alive["until"], rows[dropped], end[dropped])
    return Tasks(alive, leaving, latest, tasks.told)


def with_ends(tasks: Tasks, numbers: Unsigned, says: Small, again: Flags, late: Flags) -> Tasks:
    """Take in the ends of lives: the numbers of tasks, and others, and what is said of each: END, DONE or UNDONE.

    again: what is said of a task that had ended by then; it tells only how, where that is still open, and only as long
    as a poll of it goes on.  late: none does.
    """
    known = np.isin(numbers, tasks.alive["task"])
    if not known.any():
        return tasks
    leaving, told = tasks.leaving.copy(), tasks.told.copy()
    row = np.searchsorted(tasks.alive["task"], numbers[known])
    says, again, late = says[known], again[known], late[known]
    leaving[row] = True
    np.maximum.at(told, row, np.where(again, np.uint8(PAST), says))
    # The last one first, so that the first one counts.
    later = np.flatnonzero(again & ~late & (told[row] == END))[::-1]
    later = later[says[later] != END]
    told[row[later]] = says[later]
    return Tasks(tasks.alive, leaving, tasks.latest, told)


def _add_polls(alive: Array, leaving: Flags, latest: Numbers, row: Indexes, polls: Array, of_tasks: Indexes) -> None:
    """In place.  row: the task of each of the polls `of_tasks`."""
    if not len(row):
        return
    start, end, flags = (polls[name][of_tasks] for name in ("start", "end", "flags"))
    length = end - start
    np.add.at(alive["polls"], row, np.uint64(1))
    np.add.at(alive["busy"], row, length)
    np.maximum.at(alive["longest"], row, length)
    np.maximum.at(alive["last"], row, end)
    # The rest is done for the tasks that were polled: of all that are alive they may be few.
    polled = np.zeros(len(alive), np.bool_)
    polled[row] = True
    at = np.flatnonzero(polled)
    place = np.empty(len(alive), np.intp)
    place[at] = np.arange(len(at))
    row = place[row]
    newest = np.full(len(at), np.iinfo(np.int64).min)
    np.maximum.at(newest, row, start)
    # The result of the poll that began last counts, in whatever order their ends were seen.
    result = _OUTCOMES[(flags & (_RESULT | _PENDING)) // _RESULT]
    outcome = np.zeros(len(at), np.uint8)
    outcome[row[(result == Outcome.WAITING) & (start == newest[row])]] = Outcome.WAITING
    before, newest_before = alive["outcome"][at], latest[at]
    outcome = np.where(newest >= newest_before, outcome, np.uint8(0))
    outcome = np.where(newest > newest_before, outcome, np.maximum(before, outcome))
    latest[at] = np.maximum(newest_before, newest)
    sure = np.where(flags & _PANICKED, np.uint8(_BY_RANK.index(Outcome.PANICKED)), np.uint8(0))
    sure = np.where(flags & _ABORTED, np.uint8(_BY_RANK.index(Outcome.CANCELLED)), sure)
    sure = np.where(result == Outcome.FINISHED, np.uint8(_BY_RANK.index(Outcome.FINISHED)), sure)
    surely = np.where(_IS_SURE[before], _RANK[before], np.uint8(0))
    told = np.flatnonzero(sure)
    np.maximum.at(surely, row[told], sure[told])
    alive["outcome"][at] = np.where(surely != 0, np.array(_BY_RANK, np.uint8)[surely], outcome)
    leaving[at] |= surely != 0


def without_over(tasks: Tasks, polled: Unsigned, latest: Array, state: State) -> tuple[Tasks, Array]:
    """Take out the tasks that are over (dtype TASK).  polled: the tasks with a poll under way.

    latest: LATEST polls that others may follow.  Where polls of a task ran at once, one that came after the last one of
    it was taken for its poll too, and is added up with the others.
    """
    if not tasks.leaving.any():
        return tasks, NO_TASKS
    over = tasks.leaving & ~np.isin(tasks.alive["task"], polled)
    sure = np.flatnonzero(over & _IS_SURE[tasks.alive["outcome"]])
    rows, known = locate(tasks.alive["task"][sure], latest["instance"])
    over[sure[rows[known]]] = False
    return _only(tasks, ~over), _resolved(tasks, over, state)


def ended(tasks: Tasks, which: Flags, cut: Unsigned, state: State) -> tuple[Tasks, Array]:
    """Take out tasks because nothing more is seen of them.  cut: the tasks with a poll under way until now."""
    over = _resolved(tasks, which, state)
    outcome, told = over["outcome"], tasks.told[which]
    open_ = (told == NOTHING) & ~np.isin(outcome, _SURE)
    is_cut = np.isin(over["task"], cut)
    # One that was told to wait does so still if all of its polls were seen since.
    seen = (over["last"] >= _seen_since(state)) & (Group.TASKS in state.active)
    outcome = np.where(open_ & ~seen & (outcome == Outcome.WAITING), np.uint8(Outcome.UNKNOWN), outcome)
    # Whose end is always seen, and was not, is alive.
    watched = state.roles.completes[over["function"]] & seen & ~tasks.leaving[which]
    outcome = np.where(open_ & watched & (outcome == Outcome.UNKNOWN), np.uint8(Outcome.WAITING), outcome)
    outcome = np.where(open_ & is_cut, np.uint8(Outcome.RUNNING), outcome)
    over["outcome"] = outcome
    if len(state.parked):
        waits, runs = tasks_at_rest(over, state)
        unknown = open_ & (outcome == Outcome.UNKNOWN)
        over["outcome"][unknown & waits] = Outcome.WAITING
        over["outcome"][unknown & runs] = Outcome.RUNNING
    return _only(tasks, ~which), over


def _resolved(tasks: Tasks, which: Flags, state: State) -> Array:
    """These tasks with what their polls and all else tell of their outcome."""
    over, told = pick(tasks.alive, which), tasks.told[which]
    outcome: Small = over["outcome"]
    is_sure = np.isin(outcome, _SURE)
    # It was told to wait, and then it was over: nobody polled it to its end.
    waited = (outcome == Outcome.WAITING) & (over["last"] >= _seen_since(state)) & (told == END)
    # Panics are seen: it had none in its last poll.
    returned = (outcome == Outcome.UNKNOWN) & (told == DONE) & (tasks.latest[which] >= state.lost_until)
    returned &= state.roles.catches[over["function"]]
    by_end = np.where(waited | (told == UNDONE), np.uint8(Outcome.CANCELLED), np.uint8(Outcome.ENDED))
    by_end = np.where(returned, np.uint8(Outcome.FINISHED), by_end)
    outcome = np.where(~is_sure & (told >= PAST), by_end, outcome)
    over["outcome"] = np.where(~is_sure & (told == ANOTHER), np.uint8(Outcome.REPLACED), outcome)
    over["until"] = np.maximum(over["until"], over["last"])
    return over


def _seen_since(state: State) -> int:
    """ns; from when on no poll of a task was missed."""
    return max(state.lost_until, state.since[TASKS])


def polled(frames: Array, is_task: Flags) -> Unsigned:
    """The tasks of the open task polls among frames (dtype FRAME)."""
    tasks: Unsigned = frames["instance"][is_task[frames["function"]]]
    return tasks


def _only(tasks: Tasks, which: Flags) -> Tasks:
    return Tasks(pick(tasks.alive, which), tasks.leaving[which], tasks.latest[which], tasks.told[which])
