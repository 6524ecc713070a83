"""The types that tokio allocates for its tasks, which tell where in a task its future is.

`raw::poll<T, S>` gets a pointer to a `Cell<T, S>` (tokio 1.25 to 1.54, runtime/task/core.rs) as one to a
Header, so that nothing leads from the function to that type: it is searched for by its name.  Not found in
DWARF 5, whose entries have indices of names.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping

import numpy as np

from tracer.rust.dwarf import Dwarf, Unit
from tracer.rust.forms import At, DwarfError, Form, Tag
from tracer.rust.lookup import code_starts
from tracer.rust.words import word_positions

_CELL = re.compile(rb"\0(Cell<[^\0]{1,8000}>)(?=\0)")
_SEARCH_BUDGET = 64 << 20
"""Bytes of units that are searched at most for one binary: about 0.3 s."""


def cell_name(poll: str) -> str | None:
    """`Cell<T, S>` of `poll<T, S>`, as DWARF names that function; None when it has no arguments."""
    return f"Cell{poll.removeprefix('poll')}" if poll.startswith("poll<") else None


def find_cells(dwarf: Dwarf, units: Collection[Unit], wanted: Mapping[int, str]) -> dict[int, int]:
    """wanted: by any key a type's name.  units: where to look.  Yields the positions of the types' entries.

    Not every unit that names a type describes it.
    """
    strings = {match[1]: match.start(1) for match in _CELL.finditer(dwarf.section(".debug_str"))}
    places: dict[int, list[int]] = defaultdict(list)
    for key, name in wanted.items():
        place = strings.get(name.encode())
        if place is not None:
            places[place].append(key)
    found: dict[int, int] = {}
    left = _SEARCH_BUDGET
    for unit in units:
        left -= unit.end - unit.offset
        if left < 0 or not places:
            break
        try:
            for position, place in _structures(dwarf, unit, list(places)):
                found |= dict.fromkeys(places.pop(place, ()), position)
        except DwarfError:
            continue
    return found


def _structures(dwarf: Dwarf, unit: Unit, places: list[int]) -> list[tuple[int, int]]:
    """(position, place of its name) of the structures with one of these names that begin with their name, as LLVM
    writes them, and that are no mere declarations."""
    codes = {
        code
        for code, abbreviation in dwarf.abbreviations(unit).items()
        if abbreviation.tag == Tag.STRUCTURE
        and abbreviation.has_children
        and abbreviation.attributes
        and abbreviation.attributes[0][:2] == (At.NAME, Form.STRP)
    }
    found = []
    for position in word_positions(dwarf.info, unit, np.array(places, np.uint32)):
        place = int.from_bytes(dwarf.info[position : position + 4], "little")
        found += [(start, place) for start in code_starts(dwarf.info, position, codes, unit.first_die)]
    return found
