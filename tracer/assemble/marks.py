"""The ends of lives, as the target told them: events that are neither the entry nor the exit of a poll.

They stand among the polls of their futures in the order of the file, and take no part in the stacks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracer.assemble.arrays import Flags, Indexes, Numbers, Small, Unsigned
from tracer.assemble.plan_ends import EndColumns
from tracer.assemble.roles import Roles
from tracer.assemble.state import DONE, END, UNDONE, Threads
from tracer.model import Array, EventFlag

_SELF, _STATE = np.uint8(EventFlag.SELF), np.uint8(EventFlag.STATE)


@dataclass(frozen=True, slots=True)
class Marks:
    """One element for each life that may end there, in the order of the file.

    function: whose future; of a task, any task poll.  self: the future's address, or the task's header.  order: number
    of its row among all rows of the capture.  state: the coroutine's, where has_state.  says: of a task, END, DONE or
    UNDONE.  if_idle: ... UNDONE when it is not being polled.
    """

    function: npt.NDArray[np.uint32]
    self: Unsigned
    process: npt.NDArray[np.uint16]
    tid: npt.NDArray[np.uint32]
    order: Unsigned
    time: Numbers
    state: Small
    has_state: Flags
    says: Small
    if_idle: Flags

    @property
    def known(self) -> Flags:
        """All of them are of a known address."""
        return np.ones(len(self.self), np.bool_)


@dataclass(frozen=True, slots=True)
class Catches:
    """Where panics were caught, or tasks made or woken.  thread: index into the threads.  row: number among the rows of
    the events; of what is none of them, that of the next one.
    """

    thread: Indexes
    row: Indexes
    sp: Unsigned


def marks_of(
    events: Array, at: Indexes, rows: Indexes, roles: Roles, threads: Threads, thread: Indexes, first: int
) -> tuple[Marks, Catches]:
    """The marks among these events: those at `at`, on these threads, whose rows have these numbers from `first` on."""
    end, flags, state = roles.ends[events["probe"][at]], events["flags"][at], events["state"][at]
    columns = roles.end_of
    is_catch = columns.caught[end]
    by_runtime = np.flatnonzero(is_catch)
    distance, is_known = events["self"][at[by_runtime]].view(np.int64), (flags[by_runtime] & _SELF) != 0
    by_runtime = by_runtime[~(is_known & columns.by_others(end[by_runtime], distance))]
    catches = Catches(thread[by_runtime], rows[by_runtime], events["sp"][at[by_runtime]])
    has_state = (flags & _STATE) != 0
    counts = _are_ends(columns, end, flags, state)
    at, rows, thread, end, state = at[counts], rows[counts], thread[counts], end[counts], state[counts]
    has_state = has_state[counts]
    says = np.where(has_state & columns.done.passed(end, state), np.uint8(DONE), np.uint8(END))
    says = np.where(has_state & columns.undone.passed(end, state), np.uint8(UNDONE), says)
    has_state &= ~columns.of_task[end]
    # One destructor can be that of several types.
    count = columns.count[end]
    source = np.repeat(np.arange(len(at)), count)
    within = np.arange(len(source)) - np.repeat(np.cumsum(count) - count, count)
    return Marks(
        function=columns.functions[columns.first[end[source]] + within],
        self=events["self"][at[source]],
        process=threads.process[thread[source]],
        tid=events["tid"][at[source]],
        order=(rows[source] + first).astype(np.uint64),
        time=np.minimum(events["time"][at[source]], np.uint64(np.iinfo(np.int64).max)).astype(np.int64),
        state=np.where(has_state, state, np.uint8(0))[source],
        has_state=has_state[source],
        says=says[source],
        if_idle=columns.if_idle[end[source]],
    ), catches


def ends_of_unpolled(events: Array, at: Indexes, roles: Roles) -> Flags:
    """Which of these events, at `at`, tell that a task is over whose future was dropped and not polled to its end."""
    end, flags, state = roles.ends[events["probe"][at]], events["flags"][at], events["state"][at]
    told, columns = np.zeros(len(at), np.bool_), roles.end_of
    some = np.flatnonzero(end >= 0)
    end, flags, state = end[some], flags[some], state[some]
    is_done = ((flags & _STATE) != 0) & columns.done.passed(end, state)
    told[some] = columns.of_task[end] & _are_ends(columns, end, flags, state) & ~is_done
    return told


def _are_ends(columns: EndColumns, end: Indexes, flags: Small, state: Small) -> Flags:
    """At which of these ends, of these events, a life is over; where a panic is caught, none is."""
    passed = ((flags & _STATE) != 0) & columns.only_if.passed(end, state)
    over: Flags = ((flags & _SELF) != 0) & (~columns.has_test[end] | passed) & ~columns.caught[end]
    return over
