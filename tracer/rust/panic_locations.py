"""The places in the source that a program keeps for its panic messages, in every build, stripped ones too.

`core::panic::Location`, rustc 1.63 to 1.97: {file: &str as pointer and length, line: u32, column: u32}, 24 bytes in
.data.rel.ro (.rodata where the program is linked to a fixed address).  Newer ones end the file's name with a NUL.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tracer.target.elf import ElfImage

_SECTIONS = (".data.rel.ro", ".rodata")
_MAX_PATH, _MAX_LINE, _MAX_COLUMN = 4096, 1 << 20, 1 << 14


@dataclass(frozen=True, slots=True, order=True)
class Spot:
    """A line and column of some file, both from 1."""

    line: int
    column: int


class PanicLocations:
    """Those of one image.  file names are as the compiler was given them: relative to the workspace, or absolute."""

    def __init__(self, image: ElfImage) -> None:
        self._image = image

    @cached_property
    def by_address(self) -> Mapping[int, tuple[str, Spot]]:
        """(file, spot) by the address at which the program has it."""
        found: dict[int, tuple[str, Spot]] = {}
        names: dict[tuple[int, int], str | None] = {}
        for section in _SECTIONS:
            for address, pointer, length, packed in self._candidates(section):
                if (pointer, length) not in names:
                    names[pointer, length] = self._file(pointer, length)
                name = names[pointer, length]
                if name is not None:
                    found[address] = name, Spot(packed & 0xFFFFFFFF, packed >> 32)
        return found

    @cached_property
    def files(self) -> Mapping[str, frozenset[Spot]]:
        """All spots by file."""
        spots: defaultdict[str, set[Spot]] = defaultdict(set)
        for name, spot in self.by_address.values():
            spots[name].add(spot)
        return {name: frozenset(found) for name, found in spots.items()}

    def _candidates(self, section: str) -> list[tuple[int, int, int, int]]:
        """(address, pointer, length, line and column) of what looks like one."""
        words = self._words(section)
        base = self._image.section_address(section)
        if words is None or base is None or len(words) < 3:
            return []
        pointer, length, packed = words[:-2], words[1:-1], words[2:]
        line, column = packed & np.uint64(0xFFFFFFFF), packed >> np.uint64(32)
        likely = np.zeros(len(pointer), np.bool_)
        for strings, content in self._image.constants():
            likely |= (pointer >= strings) & (pointer < strings + len(content))
        likely &= (length > 3) & (length < _MAX_PATH)
        likely &= (line > 0) & (line < _MAX_LINE) & (column > 0) & (column < _MAX_COLUMN)
        chosen = np.flatnonzero(likely)
        columns = (base + 8 * chosen, pointer[chosen], length[chosen], packed[chosen])
        return list(zip(*(one.tolist() for one in columns), strict=True))

    def _words(self, section: str) -> npt.NDArray[np.uint64] | None:
        """The section's 64-bit words as the loader leaves them, but for the bias that it adds to addresses."""
        content, base = self._image.section(section), self._image.section_address(section)
        if content is None or base is None or base % 8:
            return None
        words = np.frombuffer(content, "<u8", len(content) // 8).copy()
        pointers = self._image.pointers
        index = pointers[:, 0] - base
        inside = (index >= 0) & (index < 8 * len(words)) & (index % 8 == 0)
        words[index[inside] // 8] = pointers[inside, 1].astype(np.uint64)
        return words

    def _file(self, pointer: int, length: int) -> str | None:
        raw = self._image.read(pointer, length)
        if raw is None or not raw.rstrip(b"\0").endswith(b".rs"):
            return None
        try:
            return raw.rstrip(b"\0").decode()
        except UnicodeDecodeError:
            return None
