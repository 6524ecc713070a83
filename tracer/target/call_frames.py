"""Call frame information: how the code at an address finds the frame of its caller.

.eh_frame and its table .eh_frame_hdr (Linux Standard Base 5.0, "Exception Frames"; instructions: DWARF 5, section
6.4.2).  Entries are found by the table's binary search, one at a time: a program of 133 MB has 200,000 of them.  The
input is not trusted: whatever it says, look-ups end, in bounded time and memory, and do not raise.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum

from tracer.target.cursor import Cursor

_MASK = (1 << 64) - 1
_MOST_BYTES = 1 << 14
"""Of one entry: the longest of a large program's have a few hundred."""
_MOST_REMEMBERED = 64
_MOST_KEPT = 1 << 16
RETURN_ADDRESS, STACK_POINTER, REGISTERS = 16, 7, 17
"""DWARF's numbers of x86-64's, and how many there are."""

_PC_RELATIVE, _INDIRECT, _OMITTED = 0x10, 0x80, 0xFF
_FORMATS = {0x00: "<Q", 0x02: "<H", 0x03: "<I", 0x04: "<Q", 0x0A: "<h", 0x0B: "<i", 0x0C: "<q"}
_SORTED_TABLE = 0x3B  # DW_EH_PE_datarel | DW_EH_PE_sdata4
_UDATA4 = 0x03

ReadProgram = Callable[[int, int], bytes]
"""Up to so many bytes at a link-time address, as the file has them; fewer where they end."""


class Rule(Enum):
    """Where the caller's value of a register is."""

    UNDEFINED = "undefined"
    OFFSET = "offset"  # at the frame's address + value
    IS_OFFSET = "is offset"  # it is that
    REGISTER = "register"  # in another one
    EXPRESSION = "expression"  # at the address that is its value
    IS_EXPRESSION = "is expression"  # it is that


@dataclass(frozen=True, slots=True)
class FrameRow:
    """What holds at one address.

    cfa: the frame's address (the stack pointer in the caller): (register, offset), or an expression.  rules: of the
    registers that the callee has changed: (kind, operand); the others have the caller's values still.
    is_signal: what is below was interrupted, at any instruction.
    """

    cfa: tuple[int, int] | bytes
    rules: tuple[tuple[int, Rule, int | bytes], ...]
    is_signal: bool = False


@dataclass(frozen=True, slots=True)
class _Common:
    """A CIE."""

    code_align: int
    data_align: int
    pointers: int  # how the FDEs' are encoded
    has_augmentation: bool
    is_signal: bool
    instructions: bytes


class CallFrames:
    """Of one module.

    header: link-time address of its .eh_frame_hdr.  Where that has no table that can be searched, no address has a row.
    """

    def __init__(self, read: ReadProgram, header: int) -> None:
        self._read = read
        self._header = header
        self._common: dict[int, _Common | None] = {}
        self._rows: dict[int, FrameRow | None] = {}
        self._count, self._table = self._find_table()

    def _find_table(self) -> tuple[int, int]:
        """(number of entries, address of the first), of pairs of signed distances from the header."""
        try:
            cursor = Cursor(self._read(self._header, 12))
            version, pointer, count, table = (cursor.number("<B") for _ in range(4))
            if version != 1 or table != _SORTED_TABLE or count != _UDATA4 or pointer & 0x0F not in (0x03, 0x0B):
                return 0, 0
            cursor.number("<I")
            return cursor.number("<I"), self._header + cursor.at
        except (IndexError, struct.error):
            return 0, 0

    def row(self, address: int) -> FrameRow | None:
        """What holds at a link-time address of an instruction; None: no entry has it, or it is damaged.  Kept."""
        if address not in self._rows:
            if len(self._rows) >= _MOST_KEPT:
                self._rows.clear()
            try:
                self._rows[address] = self._find(address)
            except (IndexError, struct.error, KeyError):
                self._rows[address] = None
        return self._rows[address]

    def begin(self, address: int) -> int | None:
        """The link-time address at which the function begins that has an instruction; None: no entry has it."""
        if self.row(address) is None:
            return None
        with suppress(IndexError, struct.error):
            return self._header + self.pair(self._index(address))[0]
        return None

    def _index(self, address: int) -> int:
        """Of the entry in the table that can have it; -1: none can."""
        return bisect_right(_Begins(self), address - self._header) - 1

    def _find(self, address: int) -> FrameRow | None:
        index = self._index(address)
        if index < 0:
            return None
        return self._row_of(self._header + self.pair(index)[1], address)

    def pair(self, index: int) -> tuple[int, int]:
        """Of the table: where code begins, and its entry, both as distances from the header."""
        begin, entry = struct.unpack("<ii", self._read(self._table + 8 * index, 8))
        return begin, entry

    @property
    def entries(self) -> int:
        """How many the table says it has."""
        return self._count

    def _entry(self, at: int) -> tuple[Cursor, int] | None:
        """The content of an entry, from its second word on, and the address of that word."""
        head = Cursor(self._read(at, 4))
        length = head.number("<I")
        return (Cursor(self._read(at + 4, length)), at + 4) if 4 < length <= _MOST_BYTES else None

    def _row_of(self, at: int, address: int) -> FrameRow | None:
        found = self._entry(at)
        if found is None:
            return None
        cursor, place = found
        distance = cursor.number("<I")
        common = self._common_at(place - distance) if distance else None
        if common is None:
            return None
        begin = _pointer(cursor, common.pointers, place)
        size = cursor.number(_FORMATS[common.pointers & 0x0F])
        if not begin <= address < begin + (size & _MASK):
            return None
        if common.has_augmentation:
            cursor.block(cursor.uleb())
        program = _Program(common, begin)
        program.run(common.instructions, address)
        program.keep_initial()
        program.run(cursor.rest(), address)
        return program.row()

    def _common_at(self, at: int) -> _Common | None:
        if at not in self._common:
            if len(self._common) >= _MOST_KEPT:
                self._common.clear()
            found = self._entry(at)
            self._common[at] = None if found is None else _read_common(*found)
        return self._common[at]


