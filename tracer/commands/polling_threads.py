"""Which threads poll tasks of which memory alone does not tell it, as a recording needs to know from its begin on.

Memory tells it of tokio's tasks where there is debug information.  Else the threads' own stacks do.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tracer.commands.poll_stacks import PollStacks
from tracer.commands.thread_looks import MOST_THREADS, ThreadLooks
from tracer.model import Array, Binary
from tracer.stacks import Snapshot, TaskState
from tracer.target.process import TargetProcess

_PATIENCE = 0.02
"""Seconds that threads which compute are waited for."""


class PollingThreads:
    """Of one process.

    They are looked at once; later on only whether those polls are still under way: probes tell of the others.
    """

    def __init__(self, target: TargetProcess, binary: Binary) -> None:
        self._target, self._binary = target, binary
        self._means: tuple[ThreadLooks, PollStacks] | None = None  # memory alone tells it as a rule
        self._threads: dict[int, int] | None = None  # by a task's header

    def named(self, snapshot: Snapshot) -> Snapshot:
        """With their threads.  snapshot: of just now.  Raises NoSuchProcess, PermissionMissing."""
        tasks = snapshot.tasks
        is_told = self._binary.current_task is not None
        unknown = (tasks["state"] == TaskState.RUNNING) & (tasks["tid"] == 0) & ((tasks["id"] == 0) | (not is_told))
        headers = set(tasks["header"][unknown].tolist())
        if self._threads is None:
            threads = sorted(self._target.thread_ids())[:MOST_THREADS] if headers else []
        else:
            threads = sorted({tid for header, tid in self._threads.items() if header in headers})
        found = self._polled(tasks, threads) if threads else {}
        before = self._threads if self._threads is not None else found
        self._threads = {
            header: tid for header, tid in found.items() if before.get(header) == tid and header in headers
        }
        if not self._threads:
            return snapshot
        tasks = tasks.copy()
        for header, tid in self._threads.items():
            tasks["tid"][np.searchsorted(tasks["header"], header)] = tid
        return replace(snapshot, tasks=tasks)

    def _polled(self, tasks: Array, threads: list[int]) -> dict[int, int]:
        """By a task's header the thread."""
        if self._means is None:
            self._means = ThreadLooks(self._target, dict), PollStacks(self._target, self._binary)
        looks, stacks = self._means
        found: dict[int, int] = {}
        for tid, look in looks.take(threads, _PATIENCE).by_tid.items():
            found |= {int(tasks["header"][index]): tid for index, _ in stacks.polled(look.copy, tasks, ())}
        return found

    def close(self) -> None:
        """Let go of files, and of what the kernel was given."""
        if self._means is not None:
            looks, stacks = self._means
            looks.close()
            stacks.modules.close()
