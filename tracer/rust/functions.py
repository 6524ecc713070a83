"""All poll functions of a binary, from every source it has."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from tracer.model import (
    AwaitPoint,
    CallSite,
    EndPoint,
    FunctionKind,
    HeaderTest,
    Layout,
    PollFunction,
    Refusal,
    Register,
    Source,
    SourceLocation,
    SpawnPoint,
    TaskIdPath,
    WakePoint,
    is_foreign,
)
from tracer.rust.async_tasks import future_offsets, with_cells
from tracer.rust.awaits import Awaits, common
from tracer.rust.candidates import Candidate, Role, find_candidates, role_of
from tracer.rust.code_awaitees import CodeAwaitees
from tracer.rust.code_awaits import CodeAwaits
from tracer.rust.current_task import current_task_place
from tracer.rust.dispatch import Dispatches
from tracer.rust.dwarf import Die, Dwarf
from tracer.rust.ends import TOKIO_ABORTED, DropGlue, Ends
from tracer.rust.exits import Body, Disassembler, thunk_target
from tracer.rust.forms import DwarfError
from tracer.rust.generators import is_wrapper_poll, same_body
from tracer.rust.implementations import Implementations
from tracer.rust.in_place import in_place_functions
from tracer.rust.inlined import InlinedCoroutines
from tracer.rust.judge import Judge, Verdict, try_verdicts
from tracer.rust.layouts import Layouts
from tracer.rust.lines import LineTables
from tracer.rust.lookup import SubprogramLookup
from tracer.rust.naming import coroutine_name, crate_of, display_name, future_type_of, generic_arguments, is_closure
from tracer.rust.own_locations import OwnLocations
from tracer.rust.prologue import MAX_CODE, Arguments, Prologue
from tracer.rust.returns import Returns
from tracer.rust.runtimes import BLOCKING_REASON, is_blocking_job, job_name, job_of, spawned_future, task_name
from tracer.rust.scan import CodeScan
from tracer.rust.spawn_callers import SpawnCallers
from tracer.rust.spawns import Spawns
from tracer.rust.task_cells import cell_name, find_cells
from tracer.rust.task_ids import TaskIds
from tracer.rust.task_types import TaskTypes
from tracer.rust.types import Types
from tracer.rust.units import SplitUnit
from tracer.rust.wakes import Wakes
from tracer.target.elf import ElfImage

_POINTERS = ("Pin<", "Box<", "&")
"""Futures whose names say nothing of what they lead to, where symbols name them: `Pin<P>`."""


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
    information = _DebugInformation(None if without_debug_info else described, split or {}, candidates, glue)
    code = _Code(image, named, candidates)
    functions: list[PollFunction] = []
    refusals: list[Refusal] = []
    for candidate in candidates:
        function = _describe(candidate, information, code)
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
    inlined = information.inlined({name for candidate in candidates for name in candidate.names})
    refusals += information.without_bodies(inlined, functions)
    functions, layouts = information.with_layouts(functions, image)
    by_code = information.awaits_by_code(functions, code.dispatches())
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
        functions = code.filled_in(functions)
    functions = code.returned(functions)
    points = ends.points(functions, glue, information.type_paths, information.dropped)
    current = information.current_task(image, named)
    spawns, sites = code.spawns(functions, information)
    wakes = code.wakes(functions)
    for one in code.in_place(functions):
        if isinstance(one, Refusal):
            refusals.append(one)
        else:
            functions.append(one)
    return Found(tuple(functions), tuple(refusals), symbols, layouts, points, current, spawns, sites, wakes)


class _Code:
    """The machine code of the candidates."""

    def __init__(self, image: ElfImage, named: ElfImage, candidates: list[Candidate]) -> None:
        self._image = image
        self._named = named
        self._scan = CodeScan(image, named)
        self._thunks = self._find_thunks(candidates)
        self._disassembler = Disassembler()
        self._prologue = Prologue()
        self._task_types = TaskTypes(image, named, candidates, self._scan.can_resume)
        self._task_ids = TaskIds(image)
        self._dispatches = self.dispatches()
        self._own_locations = OwnLocations(image)

    def body(self, candidate: Candidate) -> Body:
        """A function that only jumps to another one is left where that one is left, on the same stack pointer."""
        body = self._body_at(candidate.address, candidate.size, candidate.offset)
        target = self._thunks.get(candidate.address)
        offset = self._image.offset_of(target) if target is not None else None
        if target is None or offset is None:
            return body
        beyond = self._body_at(target, self._scan.size_of(target), offset)
        return body if beyond.refusal is not None else replace(body, exits=beyond.exits)

    def _body_at(self, address: int, size: int, offset: int) -> Body:
        content = self._image.read(address, size) or b""
        return self._disassembler.body(content, address, offset, self._scan.is_fragment)

    def _find_thunks(self, candidates: list[Candidate]) -> dict[int, int]:
        """Target by address of the candidates that are thunks to a function of their own, itself no candidate."""
        targets = {}
        for candidate in candidates:
            target = thunk_target(self._image.read(candidate.address, candidate.size) or b"", candidate.address)
            if target is not None:
                targets[candidate.address] = target
        shared = Counter(targets.values()) + Counter(candidate.address for candidate in candidates)
        return {address: target for address, target in targets.items() if shared[target] == 1}

    def returned(self, functions: list[PollFunction]) -> list[PollFunction]:
        """The functions with where their callers go on."""
        sites = Returns(self._image, self._named, self._scan, self._disassembler).of(functions)
        return [replace(one, returned=sites[one.address]) if one.address in sites else one for one in functions]

    def spawns(
        self, functions: list[PollFunction], information: _DebugInformation
    ) -> tuple[tuple[SpawnPoint, ...], tuple[CallSite, ...]]:
        """Where tasks are spawned, and where in the source."""
        callers = information.spawn_callers(self._named, self._scan)
        return Spawns(self._named, self._image, self._scan).points(functions, callers)

    def wakes(self, functions: list[PollFunction]) -> tuple[WakePoint, ...]:
        """Where tasks are woken."""
        return Wakes(self._named, self._image, self._scan).points(functions)

    def in_place(self, functions: list[PollFunction]) -> list[PollFunction | Refusal]:
        """Where polls take their threads for blocking calls, where polls of tokio's tasks are known."""
        if not any(one.kind is FunctionKind.TASK and one.runtime == "tokio" for one in functions):
            return []
        return list(in_place_functions(self._named, self._image, self._scan))

    def dispatches(self) -> Dispatches:
        return Dispatches(self._image, self._scan.is_resumption)

    def task_type(self, candidate: Candidate) -> str | None:
        """The future that a task poll runs: v0 names have it as an argument, else see TaskTypes."""
        for name in candidate.names:
            arguments = generic_arguments(name)
            if arguments and role_of(name) in (Role.TOKIO, Role.ASYNC_TASK):
                return arguments[0]
        return self._task_types.of(candidate)

    def task_id(self, runtime: str) -> TaskIdPath | None:
        """Where a task's id is, by the runtime's version."""
        return self._task_ids.of(runtime)

    def aborted(self, runtime: str, task_id: TaskIdPath | None) -> HeaderTest | None:
        """How a header says that its task was aborted; tokio's are known when the place of the id is."""
        if runtime == "tokio":
            return TOKIO_ABORTED if task_id is not None else None
        return self._task_ids.async_task_aborted

    def filled_in(self, functions: list[PollFunction]) -> list[PollFunction]:
        """The functions; of coroutines without debug information also what their own code shows of place and awaits.

        A task without a place gets that of the coroutine that it runs, as debug information has it.
        """
        awaits = CodeAwaitees(self._dispatches, functions)
        functions = [
            self._filled_in(function, awaits) if function.layout_source is Source.CODE else function
            for function in functions
        ]
        places: defaultdict[str, set[SourceLocation | None]] = defaultdict(set)
        for function in functions:
            if function.kind is FunctionKind.COROUTINE:
                places[f"task {function.name}"].add(function.location)
        return [
            replace(function, location=next(iter(places[function.name])))
            if function.location is None and len(places.get(function.name, ())) == 1
            else function
            for function in functions
        ]

    def _filled_in(self, function: PollFunction, awaits: CodeAwaitees) -> PollFunction:
        dispatch = self._dispatches.of(function.address, function.size)
        if dispatch is None:
            return function
        location = function.location or self._own_locations.of(dispatch)
        return replace(function, location=location, awaits=function.awaits or awaits.of(dispatch))

    def can_resume(self, candidate: Candidate) -> bool:
        return self._scan.can_resume(candidate.address, candidate.size)

    def called_bodies(self, functions: list[PollFunction]) -> list[tuple[PollFunction, PollFunction]]:
        """(poll, body): the polls that older compilers put around the bodies of async fns and that only call them."""
        bodies = {one.address: one for one in functions if one.kind is FunctionKind.COROUTINE}
        return [
            (function, bodies[address])
            for function in functions
            if is_wrapper_poll(function.names) and not self._scan.can_resume(function.address, function.size)
            for address in self._scan.called(function, bodies.keys() - {function.address})
        ]

    def corrected(self, function: PollFunction) -> PollFunction:
        """The function with its arguments where its first instructions show them, if that is elsewhere."""
        known = self._arguments(function)
        if known.self_register in (None, function.self_register):
            return function
        return replace(
            function, self_register=known.self_register, context_register=known.context_register, result=None
        )

    def _arguments(self, function: PollFunction) -> Arguments:
        content = self._image.read(function.address, min(function.size, MAX_CODE)) or b""
        if function.kind is FunctionKind.COROUTINE:
            return self._prologue.of_coroutine(content)
        return self._prologue.of_future(content)

    def with_arguments(self, function: PollFunction) -> PollFunction:
        """The function with what its first instructions tell, for want of types."""
        known = self._arguments(function)
        return replace(
            function,
            self_register=known.self_register,
            context_register=known.context_register,
            state_offset=known.state_offset,
            layout_source=Source.CODE if known.state_offset is not None else None,
        )


