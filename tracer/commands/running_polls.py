"""Where the polls that are under way stand, as `ps` and `tree` tell: in which call their threads block, or compute.

Without a probe, and without stopping anything.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from tracer.commands.named_stacks import Place, coroutine_names, named, places_of
from tracer.commands.poll_stacks import PollStacks
from tracer.commands.task_polls import TaskPolls
from tracer.commands.thread_looks import MOST_THREADS, Look, Looks, ThreadLooks
from tracer.model import Array, Binary, Stack
from tracer.snapshot.read import SnapshotReader
from tracer.snapshot.vtables import is_unlisted
from tracer.stacks import RunningJob, RunningPoll, Snapshot, TaskState, UnderWay
from tracer.target.process import TargetProcess
from tracer.target.standing import Standing
from tracer.target.unwinding import Unwound

_PATIENCE = 0.02, 0.02, 0.1
"""Seconds that threads which compute are waited for, each time that all are looked at: again where some moved."""

_Places = tuple[tuple[Place, ...], bool]
"""Of a stack, and whether its last one is in the task's poll."""

_Found = tuple[int, int | None, _Places]
"""(tid, system call, stack)."""

_Functions = tuple[int, ...]
"""Indexes into Binary.functions, of what is the same code."""


@dataclass(slots=True)
class _Jobs:
    """That ran at one moment.  found: by (tid, functions).  later: those that were seen only after it.

    moved: threads of which it is not known what they did.
    """

    found: dict[tuple[int, _Functions], _Found] = field(default_factory=dict)
    later: dict[tuple[int, _Functions], _Found] = field(default_factory=dict)
    moved: int = 0

    def told(self) -> dict[tuple[int, _Functions], _Found]:
        """One that was seen later may be the next job of those that ran then: of such of one function there was one."""
        seen = Counter(functions for _, functions in self.found)
        more = {functions: (tid, functions) for tid, functions in self.later if not seen[functions]}
        return self.found | {key: self.later[key] for key in more.values()}


class RunningPolls:
    """Of one live process."""

    def __init__(self, target: TargetProcess, binary: Binary, reader: SnapshotReader) -> None:
        self._target = target
        self._looks = ThreadLooks(target, reader.polled)
        self._stacks = PollStacks(target, binary)
        self._known = {target.pid: coroutine_names(binary.functions)}
        self._jobs = {one.address: number for number, one in enumerate(binary.functions) if is_unlisted(one)}
        self._job_polls = TaskPolls(self._jobs)
        self._named: dict[_Places, Stack] = {}
        self._idle: dict[int, Standing] = {}  # where threads waited that ran no job

    def of(self, snapshot: Snapshot) -> tuple[Snapshot, UnderWay]:
        """The snapshot, with more threads known, and what they do.  snapshot: of just now."""
        tasks = snapshot.tasks.copy()
        running = np.flatnonzero(tasks["state"] == TaskState.RUNNING)
        found: dict[int, _Found] = {}
        best: _Jobs | None = None
        for patience in _PATIENCE:
            tids = self._wanted(tasks[running])
            looks = self._looks.take(tids, patience)
            self._find(looks, tasks, running, found)
            jobs = self._jobs_of(looks, len(tids))
            best = jobs if best is None or jobs.moved < best.moved else best
            if len(found) == len(running) and not best.moved:
                break
        told = best.told() if best is not None else {}
        self._name({places for _, _, places in (*found.values(), *told.values())})
        for index, (tid, _, _) in found.items():
            tasks["tid"][index] = tid
        return replace(snapshot, tasks=tasks), UnderWay(
            {int(tasks["header"][index]): self._poll(one) for index, one in found.items()},
            tuple(RunningJob(tid, functions, self._poll(one)) for (tid, functions), one in sorted(told.items())),
        )

    def _poll(self, found: _Found) -> RunningPoll:
        return RunningPoll(found[1], self._named[found[2]])

    def _wanted(self, running: Array) -> list[int]:
        """The threads that may poll these tasks, or run jobs."""
        known = running["tid"][running["tid"] != 0].tolist()
        others = [thread.tid for thread in self._target.threads()]
        return [*dict.fromkeys([*known, *others])][:MOST_THREADS]

    def _find(self, looks: Looks, tasks: Array, running: npt.NDArray[np.intp], found: dict[int, _Found]) -> None:
        """Which of the running tasks these threads poll, into `found`."""
        busy = {tid for tid, _, _ in found.values()}  # what is seen there now may be a later poll
        by_id = {int(tasks["id"][index]): index for index in running.tolist() if tasks["id"][index]}
        polls = {tid: by_id[one] for one, tid in looks.polled.items() if one in by_id}
        left = {tid: look for tid, look in looks.by_tid.items() if tid not in busy}
        now = set[int]()
        for tid, look in left.items():
            index = polls.get(tid)
            if index is not None and index not in found and look.call is not None:
                unwound = self._stacks.unwound(look.copy, int(tasks["function"][index]))
                found[index] = tid, look.call, self._places(unwound)
                now.add(index)
        while True:  # what one thread polls is not what another does
            new = {
                index: (tid, look.call, self._places(unwound))
                for tid, look in left.items()
                for index, unwound in self._stacks.polled(look.copy, tasks, found.keys(), now)
            }
            if not new:
                return
            found |= new
            now |= {index for index, (tid, _, _) in new.items() if left[tid].is_at_once}
            busy = {tid for tid, _, _ in new.values()}
            left = {tid: look for tid, look in left.items() if tid not in busy}

    def _jobs_of(self, looks: Looks, threads: int) -> _Jobs:
        """threads: how many were looked at."""
        jobs = _Jobs()
        if not self._jobs:
            return jobs
        jobs.moved = threads - len(looks.by_tid)
        for tid, look in looks.by_tid.items():
            functions, unwound = self._job(tid, look)
            if functions:
                kept = jobs.found if look.is_at_once else jobs.later
                kept[tid, functions] = tid, look.call, self._places(unwound)
            jobs.moved += not look.is_at_once
        return jobs

    def _job(self, tid: int, look: Look) -> tuple[_Functions, Unwound]:
        """What a thread of the pool runs; nothing: it runs no job."""
        nothing = (), Unwound((), False)
        if look.there is not None and self._idle.get(tid) == look.there:
            return nothing
        unwound = self._stacks.unwound_to(look.copy, self._job_polls)
        at = self._stacks.modules.at(unwound.addresses[-1]) if unwound.is_whole else None
        if at is None:
            if look.there is not None:
                self._idle[tid] = look.there
            return nothing
        return tuple(self._jobs[address] for address in self._job_polls.which(*at)), unwound

    def _places(self, unwound: Unwound) -> _Places:
        return places_of(unwound.addresses, self._stacks.modules), unwound.is_whole

    def _name(self, stacks: set[_Places]) -> None:
        """Each once, however often it is seen."""
        new = list(stacks - self._named.keys())
        pid = self._target.pid
        names = named(new, {pid: self._stacks.modules}, {pid: self._target}, self._known) if new else ()
        self._named |= zip(new, names, strict=True)
