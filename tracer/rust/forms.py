"""The alphabet of DWARF 4 and 5: tags, attributes, forms, LEB128 numbers, abbreviation tables.

Numbers and layouts: DWARF 5 standard, section 7.5; only what rustc and LLVM emit and is used here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

LANG_RUST = 0x1C


class DwarfError(Exception):
    """This part of the debug information is damaged, or of a kind that is not read here."""


DAMAGE = (IndexError, KeyError, ValueError, TypeError, ArithmeticError, struct.error)
"""What indexing into damaged data raises; readers turn it into DwarfError."""


class Tag(IntEnum):
    ARRAY = 0x01
    ENUMERATION = 0x04
    FORMAL_PARAMETER = 0x05
    LEXICAL_BLOCK = 0x0B
    MEMBER = 0x0D
    POINTER = 0x0F
    COMPILE_UNIT = 0x11
    STRUCTURE = 0x13
    UNION = 0x17
    VARIANT = 0x19
    INLINED_SUBROUTINE = 0x1D
    BASE = 0x24
    SUBPROGRAM = 0x2E
    TEMPLATE_TYPE = 0x2F
    VARIANT_PART = 0x33
    VARIABLE = 0x34
    NAMESPACE = 0x39


class At(IntEnum):
    LOCATION = 0x02
    NAME = 0x03
    BYTE_SIZE = 0x0B
    STMT_LIST = 0x10
    LOW_PC = 0x11
    HIGH_PC = 0x12
    LANGUAGE = 0x13
    DISCR = 0x15
    DISCR_VALUE = 0x16
    COMP_DIR = 0x1B
    INLINE = 0x20
    ABSTRACT_ORIGIN = 0x31
    DATA_MEMBER_LOCATION = 0x38
    DECL_FILE = 0x3A
    DECL_LINE = 0x3B
    DECLARATION = 0x3C
    ENCODING = 0x3E
    SPECIFICATION = 0x47
    TYPE = 0x49
    RANGES = 0x55
    CALL_COLUMN = 0x57
    CALL_FILE = 0x58
    CALL_LINE = 0x59
    LINKAGE_NAME = 0x6E
    STR_OFFSETS_BASE = 0x72
    ADDR_BASE = 0x73
    RNGLISTS_BASE = 0x74
    DWO_NAME = 0x76
    LOCLISTS_BASE = 0x8C
    GNU_DWO_NAME = 0x2130
    GNU_DWO_ID = 0x2131
    GNU_RANGES_BASE = 0x2132
    GNU_ADDR_BASE = 0x2133


class Form(IntEnum):
    ADDR = 0x01
    BLOCK2 = 0x03
    BLOCK4 = 0x04
    DATA2 = 0x05
    DATA4 = 0x06
    DATA8 = 0x07
    STRING = 0x08
    BLOCK = 0x09
    BLOCK1 = 0x0A
    DATA1 = 0x0B
    FLAG = 0x0C
    SDATA = 0x0D
    STRP = 0x0E
    UDATA = 0x0F
    REF_ADDR = 0x10
    REF1 = 0x11
    REF2 = 0x12
    REF4 = 0x13
    REF8 = 0x14
    REF_UDATA = 0x15
    SEC_OFFSET = 0x17
    EXPRLOC = 0x18
    FLAG_PRESENT = 0x19
    STRX = 0x1A
    ADDRX = 0x1B
    REF_SUP4 = 0x1C
    STRP_SUP = 0x1D
    DATA16 = 0x1E
    LINE_STRP = 0x1F
    REF_SIG8 = 0x20
    IMPLICIT_CONST = 0x21
    LOCLISTX = 0x22
    RNGLISTX = 0x23
    REF_SUP8 = 0x24
    STRX1 = 0x25
    STRX2 = 0x26
    STRX3 = 0x27
    STRX4 = 0x28
    ADDRX1 = 0x29
    ADDRX2 = 0x2A
    ADDRX3 = 0x2B
    ADDRX4 = 0x2C
    GNU_ADDR_INDEX = 0x1F01
    GNU_STR_INDEX = 0x1F02


FIXED_SIZE: dict[int, int] = {
    Form.ADDR: 8, Form.DATA1: 1, Form.DATA2: 2, Form.DATA4: 4, Form.DATA8: 8, Form.DATA16: 16, Form.FLAG: 1,
    Form.FLAG_PRESENT: 0, Form.IMPLICIT_CONST: 0, Form.STRP: 4, Form.LINE_STRP: 4, Form.STRP_SUP: 4,
    Form.SEC_OFFSET: 4, Form.REF_ADDR: 4, Form.REF1: 1, Form.REF2: 2, Form.REF4: 4, Form.REF8: 8, Form.REF_SIG8: 8,
    Form.REF_SUP4: 4, Form.REF_SUP8: 8, Form.STRX1: 1, Form.STRX2: 2, Form.STRX3: 3, Form.STRX4: 4,
    Form.ADDRX1: 1, Form.ADDRX2: 2, Form.ADDRX3: 3, Form.ADDRX4: 4,
}  # fmt: skip
"""Bytes of each form that has a fixed size in the 32-bit format."""

INDEXED_NAMES: dict[int, int | None] = {
    Form.STRX: None, Form.GNU_STR_INDEX: None, Form.STRX1: 1, Form.STRX2: 2, Form.STRX3: 3, Form.STRX4: 4,
}  # fmt: skip
"""The forms of strings that are an index into the unit's table, with their bytes; None: LEB128."""

