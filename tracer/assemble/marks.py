"""The ends of lives, as the target told them: events that are neither the entry nor the exit of a poll.

They stand among the polls of their futures in the order of the file, and take no part in the stacks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracer.assemble.state import Flags, Indexes, Numbers, Roles, Small, Threads, Unsigned
from tracer.model import Array, EventFlag

_SELF, _STATE = np.uint8(EventFlag.SELF), np.uint8(EventFlag.STATE)


@dataclass(frozen=True, slots=True)
class Marks:
    """One element for each life that may end there, in the order of the file.

    function: whose future; of a task, any task poll.  self: the future's address, or the task's header.  order: number
    of its row among all rows of the capture.  state: the coroutine's, where has_state.  sudden: of a task that was not
    being polled.
    """

    function: npt.NDArray[np.uint32]
    self: Unsigned
    process: npt.NDArray[np.uint16]
    tid: npt.NDArray[np.uint32]
    order: Unsigned
    time: Numbers
    state: Small
    has_state: Flags
    sudden: Flags

    @property
    def known(self) -> Flags:
        """All of them are of a known address."""
        return np.ones(len(self.self), np.bool_)


def marks_of(events: Array, at: Indexes, order: Unsigned, roles: Roles, threads: Threads, thread: Indexes) -> Marks:
    """The marks among these events: those at `at`, whose rows have these numbers."""
    end, flags, state = roles.ends[events["probe"][at]], events["flags"][at], events["state"][at]
    columns = roles.end_of
    has_state = (flags & _STATE) != 0
    passed = (state & columns.only_if.mask[end]) == columns.only_if.value[end]
    counts = ((flags & _SELF) != 0) & (~columns.has_test[end] | (has_state & passed))
    at, order, thread, end, state = at[counts], order[counts], thread[counts], end[counts], state[counts]
    has_state = has_state[counts] & ~columns.of_task[end]
    # One destructor can be that of several types.
    count = columns.count[end]
    source = np.repeat(np.arange(len(at)), count)
    within = np.arange(len(source)) - np.repeat(np.cumsum(count) - count, count)
    return Marks(
        function=columns.functions[columns.first[end[source]] + within],
        self=events["self"][at[source]],
        process=threads.process[thread[source]],
        tid=events["tid"][at[source]],
        order=order[source],
        time=np.minimum(events["time"][at[source]], np.uint64(np.iinfo(np.int64).max)).astype(np.int64),
        state=np.where(has_state, state, np.uint8(0))[source],
        has_state=has_state[source],
        sudden=columns.sudden[end[source]],
    )
