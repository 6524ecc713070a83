"""Which places of which functions are probed, for a choice of exits and of names.

Futures are left by their exit instructions: a return probe replaces the return address, and a
panic that unwinds through such a frame aborts the process.  Only above tokio's catch_unwind, in
its own task poll, is a return probe safe; it is also much cheaper than a single-stepped `ret`.
async-task's catch depends on a flag at run time, so that its task polls have none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from re import Pattern
from typing import TypeVar

from tracer.errors import NotTraceable
from tracer.model import (
    Binary,
    EndKind,
    ExitKind,
    ExitMode,
    ExitSite,
    FunctionKind,
    Group,
    InstructionCost,
    LayoutKind,
    Plan,
    PlannedEnd,
    PlannedSpawn,
    PlannedWake,
    PollFunction,
    Probe,
    Refusal,
    Site,
    SpawnPoint,
    WakePoint,
    layouts_of,
)
from tracer.probe.walk import make_walks
from tracer.terminal import shell_word

Point = TypeVar("Point", SpawnPoint, WakePoint)

_CATCHES_PANICS = frozenset({"tokio"})
"""Runtimes whose task poll no panic leaves."""


def make_plan(
    binaries: Sequence[Binary],
    *,
    exit_mode: ExitMode,
    include: Sequence[Pattern[str]] = (),
    exclude: Sequence[Pattern[str]] = (),
    generated_only: bool = False,
    scheduling: bool = False,
) -> Plan:
    """Choose the functions and their probes.

    include / exclude: regular expressions searched in any of a function's names.  A task poll (or block_in_place) is
    the context of what runs in it: `include` and `generated_only` (coroutines only) do not remove
    it, `exclude` does.  A function that is left out by choice is no refusal.  scheduling: as Plan has it.
    Raises NotTraceable when nothing is left, or when return probes are asked of a binary that unwinds.
    """
    if exit_mode is ExitMode.URETPROBE:
        _require_abort(binaries)
    functions: list[PollFunction] = []
    function_binary: list[int] = []
    occupied = [_Occupied.of(binary) for binary in binaries]
    layouts = layouts_of(binaries)
    begin = 0
    refusals: list[Refusal] = []
    places: dict[tuple[int, int], _Place] = {}
    returns: list[tuple[int, int, int]] = []
    for number, binary in enumerate(binaries):
        refusals += binary.refusals
        for function in binary.functions:
            if not _is_wanted(function, include, exclude, generated_only):
                continue
            has_return = _has_return_probe(function, binary, exit_mode)
            entries, exits = _ways(function, occupied[number], exit_mode, has_return)
            if not exits and not has_return and not _is_entry_only(function, exit_mode):
                reason = "no exit instruction was found"
                refusals.append(Refusal(function.name, reason, function.address, function.location))
                continue
            index = len(functions)
            functions.append(function if function.layout is None else replace(function, layout=begin + function.layout))
            function_binary.append(number)
            for offset in entries:
                places.setdefault((number, offset), _Place()).enters = index
            for site in exits:
                place = places.setdefault((number, site.offset), _Place())
                place.leaves, place.exit = index, site
            if has_return:
                returns.append((number, function.offset, index))
        begin += len(binary.layouts)
    chosen = include and any(pattern.search(name) for pattern in include for name in _all_names(functions))
    if not functions or (include and not chosen):
        raise _nothing_left(binaries, include, bool(include or exclude or generated_only))
    ends = _ends(binaries, functions, function_binary, places.keys(), exit_mode)
    taken = places.keys() | {(one.binary, one.point.offset) for one in ends}
    with_tasks = _with_tasks(functions, function_binary)
    spawns = [PlannedSpawn(*one) for one in _of_tasks(binaries, with_tasks, lambda binary: binary.spawns, taken)]
    taken |= {(one.binary, one.point.offset) for one in spawns}
    wakes = [PlannedWake(*one) for one in _of_tasks(binaries, with_tasks, lambda binary: binary.wakes, taken)]
    probes = list(_probes(functions, places, returns))
    probes += _end_probes(ends, len(probes))
    probes += _spawn_probes(spawns, len(probes))
    probes += _wake_probes(wakes, len(probes))
    return Plan(
        binaries=tuple(binaries),
        functions=tuple(functions),
        function_binary=tuple(function_binary),
        probes=tuple(probes),
        refusals=tuple(refusals),
        exit_mode=exit_mode,
        layouts=layouts,
        places=make_walks(functions, layouts).places,
        ends=tuple(ends),
        spawns=tuple(spawns),
        wakes=tuple(wakes),
        scheduling=scheduling,
    )


def _ends(
    binaries: Sequence[Binary],
    functions: Sequence[PollFunction],
    function_binary: Sequence[int],
    taken: Collection[tuple[int, int]],
    exit_mode: ExitMode,
) -> list[PlannedEnd]:
    """The ends of what is traced.  taken: the places that have a probe already."""
    index = {(number, one.address): at for at, (number, one) in enumerate(zip(function_binary, functions, strict=True))}
    with_tasks = _with_tasks(functions, function_binary)
    ends = []
    for number, binary in enumerate(binaries):
        for point in binary.ends:
            if (number, point.offset) in taken:
                continue
            if point.kind is not EndKind.DROPPED:
                if number in (function_binary if point.kind is EndKind.CAUGHT else with_tasks):
                    ends.append(PlannedEnd(number, point))
                continue
            traced = tuple(index[number, one] for one in point.futures if (number, one) in index)
            if traced and exit_mode is not ExitMode.TASK:
                ends.append(PlannedEnd(number, point, traced))
    return ends


def _end_probes(ends: Sequence[PlannedEnd], first: int) -> Iterable[Probe]:
    for number, one in enumerate(ends):
        yield Probe(
            id=first + number,
            binary=one.binary,
            offset=one.point.offset,
            site=Site.END,
            group=Group.FUTURES if one.point.kind is EndKind.DROPPED else Group.TASKS,
            enters=None,
            leaves=None,
            cost=one.point.cost,
            ends=number,
        )


def _of_tasks(
    binaries: Sequence[Binary],
    with_tasks: Collection[int],
    points_of: Callable[[Binary], Sequence[Point]],
    taken: Collection[tuple[int, int]],
) -> Iterator[tuple[int, Point]]:
    """(binary, point) where something befalls the tasks that are traced.  taken: the places that have a probe."""
    for number, binary in enumerate(binaries):
        if number in with_tasks:
            for point in points_of(binary):
                if (number, point.offset) not in taken:
                    yield number, point


def _spawn_probes(spawns: Sequence[PlannedSpawn], first: int) -> Iterable[Probe]:
    for number, one in enumerate(spawns):
        site = Site.SPAWNED if one.point.is_return else Site.SPAWN
        yield replace(_task_probe(first + number, one, site, Group.TASKS), spawns=number)


def _wake_probes(wakes: Sequence[PlannedWake], first: int) -> Iterable[Probe]:
    for number, one in enumerate(wakes):
        yield replace(_task_probe(first + number, one, Site.WAKE, Group.WAKES), wakes=number)


def _task_probe(number: int, one: PlannedSpawn | PlannedWake, site: Site, group: Group) -> Probe:
    """One that neither enters nor leaves a function."""
    return Probe(number, one.binary, one.point.offset, site, group, None, None, cost=one.point.cost)


def _with_tasks(functions: Sequence[PollFunction], function_binary: Sequence[int]) -> set[int]:
    """The binaries of which task polls are traced."""
    return {number for number, one in zip(function_binary, functions, strict=True) if one.kind is FunctionKind.TASK}


class _Place:
    """One address: what begins there, what ends there."""

    enters: int | None = None
    leaves: int | None = None
    exit: ExitSite | None = None


def _probes(
    functions: Sequence[PollFunction],
    places: dict[tuple[int, int], _Place],
    returns: Iterable[tuple[int, int, int]],
) -> Iterable[Probe]:
    for number, ((binary, offset), place) in enumerate(sorted(places.items(), key=lambda item: item[0])):
        index = place.enters if place.enters is not None else place.leaves
        assert index is not None, "a place is made for an entry or an exit"
        cost = functions[index].entry_cost if place.exit is None else place.exit.cost
        site = _site(place, offset, functions)
        yield Probe(
            id=number,
            binary=binary,
            offset=offset,
            site=site,
            group=_group(functions[index]),
            enters=place.enters,
            leaves=place.leaves,
            is_tail=place.exit is not None and place.exit.kind is ExitKind.TAIL,
            cost=InstructionCost.EMULATED if site is Site.CALL else cost,
            after=place.exit.after if place.exit is not None else 0,
        )
    for number, (binary, offset, index) in enumerate(returns, len(places)):
        yield Probe(
            id=number,
            binary=binary,
            offset=offset,
            site=Site.RETURN,
            group=_group(functions[index]),
            enters=None,
            leaves=index,
            cost=InstructionCost.EMULATED,
        )


def _site(place: _Place, offset: int, functions: Sequence[PollFunction]) -> Site:
    if place.enters is not None:
        return Site.ENTRY if offset == functions[place.enters].offset else Site.CALL
    return Site.RETURNED if place.exit is not None and place.exit.kind is ExitKind.RETURNED else Site.EXIT


@dataclass(frozen=True, slots=True)
class _Occupied:
    """Places of a binary: those that may have probes of their own, whatever is chosen, and those of returns."""

    own: frozenset[int]
    returned: frozenset[int]

    @staticmethod
    def of(binary: Binary) -> _Occupied:
        functions = binary.functions
        own = {
            *(function.offset for function in functions),
            *(site.offset for function in functions for site in function.exits),
            *(point.offset for points in (binary.ends, binary.spawns, binary.wakes) for point in points),
        }
        return _Occupied(frozenset(own), frozenset(site.offset for one in functions for site in one.returned))


def _ways(
    function: PollFunction, occupied: _Occupied, exit_mode: ExitMode, has_return: bool
) -> tuple[Sequence[int], Sequence[ExitSite]]:
    """Where it is seen to be entered, as offsets, and to be left by an instruction: in its callers where that is
    cheaper and nothing else is seen there."""
    exits = () if has_return or _is_entry_only(function, exit_mode) else function.exits
    if exit_mode in (ExitMode.RET, ExitMode.URETPROBE):
        return (function.offset,), exits
    if exits and function.returned and occupied.own.isdisjoint(site.offset for site in function.returned):
        exits = function.returned
    is_free = (occupied.own | occupied.returned).isdisjoint(function.called)
    return function.called if function.called and is_free else (function.offset,), exits


def _group(function: PollFunction) -> Group:
    return Group.TASKS if function.kind is FunctionKind.TASK else Group.FUTURES


def _is_entry_only(function: PollFunction, exit_mode: ExitMode) -> bool:
    return exit_mode is ExitMode.TASK and function.kind not in (FunctionKind.TASK, FunctionKind.IN_PLACE)


def _has_return_probe(function: PollFunction, binary: Binary, exit_mode: ExitMode) -> bool:
    if exit_mode is ExitMode.RET:
        return False
    if exit_mode is ExitMode.URETPROBE:
        return True
    if function.kind is not FunctionKind.TASK:
        return False
    return function.runtime in _CATCHES_PANICS or not binary.can_unwind


def _is_wanted(
    function: PollFunction,
    include: Sequence[Pattern[str]],
    exclude: Sequence[Pattern[str]],
    generated_only: bool,
) -> bool:
    # A task's symbols all name the runtime: it goes by the future that it runs, as it is shown.
    names = {function.name} if function.kind is FunctionKind.TASK else {function.name, *function.names}
    if any(pattern.search(name) for pattern in exclude for name in names):
        return False
    if function.kind in (FunctionKind.TASK, FunctionKind.IN_PLACE):
        return True
    if generated_only and function.kind is not FunctionKind.COROUTINE:
        return False
    return not include or any(pattern.search(name) for pattern in include for name in names)


def _all_names(functions: Iterable[PollFunction]) -> Iterable[str]:
    return (name for function in functions for name in (function.name, *function.names))


def _require_abort(binaries: Iterable[Binary]) -> None:
    for binary in binaries:
        if binary.can_unwind:
            raise NotTraceable(
                f"Return probes on every future would make {binary.path} abort when it panics.",
                why="a panic cannot unwind through a frame with a return probe, and this binary can unwind",
                fix='leave --exits out, or build with panic = "abort"',
            )


def _nothing_left(binaries: Sequence[Binary], include: Sequence[Pattern[str]], is_filtered: bool) -> NotTraceable:
    found = sum(len(binary.functions) for binary in binaries)
    paths = ", ".join(binary.path for binary in binaries)
    if found and is_filtered:
        named = [one.name for binary in binaries for one in binary.layouts if one.kind is not LayoutKind.GLUE]
        inlined = sorted({name for name in named if any(pattern.search(name) for pattern in include)})
        return NotTraceable(
            f"None of the {found:,} poll functions is what the filters ask for.",
            # Where its parent waits it is in the chain.
            why=f"{inlined[0]} has no poll function: the compiler made it a part of what polls it; filter for that, or "
            "leave the filter out"
            if inlined
            else "",
            fix=f"rat-ebpf list {shell_word(binaries[0].path)}",
        )
    if found:
        return NotTraceable(
            f"None of the {found:,} poll functions can be probed.", fix=f"rat-ebpf list {shell_word(binaries[0].path)}"
        )
    return NotTraceable(
        f"No poll function was found in {paths}.",
        why="it is not an async Rust program, or all its futures are inlined and its symbols are stripped",
        fix='in Cargo.toml: [profile.release] debug = 2, strip = "none"; then build and start it again',
    )
