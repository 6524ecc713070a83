"""The names of the functions that are on stacks, and their lines: from addresses in a live process' memory."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tracer import rust
from tracer.capture.reader import BAD_MESSAGE
from tracer.capture.stacks import read_stacks, write_stacks
from tracer.errors import RatError
from tracer.model import Frame, FunctionKind, Plan, PollFunction, Process, Stack, StackCensus, Stacks
from tracer.privileges import is_privileged, run_without_privileges
from tracer.rust.stack_names import StackNames
from tracer.target.debugfile import SplitFiles, find_debug_file
from tracer.target.elf import ElfImage, open_elf
from tracer.target.modules import Module, Modules
from tracer.target.process import TargetProcess

Place = tuple[Module | None, int]
"""A module and the link-time address of an instruction in it; no module: the run-time address."""


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
            found = _named(module, modules.root, wanted.pop(module, set()), own)
            names |= {(module, address): frames for address, frames in found.items()}
    return names | {(None, address): (Frame(None, None, False, ""),) for address in wanted[None]}


def known_names(plan: Plan, processes: Iterable[Process]) -> dict[int, dict[int, str]]:
    """By pid: names that are better than those of the symbols, by address."""
    of_binary = list(zip(plan.functions, plan.function_binary, strict=True))
    return {
        process.pid: coroutine_names(function for function, binary in of_binary if binary == process.binary)
        for process in processes
    }


def coroutine_names(functions: Iterable[PollFunction]) -> dict[int, str]:
    """The names of a binary's async functions and blocks, which their symbols call closures, by address."""
    return {one.address: one.name for one in functions if one.kind is FunctionKind.COROUTINE}


def _named(module: Module, root: Path, addresses: set[int], known: Mapping[int, str]) -> dict[int, tuple[Frame, ...]]:
    """By a child without rights.  root: the root folder as the process sees it."""
    if not addresses:
        return {}
    asked = sorted(addresses)
    with contextlib.suppress(RatError, OSError, *BAD_MESSAGE), _debug_file(module, root) as debug:
        split = rust.find_split_debug(debug or module.image, SplitFiles(module.image, root, module.place))

        def name() -> Stacks:
            found = StackNames(module.image, module.name, debug, split, known).of(addresses)
            return Stacks(tuple(Stack(found[address], is_whole=True) for address in asked), StackCensus())

        named = name() if not is_privileged() else read_stacks(run_without_privileges(lambda: write_stacks(name())))
        return {address: stack.frames for address, stack in zip(asked, named.stacks, strict=True)}
    return {address: (Frame(None, None, False, module.name),) for address in addresses}


@contextlib.contextmanager
def _debug_file(module: Module, root: Path) -> Iterator[ElfImage | None]:
    has_own = module.image.has_section(".debug_info")
    path = None if has_own else find_debug_file(module.image, root, module.place)
    if path is None:
        yield None
        return
    with open_elf(path) as debug:
        yield debug
