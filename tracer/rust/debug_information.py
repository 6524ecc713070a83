"""What debug information says of the candidates."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from tracer.model import (
    AwaitPoint,
    FunctionKind,
    Layout,
    PollFunction,
    Refusal,
    Source,
    SourceLocation,
    is_foreign,
)
from tracer.rust.async_tasks import future_offsets, with_cells
from tracer.rust.awaits import Awaits, common
from tracer.rust.candidates import Candidate
from tracer.rust.code_awaits import CodeAwaits
from tracer.rust.code_functions import FunctionTable
from tracer.rust.current_task import current_task_place
from tracer.rust.demangle import demangle
from tracer.rust.dispatch import Dispatches
from tracer.rust.dwarf import Die, Dwarf
from tracer.rust.ends import DropGlue
from tracer.rust.environments import Selfless, environments
from tracer.rust.forms import At, DwarfError
from tracer.rust.future_names import base_name
from tracer.rust.generators import same_body
from tracer.rust.implementations import Implementations
from tracer.rust.inline_chain import inlined_around, inlined_in
from tracer.rust.inlined import InlinedCoroutines
from tracer.rust.judge import Judge, Verdict, try_verdicts
from tracer.rust.layouts import Layouts
from tracer.rust.lines import LineTables
from tracer.rust.lookup import SubprogramLookup
from tracer.rust.naming import generic_arguments, is_closure
from tracer.rust.own_folder import own_folder
from tracer.rust.scan import CodeScan
from tracer.rust.shadowed import ShadowedVariables
from tracer.rust.spawn_callers import SpawnCallers
from tracer.rust.task_cells import cell_name, find_cells
from tracer.rust.task_types import dropped_task
from tracer.rust.type_paths import TypePaths
from tracer.rust.types import Types, state_offset
from tracer.rust.units import SplitUnit
from tracer.target.elf import ElfImage

_CATCHING = frozenset({"catch_unwind", "do_catch", "try", "cleanup"})
"""std's own functions around a catch (panic.rs, panicking.rs)."""

_POINTERS = ("Pin<", "Box<", "&")
"""Futures whose names say nothing of what they lead to, where symbols name them: `Pin<P>`."""


