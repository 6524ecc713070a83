"""The types that tokio allocates for its tasks, which tell where in a task its future is.

`raw::poll<T, S>` gets a pointer to a `Cell<T, S>` (tokio 1.25 to 1.54, runtime/task/core.rs) as one to a
Header, so that nothing leads from the function to that type: it is searched for by its name, or where entries have
indices of names (DWARF 5, split units) by the bytes of its code and index.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

import numpy as np

from tracer.rust.dwarf import Dwarf, Unit
from tracer.rust.forms import INDEXED_NAMES, At, DwarfError, Form, Tag
from tracer.rust.lookup import code_starts, uleb_bytes
from tracer.rust.string_tails import tails
from tracer.rust.words import word_positions

_CELL = re.compile(rb"Cell<")
_SEARCH_BUDGET = 64 << 20
"""Bytes of units that are searched at most for one binary: about 0.3 s."""

_PARTS = frozenset({int(Tag.MEMBER), int(Tag.VARIANT_PART)})
"""A coroutine that has nothing but its states has no members of its own."""


def cell_name(poll: str) -> str | None:
    """`Cell<T, S>` of `poll<T, S>`, as DWARF names that function; None when it has no arguments."""
    return f"Cell{poll.removeprefix('poll')}" if poll.startswith("poll<") else None


def find_cells(dwarf: Dwarf, units: Collection[Unit], wanted: Mapping[int, str]) -> dict[int, int]:
    """wanted: by any key a type's name.  units: where to look.  Yields the positions of the types' entries, in the
    order of `wanted`.

    Not every unit that names a type describes it.
    """
    keys: dict[str, list[int]] = defaultdict(list)
    for key, name in wanted.items():
        keys[name].append(key)
    lengths = {len(name.encode()) for name in keys}
    # Split units have a string each, all others share one.
    names = {place: name for place, name in tails(dwarf.section(".debug_str"), _CELL, lengths) if name in keys}
    found: dict[int, int] = {}
    for position, name in find_structures(dwarf, units, names):
        found |= dict.fromkeys(keys.pop(name, ()), position)
        if not keys:
            break
    return {key: found[key] for key in wanted if key in found}


def find_structures(dwarf: Dwarf, units: Collection[Unit], names: Mapping[int, str]) -> Iterator[tuple[int, str]]:
    """(position, name) of the structures of some names, unit by unit.  names: by place in .debug_str."""
    left = _SEARCH_BUDGET
    for unit in units:
        left -= unit.end - unit.offset
        if left < 0 or not names:
            break
        try:
            codes = _codes(dwarf, unit)
            yield from (*_direct(dwarf, unit, names, codes), *_indexed(dwarf, unit, names, codes))
        except DwarfError:
            continue


def _codes(dwarf: Dwarf, unit: Unit) -> dict[int, int]:
    """The abbreviations of structures that begin with their name, as LLVM writes them, and that are no mere
    declarations: by code the form of the name.

    Where a function of a type's `impl` was inlined, its unit declares the type with that function inside.
    """
    return {
        code: abbreviation.attributes[0][1]
        for code, abbreviation in dwarf.abbreviations(unit).items()
        if abbreviation.tag == Tag.STRUCTURE
        and abbreviation.has_children
        and abbreviation.attributes
        and abbreviation.attributes[0][0] == At.NAME
        and all(attribute[0] != At.DECLARATION for attribute in abbreviation.attributes)
    }


def _direct(dwarf: Dwarf, unit: Unit, names: Mapping[int, str], codes: Mapping[int, int]) -> Iterator[tuple[int, str]]:
    """(position, name) of the structures whose entry says where its name is.

    names: by place in .debug_str.  codes: as _codes has them.
    """
    direct = {code for code, form in codes.items() if form == Form.STRP}
    if not direct:
        return
    for position in word_positions(dwarf.info, unit, np.array(list(names), np.uint32)):
        name = names[int.from_bytes(dwarf.info[position : position + 4], "little")]
        for start in code_starts(dwarf.info, position, direct, unit.first_die):
            if _is_named(dwarf, unit, start, name):
                yield start, name


def _indexed(dwarf: Dwarf, unit: Unit, names: Mapping[int, str], codes: Mapping[int, int]) -> Iterator[tuple[int, str]]:
    """The same of those whose entry has the index of its name in the unit's table."""
    indexed = {code: form for code, form in codes.items() if form in INDEXED_NAMES}
    if not indexed:
        return
    dwarf.root(unit)  # it tells where the table begins
    table, begin = dwarf.section(".debug_str_offsets"), unit.bases.get(At.STR_OFFSETS_BASE, 8)
    # Each string of the table is named by an entry, so that a unit has fewer of them than bytes.
    count = min(len(table) - begin, unit.end - unit.offset) // 4
    if count <= 0:
        return
    places = np.frombuffer(table, "<u4", count, begin).astype(np.int64) + unit.strings_begin
    for index in np.flatnonzero(np.isin(places, list(names))).tolist():
        name = names[int(places[index])]
        for code, form in indexed.items():
            width = INDEXED_NAMES[form]
            if width is not None and index >> 8 * width:
                continue
            pattern = uleb_bytes(code) + (uleb_bytes(index) if width is None else index.to_bytes(width, "little"))
            at = dwarf.info.find(pattern, unit.first_die, unit.end)
            while at >= 0:
                if _is_named(dwarf, unit, at, name):
                    yield at, name
                at = dwarf.info.find(pattern, at + 1, unit.end)


def _is_named(dwarf: Dwarf, unit: Unit, position: int, name: str) -> bool:
    """Whether a structure of that name with parts inside it is there: few bytes can look like its begin by chance."""
    try:
        die = dwarf.die(position, unit)
        size = die.integer(At.BYTE_SIZE) or 0
        parts = list(dwarf.children(die, _PARTS))
        places = [part.integer(At.DATA_MEMBER_LOCATION) for part in parts if part.tag == Tag.MEMBER]
        return die.name == name and bool(parts) and all(place is not None and place <= size for place in places)
    except DwarfError:
        return False