_LEB128 = frozenset(
    {
        Form.SDATA,
        Form.UDATA,
        Form.REF_UDATA,
        Form.STRX,
        Form.ADDRX,
        Form.LOCLISTX,
        Form.RNGLISTX,
        Form.GNU_ADDR_INDEX,
        Form.GNU_STR_INDEX,
    }
)
_U16, _U32 = (struct.Struct(form).unpack_from for form in ("<H", "<I"))
_IMPLICIT_CONST = int(Form.IMPLICIT_CONST)

Value = int | str | bytes


def uleb(data: bytes, at: int) -> tuple[int, int]:
    """Unsigned LEB128: (value, position after it)."""
    byte = data[at]
    if byte < 0x80:
        return byte, at + 1
    value, shift = byte & 0x7F, 7
    while True:
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
        shift += 7
        if shift > 70:
            raise DwarfError("a number is too long")


def sleb(data: bytes, at: int) -> tuple[int, int]:
    """Signed LEB128: (value, position after it)."""
    start = at
    value, at = uleb(data, at)
    bits = 7 * (at - start)
    return (value - (1 << bits) if value >> (bits - 1) & 1 else value), at


def block(data: bytes, at: int, form: int) -> tuple[int, int]:
    """(begin, end) of the content of a block."""
    match form:
        case Form.BLOCK1:
            size, at = data[at], at + 1
        case Form.BLOCK2:
            size, at = _U16(data, at)[0], at + 2
        case Form.BLOCK4:
            size, at = _U32(data, at)[0], at + 4
        case _:
            size, at = uleb(data, at)
    return at, at + size


def skip_form(data: bytes, at: int, form: int) -> int:
    """The position after a value of this form.  Raises DwarfError and what is in DAMAGE."""
    fixed = FIXED_SIZE.get(form)
    if fixed is not None:
        return at + fixed
    if form in _LEB128:
        while data[at] >= 0x80:
            at += 1
        return at + 1
    match form:
        case Form.EXPRLOC | Form.BLOCK | Form.BLOCK1 | Form.BLOCK2 | Form.BLOCK4:
            return block(data, at, form)[1]
        case Form.STRING:
            return data.index(0, at) + 1
        case _:
            raise DwarfError(f"form {form:#x} is unknown")


@dataclass(frozen=True, slots=True)
class Abbreviation:
    """attributes: (attribute, form, implicit constant).  steps and tail: how to skip a DIE: for each
    step jump over a fixed number of bytes and then one value of that form; at last over the tail."""

    tag: int
    has_children: bool
    attributes: tuple[tuple[int, int, int], ...]
    steps: tuple[tuple[int, int], ...]
    tail: int


def read_abbreviations(data: bytes, at: int, until: int | None = None) -> tuple[dict[int, Abbreviation], int]:
    """(the table that begins at `at` of .debug_abbrev, by code; its end).  Raises what is in DAMAGE.

    until: stop after this code.
    """
    table: dict[int, Abbreviation] = {}
    size_of = FIXED_SIZE.get
    while True:
        code, at = uleb(data, at)
        if code == 0:
            return table, at
        tag, at = uleb(data, at)
        has_children = data[at] != 0
        at += 1
        attributes: list[tuple[int, int, int]] = []
        steps: list[tuple[int, int]] = []
        run = 0
        while True:
            # Nearly all are one byte each; uleb() for the others.
            attribute, form, constant = data[at], data[at + 1], 0
            if attribute < 0x80 and form < 0x80:
                at += 2
            else:
                attribute, at = uleb(data, at)
                form, at = uleb(data, at)
            if form == _IMPLICIT_CONST:
                constant, at = sleb(data, at)
            if attribute == 0 == form:
                break
            attributes.append((attribute, form, constant))
            size = size_of(form)
            if size is None:
                steps.append((run, form))
                run = 0
            else:
                run += size
        table[code] = Abbreviation(tag, has_children, tuple(attributes), tuple(steps), run)
        if code == until:
            return table, at
