"""All poll functions of a binary, from every source it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tracer.model import (
    CallSite,
    EndPoint,
    FunctionKind,
    Layout,
    PollFunction,
    Refusal,
    SpawnPoint,
    WakePoint,
)
from tracer.rust.candidate_code import CandidateCode
from tracer.rust.candidates import find_candidates
from tracer.rust.debug_information import DebugInformation
from tracer.rust.describe import describe
from tracer.rust.ends import Ends
from tracer.rust.merged import naming_others
from tracer.rust.units import SplitUnit
from tracer.target.elf import ElfImage


@dataclass(frozen=True, slots=True)
class Found:
    """symbols: "dwarf", "line tables", "symbol table" or "none", as in Binary."""

    functions: tuple[PollFunction, ...]
    refusals: tuple[Refusal, ...]
    symbols: str
    layouts: tuple[Layout, ...] = ()
    ends: tuple[EndPoint, ...] = ()
    current_task: int | None = None
    spawns: tuple[SpawnPoint, ...] = ()
    sites: tuple[CallSite, ...] = ()
    wakes: tuple[WakePoint, ...] = ()
    own_folder: str | None = None


def find_functions(
    image: ElfImage,
    debug: ElfImage | None,
    split: Mapping[int, SplitUnit] | None = None,
    *,
    without_debug_info: bool = False,
) -> Found:
    """The poll functions of `image`; names and debug information come from `debug` where it has them.

    split: what is split off from the debug information, by the position of its skeleton.  without_debug_info: as if
    there were none, for a comparison with one that has none.
    """
    named = debug if debug is not None and debug.has_section(".symtab") else image
    described = debug if debug is not None and debug.has_section(".debug_info") else image
    candidates, symbol_count = find_candidates(named, image)
    ends = Ends(named, image)
    glue = ends.glue_of({name for candidate in candidates for name in candidate.names})
    information = DebugInformation(None if without_debug_info else described, named, split or {}, candidates, glue)
    code = CandidateCode(image, named, candidates)
    functions: list[PollFunction] = []
    refusals: list[Refusal] = []
    for candidate in candidates:
        function = describe(candidate, information, code)
        if function is None:
            continue
        if isinstance(function, Refusal):
            refusals.append(function)
            continue
        body = code.body(candidate)
        if body.refusal is not None:
            refusals.append(Refusal(function.name, body.refusal, function.address, function.location))
        else:
            functions.append(replace(function, exits=body.exits, entry_cost=body.entry_cost))
    functions = information.once_each(functions, code.called_bodies(functions))
    functions = information.with_environments(functions)
    inlined = information.inlined({name for candidate in candidates for name in candidate.names}, code.functions)
    bodiless = information.without_bodies(inlined, functions)
    refusals += bodiless
    functions, layouts = information.with_layouts(functions, image)
    by_code = information.awaits_by_code(functions, code.dispatches())
    information.learn_implementations(functions)
    functions = [
        replace(
            function,
            name=information.resolved(function.name),
            awaits=by_code.get(function.address, function.awaits),
        )
        for function in functions
    ]
    if information.has_types:
        symbols = "dwarf"
    elif any(function.location is not None for function in functions):
        # Asked of the functions: the precompiled standard library has line tables in every build.
        symbols = "line tables"
    else:
        symbols = "symbol table" if symbol_count else "none"
    if not without_debug_info:
        functions = code.filled_in(functions, bodiless)
    functions = code.seen_by_callers(functions)
    has_tasks = any(function.kind is FunctionKind.TASK for function in functions)
    foreign = code.foreign_catches(ends.catches, information) if has_tasks else {}
    points = ends.points(functions, glue, information.type_paths, information.dropped, foreign)
    current = information.current_task(image, named)
    spawns, sites = code.spawns(functions, information)
    wakes = code.wakes(functions)
    for one in code.in_place(functions):
        if isinstance(one, Refusal):
            refusals.append(one)
        else:
            functions.append(one)
    functions = naming_others(functions, {candidate.address: candidate for candidate in candidates})
    return Found(
        tuple(functions),
        tuple(refusals),
        symbols,
        layouts,
        points,
        current,
        spawns,
        sites,
        wakes,
        information.own_folder,
    )
