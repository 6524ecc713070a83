"""Which task a thread polls, by its stack: where memory alone does not tell."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import numpy.typing as npt

from tracer.commands.task_polls import TaskPolls, unwound_to
from tracer.model import Array, Binary
from tracer.stacks import TaskState
from tracer.target.call_frames import STACK_POINTER
from tracer.target.modules import Modules
from tracer.target.process import TargetProcess
from tracer.target.unwinding import StackCopy, Unwound

_SAVED = 64
"""Bytes below a frame in which who is called keeps its registers."""


class PollStacks:
    """Of one live process."""

    def __init__(self, target: TargetProcess, binary: Binary) -> None:
        self._target, self._binary = target, binary
        self.modules = Modules(target)
        self._polls: dict[int, TaskPolls] = {}

    def polled(
        self, copy: StackCopy, tasks: Array, found: Collection[int], elsewhere: Collection[int] = ()
    ) -> Iterator[tuple[int, Unwound]]:
        """(index, stack up to the poll) of the running tasks, but for those found, that a thread polls, by its stack

        A task's poll has the task's header in its own frame, in the waker that it makes.  What is left of earlier polls
        can be there, too: where several tasks of a type are in it, each may be the one, but for those elsewhere, which
        another thread polls.
        """
        there = _tasks_in(tasks, copy, 0, 1 << 64)
        may_be = there[(tasks["state"][there] == TaskState.RUNNING) & ~np.isin(there, list(found))]
        for function in np.unique(tasks["function"][may_be]).tolist():
            unwound = self.unwound(copy, function)
            if unwound.is_whole:
                low, high = unwound.last
                inside = _tasks_in(tasks, copy, low - _SAVED, high)
                inside = inside[(tasks["function"][inside] == function) & ~np.isin(inside, list(elsewhere))]
                if len(inside) == 1 and inside[0] in may_be:
                    yield int(inside[0]), unwound

    def unwound(self, copy: StackCopy, function: int) -> Unwound:
        """Up to a task's poll, index into Binary.functions."""
        if function not in self._polls:
            self._polls[function] = TaskPolls((self._binary.functions[function].address,))
        return self.unwound_to(copy, self._polls[function])

    def unwound_to(self, copy: StackCopy, polls: TaskPolls) -> Unwound:
        """Up to the innermost of these."""
        return unwound_to(polls, copy, self.modules, self._target.executable)


def _tasks_in(tasks: Array, copy: StackCopy, low: int, high: int) -> npt.NDArray[np.intp]:
    """Indexes of the tasks whose headers are on a stack between these addresses."""
    base = copy.registers[STACK_POINTER] or 0
    first, last = (min(max(one - base + 7, 0), len(copy.content)) // 8 for one in (low, high))
    words = np.frombuffer(copy.content, "<u8", len(copy.content) // 8)[first:last]
    return np.flatnonzero(np.isin(tasks["header"], words))