class _Begins(Sequence[int]):
    """Where the code of each entry begins: read only where the search looks."""

    def __init__(self, frames: CallFrames) -> None:
        self._frames = frames

    def __len__(self) -> int:
        return self._frames.entries

    def __getitem__(self, index: int) -> int:  # type: ignore[override]
        return self._frames.pair(index)[0]


def _pointer(cursor: Cursor, encoding: int, place: int) -> int:
    """An encoded pointer; place: the address of the cursor's first byte."""
    at = place + cursor.at
    value = cursor.number(_FORMATS[encoding & 0x0F])
    if encoding & 0x70 == _PC_RELATIVE:
        value += at
    return value & _MASK


def _read_common(cursor: Cursor, place: int) -> _Common | None:
    """Of a CIE.  Raises IndexError, KeyError or struct.error where it is damaged."""
    identifier, version = cursor.number("<I"), cursor.number("<B")
    augmentation = cursor.text()
    if identifier != 0 or version not in (1, 3, 4) or augmentation[:2] == b"eh":
        return None
    if version == 4:
        cursor.block(2)
    code_align, data_align = cursor.uleb(), cursor.sleb()
    if (cursor.number("<B") if version == 1 else cursor.uleb()) != RETURN_ADDRESS:
        return None
    pointers, is_signal = 0, b"S" in augmentation
    if augmentation[:1] == b"z":
        cursor.uleb()
        end_of_known = False
        for letter in augmentation[1:].decode("latin-1"):
            if letter == "R":
                pointers = cursor.number("<B")
            elif letter == "L":
                cursor.number("<B")
            elif letter == "P":
                encoding = cursor.number("<B")
                if encoding != _OMITTED:
                    _pointer(cursor, encoding, place)
            elif letter not in "SB":
                end_of_known = True
        if end_of_known:
            return None
    elif augmentation:
        return None
    if pointers & 0x70 not in (0, _PC_RELATIVE) or pointers & _INDIRECT or pointers & 0x0F not in _FORMATS:
        return None
    return _Common(code_align, data_align, pointers, augmentation[:1] == b"z", is_signal, cursor.rest())


@dataclass(frozen=True, slots=True)
class _State:
    cfa: tuple[int, int] | bytes | None
    rules: dict[int, tuple[Rule, int | bytes]]


