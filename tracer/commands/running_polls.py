"""Where the polls that are under way stand, as `ps` and `tree` tell: in which call their threads block, or compute.

Without a probe, and without stopping anything: a thread that waits is looked at from outside (target/standing.py), one
that runs is sampled for some milliseconds (probe/running_stacks.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tracer.commands.named_stacks import Place, coroutine_names, named, places_of
from tracer.commands.task_polls import TaskPolls, unwound_to
from tracer.model import NO_SYSCALL, Array, Binary, Stack
from tracer.probe.registers import standing_stack, thread_registers
from tracer.probe.running_stacks import running_stacks
from tracer.snapshot.vtables import is_unlisted
from tracer.stacks import RunningJob, RunningPoll, Snapshot, TaskState, UnderWay
from tracer.target.call_frames import STACK_POINTER
from tracer.target.modules import Modules
from tracer.target.process import TargetProcess
from tracer.target.standing import Standing
from tracer.target.unwinding import StackCopy, Unwound

_MOST_THREADS = 512
"""That are looked at; as many as tokio's pool for blocking jobs has."""

_Places = tuple[tuple[Place, ...], bool]
"""Of a stack, and whether its last one is in the task's poll."""

_Found = tuple[int, int | None, _Places]
"""(tid, system call, stack)."""

_SAVED = 64
"""Bytes below a frame in which who is called keeps its registers."""


class RunningPolls:
    """Of one live process."""

    def __init__(self, target: TargetProcess, binary: Binary) -> None:
        self._target, self._binary = target, binary
        self._modules = Modules(target)
        self._known = {target.pid: coroutine_names(binary.functions)}
        self._polls: dict[int, TaskPolls] = {}
        self._jobs = {one.address: number for number, one in enumerate(binary.functions) if is_unlisted(one)}
        self._job_polls = TaskPolls(self._jobs)
        self._named: dict[_Places, Stack] = {}

    def of(self, snapshot: Snapshot, before: Mapping[int, Standing]) -> tuple[Snapshot, UnderWay]:
        """The snapshot, with more threads known, and what they do.

        snapshot: of just now.  before: where the process' threads waited before it was taken: who still does was in
        the same poll meanwhile.
        """
        tasks = snapshot.tasks.copy()
        running = np.flatnonzero(tasks["state"] == TaskState.RUNNING)
        found: dict[int, _Found] = {}
        jobs: dict[tuple[int, ...], _Found] = {}
        for tid, call, copy in self._stacks(tasks[running], before):
            if call is not None:
                for index in running[tasks["tid"][running] == tid].tolist():
                    found[index] = tid, call, self._places(self._unwound(copy, int(tasks["function"][index])))
            for index, unwound in self._polled(copy, tasks, found.keys()):
                found[index] = tid, call, self._places(unwound)
            functions, unwound = self._job(copy)
            if functions:
                jobs[tid, *functions] = tid, call, self._places(unwound)
        self._name({places for _, _, places in (*found.values(), *jobs.values())})
        for index, (tid, _, _) in found.items():
            tasks["tid"][index] = tid
        return replace(snapshot, tasks=tasks), UnderWay(
            {int(tasks["header"][index]): self._poll(one) for index, one in found.items()},
            tuple(RunningJob(tid, tuple(which), self._poll(one)) for (tid, *which), one in sorted(jobs.items())),
        )

    def _poll(self, found: _Found) -> RunningPoll:
        return RunningPoll(found[1], self._named[found[2]])

    def _stacks(self, running: Array, before: Mapping[int, Standing]) -> Iterator[tuple[int, int | None, StackCopy]]:
        """(tid, the system call that it waits in, stack) of the threads that may poll these tasks, or run jobs."""
        known = running["tid"][running["tid"] != 0].tolist()
        is_any = self._jobs or len(known) < len(running)
        others = [thread.tid for thread in self._target.threads()] if is_any else []
        wanted = [*dict.fromkeys([*known, *others])][:_MOST_THREADS]
        left = set(wanted)
        registers = thread_registers()
        for tid in wanted:
            there = before.get(tid)
            copy = standing_stack(registers, self._target, tid, there) if there is not None else None
            if there is None or copy is None:
                continue
            left.discard(tid)
            call = int(there.call[0], 0)
            yield tid, call if call >= 0 else NO_SYSCALL, copy
        for tid, copy in running_stacks(sorted(left)).items():
            yield tid, None, copy

    def _job(self, copy: StackCopy) -> tuple[list[int], Unwound]:
        """What a thread of the pool runs, indexes into Binary.functions; nothing: it runs no job."""
        nothing = list[int](), Unwound((), False)
        if not self._jobs:
            return nothing
        unwound = self._unwound_to(copy, self._job_polls)
        at = self._modules.at(unwound.addresses[-1]) if unwound.is_whole else None
        if at is None:
            return nothing
        return [self._jobs[address] for address in self._job_polls.which(*at)], unwound

    def _polled(self, copy: StackCopy, tasks: Array, found: Collection[int]) -> Iterator[tuple[int, Unwound]]:
        """(index, stack up to the poll) of the running tasks, but for those found, that a thread polls, by its stack

        A task's poll has the task's header in its own frame, in the waker that it makes.  What is left of earlier polls
        can be there, too: where several tasks of a type are in it, each may be the one.
        """
        there = _tasks_in(tasks, copy, 0, 1 << 64)
        may_be = there[(tasks["state"][there] == TaskState.RUNNING) & ~np.isin(there, list(found))]
        for function in np.unique(tasks["function"][may_be]).tolist():
            unwound = self._unwound(copy, function)
            if unwound.is_whole:
                low, high = unwound.last
                inside = _tasks_in(tasks, copy, low - _SAVED, high)
                inside = inside[tasks["function"][inside] == function]
                if len(inside) == 1 and inside[0] in may_be:
                    yield int(inside[0]), unwound

    def _unwound(self, copy: StackCopy, function: int) -> Unwound:
        """function: the task's poll, index into Binary.functions."""
        if function not in self._polls:
            self._polls[function] = TaskPolls((self._binary.functions[function].address,))
        return self._unwound_to(copy, self._polls[function])

    def _unwound_to(self, copy: StackCopy, polls: TaskPolls) -> Unwound:
        return unwound_to(polls, copy, self._modules, self._target.executable)

    def _places(self, unwound: Unwound) -> _Places:
        return places_of(unwound.addresses, self._modules), unwound.is_whole

    def _name(self, stacks: set[_Places]) -> None:
        """Each once, however often it is seen."""
        new = list(stacks - self._named.keys())
        pid = self._target.pid
        names = named(new, {pid: self._modules}, {pid: self._target}, self._known) if new else ()
        self._named |= zip(new, names, strict=True)


def _tasks_in(tasks: Array, copy: StackCopy, low: int, high: int) -> npt.NDArray[np.intp]:
    """Indexes of the tasks whose headers are on a stack between these addresses."""
    base = copy.registers[STACK_POINTER] or 0
    first, last = (min(max(one - base + 7, 0), len(copy.content)) // 8 for one in (low, high))
    words = np.frombuffer(copy.content, "<u8", len(copy.content) // 8)[first:last]
    return np.flatnonzero(np.isin(tasks["header"], words))