class _DebugInformation:
    """What DWARF says about the candidates.  Damaged or missing: nothing is known, no error."""

    def __init__(
        self, image: ElfImage | None, split: Mapping[int, SplitUnit], candidates: list[Candidate], glue: list[DropGlue]
    ) -> None:
        self.type_paths: dict[int, set[str]] = defaultdict(set)
        self.dropped: dict[int, set[str]] = {}
        self._dies: dict[int, list[Die]] = {}
        self._futures: dict[int, dict[int, str]] = {}
        self._cells: dict[int, str] = {}
        self._runs: dict[int, dict[int, str]] = {}
        self._untyped: dict[int, Die] = {}
        self._implementations = Implementations()
        self.has_types = False
        self._lookup: SubprogramLookup | None = None
        if image is None or not image.has_section(".debug_info"):
            return
        try:
            self._dwarf = Dwarf(image, split)
            lookup = SubprogramLookup(self._dwarf)
        except DwarfError:
            return
        self._lookup = lookup
        self._lines = LineTables(self._dwarf)
        self._types = Types(self._dwarf)
        self._judge = Judge(self._dwarf, self._types, self._lines)
        sizes = {one.address: one.size for one in glue}
        self._dies = lookup.find(sizes | {candidate.address: candidate.size for candidate in candidates})
        for address in sizes:
            self.dropped.update({address: names} if (names := self._dropped(self._dies.pop(address, []))) else {})

    def _dropped(self, dies: list[Die]) -> set[str]:
        """The paths of the types that these functions, instances of drop_in_place, drop."""
        found = set()
        for die in dies:
            with contextlib.suppress(DwarfError):
                name = next((entry.name for entry in self._dwarf.chain(die) if entry.name), "")
                if name.startswith(("drop_in_place<", "drop_glue<")) and (arguments := generic_arguments(name)):
                    found.add(arguments[0])
        return found

    def knows(self, address: int) -> bool:
        """Whether there is an entry for the function at this address."""
        return address in self._dies

    def verdicts(self, candidate: Candidate) -> list[Verdict]:
        """Several when functions were merged; the user's own code first."""
        verdicts = try_verdicts(self._judge, candidate, self._dies[candidate.address])
        self.has_types |= any(verdict.has_types for verdict in verdicts)
        self._remember(candidate, verdicts)
        return sorted(verdicts, key=_preference)

    def _remember(self, candidate: Candidate, verdicts: list[Verdict]) -> None:
        """What with_layouts() and the ends need.  Of merged functions some may have no entry: then nothing is known
        of all."""
        bodies = {name for name in candidate.names if is_closure(name)}
        self.type_paths[candidate.address] |= {one.type_path for one in verdicts if one.type_path and one.has_types}
        futures = {one.future: one.type_path for one in verdicts if one.future is not None and one.type_path}
        if any(one.runtime is not None for one in verdicts):
            if len(futures) == 1 == len(verdicts) and verdicts[0].runtime == "async-task":
                self._runs[candidate.address] = futures
            futures = {}
        if futures and len(futures) >= len(candidate.names):
            self._futures[candidate.address] = futures
        if len(verdicts) == 1 and verdicts[0].runtime == "tokio":
            name = cell_name(verdicts[0].own_name or "")
            if name is not None:
                self._cells[candidate.address] = name
        if len(verdicts) == 1 == len(bodies) and not verdicts[0].has_types:
            self._untyped[candidate.address] = self._dies[candidate.address][0]
        if len(bodies) == 1 == len(verdicts) and verdicts[0].type_path is not None:
            self._implementations.learn(verdicts[0].type_path, *bodies)

    def current_task(self, image: ElfImage, named: ElfImage) -> int | None:
        """Where threads keep the id of the task that they poll, as Binary has it."""
        if self._lookup is None or not self._cells:
            return None
        return current_task_place(image, named, self._dwarf, self._lookup.unit_at, self._types)

    def spawn_callers(self, named: ElfImage, scan: CodeScan) -> SpawnCallers | None:
        """None: there is no debug information."""
        if self._lookup is None:
            return None
        return SpawnCallers(named, scan, self._dwarf, self._lookup, self._lines)

    def with_layouts(
        self, functions: list[PollFunction], image: ElfImage
    ) -> tuple[list[PollFunction], tuple[Layout, ...]]:
        """The functions with where they wait, and all layouts; to be asked when all functions are described.

        image: the executable.
        """
        if not self._futures and not self._cells and not self._runs:
            return functions, ()
        awaits = Awaits(self._dwarf, self._types, self._lines, self._implementations)
        types = {function.address: self._futures.get(function.address, {}) for function in functions}
        of_tasks = {position: path for several in self._runs.values() for position, path in several.items()}
        roots = of_tasks | {position: path for several in types.values() for position, path in several.items()}
        units = {die.unit.offset: die.unit for dies in self._dies.values() for die in dies}
        cells = find_cells(self._dwarf, units.values(), self._cells)
        found = Layouts(self._dwarf, self._types, awaits).of(roots, frozenset(cells.values()))
        described = []
        for function in functions:
            if function.address in cells:
                described.append(replace(function, layout=found.index.get(cells[function.address])))
                continue
            futures = types[function.address]
            layouts = {found.index.get(one) for one in futures}
            described.append(
                replace(
                    function,
                    awaits=common(found.points, list(futures)) if function.state_offset is not None and futures else (),
                    layout=layouts.pop() if len(layouts) == 1 else None,
                )
            )
        described = [
            replace(one, layout_source=Source.DWARF) if one.layout is not None and one.layout_source is None else one
            for one in described
        ]
        run = {
            address: found.index[one]
            for address, several in self._runs.items()
            for one in several
            if one in found.index
        }
        return with_cells(described, found.layouts, run, future_offsets(image, run))

    def awaits_by_code(
        self, functions: list[PollFunction], dispatches: Dispatches
    ) -> dict[int, tuple[AwaitPoint, ...]]:
        """The same of those without types, by what their code and its lines show; nothing of merged ones."""
        if self._lookup is None:
            return {}
        futures = {
            function.address: function.name
            for function in functions
            if function.kind is not FunctionKind.TASK
            and len(function.names) == 1
            and not function.name.startswith(_POINTERS)
        }
        reader = CodeAwaits(self._dwarf, self._lines, dispatches, futures)
        found = {}
        for function in functions:
            die = self._untyped.get(function.address)
            is_alone = sum(map(is_closure, function.names)) == 1 and function.address not in self._dies
            if function.kind is FunctionKind.COROUTINE and (die is not None or is_alone):
                unit = self._lookup.unit_at(function.address) if die is None else die.unit
                if unit is not None:
                    found[function.address] = reader.of(unit, die, function.address, function.size, function.location)
        return found

    def once_each(
        self, functions: list[PollFunction], pairs: list[tuple[PollFunction, PollFunction]]
    ) -> list[PollFunction]:
        """Of each poll and the body that it only calls, the one that more is known of: the poll with its types."""
        surplus = set()
        for poll, body in pairs:
            if poll.kind is FunctionKind.COROUTINE:
                self._implementations.learn(poll.name, body.name)
                surplus.add(body.address)
            else:
                surplus.add(poll.address)
        return [function for function in functions if function.address not in surplus]

    def without_bodies(self, inlined: list[Refusal], functions: list[PollFunction]) -> list[Refusal]:
        """Without those that are inside of the poll that older compilers put around them, and nowhere else."""
        found = set()
        for function in functions:
            body = same_body(function, inlined)
            if body is not None:
                found.add(body)
                self._implementations.learn(function.name, body.name)
        return [body for body in inlined if body not in found]

    def resolved(self, name: str) -> str:
        """A display name with types in the place of `{impl#3}`, as far as they were learned."""
        return self._implementations.resolved(name)

    def inlined(self, known: Collection[str]) -> list[Refusal]:
        """The user's coroutines that exist only inlined into others."""
        if not self._dies:
            return []
        found = InlinedCoroutines(self._dwarf, self._lines).refusals(known)
        return [refusal for refusal in found if not _is_foreign(refusal.location)]

    def location(self, address: int) -> SourceLocation | None:
        """From the line table alone."""
        if self._lookup is None:
            return None
        unit = self._lookup.unit_at(address)
        return self._lines.location(unit, address) if unit is not None else None


