"""What DWARF says about one candidate: is it a poll function, of what, where are its arguments."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tracer.model import FunctionKind, Register, ResultEncoding, SourceLocation, TaskIdPath
from tracer.rust.abi import Abi, register_of
from tracer.rust.candidates import Candidate, Role
from tracer.rust.dwarf import Die, Dwarf
from tracer.rust.extents import location_at
from tracer.rust.forms import At, DwarfError, Tag
from tracer.rust.generators import CONTEXT, CONTEXTS, RESULTS, is_wrapper, unwrapped
from tracer.rust.lines import LineTables
from tracer.rust.naming import generic_arguments
from tracer.rust.task_ids import tokio_id_path
from tracer.rust.types import Type, Types, is_coroutine, pinned_path, state_offset

_COROUTINE = re.compile(r"^\{(?:async_fn|async_block|async_closure|async_closure_body|coroutine)#\d+\}")
_ALWAYS_PENDING = ResultEncoding(mask=0, pending=0)
_FORMAL = frozenset({int(Tag.FORMAL_PARAMETER)})
_TEMPLATE = frozenset({int(Tag.TEMPLATE_TYPE)})


@dataclass(frozen=True, slots=True)
class Verdict:
    """type_path: of the future (of a task: of its future) as DWARF names it.  has_types: whether the
    function's types were there to judge by (a task poll's are not needed).  own_name: what DWARF calls
    the function itself, where it has no types.  is_likely: the registers and the result follow from
    the types' shapes only; what the code shows has precedence.  future: position of its type's entry.
    lacks_self: the entry has all but the coroutine itself (rustc 1.75 and 1.85)."""

    kind: FunctionKind
    type_path: str | None
    location: SourceLocation | None
    has_types: bool
    self_register: Register | None = None
    context_register: Register | None = None
    state_offset: int | None = None
    result: ResultEncoding | None = None
    runtime: str | None = None
    is_likely: bool = False
    own_name: str | None = None
    future: int | None = None
    task_id: TaskIdPath | None = None
    lacks_self: bool = False


@dataclass(frozen=True, slots=True)
class _Parameter:
    die: Die
    type: int
    has_place: bool


class Judge:
    def __init__(self, dwarf: Dwarf, types: Types, lines: LineTables) -> None:
        self._dwarf = dwarf
        self._lines = lines
        self._types = types
        self._abi = Abi(types)

    def verdict(self, candidate: Candidate, die: Die) -> Verdict | None:
        """None when the function is no poll function.  Raises DwarfError."""
        chain = self._dwarf.chain(die)
        name = next((entry.name for entry in chain if entry.name), "")
        if Role.TOKIO in candidate.roles and (name == "poll" or name.startswith("poll<")):
            return self._task(candidate, chain, name, "tokio")
        if Role.ASYNC_TASK in candidate.roles and (name == "run" or name.startswith("run<")):
            return self._task(candidate, chain, name, "async-task")
        named_coroutine = _COROUTINE.match(name) is not None
        is_poll = Role.FUTURE in candidate.roles and (name == "poll" or name.startswith("poll<"))
        if not named_coroutine and not is_poll:
            return None
        kind = FunctionKind.COROUTINE if named_coroutine else FunctionKind.FUTURE
        location = self.location(chain, candidate.address)
        result_at = next((value for entry in chain if (value := entry.integer(At.TYPE)) is not None), None)
        parameters = self._parameters(chain)
        if not parameters:
            return Verdict(kind, None, location, has_types=False, own_name=name)
        if result_at is not None and not self._types.name_at(result_at).startswith(RESULTS):
            return None
        pinned = self._types.at(parameters[0].type)
        path = pinned_path(pinned.name)
        if path is None:
            if named_coroutine and pinned.name in CONTEXTS:  # it is the second, the first is not told
                lacks_self = pinned.name == CONTEXT
                return Verdict(kind, None, location, has_types=False, own_name=name, lacks_self=lacks_self)
            return None
        # No result type: it is zero-sized, which a Poll<T> only is when T cannot exist.
        result = self._types.at(result_at) if result_at is not None else None
        told = self._told(candidate.address, parameters)
        self_register, context_register = self._registers(told, result)
        future = self._types.pinned(pinned)
        if future is not None and is_wrapper(future.name):
            path, future = unwrapped(path), self._types.unwrapped(future)
            location = self.begin_of(future.offset) or location
        return Verdict(
            FunctionKind.COROUTINE if future is not None and is_coroutine(future) else kind,
            path,
            location,
            has_types=True,
            self_register=self_register,
            context_register=context_register,
            state_offset=state_offset(future) if future is not None else None,
            result=self._abi.result_encoding(result) if result is not None else _ALWAYS_PENDING,
            is_likely=told[0] is None and not self._abi.is_certain(result),
            future=future.offset if future is not None else None,
        )

    def location(self, chain: list[Die], address: int) -> SourceLocation | None:
        """Where the function is declared, else where its first instruction comes from."""
        for entry in chain:
            file, line = entry.integer(At.DECL_FILE), entry.integer(At.DECL_LINE)
            if file is not None and line:
                path = self._lines.file(entry.unit, file)
                if path is not None:
                    return SourceLocation(path, line)
        return self._lines.location(chain[0].unit, address)

    def _parameters(self, chain: list[Die]) -> list[_Parameter]:
        """The first two, of the concrete entry or, where that has none, of the one it completes."""
        for entry in chain:
            found: list[_Parameter] = []
            for die in self._dwarf.children(entry, _FORMAL):
                type_at = die.integer(At.TYPE)
                origin = die.integer(At.ABSTRACT_ORIGIN)
                if type_at is None and origin is not None:
                    type_at = self._dwarf.die(origin).integer(At.TYPE)
                if type_at is not None:
                    found.append(_Parameter(die, type_at, entry is chain[0]))
                if len(found) == 2:
                    break
            if found:
                return found
        return []

    def _told(self, address: int, parameters: list[_Parameter]) -> tuple[Register | None, Register | None]:
        """The registers of self and context as the location lists have them at the entry."""
        told = [
            register_of(location_at(self._dwarf, parameter.die, address)) if parameter.has_place else None
            for parameter in parameters
        ]
        return told[0], told[1] if len(told) > 1 else None

    def _registers(
        self, told: tuple[Register | None, Register | None], result: Type | None
    ) -> tuple[Register | None, Register | None]:
        """Where self and the context are at the entry: as the location lists say, else by the rule."""
        by_rule = self._abi.arguments(result)
        if told[0] is None and told[1] not in (None, by_rule[1]):
            # The optimiser took an argument away: the rule does not hold for what is left.
            return None, told[1]
        return told[0] or by_rule[0], told[1] or by_rule[1]

    def _task(self, candidate: Candidate, chain: list[Die], name: str, runtime: str) -> Verdict:
        arguments = generic_arguments(name)
        return Verdict(
            FunctionKind.TASK,
            arguments[0] if arguments else None,
            self._declared(chain) or self.location(chain, candidate.address),
            has_types=False,
            self_register=Register.RDI,
            runtime=runtime,
            own_name=name,
            task_id=self._task_id(chain) if runtime == "tokio" else None,
            future=self._first_argument(chain),
        )

    def _task_id(self, chain: list[Die]) -> TaskIdPath | None:
        """Where the task's header leads to its id, by the header's type; None where that is not told."""
        parameters = self._parameters(chain)
        try:
            return tokio_id_path(self._types, self._types.at(parameters[0].type)) if parameters else None
        except DwarfError:
            return None

    def _declared(self, chain: list[Die]) -> SourceLocation | None:
        """Where the coroutine that a task runs begins: its layout's first state is declared there."""
        future = self._first_argument(chain)
        return self.begin_of(future) if future is not None else None

    def _first_argument(self, chain: list[Die]) -> int | None:
        """The position of the first type that the function is generic over."""
        for entry in chain:
            for parameter in self._dwarf.children(entry, _TEMPLATE):
                if (type_at := parameter.integer(At.TYPE)) is not None:
                    return type_at
        return None

    def begin_of(self, coroutine: int) -> SourceLocation | None:
        """Where the body of a coroutine type begins; None of another type."""
        place = self._types.unresumed_at(coroutine)
        if place is None:
            return None
        path = self._lines.file(place.unit, place.integer(At.DECL_FILE) or 0)
        line = place.integer(At.DECL_LINE)
        return SourceLocation(path, line) if path is not None and line else None


def try_verdicts(judge: Judge, candidate: Candidate, dies: list[Die]) -> list[Verdict]:
    """The verdicts on all entries at one address; a damaged entry has none."""
    verdicts = []
    for die in dies:
        try:
            verdict = judge.verdict(candidate, die)
        except DwarfError:
            continue
        if verdict is not None:
            verdicts.append(verdict)
    return verdicts
