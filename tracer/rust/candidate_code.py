"""What the machine code of the candidates shows: how they are left, their arguments, what they call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from tracer.model import (
    CallSite,
    FunctionKind,
    HeaderTest,
    PollFunction,
    Refusal,
    Source,
    SourceLocation,
    SpawnPoint,
    TaskIdPath,
    WakePoint,
)
from tracer.rust.candidates import Candidate, Role, role_of
from tracer.rust.code_awaitees import CodeAwaitees
from tracer.rust.code_functions import FunctionTable
from tracer.rust.debug_information import DebugInformation
from tracer.rust.dispatch import Dispatches
from tracer.rust.ends import TOKIO_ABORTED
from tracer.rust.exits import Body, Disassembler, thunk_target
from tracer.rust.foreign_catches import foreign_catches
from tracer.rust.generators import is_wrapper_poll
from tracer.rust.in_place import in_place_functions
from tracer.rust.naming import bare_name, coroutine_name, generic_arguments
from tracer.rust.own_locations import OwnLocations
from tracer.rust.prologue import MAX_CODE, Arguments, Prologue
from tracer.rust.returns import Returns
from tracer.rust.scan import CodeScan
from tracer.rust.spawns import Spawns
from tracer.rust.task_ids import TaskIds
from tracer.rust.task_types import TaskTypes
from tracer.rust.wakes import Wakes
from tracer.target.elf import ElfImage


class CandidateCode:
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

    @property
    def functions(self) -> FunctionTable:
        """Which function has the code at an address."""
        return self._scan.functions

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

    def seen_by_callers(self, functions: list[PollFunction]) -> list[PollFunction]:
        """The functions with where their callers call them and go on."""
        return Returns(self._image, self._named, self._scan, self._disassembler).of(functions)

    def spawns(
        self, functions: list[PollFunction], information: DebugInformation
    ) -> tuple[tuple[SpawnPoint, ...], tuple[CallSite, ...]]:
        """Where tasks are spawned, and where in the source."""
        callers = information.spawn_callers(self._scan)
        return Spawns(self._named, self._image, self._scan).points(functions, callers)

    def foreign_catches(self, catches: frozenset[int], information: DebugInformation) -> dict[int, list[int]]:
        """By function that is called where a panic is caught, see tracer.rust.foreign_catches."""
        calls = self._scan.calls_of(catches)
        return foreign_catches(calls, self._scan.functions, information.catchers)

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

    def task_parts(self, candidate: Candidate) -> dict[int, int]:
        """address → size of the functions that a task poll of tokio's consists of."""
        return self._task_types.parts(candidate.address)

    def task_id(self, runtime: str) -> TaskIdPath | None:
        """Where a task's id is, by the runtime's version."""
        return self._task_ids.of(runtime)

    def aborted(self, runtime: str, task_id: TaskIdPath | None) -> HeaderTest | None:
        """How a header says that its task was aborted; tokio's are known when the place of the id is."""
        if runtime == "tokio":
            return TOKIO_ABORTED if task_id is not None else None
        return self._task_ids.async_task_aborted

    def filled_in(self, functions: list[PollFunction], inlined: Iterable[Refusal]) -> list[PollFunction]:
        """The functions; of coroutines without debug information also what their own code shows of place and awaits.

        A task without a place gets that of the future that it runs, as debug information has it.
        inlined: futures that have no function of their own.
        """
        awaits = CodeAwaitees(self._dispatches, functions)
        functions = [
            self._filled_in(function, awaits) if function.layout_source is Source.CODE else function
            for function in functions
        ]
        coroutines = [function for function in functions if function.kind is FunctionKind.COROUTINE]
        return [
            replace(function, location=self._spawned_place(function, coroutines, inlined))
            if function.kind is FunctionKind.TASK and function.location is None
            else function
            for function in functions
        ]

    def _spawned_place(
        self, task: PollFunction, coroutines: Iterable[PollFunction], inlined: Iterable[Refusal]
    ) -> SourceLocation | None:
        """Where the future is declared that a task runs; None where that is not certain.

        Symbols tell no numbers of blocks, so that several of one function have one name: code tells which one it is.
        """
        future = task.name.removeprefix("task ")
        bodies = self._task_types.bodies(task.address)
        if bodies:
            run = [one for one in coroutines if one.address in bodies and _is_called(one, future)]
        else:
            run = [one for one in coroutines if one.name == future]
        places = {one.location for one in run} | {one.location for one in inlined if one.name == future}
        return places.pop() if len(places) == 1 else None

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


def _is_called(coroutine: PollFunction, future: str) -> bool:
    """Whether it has this display name, as far as all sources of names tell them."""
    names = (coroutine.name, *(coroutine_name(symbol, None) for symbol in coroutine.names))
    return bare_name(future) in map(bare_name, names)