def _preference(verdict: Verdict) -> tuple[bool, bool, str, str]:
    return not verdict.has_types, _is_foreign(verdict.location), verdict.type_path or "", str(verdict.location)


def _is_foreign(location: SourceLocation | None) -> bool:
    return location is None or is_foreign(location.file)


def _describe(candidate: Candidate, information: _DebugInformation, code: _Code) -> PollFunction | Refusal | None:
    """The function without its exits; a Refusal when it must not be probed; None when it is no poll function."""
    if information.knows(candidate.address):
        verdicts = information.verdicts(candidate)
        return _from_verdict(candidate, verdicts[0], code) if verdicts else None
    return _from_symbols(candidate, information.location(candidate.address), code)


def _from_verdict(candidate: Candidate, verdict: Verdict, code: _Code) -> PollFunction | Refusal | None:
    if verdict.kind is FunctionKind.TASK:
        path = verdict.type_path or code.task_type(candidate)
        runtime = verdict.runtime or ""
        task_id = verdict.task_id or code.task_id(runtime)
        return _task(candidate, runtime, path, verdict.location, Source.DWARF, task_id, code.aborted(runtime, task_id))
    symbol = _symbol_name(candidate, verdict.kind)
    path = verdict.type_path
    if is_blocking_job(path or future_type_of(symbol) or ""):
        return _blocking(candidate, display_name(path or symbol), verdict.location)
    if verdict.kind is FunctionKind.COROUTINE:
        name = coroutine_name(symbol, path, verdict.own_name)
    else:
        name = display_name(path or future_type_of(symbol) or symbol)
    function = PollFunction(
        address=candidate.address,
        offset=candidate.offset,
        size=candidate.size,
        name=name,
        kind=verdict.kind,
        source=Source.DWARF,
        exits=(),
        names=candidate.names,
        crate=crate_of(path or symbol),
        location=verdict.location,
        self_register=verdict.self_register,
        context_register=verdict.context_register,
        state_offset=verdict.state_offset,
        result=verdict.result,
        layout_source=Source.DWARF if verdict.state_offset is not None else None,
    )
    if not verdict.has_types:
        return code.with_arguments(function)
    return code.corrected(function) if verdict.is_likely else function


