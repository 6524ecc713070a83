"""The symbol table of an ELF file, by numpy: it has 10^5 to 10^6 entries."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

SYMBOL = np.dtype(
    [
        ("name", "<u4"),
        ("info", "u1"),
        ("other", "u1"),
        ("section", "<u2"),
        ("address", "<u8"),
        ("size", "<u8"),
    ]
)
"""Elf64_Sym of the System V gABI; `name` is an offset into the string table, type = info & 15."""

FUNCTION, OBJECT, IFUNC = 2, 1, 10
"""STT_FUNC, STT_OBJECT, STT_GNU_IFUNC: values of `info & 15`."""

_MAX_NAME = 64 << 10
"""Bytes of a symbol's name that are read; longer ones are cut off."""


@dataclass(frozen=True)
class SymbolTable:
    """The defined symbols, of dtype SYMBOL, in the file's order, with their names."""

    table: npt.NDArray[np.void]
    strings: bytes

    def __len__(self) -> int:
        return len(self.table)

    def name_at(self, offset: int) -> str:
        """The name at an offset into the string table; "" when it is outside."""
        return self.raw_name_at(offset).decode("utf-8", "replace")

    def raw_name_at(self, offset: int) -> bytes:
        end = self.strings.find(b"\0", offset, offset + _MAX_NAME)
        return self.strings[offset : end if end >= 0 else offset + _MAX_NAME]

    def name(self, index: int) -> str:
        return self.name_at(int(self.table["name"][index]))

    @cached_property
    def _by_name(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.uint32]]:
        order = np.argsort(self.table["name"], kind="stable")
        return order, self.table["name"][order]

    def matching(self, pattern: re.Pattern[bytes]) -> npt.NDArray[np.intp]:
        """Indices of the symbols in whose name the pattern is found, in the table's order.

        The string table is searched as a whole, which is far faster than name by name; the
        pattern must therefore not match NUL.
        """
        order, names = self._by_name
        begins: list[int] = []
        starts: list[int] = []
        position, strings = 0, self.strings
        while (match := pattern.search(strings, position)) is not None:
            begins.append(strings.rfind(b"\0", 0, match.start()) + 1)
            starts.append(match.start())
            end = strings.find(b"\0", match.end())
            if end < 0:
                break
            position = end + 1
        # Linkers let a name be the tail of a longer one: each start up to the match counts.
        low = np.searchsorted(names, np.array(begins, names.dtype))
        counts = np.searchsorted(names, np.array(starts, names.dtype), "right") - low
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.sort(order[np.repeat(low, counts) + within])
