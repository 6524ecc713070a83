"""Where coroutines wait and for what, out of the layouts that DWARF has of them.

rustc 1.63 to 1.97: the variant of each suspend state is declared at its await (or at the begin of the
statement), and its type has a member `__awaitee`.  An await that a macro wrote is declared in the macro.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tracer.model import FIRST_SUSPEND, UNRESUMED, AwaitPoint, SourceLocation, is_foreign
from tracer.rust.demangle import demangle
from tracer.rust.dwarf import Dwarf
from tracer.rust.forms import At, DwarfError
from tracer.rust.implementations import Implementations
from tracer.rust.lines import LineTables
from tracer.rust.naming import display_name, is_closure, split_path
from tracer.rust.type_paths import TypePaths
from tracer.rust.types import Member, Types

AWAITEE = "__awaitee"
_BOXED = re.compile(r"^Pin<Box<\(?(dyn [^()]+?)(?: \+ core::marker::\w+)*\)?>>$")
_OWN_NAME = re.compile(r"^\w+(?:<|$)")
_NAME_OF_BODY = re.compile(r"^\{async_")


@dataclass(frozen=True, slots=True)
class Described:
    """By position of the type's entry.  points: of each coroutine, ascending by state.  paths: as DWARF names
    the types, with what their `{impl#3}` stand for.  begins: where the bodies of coroutines begin."""

    points: dict[int, tuple[AwaitPoint, ...]]
    paths: dict[int, str]
    begins: dict[int, SourceLocation]


@dataclass(frozen=True, slots=True)
class _Suspension:
    """One suspend state.  awaitee: position of its type."""

    state: int
    location: SourceLocation | None
    macro: SourceLocation | None
    awaitee: int | None


class Awaits:
    """Reads the coroutines of one binary.

    implementations: what is known of its `{impl#3}` by now.  own_folders: as is_foreign() has them.
    """

    def __init__(
        self,
        dwarf: Dwarf,
        types: Types,
        lines: LineTables,
        implementations: Implementations,
        own_folders: Collection[str],
    ) -> None:
        self._own_folders = own_folders
        self._dwarf = dwarf
        self._types = types
        self._lines = lines
        self._implementations = implementations
        self._paths = TypePaths(dwarf)

    def describe(self, coroutines: Iterable[int], others: Iterable[int], told: Mapping[int, str]) -> Described:
        """coroutines, others: positions of types; of the others only the paths are asked for.  told: paths that
        are known already."""
        read = {position: self._suspensions(position) for position in coroutines}
        awaited = {one.awaitee for states in read.values() for one in states if one.awaitee is not None}
        paths = self._read_paths({*awaited, *read, *others}, told)
        names = {position: awaited_name(paths[position]) for position in awaited if position in paths}
        points = {
            position: tuple(
                AwaitPoint(one.state, one.location, names.get(one.awaitee or 0), one.macro) for one in suspensions
            )
            for position, suspensions in read.items()
        }
        begins = {position: place for position in read if (place := self._begin(position)) is not None}
        return Described(points, paths, begins)

    # ------------------------------------------------------------ layouts

    def _suspensions(self, coroutine: int) -> list[_Suspension]:
        try:
            part = self._types.at(coroutine).variant_part
            variants = part.variants if part is not None else ()
            own = self._begin(coroutine)
            return sorted(
                (
                    self._suspension(coroutine, value, member, own)
                    for value, member in variants
                    if value is not None and value >= FIRST_SUSPEND
                ),
                key=lambda one: one.state,
            )
        except DwarfError:
            return []

    def _begin(self, coroutine: int) -> SourceLocation | None:
        """Where its first state is declared."""
        try:
            part = self._types.at(coroutine).variant_part
            variants = part.variants if part is not None else ()
            return self._place(coroutine, next((member for value, member in variants if value == UNRESUMED), None))
        except DwarfError:
            return None

    def _suspension(self, coroutine: int, state: int, member: Member, own: SourceLocation | None) -> _Suspension:
        place = self._place(coroutine, member)
        awaitee = self._awaitee(member.type) if member.type is not None else None
        if place is None or own is None or not is_in_macro(place, own, self._own_folders):
            return _Suspension(state, place, None, awaitee)
        return _Suspension(state, None, place, awaitee)

    def _place(self, coroutine: int, member: Member | None) -> SourceLocation | None:
        if member is None or member.declared is None:
            return None
        file, line = member.declared
        path = self._lines.file(self._dwarf.unit_of(coroutine), file)
        return SourceLocation(path, line) if path is not None else None

    def _awaitee(self, suspended: int) -> int | None:
        return next((member.type for member in self._types.at(suspended).members if member.name == AWAITEE), None)

    # ------------------------------------------------------------ names

    def _read_paths(self, types: set[int], told: Mapping[int, str]) -> dict[int, str]:
        """By position of the type; of a coroutine without a path none, its own name says nothing."""
        paths: dict[int, str] = {position: path for position, path in told.items() if position in types}
        for position in types - paths.keys():
            try:
                name = self._types.name_at(position)
            except DwarfError:
                continue
            if name:
                paths[position] = name
        paths |= self._paths.of(paths.keys() - told.keys())
        paths |= {position: self._beside(position, name) for position, name in paths.items() if name.startswith("{")}
        for is_unknown in (_is_unnamed, _is_alone):  # what has no name at all first: there is not time for everything
            paths |= self._paths.by_scopes([position for position, path in paths.items() if is_unknown(path)])
        paths = {position: path for position, path in paths.items() if not path.startswith("{")}
        for position, path in paths.items():
            if self._implementations.unknown(path):
                self._learn(position, path)
        return {position: self._implementations.resolved(path) for position, path in paths.items()}

    def _beside(self, coroutine: int, name: str) -> str:
        """The path of a coroutine that nobody points to: its body's function stands in the same scope."""
        try:
            for up, die in self._paths.functions_beside(coroutine, 1):
                symbol = demangle(die.string(At.LINKAGE_NAME) or "")
                if up == 0 and is_closure(symbol) and _NAME_OF_BODY.match(die.name):
                    return "::".join([*split_path(symbol)[:-1], name])
        except DwarfError:
            pass
        return name

    def _learn(self, type_: int, path: str) -> None:
        """Functions beside the type, in the same `impl`, have symbols that name what it is of."""
        *scope, _ = split_path(path)
        inside = next((depth for depth, one in enumerate(reversed(scope)) if one.startswith("{impl#")), None)
        if inside is None:
            return
        try:
            for up, die in self._paths.functions_beside(type_, inside + 1):
                symbol = demangle(die.string(At.LINKAGE_NAME) or "")
                self._implementations.learn("::".join([*scope[: len(scope) - up], die.name]), symbol)
                if not self._implementations.unknown(path):
                    return
        except DwarfError:
            return


def _is_unnamed(path: str) -> bool:
    return path.startswith("{")


def _is_alone(path: str) -> bool:
    return _OWN_NAME.match(path) is not None


def is_in_macro(place: SourceLocation, own: SourceLocation, own_folders: Collection[str]) -> bool:
    """Whether an await is written elsewhere than in the body of its function, which begins at `own`."""
    if place.file == own.file:
        return place.line < own.line
    # A body that a macro of some crate made, with the user's code in it, is no such case.
    return not is_foreign(own.file, own_folders) or is_foreign(place.file, own_folders)


def common(points: Mapping[int, tuple[AwaitPoint, ...]], coroutines: Sequence[int]) -> tuple[AwaitPoint, ...]:
    """What is true of all of the coroutines, positions of their types: the compiler merged their functions."""
    first, *others = (points.get(position, ()) for position in coroutines)
    return tuple(one for one in first if all(one in other for other in others))


def awaited_name(path: str) -> str:
    """A type's display name; a pinned box with a trait object is known by its trait."""
    name = display_name(path)
    match = _BOXED.match(name)
    return match[1] if match else name