def _from_symbols(candidate: Candidate, location: SourceLocation | None, code: _Code) -> PollFunction | Refusal | None:
    for role in (Role.TOKIO, Role.ASYNC_TASK):
        if role in candidate.roles:
            path, task_id = code.task_type(candidate), code.task_id(role.value)
            aborted = code.aborted(role.value, task_id)
            return _task(candidate, role.value, path, location, Source.SYMBOLS, task_id, aborted)
    if (Role.CLOSURE in candidate.roles or is_wrapper_poll(candidate.names)) and code.can_resume(candidate):
        kind, source = FunctionKind.COROUTINE, Source.CODE
    elif Role.FUTURE in candidate.roles:
        kind, source = FunctionKind.FUTURE, Source.SYMBOLS
    else:
        return None
    symbol = _symbol_name(candidate, kind)
    type_path = future_type_of(symbol)
    if is_blocking_job(type_path or ""):
        return _blocking(candidate, display_name(symbol), location)
    return code.with_arguments(
        PollFunction(
            address=candidate.address,
            offset=candidate.offset,
            size=candidate.size,
            name=display_name(type_path) if type_path is not None else coroutine_name(symbol, None),
            kind=kind,
            source=source,
            exits=(),
            names=candidate.names,
            crate=crate_of(symbol),
            location=location,
        )
    )