class DebugInformation:
    """What DWARF says about the candidates.  Damaged or missing: nothing is known, no error."""

    def __init__(
        self,
        image: ElfImage | None,
        named: ElfImage,
        split: Mapping[int, SplitUnit],
        candidates: list[Candidate],
        glue: list[DropGlue],
    ) -> None:
        self.type_paths: dict[int, set[str]] = defaultdict(set)
        self.dropped: dict[int, set[str]] = {}
        self._dies: dict[int, list[Die]] = {}
        self._futures: dict[int, dict[int, str | None]] = {}
        self._cells: dict[int, str] = {}
        self._runs: dict[int, dict[int, str | None]] = {}
        self._untyped: dict[int, Die] = {}
        self._selfless: dict[int, str] = {}
        self._inlined: dict[int, str] = {}
        self._bodiless: list[int] = []
        self._implementations = Implementations()
        self.has_types = False
        self.own_folder: str | None = None
        self._lookup: SubprogramLookup | None = None
        if image is None or not image.has_section(".debug_info"):
            return
        try:
            self._dwarf = Dwarf(image, split)
            lookup = SubprogramLookup(self._dwarf)
        except DwarfError:
            return
        self._lookup = lookup
        self.own_folder = own_folder(named, self._dwarf, lookup.unit_at)
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
                name = self._dwarf.name_of(die)
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
        return sorted(verdicts, key=self._preference)

    def _remember(self, candidate: Candidate, verdicts: list[Verdict]) -> None:
        """What with_layouts() and the ends need.  Of merged functions some may have no entry: then nothing is known
        of all."""
        bodies = {name for name in candidate.names if is_closure(name)}
        self.type_paths[candidate.address] |= {one.type_path for one in verdicts if one.type_path and one.has_types}
        futures: dict[int, str | None] = {
            one.future: one.type_path for one in verdicts if one.future is not None and one.type_path
        }
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
            if verdicts[0].lacks_self and verdicts[0].own_name:
                self._selfless[candidate.address] = verdicts[0].own_name
        if len(bodies) == 1 == len(verdicts) and verdicts[0].type_path is not None:
            self._implementations.learn(verdicts[0].type_path, *bodies)

    def current_task(self, image: ElfImage, named: ElfImage) -> int | None:
        """Where threads keep the id of the task that they poll, as Binary has it."""
        if self._lookup is None or not self._cells:
            return None
        return current_task_place(image, named, self._dwarf, self._lookup.unit_at, self._types)

    def catchers(self, calls: Mapping[tuple[int, int], Collection[int]]) -> dict[int, str]:
        """By address of a call the own name of the function that catches a panic there, which may be inlined.

        calls: their addresses, by (address, size) of the functions whose code they are in.
        """
        found: dict[int, str] = {}
        dies = self._lookup.find(dict(calls.keys())) if self._lookup is not None else {}
        for (function, _), several in calls.items():
            described = dies.get(function, [])
            for at in several if len(described) == 1 else ():  # of merged functions nobody can tell whose it is
                with contextlib.suppress(DwarfError):
                    around = [described[0], *inlined_around(self._dwarf, described[0], at)]
                    names = [base_name(self._dwarf.name_of(die)) for die in reversed(around)]
                    if name := next((name for name in names if name not in _CATCHING), ""):
                        found[at] = name
        return found

    def dropped_tasks(self, parts: Mapping[int, int]) -> set[str]:
        """T of the parts of tokio's tasks of T that these functions drop in themselves, as symbols have it.

        parts: address → size.
        """
        found = set[str]()
        for dies in self._lookup.find(parts).values() if self._lookup is not None else ():
            with contextlib.suppress(DwarfError):
                for inside in inlined_in(self._dwarf, dies[0]) if len(dies) == 1 else ():
                    chain = self._dwarf.chain(inside)
                    linkage = next((text for one in chain if (text := one.string(At.LINKAGE_NAME))), None)
                    task = dropped_task(demangle(linkage)) if linkage is not None else None
                    found |= {task} if task is not None else set()
        return found

    def spawn_callers(self, scan: CodeScan) -> SpawnCallers | None:
        """None: there is no debug information."""
        if self._lookup is None:
            return None
        return SpawnCallers(scan, self._dwarf, self._lookup, self._lines, self._own_folders)

    def with_environments(self, functions: list[PollFunction]) -> list[PollFunction]:
        """The coroutines whose own entries do not tell their type (see Verdict.lacks_self), with what that tells."""
        places = {
            one.address: Selfless(self._selfless[one.address], one.location, one.names)
            for one in functions
            if one.address in self._selfless and one.location is not None
        }
        if not places:
            return functions
        found = environments(self._dwarf, self._types, self._judge.begin_of, places)
        for address, (position, path) in found.items():
            self._futures[address] = {position: path}
            self.type_paths[address] |= {path} if path is not None else set()
            del self._untyped[address]
        self.has_types |= bool(found)
        return [
            replace(one, state_offset=state, layout_source=Source.DWARF)
            if one.address in found and (state := state_offset(self._types.at(found[one.address][0]))) is not None
            else one
            for one in functions
        ]

    def with_layouts(
        self, functions: list[PollFunction], image: ElfImage
    ) -> tuple[list[PollFunction], tuple[Layout, ...]]:
        """The functions with where they wait, and all layouts; to be asked when all functions are described.

        image: the executable.
        """
        if not self._futures and not self._cells and not self._runs:
            return functions, ()
        awaits = Awaits(self._dwarf, self._types, self._lines, self._implementations, self._own_folders)
        types = {function.address: self._futures.get(function.address, {}) for function in functions}
        of_tasks = {position: path for several in self._runs.values() for position, path in several.items()}
        roots = of_tasks | {position: path for several in types.values() for position, path in several.items()}
        # First where the polls are: there the cells are, too, unless the compiler made them in another unit.
        units = {die.unit.offset: die.unit for dies in self._dies.values() for die in dies}
        units |= {unit.offset: unit for unit in self._dwarf.units}
        cells = find_cells(self._dwarf, units.values(), self._cells)
        shadowed = ShadowedVariables(self._dwarf, self._types, self._lines, self._judge.begin_of, self._bodies)
        found = Layouts(self._dwarf, self._types, awaits, shadowed).of(roots, frozenset(cells.values()))
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

    def _bodies(self) -> Iterator[Die]:
        """The entries of coroutines' functions, and of the user's own that have none."""
        for dies in self._dies.values():
            yield from dies
        for position in self._bodiless:
            yield self._dwarf.die(position)

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
        reader = CodeAwaits(self._dwarf, self._lines, dispatches, futures, self._own_folders)
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

    def learn_implementations(self, functions: list[PollFunction]) -> None:
        """What `{impl#3}` stand for where no type told it: bodies without types, or inlined ones, have the same modules
        around their entries.

        Those are walked through only where a function has such a name; to be asked after inlined().
        """
        if not any(self._implementations.unknown(function.name) for function in functions):
            return
        symbols = dict(self._inlined)
        for function in functions:
            if function.kind is FunctionKind.COROUTINE and function.address in self._untyped:
                with contextlib.suppress(DwarfError):
                    declared = self._dwarf.chain(self._untyped[function.address])[-1]
                    symbols[declared.offset] = next(filter(is_closure, function.names))
        for position, path in TypePaths(self._dwarf).by_scopes(symbols).items():
            self._implementations.learn(path, symbols[position])

    def resolved(self, name: str) -> str:
        """A display name with types in the place of `{impl#3}`, as far as they were learned."""
        return self._implementations.resolved(name)

    def inlined(self, known: Collection[str], functions: FunctionTable) -> list[Refusal]:
        """The user's coroutines that are inlined into others, out of these functions; known: as refusals() has it."""
        if not self._dies:
            return []
        coroutines = InlinedCoroutines(self._dwarf, self._lines, self._own_folders)
        found = coroutines.refusals(known, functions)
        self._inlined = coroutines.symbols
        self._bodiless = [position for position, symbol in self._inlined.items() if symbol not in known]
        return [refusal for refusal in found if not self._is_foreign(refusal.location)]

    def location(self, address: int) -> SourceLocation | None:
        """From the line table alone."""
        if self._lookup is None:
            return None
        unit = self._lookup.unit_at(address)
        return self._lines.location(unit, address) if unit is not None else None

    def _preference(self, verdict: Verdict) -> tuple[bool, bool, str, str]:
        is_other = self._is_foreign(verdict.location)
        return not verdict.has_types, is_other, verdict.type_path or "", str(verdict.location)

    def _is_foreign(self, location: SourceLocation | None) -> bool:
        return location is None or is_foreign(location.file, self._own_folders)

    @property
    def _own_folders(self) -> tuple[str, ...]:
        return (self.own_folder,) if self.own_folder is not None else ()
