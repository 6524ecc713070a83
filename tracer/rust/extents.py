"""What code an entry covers, and where a parameter of it is at an address: DWARF 4 and 5 (sections 2.17 and 2.6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from tracer.rust.dwarf import Die, Dwarf
from tracer.rust.forms import DAMAGE, At, DwarfError, Value
from tracer.rust.lists import entries4, entries5, entries_gnu
from tracer.rust.units import Unit

_ADDRESS_SPACE = 1 << 64


def ranges_of_unit(dwarf: Dwarf, unit: Unit) -> Iterator[tuple[int, int]]:
    """The address ranges that the unit says it covers.  Raises DwarfError."""
    unit = unit.skeleton or unit
    return _ranges(dwarf, unit, dwarf.root(unit))


def ranges_of(dwarf: Dwarf, die: Die) -> Iterator[tuple[int, int]]:
    """The address ranges of an entry.  Raises DwarfError."""
    return _ranges(dwarf, die.unit, die.values)


def _ranges(dwarf: Dwarf, unit: Unit, values: Mapping[int, Value]) -> Iterator[tuple[int, int]]:
    root = dwarf.root(unit)
    low, high, offset = values.get(At.LOW_PC), values.get(At.HIGH_PC), values.get(At.RANGES)
    base = root.get(At.LOW_PC)
    base = base if isinstance(base, int) else 0
    try:
        if isinstance(offset, int):
            if unit.version < 5:
                begin_of_all = root.get(At.GNU_RANGES_BASE) if unit.skeleton is not None else 0
                place = offset + (begin_of_all if isinstance(begin_of_all, int) else 0)
                entries = entries4(dwarf.section(".debug_ranges"), place, base, has_block=False)
            else:
                entries = entries5(
                    dwarf.section(".debug_rnglists"), offset, base, partial(dwarf.address, unit), has_block=False
                )
            yield from ((begin, end) for begin, end, _ in entries if 0 < begin < end < _ADDRESS_SPACE)
        elif isinstance(low, int) and low and isinstance(high, int) and low + high < _ADDRESS_SPACE:
            yield low, low + high
    except DAMAGE as error:
        raise DwarfError("a range list is damaged") from error


def location_at(dwarf: Dwarf, die: Die, address: int) -> bytes | None:
    """The location expression of a parameter that holds at `address`; None when it has none there."""
    value = die.values.get(At.LOCATION)
    if value is None or isinstance(value, (bytes, str)):
        return value if isinstance(value, bytes) else None
    unit = die.unit
    low = dwarf.root(unit).get(At.LOW_PC)
    base = low if isinstance(low, int) else 0
    try:
        if unit.version < 5 and unit.skeleton is not None:
            entries = entries_gnu(
                dwarf.section(".debug_loc"), unit.locations_begin + value, base, partial(dwarf.address, unit)
            )
        elif unit.version < 5:
            entries = entries4(dwarf.section(".debug_loc"), value, base, has_block=True)
        else:
            entries = entries5(
                dwarf.section(".debug_loclists"), value, base, partial(dwarf.address, unit), has_block=True
            )
        for begin, end, block in entries:
            # An empty range at the very entry is how LLVM says "at entry, until the first instruction".
            if begin <= address < end or begin == address == end:
                return block
    except DAMAGE as error:
        raise DwarfError("a location list is damaged") from error
    return None
