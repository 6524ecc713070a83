"""Coroutines that have no function of their own because the compiler inlined all their polls.

Their abstract entries (DW_AT_inline) are found by the place of their name in .debug_str, which the
linker keeps once for all; a walk over .debug_info would cost more than everything else.  Where names
are indices (DWARF 5, split units) there is nothing to search for: a limited part is walked.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import suppress

import numpy as np

from tracer.model import IN_PART, INLINED, Refusal, SourceLocation, is_foreign
from tracer.rust.code_functions import FunctionTable
from tracer.rust.demangle import demangle
from tracer.rust.dwarf import Die, Dwarf, Unit
from tracer.rust.extents import ranges_of
from tracer.rust.forms import FIXED_SIZE, INDEXED_NAMES, Abbreviation, At, DwarfError, Form, Tag
from tracer.rust.lines import LineTables
from tracer.rust.lookup import code_starts
from tracer.rust.naming import coroutine_name
from tracer.rust.words import word_positions

_NAME = re.compile(rb"\{async_(?:fn|block|closure)#\d+\}(?:<[^\0]*)?(?=\0)")
_BUDGET = 64 << 20
"""Bytes of units that are searched at most: about 0.3 s."""
_WALK_BUDGET = 8 << 20
"""... and walked at most: about 0.4 s."""


class InlinedCoroutines:
    """Finds the user's own in one binary: not those of dependencies, and not all where that would take long.

    symbols: the demangled names by position of the entries that were looked at, of those with a function, too.
    own_folders: as is_foreign() has them.
    """

    def __init__(self, dwarf: Dwarf, lines: LineTables, own_folders: Collection[str]) -> None:
        self._dwarf = dwarf
        self._own_folders = own_folders
        self._lines = lines
        self._places: dict[int, dict[int, set[int]]] = {}
        self._walk_left = _WALK_BUDGET
        self._gave_up = False
        self.symbols: dict[int, str] = {}

    def refusals(self, known: Collection[str], functions: FunctionTable) -> list[Refusal]:
        """known: the demangled names of the functions that do exist.  functions: what code there is."""
        found: dict[str, Refusal] = {}
        entries: list[tuple[Die, str]] = []
        for die in self._entries():
            linkage = die.string(At.LINKAGE_NAME)
            if linkage is not None:
                symbol = self.symbols[die.offset] = demangle(linkage)
                entries.append((die, symbol))
        inlined = self._inlined([die for die, _ in entries], functions)
        for die, symbol in sorted(entries, key=lambda entry: entry[1] in known):
            if die.offset in inlined or (self._gave_up and symbol not in known):
                self._refuse(found, die, symbol, IN_PART if symbol in known else INLINED)
        return sorted(found.values(), key=lambda refusal: refusal.name)

    def _refuse(self, found: dict[str, Refusal], die: Die, symbol: str, reason: str) -> None:
        location = self._location(die)
        if location is not None:
            name = coroutine_name(symbol, None, die.name)
            found.setdefault(f"{name} {location}", Refusal(name, reason, None, location))

    def _inlined(self, dies: list[Die], functions: FunctionTable) -> set[int]:
        """Those of these entries, by position, that have inlined copies in code that exists: of functions that the
        linker threw away the entries stay, with addresses of nothing.  Not all where it gave up."""
        of_unit: dict[int, list[int]] = defaultdict(list)
        of_file: dict[int, list[int]] = defaultdict(list)
        for die in dies:
            of_unit[die.unit.offset].append(die.offset)
            of_file[die.unit.info_begin].append(die.offset)
        found: set[int] = set()
        left = 2 * _BUDGET
        for unit in self._dwarf.units if dies else ():
            if not self._is_own(unit):
                continue
            # Link-time optimisation inlines what has its entry in another unit.
            for form, begin, wanted in (
                (Form.REF4, unit.offset, of_unit[unit.offset]),
                (Form.REF_ADDR, unit.info_begin, of_file[unit.info_begin]),
            ):
                places = [position - begin for position in wanted if position not in found]
                codes = self._codes_of_copies(unit, form) if places else set()
                if not codes:
                    continue
                left -= unit.end - unit.offset
                if left < 0:
                    self._gave_up = True
                    return found
                found |= self._copied(unit, codes, places, functions)
        return found

    def _codes_of_copies(self, unit: Unit, form: Form) -> set[int]:
        try:
            abbreviations = self._dwarf.abbreviations(unit)
        except DwarfError:
            return set()
        return {
            code
            for code, one in abbreviations.items()
            if one.tag == Tag.INLINED_SUBROUTINE
            and one.attributes
            and one.attributes[0][:2] == (At.ABSTRACT_ORIGIN, form)
        }

    def _copied(self, unit: Unit, codes: set[int], places: list[int], functions: FunctionTable) -> set[int]:
        """What the unit's copies with these codes, which begin with one of these references, are copies of."""
        found: set[int] = set()
        for position in word_positions(self._dwarf.info, unit, np.array(places, np.uint32)):
            for start in code_starts(self._dwarf.info, position, codes, unit.first_die):
                with suppress(DwarfError):
                    copy = self._dwarf.die(start, unit)
                    origin = copy.integer(At.ABSTRACT_ORIGIN) or 0
                    if origin not in found and any(functions.at(begin) for begin, _ in ranges_of(self._dwarf, copy)):
                        found.add(origin)
        return found

    def _location(self, die: Die) -> SourceLocation | None:
        file, line = die.integer(At.DECL_FILE), die.integer(At.DECL_LINE)
        path = self._lines.file(die.unit, file) if file is not None else None
        return SourceLocation(path, line) if path is not None and line else None

    def _entries(self) -> Iterator[Die]:
        """The abstract subprograms `{async_…}` in the user's own units."""
        strings, left = self._dwarf.section(".debug_str"), _BUDGET
        names = np.array([match.start() for match in _NAME.finditer(strings)], np.uint32)
        if not len(names):
            return
        for unit in self._dwarf.units:
            if not self._is_own(unit):
                continue
            if not self._name_places(unit):
                yield from self._walk(unit)
                continue
            left -= unit.end - unit.offset
            if left < 0:
                return
            for position in word_positions(self._dwarf.info, unit, names):
                yield from self._at(position)

    def _is_own(self, unit: Unit) -> bool:
        try:
            directory = self._dwarf.root(unit).get(At.COMP_DIR)
            if not isinstance(directory, str) or not self._dwarf.is_rust(unit):
                return False
            return directory in self._own_folders or not is_foreign(directory)
        except DwarfError:
            return False

    def _at(self, position: int) -> Iterator[Die]:
        try:
            unit = self._dwarf.unit_of(position)
            for before, codes in self._name_places(unit).items():
                for start in code_starts(self._dwarf.info, position - before, codes, unit.first_die):
                    die = self._dwarf.die(start, unit)
                    if At.INLINE in die.values and die.name.startswith("{async_"):
                        yield die
        except DwarfError:
            return

    def _walk(self, unit: Unit) -> Iterator[Die]:
        try:
            table = self._dwarf.abbreviations(unit)
            wanted = {code for code, abbreviation in table.items() if _is_indexed_abstract(abbreviation)}
            if not wanted or self._walk_left < unit.end - unit.offset:
                return
            self._walk_left -= unit.end - unit.offset
            at = unit.first_die
            while at < unit.end:
                start = at
                code, at = self._dwarf.code_at(at)
                if code in wanted:
                    die = self._dwarf.die(start, unit)
                    at = die.next
                    if die.name.startswith("{async_"):
                        yield die
                elif code:
                    at = self._dwarf.skip(at, table[code])
        except (DwarfError, KeyError):
            return

    def _name_places(self, unit: Unit) -> dict[int, set[int]]:
        """{bytes between the code and the name: the codes of abstract subprograms that have it there}; empty
        in most units of a debug build, which are then passed over."""
        known = self._places.get(unit.abbreviation_offset)
        if known is None:
            places: dict[int, set[int]] = defaultdict(set)
            try:
                abbreviations = self._dwarf.abbreviations(unit)
            except DwarfError:
                abbreviations = {}
            for code, abbreviation in abbreviations.items():
                before = 0
                if abbreviation.tag != Tag.SUBPROGRAM or all(a != At.INLINE for a, _, _ in abbreviation.attributes):
                    continue
                for attribute, form, _ in abbreviation.attributes:
                    if attribute == At.NAME and form == Form.STRP:
                        places[before].add(code)
                    size = FIXED_SIZE.get(form)
                    if attribute == At.NAME or size is None:
                        break
                    before += size
            known = self._places[unit.abbreviation_offset] = dict(places)
        return known


def _is_indexed_abstract(abbreviation: Abbreviation) -> bool:
    """Whether it is that of abstract subprograms whose name is an index."""
    forms = {attribute: form for attribute, form, _ in abbreviation.attributes}
    return abbreviation.tag == Tag.SUBPROGRAM and At.INLINE in forms and forms.get(At.NAME) in INDEXED_NAMES