class _Program:
    """The instructions of one entry, run up to an address."""

    def __init__(self, common: _Common, begin: int) -> None:
        self._common = common
        self._location = begin
        self._state = _State(None, {})
        self._initial: dict[int, tuple[Rule, int | bytes]] = {}
        self._remembered: list[_State] = []

    def keep_initial(self) -> None:
        self._initial = dict(self._state.rules)

    def row(self) -> FrameRow | None:
        cfa = self._state.cfa
        if cfa is None:
            return None
        rules = tuple((register, *rule) for register, rule in sorted(self._state.rules.items()))
        return FrameRow(cfa, rules, self._common.is_signal)

    def run(self, instructions: bytes, address: int) -> None:
        """Raises IndexError or struct.error where they are damaged."""
        cursor = Cursor(instructions)
        while not cursor.is_at_end:
            operation = cursor.number("<B")
            high, low = operation & 0xC0, operation & 0x3F
            if high == 0x40 or operation in _ADVANCES or operation == 0x01:
                if operation == 0x01:
                    self._location = cursor.number("<Q")
                else:
                    delta = low if high == 0x40 else cursor.number(_ADVANCES[operation])
                    self._location += delta * self._common.code_align
                if self._location > address:
                    return
            elif high == 0x80:
                self._set(low, Rule.OFFSET, cursor.uleb() * self._common.data_align)
            elif high == 0xC0:
                self._restore(low)
            else:
                self._step(operation, cursor)

    def _step(self, operation: int, cursor: Cursor) -> None:
        align = self._common.data_align
        match operation:
            case 0x00:  # nop
                pass
            case 0x05:  # offset_extended
                self._set(cursor.uleb(), Rule.OFFSET, cursor.uleb() * align)
            case 0x06:  # restore_extended
                self._restore(cursor.uleb())
            case 0x07:  # undefined
                self._set(cursor.uleb(), Rule.UNDEFINED, 0)
            case 0x08:  # same_value
                self._state.rules.pop(cursor.uleb(), None)
            case 0x09:  # register
                self._set(cursor.uleb(), Rule.REGISTER, cursor.uleb())
            case 0x0A:  # remember_state
                if len(self._remembered) >= _MOST_REMEMBERED:
                    raise IndexError("too much is remembered")
                self._remembered.append(replace(self._state, rules=dict(self._state.rules)))
            case 0x0B:  # restore_state
                self._state = self._remembered.pop()
            case 0x0C | 0x12:  # def_cfa, def_cfa_sf
                register = cursor.uleb()
                self._define(register, cursor.uleb() if operation == 0x0C else cursor.sleb() * align)
            case 0x0D:  # def_cfa_register
                self._define(cursor.uleb(), self._cfa()[1])
            case 0x0E | 0x13:  # def_cfa_offset, def_cfa_offset_sf
                self._define(self._cfa()[0], cursor.uleb() if operation == 0x0E else cursor.sleb() * align)
            case 0x0F:  # def_cfa_expression
                self._state = replace(self._state, cfa=cursor.block(cursor.uleb()))
            case 0x10 | 0x16:  # expression, val_expression
                register = cursor.uleb()
                kind = Rule.EXPRESSION if operation == 0x10 else Rule.IS_EXPRESSION
                self._set(register, kind, cursor.block(cursor.uleb()))
            case 0x11:  # offset_extended_sf
                self._set(cursor.uleb(), Rule.OFFSET, cursor.sleb() * align)
            case 0x14 | 0x15:  # val_offset, val_offset_sf
                register = cursor.uleb()
                self._set(register, Rule.IS_OFFSET, (cursor.uleb() if operation == 0x14 else cursor.sleb()) * align)
            case 0x2E:  # GNU_args_size
                cursor.uleb()
            case 0x2F:  # GNU_negative_offset_extended
                self._set(cursor.uleb(), Rule.OFFSET, -cursor.uleb() * align)
            case _:
                raise IndexError("an unknown instruction")

    def _set(self, register: int, kind: Rule, operand: int | bytes) -> None:
        if register < REGISTERS:  # others, such as those for vectors, are not followed
            self._state.rules[register] = kind, operand

    def _restore(self, register: int) -> None:
        if register in self._initial:
            self._state.rules[register] = self._initial[register]
        else:
            self._state.rules.pop(register, None)

    def _define(self, register: int, offset: int) -> None:
        if register >= REGISTERS:
            raise IndexError("the frame is found by a register that is not followed")
        self._state = replace(self._state, cfa=(register, offset))

    def _cfa(self) -> tuple[int, int]:
        if not isinstance(self._state.cfa, tuple):
            raise IndexError("the frame has no register yet")
        return self._state.cfa


_ADVANCES = {0x02: "<B", 0x03: "<H", 0x04: "<I"}
