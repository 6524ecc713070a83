"""Range lists and location lists of DWARF 4 and 5."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from tracer.rust.forms import uleb

_U16, _U32, _U64 = (struct.Struct(form).unpack_from for form in ("<H", "<I", "<Q"))
_MAX_LIST = 1 << 16


def entries5(
    data: bytes, at: int, base: int, address: Callable[[int], int], *, has_block: bool
) -> Iterator[tuple[int, int, bytes]]:
    """(begin, end, location) of each entry of a DWARF 5 list, sections 7.25 and 7.29.

    address: what an index into the unit's addresses stands for.  Location lists have one kind of entry
    more, the default.  Raises what is in DAMAGE.
    """
    kinds = ["end", "base_x", "xx", "x_length", "offsets", "default", "base", "pair", "length"]
    if not has_block:
        kinds.remove("default")
    for _ in range(_MAX_LIST):
        kind = kinds[data[at]]
        at += 1
        begin = end = 0
        match kind:
            case "end":
                return
            case "base_x":
                index, at = uleb(data, at)
                base = address(index)
                continue
            case "base":
                base, at = _U64(data, at)[0], at + 8
                continue
            case "xx":
                first, at = uleb(data, at)
                second, at = uleb(data, at)
                begin, end = address(first), address(second)
            case "x_length":
                first, at = uleb(data, at)
                length, at = uleb(data, at)
                begin = address(first)
                end = begin + length
            case "offsets":
                first, at = uleb(data, at)
                second, at = uleb(data, at)
                begin, end = base + first, base + second
            case "default":
                begin, end = 0, 1 << 64
            case "pair":
                begin, end, at = _U64(data, at)[0], _U64(data, at + 8)[0], at + 16
            case "length":
                begin, at = _U64(data, at)[0], at + 8
                length, at = uleb(data, at)
                end = begin + length
        block = b""
        if has_block:
            size, at = uleb(data, at)
            block, at = data[at : at + size], at + size
        yield begin, end, block


def entries4(data: bytes, at: int, base: int, *, has_block: bool) -> Iterator[tuple[int, int, bytes]]:
    """The same of a DWARF 4 list, sections 2.17.3 (ranges) and 2.6.2 (locations, with a block each)."""
    for _ in range(_MAX_LIST):
        begin, end = _U64(data, at)[0], _U64(data, at + 8)[0]
        at += 16
        if begin == 0 == end:
            return
        if begin == 0xFFFFFFFFFFFFFFFF:
            base = end
            continue
        block = b""
        if has_block:
            size = _U16(data, at)[0]
            block, at = data[at + 2 : at + 2 + size], at + 2 + size
        yield base + begin, base + end, block


def entries_gnu(data: bytes, at: int, base: int, address: Callable[[int], int]) -> Iterator[tuple[int, int, bytes]]:
    """The same of a location list in DWARF 4's .debug_loc.dwo ("DebugFission" of the GCC wiki, DW_LLE_GNU_*)."""
    kinds = ("end", "base_x", "xx", "x_length", "offsets")
    for _ in range(_MAX_LIST):
        kind = kinds[data[at]]
        at += 1
        begin = end = 0
        match kind:
            case "end":
                return
            case "base_x":
                index, at = uleb(data, at)
                base = address(index)
                continue
            case "xx":
                first, at = uleb(data, at)
                second, at = uleb(data, at)
                begin, end = address(first), address(second)
            case "x_length":
                first, at = uleb(data, at)
                begin = address(first)
                end, at = begin + _U32(data, at)[0], at + 4
            case "offsets":
                begin, end, at = base + _U32(data, at)[0], base + _U32(data, at + 4)[0], at + 8
        size = _U16(data, at)[0]
        block, at = data[at + 2 : at + 2 + size], at + 2 + size
        yield begin, end, block
