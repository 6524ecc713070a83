"""Which functions the compiler inlined around an address (DWARF 4 and 5, section 3.3.8)."""

from __future__ import annotations

from collections.abc import Iterator

from tracer.rust.dwarf import Die, Dwarf
from tracer.rust.extents import ranges_of
from tracer.rust.forms import Tag

_INSIDE = frozenset({Tag.INLINED_SUBROUTINE, Tag.LEXICAL_BLOCK})
_MAX_DEPTH, _MAX_ENTRIES = 64, 1 << 16


def inlined_around(dwarf: Dwarf, function: Die, address: int) -> Iterator[Die]:
    """The entries of the functions inlined around an address of a function, the outermost first.  Raises DwarfError."""
    die = function
    for _ in range(_MAX_DEPTH):
        inside = next((one for one in dwarf.children(die, _INSIDE, _MAX_ENTRIES) if _has(dwarf, one, address)), None)
        if inside is None:
            return
        die = inside
        if die.tag == Tag.INLINED_SUBROUTINE:
            yield die


def inlined_in(dwarf: Dwarf, function: Die) -> Iterator[Die]:
    """The entries of all functions inlined into a function, as far as those are not too many.  Raises DwarfError."""
    left = [function]
    for _ in range(_MAX_ENTRIES >> 4):
        if not left:
            return
        for inside in dwarf.children(left.pop(), _INSIDE, _MAX_ENTRIES):
            left.append(inside)
            if inside.tag == Tag.INLINED_SUBROUTINE:
                yield inside


def _has(dwarf: Dwarf, die: Die, address: int) -> bool:
    return any(begin <= address < end for begin, end in ranges_of(dwarf, die))