def _task(
    candidate: Candidate,
    runtime: str,
    type_path: str | None,
    location: SourceLocation | None,
    source: Source,
    task_id: TaskIdPath | None,
    aborted: HeaderTest | None,
) -> PollFunction | Refusal:
    future = spawned_future(type_path) if type_path is not None else None
    job = job_of(future, runtime) if future is not None else None
    if job is None and type_path is not None and is_blocking_job(type_path):
        return _blocking(candidate, task_name(type_path, runtime), location)
    return PollFunction(
        address=candidate.address,
        offset=candidate.offset,
        size=candidate.size,
        name=task_name(future, runtime) if job is None else job_name(job),
        kind=FunctionKind.TASK,
        source=source,
        exits=(),
        names=candidate.names,
        crate=crate_of(job or future) if future is not None else None,
        location=location,
        self_register=Register.RDI,
        runtime=runtime,
        task_id=task_id,
        aborted=aborted,
        is_job=job is not None,
    )


def _blocking(candidate: Candidate, name: str, location: SourceLocation | None) -> Refusal:
    return Refusal(name, BLOCKING_REASON, candidate.address, location)


def _symbol_name(candidate: Candidate, kind: FunctionKind) -> str:
    """The symbol of the right kind among those at the address."""
    fits = is_closure if kind is FunctionKind.COROUTINE else lambda name: future_type_of(name) is not None
    return next((name for name in candidate.names if fits(name)), candidate.names[0])
