"""The units of .debug_info: their headers, and what belongs to one whose content is split off.

Layouts: DWARF 5, section 7.5.1; DWARF 4 with the GNU extension for split debug information ("DebugFission" of the
GCC wiki), as LLVM 14 to 22 writes it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from tracer.rust.forms import DAMAGE, At, DwarfError, Form, Value, read_abbreviations, skip_form, uleb
from tracer.target.elf import ElfImage

_U16, _U32, _U64 = (struct.Struct(form).unpack_from for form in ("<H", "<I", "<Q"))
_SPLIT_COMPILE = 5
_HEADER_SIZES = {1: 12, 4: 20, _SPLIT_COMPILE: 20}
"""DW_UT_compile, DW_UT_skeleton and DW_UT_split_compile; the latter two have the id that connects them as well."""
_MAX_UNITS = 1 << 18


@dataclass(slots=True)
class Unit:
    """One compilation unit of .debug_info.  offset, end, first_die: bytes into the section.

    skeleton: of a unit that is split off, what the program itself has of it: its ranges, addresses and lines.
    info_begin, strings_begin, locations_begin: where the sections that its positions refer to begin, in bytes
    into the joined ones.
    """

    offset: int
    end: int
    version: int
    first_die: int
    abbreviation_offset: int
    id: int | None = None
    root: dict[int, Value] | None = None
    bases: dict[int, int] = field(default_factory=dict)
    skeleton: Unit | None = None
    info_begin: int = 0
    strings_begin: int = 0
    locations_begin: int = 0


@dataclass(frozen=True, slots=True)
class SplitUnit:
    """A unit of a file with split debug information.

    offset: in the file's .debug_info.dwo.  The others: where its share of the file's other sections begins, in bytes.
    """

    file: ElfImage
    id: int
    offset: int
    abbreviations: int = 0
    string_offsets: int = 0
    locations: int = 0
    ranges: int = 0


def read_units(data: bytes, at: int = 0, *, is_split: bool = False) -> list[Unit]:
    """The units of the kinds that are read here, from `at` to the end.  Raises DwarfError."""
    units: list[Unit] = []
    count = 0
    while at + 12 <= len(data):
        length = _U32(data, at)[0]
        if length == 0xFFFFFFFF:  # the 64-bit format
            at += 12 + _U64(data, at + 4)[0]
            continue
        end = at + 4 + length
        if length < 8 or end > len(data):
            raise DwarfError("a unit's length is wrong")
        count += 1
        if count > _MAX_UNITS:
            raise DwarfError("there are too many units")
        unit = read_header(data, at, is_split=is_split)
        if unit is not None:
            units.append(unit)
        at = end
    return units


def read_header(data: bytes, at: int, *, is_split: bool = False) -> Unit | None:
    """The unit whose header, of at least 12 bytes, begins at `at`; None when it is not of a kind that is read here."""
    end = at + 4 + _U32(data, at)[0]
    version = _U16(data, at + 4)[0]
    if version == 4 and data[at + 10] == 8:
        return Unit(at, end, version, at + 11, _U32(data, at + 6)[0])
    kind = data[at + 6]
    if version != 5 or data[at + 7] != 8 or kind not in _HEADER_SIZES or is_split != (kind == _SPLIT_COMPILE):
        return None
    size = _HEADER_SIZES[kind]
    if at + size > len(data):
        return None
    return Unit(at, end, version, at + size, _U32(data, at + 8)[0], _U64(data, at + 12)[0] if size == 20 else None)


def split_units(file: ElfImage) -> list[SplitUnit]:
    """The units of a .dwo file (or of an object file that has its sections), which has one or more.

    Raises DwarfError when it is damaged, NotTraceable when it is cut off.
    """
    info = bytes(file.section(".debug_info.dwo") or b"")
    abbreviations = bytes(file.section(".debug_abbrev.dwo") or b"")
    found = []
    for unit in read_units(info, is_split=True):
        id_ = unit.id if unit.version == 5 else _id_of(info, unit, abbreviations)
        if id_ is not None:
            found.append(SplitUnit(file, id_, unit.offset))
    return found


def _id_of(info: bytes, unit: Unit, abbreviations: bytes) -> int | None:
    """DWARF 4 has the id among the attributes of the unit's entry."""
    try:
        code, at = uleb(info, unit.first_die)
        root = read_abbreviations(abbreviations, unit.abbreviation_offset, until=code)[0][code]
        for attribute, form, _ in root.attributes:
            if attribute == At.GNU_DWO_ID and form == Form.DATA8:
                return int(_U64(info, at)[0])
            at = skip_form(info, at, form)
    except DAMAGE as error:
        raise DwarfError("a unit is damaged") from error
    return None
