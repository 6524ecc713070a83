"""A random-access reader of DWARF 4 and 5 (.debug_info), for look-ups that must not walk it.

Layouts: DWARF 4 and 5 standards, sections 7.5 (units, abbreviations, forms) and 7.27 (indices).
rustc emits the 32-bit format, little-endian, 8-byte addresses; other units are passed over.  A unit
that is split off into another file is read as if it were in the program.  The input is not trusted:
damage ends in DwarfError, and each table's size is bounded by its section.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from tracer.rust.forms import (
    DAMAGE,
    FIXED_SIZE,
    LANG_RUST,
    Abbreviation,
    At,
    DwarfError,
    Form,
    Value,
    block,
    read_abbreviations,
    skip_form,
    sleb,
    uleb,
)
from tracer.rust.sections import Sections
from tracer.rust.units import SplitUnit, Unit, read_header, read_units
from tracer.target.elf import ElfImage

_U16, _U32, _U64 = (struct.Struct(form).unpack_from for form in ("<H", "<I", "<Q"))
_STRP, _REF4, _DATA1 = int(Form.STRP), int(Form.REF4), int(Form.DATA1)

_MAX_STRING = 1 << 16


@dataclass(frozen=True, slots=True)
class Die:
    """One debugging information entry.  next: the position after its attributes."""

    offset: int
    unit: Unit
    tag: int
    has_children: bool
    values: dict[int, Value]
    next: int

    def integer(self, attribute: int) -> int | None:
        value = self.values.get(attribute)
        return value if isinstance(value, int) else None

    def string(self, attribute: int) -> str | None:
        value = self.values.get(attribute)
        return value if isinstance(value, str) else None

    @property
    def name(self) -> str:
        return self.string(At.NAME) or ""


_NOTHING = 0
"""No entry has it for its tag."""


class Dwarf:
    """The debug information of one file.  Positions are bytes into .debug_info, with what is split off joined to it.

    parts: what is split off, by the position of its skeleton.  Raises DwarfError.
    """

    def __init__(self, image: ElfImage, parts: Mapping[int, SplitUnit] | None = None) -> None:
        parts = parts or {}
        self._sections = Sections(image, (part.file for part in parts.values()))
        self.info = self.section(".debug_info")
        self._abbreviations: dict[int, dict[int, Abbreviation]] = {}
        self._abbreviations_read = 0
        self._roots: dict[tuple[int, int], Abbreviation] = {}
        self.units = read_units(bytes(image.section(".debug_info") or b"") if parts else self.info)
        if parts:
            self.units = [self._completed(unit, parts.get(unit.offset)) for unit in self.units]
            self.units.sort(key=lambda unit: unit.offset)
        self._starts = [unit.offset for unit in self.units]

    def section(self, name: str) -> bytes:
        """A section's content; empty when the file has none."""
        return self._sections.content(name)

    def _completed(self, skeleton: Unit, part: SplitUnit | None) -> Unit:
        """The unit that a skeleton stands for; the skeleton itself when that is not known, or damaged."""
        if part is None:
            return skeleton
        begin = partial(self._sections.begin, file=part.file)
        at = begin(".debug_info") + part.offset
        if at + 12 > len(self.info):
            return skeleton
        unit = read_header(self.info, at, is_split=True)
        if unit is None or unit.end > len(self.info) or unit.version != skeleton.version:
            return skeleton
        unit.skeleton = skeleton
        unit.info_begin, unit.strings_begin = begin(".debug_info"), begin(".debug_str")
        unit.abbreviation_offset += begin(".debug_abbrev") + part.abbreviations
        # What precedes the entries is the header of a DWARF 5 table.
        is_5 = unit.version == 5
        unit.bases[At.STR_OFFSETS_BASE] = begin(".debug_str_offsets") + part.string_offsets + (8 if is_5 else 0)
        if is_5:
            unit.bases[At.LOCLISTS_BASE] = begin(".debug_loclists") + part.locations + 12
            unit.bases[At.RNGLISTS_BASE] = begin(".debug_rnglists") + part.ranges + 12
        else:
            unit.locations_begin = begin(".debug_loc") + part.locations
        return unit

    def unit_of(self, offset: int) -> Unit:
        """The unit that contains this position.  Raises DwarfError."""
        index = bisect_right(self._starts, offset) - 1
        if index < 0 or not self.units[index].first_die <= offset < self.units[index].end:
            raise DwarfError("a reference leads nowhere")
        return self.units[index]

    def abbreviations(self, unit: Unit) -> dict[int, Abbreviation]:
        """The unit's abbreviation table; kept.  Raises DwarfError."""
        table = self._abbreviations.get(unit.abbreviation_offset)
        if table is None:
            self._abbreviations[unit.abbreviation_offset] = {}
            try:
                table = self._read_table(unit.abbreviation_offset)
            except DAMAGE as error:
                raise DwarfError("an abbreviation table is damaged") from error
            self._abbreviations[unit.abbreviation_offset] = table
        return table

    def _root_abbreviation(self, offset: int, code: int) -> Abbreviation:
        """One line of a table; kept, since the units of one object file share their table."""
        known = self._abbreviations.get(offset, {}).get(code) or self._roots.get((offset, code))
        if known is None:
            known = self._roots[offset, code] = self._read_table(offset, until=code)[code]
        return known

    def _read_table(self, offset: int, until: int | None = None) -> dict[int, Abbreviation]:
        data = self.section(".debug_abbrev")
        table, end = read_abbreviations(data, offset, until)
        # Tables do not overlap; if they did, reading them all could take for ever.
        self._abbreviations_read += end - offset
        if self._abbreviations_read > 4 * len(data):
            raise DwarfError("the abbreviation tables overlap")
        return table

    # ------------------------------------------------------------ entries

    def root(self, unit: Unit) -> dict[int, Value]:
        """The attributes of the unit itself; kept.  Raises DwarfError."""
        if unit.root is None:
            # The bases first: the other attributes may be indices that need them.
            unit.root = {}
            inherited: dict[int, Value] = {}
            if unit.skeleton is not None:
                inherited = self.root(unit.skeleton)
                unit.bases[At.ADDR_BASE] = unit.skeleton.bases.get(At.ADDR_BASE, 0)
            code, start = self.code_at(unit.first_die)
            at = start
            try:
                # Of most units only the root is ever read: of their tables only its line, mostly the first.
                abbreviation = self._root_abbreviation(unit.abbreviation_offset, code)
                for attribute, form, _ in abbreviation.attributes:
                    if form == Form.SEC_OFFSET:
                        base = At.ADDR_BASE if attribute == At.GNU_ADDR_BASE else attribute
                        unit.bases.setdefault(base, _U32(self.info, at)[0])
                    at = skip_form(self.info, at, form)
            except DAMAGE as error:
                raise DwarfError("a unit is damaged") from error
            unit.root = inherited | self._read(unit.first_die, start, unit, abbreviation).values
        return unit.root

    def is_rust(self, unit: Unit) -> bool:
        return self.root(unit).get(At.LANGUAGE) == LANG_RUST

    def is_skeleton(self, unit: Unit) -> bool:
        """Whether the unit is split off and was not found: it has addresses and lines, but no entries."""
        root = self.root(unit)
        return At.LANGUAGE not in root and (At.DWO_NAME in root or At.GNU_DWO_NAME in root)

    def die(self, offset: int, unit: Unit | None = None) -> Die:
        """The entry at a position.  Raises DwarfError, also for the null entry."""
        if unit is None:
            unit = self.unit_of(offset)
        if unit.root is None:
            self.root(unit)
        code, at = self.code_at(offset)
        return self._read(offset, at, unit, self._abbreviation(unit, code))

    def _read(self, offset: int, at: int, unit: Unit, abbreviation: Abbreviation) -> Die:
        values: dict[int, Value] = {}
        info = self.info
        try:
            for attribute, form, constant in abbreviation.attributes:
                # Four in five values have one of these forms; the others go the general way.
                if form == _STRP:
                    values[attribute] = _string(self.section(".debug_str"), _U32(info, at)[0])
                    at += 4
                elif form == _REF4:
                    values[attribute] = _U32(info, at)[0] + unit.offset
                    at += 4
                elif form == _DATA1:
                    values[attribute] = info[at]
                    at += 1
                else:
                    values[attribute], at = self.read_form(at, form, unit, constant)
        except DAMAGE as error:
            raise DwarfError("an entry is damaged") from error
        return Die(offset, unit, abbreviation.tag, abbreviation.has_children, values, at)

    def children(self, die: Die, tags: frozenset[int], limit: int = 4096) -> Iterator[Die]:
        """The direct children with one of these tags; at most `limit` entries are looked at."""
        return (child for _, child in self.inside(die, tags, _NOTHING, limit))

    def inside(self, die: Die, tags: frozenset[int], through: int, limit: int = 1 << 20) -> Iterator[tuple[int, Die]]:
        """(depth, entry) of the children with one of these tags, and of the children of those with the tag `through`,
        and so on, in one pass; at most `limit` entries are looked at."""
        table = self.abbreviations(die.unit)
        at, depth, shut = die.next, 0, 0  # shut: how deep in entries that are not looked through
        for _ in range(limit if die.has_children else 0):
            if at >= die.unit.end:
                return
            code, after = self.code_at(at)
            if code == 0:
                if depth == 0:
                    return
                depth, shut = depth - 1, max(0, shut - 1)
                at = after
                continue
            abbreviation = table.get(code)
            if abbreviation is None:
                raise DwarfError("an entry has an unknown abbreviation")
            if shut == 0 and abbreviation.tag in tags:
                child = self.die(at, die.unit)
                yield depth, child
                at = child.next
            else:
                at = self.skip(after, abbreviation)
            if abbreviation.has_children:
                depth += 1
                shut += shut > 0 or abbreviation.tag != through

    def chain(self, die: Die) -> list[Die]:
        """The entry, and those it completes: its abstract origin and specification, in this order."""
        found = [die]
        for _ in range(4):
            offset = die.integer(At.ABSTRACT_ORIGIN) or die.integer(At.SPECIFICATION)
            if offset is None:
                break
            die = self.die(offset)
            found.append(die)
        return found

    def name_of(self, die: Die) -> str:
        """Its own name, or that of what it completes; "" without.  Raises DwarfError."""
        return next((entry.name for entry in self.chain(die) if entry.name), "")

    def skip(self, at: int, abbreviation: Abbreviation) -> int:
        """The position after the attributes that begin at `at`.  Raises DwarfError."""
        try:
            for fixed, form in abbreviation.steps:
                at = skip_form(self.info, at + fixed, form)
        except DAMAGE as error:
            raise DwarfError("an entry is damaged") from error
        return at + abbreviation.tail

    def code_at(self, at: int) -> tuple[int, int]:
        """(abbreviation code, position after it).  Raises DwarfError."""
        try:
            return uleb(self.info, at)
        except IndexError as error:
            raise DwarfError("a reference leads nowhere") from error

    def _abbreviation(self, unit: Unit, code: int) -> Abbreviation:
        abbreviation = self.abbreviations(unit).get(code)
        if abbreviation is None:
            raise DwarfError("an entry has an unknown abbreviation")
        return abbreviation

    # ------------------------------------------------------------ forms

    def read_form(
        self, at: int, form: int, unit: Unit, constant: int = 0, data: bytes | None = None
    ) -> tuple[Value, int]:
        """(value, position after it).  References become positions, indices what they stand for."""
        data = self.info if data is None else data
        match form:
            case Form.STRP:
                return _string(self.section(".debug_str"), _U32(data, at)[0]), at + 4
            case Form.REF4:
                return _U32(data, at)[0] + unit.offset, at + 4
            case Form.DATA1 | Form.FLAG:
                return data[at], at + 1
            case Form.DATA2:
                return _U16(data, at)[0], at + 2
            case Form.DATA4 | Form.SEC_OFFSET:
                return _U32(data, at)[0], at + 4
            case Form.REF_ADDR:
                return _U32(data, at)[0] + unit.info_begin, at + 4
            case Form.ADDR | Form.DATA8:
                return _U64(data, at)[0], at + 8
            case Form.FLAG_PRESENT:
                return 1, at
            case Form.IMPLICIT_CONST:
                return constant, at
            case Form.UDATA:
                return uleb(data, at)
            case Form.SDATA:
                return sleb(data, at)
            case Form.EXPRLOC | Form.BLOCK | Form.BLOCK1 | Form.BLOCK2 | Form.BLOCK4:
                begin, end = block(data, at, form)
                return data[begin:end], end
            case Form.STRING:
                end = data.index(0, at, at + _MAX_STRING)
                return data[at:end].decode("utf-8", "replace"), end + 1
            case Form.LINE_STRP:
                return _string(self.section(".debug_line_str"), _U32(data, at)[0]), at + 4
            case Form.STRX | Form.GNU_STR_INDEX | Form.STRX1 | Form.STRX2 | Form.STRX3 | Form.STRX4:
                index, at = self._index(data, at, form)
                place = unit.bases.get(At.STR_OFFSETS_BASE, 8) + 4 * index
                offset = _U32(self.section(".debug_str_offsets"), place)[0]
                return _string(self.section(".debug_str"), unit.strings_begin + offset), at
            case Form.ADDRX | Form.GNU_ADDR_INDEX | Form.ADDRX1 | Form.ADDRX2 | Form.ADDRX3 | Form.ADDRX4:
                index, at = self._index(data, at, form)
                return self.address(unit, index), at
            case Form.LOCLISTX | Form.RNGLISTX:
                index, at = uleb(data, at)
                name, base_at = (
                    (".debug_loclists", At.LOCLISTS_BASE)
                    if form == Form.LOCLISTX
                    else (".debug_rnglists", At.RNGLISTS_BASE)
                )
                base = unit.bases.get(base_at, 12)
                return base + _U32(self.section(name), base + 4 * index)[0], at
            case Form.REF1:
                return data[at] + unit.offset, at + 1
            case Form.REF2:
                return _U16(data, at)[0] + unit.offset, at + 2
            case Form.REF8:
                return _U64(data, at)[0] + unit.offset, at + 8
            case Form.REF_UDATA:
                index, at = uleb(data, at)
                return index + unit.offset, at
            case Form.DATA16:
                return data[at : at + 16], at + 16
            case _:
                return 0, at + FIXED_SIZE[form]

    def address(self, unit: Unit, index: int) -> int:
        """Entry `index` of the unit's part of .debug_addr."""
        return int(_U64(self.section(".debug_addr"), unit.bases.get(At.ADDR_BASE, 8) + 8 * index)[0])

    @staticmethod
    def _index(data: bytes, at: int, form: int) -> tuple[int, int]:
        size = FIXED_SIZE.get(form)
        if size is None:
            return uleb(data, at)
        return int.from_bytes(data[at : at + size], "little"), at + size


def _string(data: bytes, offset: int) -> str:
    return data[offset : data.index(0, offset, offset + _MAX_STRING)].decode("utf-8", "replace")


__all__ = ["Die", "Dwarf", "Unit"]
