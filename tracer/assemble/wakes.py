"""Which wakes led to which polls: of the wakes of a task between the entries of two of its polls the first effective
one made it ready, and what the second of the two ended was a wait until then.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracer.assemble.arrays import Flags, Indexes, Numbers, Unsigned
from tracer.assemble.columns import Frames
from tracer.assemble.lookup import locate
from tracer.assemble.marks import Catches, Marks
from tracer.assemble.roles import WAKES, Roles
from tracer.assemble.sorting import by_address, stable_order
from tracer.assemble.state import MAYBE_OVER, POLLER, WAKE, State, Threads, done_to_tasks
from tracer.model import Array, EventFlag, Group, PollFlag, WakeOrigin

_SELF, _STATE = np.uint8(EventFlag.SELF), np.uint8(EventFlag.STATE)
_FROM_TIMER, _FROM_IO = np.uint8(EventFlag.FROM_TIMER), np.uint8(EventFlag.FROM_IO)
_START_UNKNOWN = np.uint16(PollFlag.START_UNKNOWN)


@dataclass(frozen=True, slots=True)
class Wakes:
    """rows: the effective ones, dtype WAKE, whose wakers are still missing.  where: in which stacks they were.
    idle: number of those without effect.
    """

    rows: Array
    where: Catches
    idle: int


@dataclass(frozen=True, slots=True)
class Answers:
    """until: numbers of the rows in which polls begin, ascending; wakes: dtype WAKE, that led to each.

    left: those that no poll followed yet; unanswered: number of those that none will.
    """

    until: Unsigned
    wakes: Array
    left: Array
    unanswered: int


def wakes_of(
    events: Array, at: Indexes, rows: Indexes, roles: Roles, threads: Threads, thread: Indexes, first: int
) -> Wakes:
    """Those among these events, at `at`, on these threads, whose rows have these numbers from `first` on."""
    flags, state = events["flags"][at], events["state"][at]
    is_known = ((flags & _SELF) != 0) & ((flags & _STATE) != 0)
    passed = roles.effective.passed(roles.wakes[events["probe"][at]], state)
    effective = is_known & passed
    idle = int(np.count_nonzero(is_known & ~passed))
    at, rows, thread = at[effective], rows[effective], thread[effective]
    woken = done_to_tasks(WAKE, events.take(at), rows + first, threads.process[thread])
    from_timer, from_io = ((events["flags"][at] & flag) != 0 for flag in (_FROM_TIMER, _FROM_IO))
    woken["origin"] = np.where(from_timer, WakeOrigin.TIMER, np.where(from_io, WakeOrigin.IO, WakeOrigin.UNKNOWN))
    return Wakes(woken, Catches(thread, rows, events["sp"][at]), idle)


def tell_origins(woken: Array, wakers: Indexes, around: Indexes, frames: Frames, new: Indexes, state: State) -> Array:
    """Tell effective wakes (dtype WAKE, in place) what they came from; yields the pollers from here on.

    wakers: the frames of tasks in which they were, as tell_spawners has them; around: the frames, or -1.  new: the
    frames that begin in this block.
    """
    roles, function = state.roles, frames.function[new]
    tasks = new[roles.is_task[function] & ~roles.is_job[function]]
    pollers = state.pollers
    tasks = tasks[~locate(pollers["tid"], frames.tid[tasks])[1]]
    if len(tasks):
        tids, first = np.unique(frames.tid[tasks], return_index=True)  # they are in the order of their entries
        more = np.zeros(len(tids), POLLER)
        more["tid"], more["order"] = tids, frames.order[tasks[first]]
        pollers = np.concatenate([pollers, more])
        pollers = pollers[np.argsort(pollers["tid"])]
    if len(woken):
        at, has_polled = locate(pollers["tid"], woken["on"])
        known = np.flatnonzero(has_polled)
        has_polled[known] = pollers["order"][at[known]] < woken["order"][known]
        others = np.where(has_polled, WakeOrigin.RUNTIME, WakeOrigin.THREAD)
        others = np.where(around >= 0, WakeOrigin.FUTURE, others)
        others = np.where(wakers == MAYBE_OVER, WakeOrigin.UNKNOWN, others)
        told = woken["origin"]
        others = np.where(told != 0, told, others)
        if roles.leaves_out_tasks:  # it may have been in the poll of one of those
            others = np.full(len(woken), WakeOrigin.UNKNOWN)
        woken["origin"] = np.where(wakers >= 0, WakeOrigin.TASK, others)
    return pollers


def answered(wakes: Array, marks: Marks, born: Array, frames: Frames, new: Indexes, is_task: Flags) -> Answers:
    """What became of these wakes (dtype WAKE).  born: dtype BIRTH.  new: the frames that begin in this block."""
    if not len(wakes):
        return Answers(np.empty(0, np.uint64), wakes, wakes, 0)
    polled = new[is_task[frames.function[new]] & ((frames.flags[new] & _START_UNKNOWN) == 0)]
    ended = np.flatnonzero(is_task[marks.function])
    header = np.concatenate([wakes["self"], frames.self[polled], marks.self[ended], born["self"]])
    process = np.concatenate([wakes["process"], frames.process[polled], marks.process[ended], born["process"]])
    when = np.concatenate([wakes["order"], frames.order[polled], marks.order[ended], born["order"]])
    by_row = stable_order(when)
    by_task, same = by_address(header[by_row], process[by_row].astype(np.uint64))
    order = by_row[by_task]
    number = np.arange(len(order))
    is_wake = order < len(wakes)
    again = is_wake & same
    again[1:] &= is_wake[:-1]
    begins = np.append(number[~again], len(order))  # of each other row, and of each run of wakes of one task
    first = number[is_wake & ~again]
    which = np.cumsum(~again)  # of the rows up to here, how many of those there are
    after = begins[which[first]]
    follows = np.append(same, False)[after]
    left = wakes.take(order[first[~follows]])
    first, after = order[first[follows]], order[after[follows]] - len(wakes)
    leads = after < len(polled)
    until, rows = frames.order[polled[after[leads]]], wakes.take(first[leads])
    by_row = stable_order(until)
    return Answers(until[by_row], rows.take(by_row), left, int(np.count_nonzero(~leads)))


def with_wakes(waits: Array, since: Numbers, until: Unsigned, answers: Answers, state: State) -> None:
    """Tell waits (dtype WAIT, in place) by which wakes they ended.

    since: the begin of the poll before each; until: the number of the row in which the poll after it begins, 0: there
    is none.  Where wakes may be missing, nobody knows which was the first one.
    """
    if not len(answers.until):
        return
    at, is_it = locate(answers.until, until)
    _tell(waits, since, answers.wakes.take(at), is_it, state)


def with_open_wakes(waits: Array, latest: Array, state: State) -> None:
    """Tell the waits after these LATEST polls, which no poll has ended, by which wakes they could have, in place."""
    if not len(state.wakes) or not len(waits):
        return
    order = np.lexsort((state.wakes["self"], state.wakes["process"]))
    header = np.concatenate([state.wakes["self"], latest["self"]])
    process = np.concatenate([state.wakes["process"], latest["process"]])
    both = np.lexsort((np.arange(len(header)), header, process))
    rank = np.empty(len(both), np.intp)
    fresh = np.ones(len(both), np.bool_)
    fresh[1:] = (header[both[1:]] != header[both[:-1]]) | (process[both[1:]] != process[both[:-1]])
    rank[both] = np.cumsum(fresh)
    at = order[np.minimum(np.searchsorted(rank[order], rank[len(order) :]), len(order) - 1)]
    is_it = (rank[at] == rank[len(order) :]) & state.roles.is_task[latest["function"]]
    _tell(waits, latest["start"], state.wakes.take(at), is_it, state)


def _tell(waits: Array, since: Numbers, wakes: Array, is_it: Flags, state: State) -> None:
    """Tell waits by which wakes they ended, of which is_it are theirs, in place."""
    if Group.WAKES not in state.active:
        return
    known = is_it & (since >= max(state.lost_until, state.since[WAKES]))
    known &= (wakes["time"] >= since) & (wakes["time"] <= waits["end"])  # else it came late
    rows = np.flatnonzero(known)
    for name, source in (("woken", "time"), ("woken_by", "by"), ("woken_by_id", "by_id")):
        waits[name][rows] = wakes[source][rows]
    for name, source in (("woken_by_function", "by_function"), ("woken_on", "on"), ("woken_from", "origin")):
        waits[name][rows] = wakes[source][rows]
