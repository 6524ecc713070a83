"""From the stacks that the kernel sends to samples of named stacks: unwound as they come, named at the end."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from tracer import rust
from tracer.capture import RawStack
from tracer.capture.reader import BAD_MESSAGE
from tracer.capture.stacks import read_stacks, write_stacks
from tracer.commands.task_polls import TaskPolls
from tracer.errors import RatError
from tracer.model import STACK_SAMPLE, Array, Frame, FunctionKind, Plan, Process, Stack, StackCensus, Stacks
from tracer.privileges import is_privileged, run_without_privileges
from tracer.probe.session import ProbeSession
from tracer.probe.stacks import LEAST_BLOCKED, LEAST_POLLING, StackRecord
from tracer.rust.stack_names import StackNames
from tracer.target.debugfile import SplitFiles, find_debug_file
from tracer.target.elf import ElfImage, open_elf
from tracer.target.modules import Module, Modules
from tracer.target.process import TargetProcess
from tracer.target.unwinding import Unwound, unwind

MOST_TIME = 0.02
"""Seconds that are spent on unwinding at a time: a thousand stacks, or some dozens of new ones.  What comes
beyond is left out, and counted."""
LEAST_AT_ONCE = 64
"""Stacks that are unwound however long it takes: at the first one files are opened."""
MOST_STACKS = 20_000
"""Different ones."""

Place = tuple[Module | None, int]
"""A module and the link-time address of an instruction in it; no module: the run-time address."""


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
        self._polls = {process.pid: TaskPolls(plan, process.binary) for process in processes}
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
        executable, polls = self._targets[record.pid].executable, self._polls[record.pid]

        def is_last(address: int) -> bool:
            at = modules.at(address)
            return at is not None and at[0].path == executable and polls.has(*at)

        return unwind(record.copy, modules.row, is_last)

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


def places_of(addresses: Iterable[int], modules: Modules) -> tuple[Place, ...]:
    """What lies at these run-time addresses."""
    return tuple(modules.at(address) or (None, address) for address in addresses)


def named(
    stacks: Sequence[tuple[tuple[Place, ...], bool]],
    modules_of: Mapping[int, Modules],
    targets: Mapping[int, TargetProcess],
    known: Mapping[int, Mapping[int, str]],
) -> tuple[Stack, ...]:
    """The same with names.  stacks: (places, is_whole) each.  modules_of, targets: by pid.  known: see known_names."""
    names = _names(stacks, modules_of, targets, known)
    return tuple(
        Stack(tuple(frame for place in places for frame in names[place]), is_whole) for places, is_whole in stacks
    )


def _names(
    stacks: Sequence[tuple[tuple[Place, ...], bool]],
    modules_of: Mapping[int, Modules],
    targets: Mapping[int, TargetProcess],
    known: Mapping[int, Mapping[int, str]],
) -> dict[Place, tuple[Frame, ...]]:
    """Of each place once."""
    wanted: defaultdict[Module | None, set[int]] = defaultdict(set)
    for places, _ in stacks:
        for module, address in places:
            wanted[module].add(address)
    names: dict[Place, tuple[Frame, ...]] = {}
    for pid, modules in modules_of.items():
        target = targets[pid]
        for module in modules.opened:
            own = known.get(pid, {}) if module.path == target.executable else {}
            found = _named(module, target.root_path, wanted.pop(module, set()), own)
            names |= {(module, address): frames for address, frames in found.items()}
    return names | {(None, address): (Frame(None, None, False, ""),) for address in wanted[None]}


def known_names(plan: Plan, processes: Iterable[Process]) -> dict[int, dict[int, str]]:
    """By pid: names that are better than those of the symbols, by address."""
    return {process.pid: _coroutines(plan, process.binary) for process in processes}


def _coroutines(plan: Plan, binary: int) -> dict[int, str]:
    """The names of a binary's async functions and blocks, which their symbols call closures, by address."""
    return {
        function.address: function.name
        for function, of_binary in zip(plan.functions, plan.function_binary, strict=True)
        if of_binary == binary and function.kind is FunctionKind.COROUTINE
    }


def _named(module: Module, root: Path, addresses: set[int], known: Mapping[int, str]) -> dict[int, tuple[Frame, ...]]:
    """By a child without rights.  root: the root folder as the process sees it."""
    if not addresses:
        return {}
    asked = sorted(addresses)
    with contextlib.suppress(RatError, OSError, *BAD_MESSAGE), _debug_file(module.image, root) as debug:
        split = rust.find_split_debug(debug or module.image, SplitFiles(module.image, root))

        def name() -> Stacks:
            found = StackNames(module.image, module.name, debug, split, known).of(addresses)
            return Stacks(tuple(Stack(found[address], is_whole=True) for address in asked), StackCensus())

        named = name() if not is_privileged() else read_stacks(run_without_privileges(lambda: write_stacks(name())))
        return {address: stack.frames for address, stack in zip(asked, named.stacks, strict=True)}
    return {address: (Frame(None, None, False, module.name),) for address in addresses}


@contextlib.contextmanager
def _debug_file(image: ElfImage, root: Path) -> Iterator[ElfImage | None]:
    path = None if image.has_section(".debug_info") else find_debug_file(image, root)
    if path is None:
        yield None
        return
    with open_elf(path) as debug:
        yield debug
