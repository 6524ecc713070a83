"""The index of a .dwp file: which share of its sections belongs to which unit.

Layout: DWARF 5, section 7.3.5, and its predecessor for DWARF 4 ("DebugFissionDWP" of the GCC wiki), which differs
in the version's size and in what the columns are called.
"""

from __future__ import annotations

import struct

import numpy as np

from tracer.rust.forms import DwarfError
from tracer.rust.units import SplitUnit
from tracer.target.elf import ElfImage

_INFO, _ABBREVIATIONS, _LOCATIONS, _STRING_OFFSETS = 1, 3, 5, 6
_RANGES = 8  # in DWARF 5: before, it had another meaning
_HEADER_SIZE = 16


def package_units(file: ElfImage) -> list[SplitUnit]:
    """All units of a package.  Raises DwarfError when its index is damaged, NotTraceable when the file is cut off."""
    index = bytes(file.section(".debug_cu_index") or b"")
    if len(index) < _HEADER_SIZE:
        raise DwarfError("it has no index")
    version, columns, rows, slots = struct.unpack_from("<IIII", index)
    version &= 0xFFFF  # in DWARF 5 a half with padding
    if version not in (2, 5):
        raise DwarfError(f"its index has version {version}, which is unknown")
    begin_of_rows = _HEADER_SIZE + 8 * slots
    begin_of_columns = begin_of_rows + 4 * slots
    begin_of_offsets = begin_of_columns + 4 * columns
    if begin_of_offsets + 4 * columns * rows > len(index):
        raise DwarfError("its index is longer than its section")
    ids = np.frombuffer(index, "<u8", slots, _HEADER_SIZE)
    row_of = np.frombuffer(index, "<u4", slots, begin_of_rows)
    kinds = np.frombuffer(index, "<u4", columns, begin_of_columns).tolist()
    offsets = np.frombuffer(index, "<u4", columns * rows, begin_of_offsets).reshape(rows, columns)
    if _INFO not in kinds or _ABBREVIATIONS not in kinds or int(row_of.max(initial=0)) > rows:
        raise DwarfError("its index is damaged")
    units = []
    for id_, row in zip(ids.tolist(), row_of.tolist(), strict=True):
        if row == 0:
            continue
        share = dict(zip(kinds, offsets[row - 1].tolist(), strict=True))
        units.append(
            SplitUnit(
                file,
                id_,
                share[_INFO],
                share[_ABBREVIATIONS],
                share.get(_STRING_OFFSETS, 0),
                share.get(_LOCATIONS, 0),
                share.get(_RANGES, 0) if version == 5 else 0,
            )
        )
    return units
