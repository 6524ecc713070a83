"""From the stacks that the kernel sends to samples of named stacks: unwound as they come, named at the end."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from itertools import chain

import numpy as np

from tracer.capture import RawStack
from tracer.commands.named_stacks import Place, known_names, named, places_of
from tracer.commands.task_polls import TaskPolls, unwound_to
from tracer.model import STACK_SAMPLE, Array, Plan, Process, StackCensus, Stacks
from tracer.probe.session import ProbeSession
from tracer.probe.stacks import LEAST_BLOCKED, LEAST_POLLING, StackRecord
from tracer.target.modules import Modules
from tracer.target.process import TargetProcess
from tracer.target.unwinding import Unwound, unwind

MOST_TIME = 0.02
"""Seconds that are spent on unwinding at a time: a thousand stacks, or some dozens of new ones.  What comes
beyond is left out, and counted."""
LEAST_AT_ONCE = 64
"""Stacks that are unwound however long it takes: at the first one files are opened."""
MOST_STACKS = 20_000
"""Different ones."""


class StackTaker:
    """Of one recording.  targets: by pid; one that is not among them has no stacks."""

    def __init__(
        self, session: ProbeSession, plan: Plan, processes: Iterable[Process], targets: Mapping[int, TargetProcess]
    ) -> None:
        self._sampler = session.stacks
        self._refused = session.no_stacks
        self._targets = dict(targets)
        self._modules = {pid: Modules(target) for pid, target in targets.items()}
        self._known = known_names(plan, processes)
        self._polls = {process.pid: TaskPolls.of_plan(plan, process.binary) for process in processes}
        self._numbers: dict[tuple[tuple[Place, ...], bool], int] = {}
        self._new: list[RawStack] = []
        self._taken = self._skipped = self._cut = 0

    def replace(self, target: TargetProcess) -> None:
        """A process runs another program now."""
        self._targets[target.pid] = target
        self._modules[target.pid] = Modules(target)

    def take(self) -> Array:
        """Those that have come since the last call; dtype STACK_SAMPLE."""
        return self._samples(self._sampler.read()) if self._sampler is not None else np.empty(0, STACK_SAMPLE)

    def take_last(self, others: Iterable[StackRecord] = ()) -> Array:
        """Those that have come, those of the threads that block still, and others."""
        if self._sampler is None:
            return np.empty(0, STACK_SAMPLE)
        return np.concatenate([self.take(), self._samples(chain(self._sampler.blocked(), others))])

    def _samples(self, records: Iterable[StackRecord]) -> Array:
        begin = time.monotonic()
        rows = []
        for count, record in enumerate(records):
            has_time = count < LEAST_AT_ONCE or time.monotonic() - begin < MOST_TIME
            modules = self._modules.get(record.pid)
            found = self._unwound(record, modules) if has_time and modules is not None else None
            if found is not None and record.is_from_before and not found.is_whole:
                continue  # it was over before anybody saw, or is too deep to tell
            number = self._number(record.pid, found, modules) if found is not None and modules is not None else None
            if number is None:
                self._skipped += 1
                continue
            self._taken += 1
            self._cut += record.is_cut
            rows.append((record.time, record.until or 0, record.tid, 1 + number, int(record.kind), 0))
        return np.array(rows, STACK_SAMPLE)

    def _unwound(self, record: StackRecord, modules: Modules) -> Unwound:
        if not record.is_from_before:
            return unwind(record.copy, modules.row)
        return unwound_to(self._polls[record.pid], record.copy, modules, self._targets[record.pid].executable)

    def _number(self, pid: int, found: Unwound, modules: Modules) -> int | None:
        key = places_of(found.addresses, modules), found.is_whole
        if all(module is None for module, _ in key[0]):
            return None  # it stands in the copy of an instruction that a probe has replaced
        number = self._numbers.get(key)
        if number is None and len(self._numbers) < MOST_STACKS:
            number = self._numbers[key] = len(self._numbers)
            self._new.append(RawStack(pid, found.is_whole, tuple(found.addresses)))
        return number

    def new(self) -> list[RawStack]:
        """The stacks whose numbers were given since the last call, in the order of these."""
        new, self._new = self._new, []
        return new

    @property
    def period(self) -> int:
        """ns of a CPU's time that a look at what runs stands for; 0: there are none."""
        return self._sampler.period if self._sampler is not None else 0

    def told(self) -> Stacks:
        """All of them with their names, and what became of the others."""
        sampler = self._sampler
        if sampler is None:
            return Stacks((), StackCensus(refused=self._refused))
        counts = sampler.counts()
        stacks = named(list(self._numbers), self._modules, self._targets, self._known)
        census = StackCensus(
            taken=self._taken,
            lost=counts.lost,
            crowded=counts.crowded,
            unread=counts.unread,
            skipped=self._skipped,
            cut=self._cut,
            least_blocked=LEAST_BLOCKED,
            least_polling=LEAST_POLLING,
            period=sampler.period,
        )
        return Stacks(stacks, census)

    def close(self) -> None:
        """Unmap the files."""
        for modules in self._modules.values():
            modules.close()
