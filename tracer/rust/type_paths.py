"""The paths of types: an entry has only its own name, and nothing leads from it to the modules around.

rustc names a pointer type after the path of what it points to, and whoever polls a future has a
pointer to it: so the pointers to the wanted types are searched for, by their reference to them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress

import numpy as np

from tracer.rust.dwarf import Die, Dwarf, Unit
from tracer.rust.forms import At, DwarfError, Form, Tag
from tracer.rust.lookup import code_starts
from tracer.rust.words import word_positions

_POINTERS = ("&mut ", "*mut ", "&", "*const ")
_SEARCH_BUDGET = 64 << 20
"""Bytes of units that are searched at most for one binary: about 0.3 s."""
_WALK_BUDGET = 6 << 20
"""Bytes of units that are walked through at most: about 0.3 s."""
_SCOPE_BUDGET = 50_000
"""Entries that are looked at at most, beside the wanted types."""


class TypePaths:
    """Of one binary.  Damaged parts yield nothing."""

    def __init__(self, dwarf: Dwarf) -> None:
        self._dwarf = dwarf
        self._left = _SEARCH_BUDGET
        self._scope_left = _SCOPE_BUDGET
        self._walk_left = _WALK_BUDGET

    def of(self, types: Collection[int]) -> dict[int, str]:
        """The paths of the types at these positions; of those that have no pointer, not even an entry."""
        by_unit: dict[int, tuple[Unit, set[int]]] = {}
        for position in types:
            unit = self._dwarf.unit_of(position)
            by_unit.setdefault(unit.offset, (unit, set()))[1].add(position)
        found: dict[int, str] = {}
        for unit, wanted in by_unit.values():
            self._left -= unit.end - unit.offset
            if self._left < 0:
                break
            try:
                for pointer in self._pointers(unit, wanted):
                    path = _pointed(pointer.name)
                    target = pointer.integer(At.TYPE)
                    if path is not None and target in wanted:
                        found.setdefault(target, path)
            except DwarfError:
                continue
        return found

    def by_scopes(self, types: Collection[int]) -> dict[int, str]:
        """The paths of types that nothing points to, by the modules around them: their units are walked through."""
        by_unit: dict[int, tuple[Unit, set[int]]] = {}
        for position in types:
            unit = self._dwarf.unit_of(position)
            by_unit.setdefault(unit.offset, (unit, set()))[1].add(position)
        found: dict[int, str] = {}
        for unit, wanted in sorted(by_unit.values(), key=lambda one: max(one[1]) - one[0].first_die):
            self._walk_left -= max(wanted) - unit.first_die
            if self._walk_left < 0:
                break
            with suppress(DwarfError):
                found |= self._scopes(unit, wanted)
        return found

    def _scopes(self, unit: Unit, wanted: set[int]) -> dict[int, str]:
        table, last = self._dwarf.abbreviations(unit), max(wanted)
        found: dict[int, str] = {}
        scopes: list[str | None] = []
        at = unit.first_die
        while at <= last:
            code, after = self._dwarf.code_at(at)
            if code == 0:
                if scopes:
                    scopes.pop()
                at = after
                continue
            abbreviation = table.get(code)
            if abbreviation is None:
                raise DwarfError("an entry has an unknown abbreviation")
            if at in wanted:
                around = [scope for scope in scopes if scope]
                found[at] = "::".join([*around, self._dwarf.die(at, unit).name])
            is_module = abbreviation.tag == Tag.NAMESPACE
            name = self._dwarf.die(at, unit).name if is_module and abbreviation.has_children else None
            at = self._dwarf.skip(after, abbreviation)
            if abbreviation.has_children:
                scopes.append(name)
        return found

    def _pointers(self, unit: Unit, wanted: Collection[int]) -> Iterator[Die]:
        """The pointer types that begin: code, type; as LLVM writes them."""
        codes = {
            code
            for code, abbreviation in self._dwarf.abbreviations(unit).items()
            if abbreviation.tag == Tag.POINTER
            and abbreviation.attributes
            and abbreviation.attributes[0][:2] == (At.TYPE, Form.REF4)
        }
        words = np.array([position - unit.offset for position in wanted], np.uint32)
        for place in word_positions(self._dwarf.info, unit, words):
            for start in code_starts(self._dwarf.info, place, codes, unit.first_die):
                try:
                    yield self._dwarf.die(start, unit)
                except DwarfError:
                    continue  # chance: these bytes are something else

    def functions_beside(self, type_: int, levels: int) -> Iterator[tuple[int, Die]]:
        """(levels up, declaration) of the functions with a mangled name that follow the type in the scope
        it is in, then in the scope around that one, and so on for so many scopes."""
        unit = self._dwarf.unit_of(type_)
        table = self._dwarf.abbreviations(unit)
        at, depth, up = type_, 0, 0
        while at < unit.end and self._scope_left > 0:
            self._scope_left -= 1
            code, after = self._dwarf.code_at(at)
            if code == 0:
                at = after
                if depth == 0:
                    up += 1
                    if up == levels:
                        return
                else:
                    depth -= 1
                continue
            abbreviation = table.get(code)
            if abbreviation is None:
                raise DwarfError("an entry has an unknown abbreviation")
            if depth == 0 and abbreviation.tag == Tag.SUBPROGRAM:
                die = self._dwarf.die(at, unit)
                if die.string(At.LINKAGE_NAME) is not None:
                    yield up, die
            at = self._dwarf.skip(after, abbreviation)
            depth += abbreviation.has_children


def _pointed(name: str) -> str | None:
    """`a::B` of `&mut a::B`; None when the pointer's name is of another kind."""
    prefix = next((prefix for prefix in _POINTERS if name.startswith(prefix)), None)
    return name[len(prefix) :] if prefix is not None else None
