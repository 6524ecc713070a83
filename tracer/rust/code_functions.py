"""Which function of a binary has the code at an address, by its symbols."""

from __future__ import annotations

import numpy as np

from tracer.target.elf import FUNCTION, IFUNC, ElfImage


class FunctionTable:
    """Of the functions that have a symbol with a size."""

    def __init__(self, image: ElfImage) -> None:
        self._symbols = image.symbols()
        table = self._symbols.table
        kind = table["info"] & 15
        table = table[((kind == FUNCTION) | (kind == IFUNC)) & (table["size"] > 0)]
        self._table = table[np.argsort(table["address"], kind="stable")]

    def at(self, address: int) -> tuple[int, int] | None:
        """(address, size) of the function that has the code there."""
        at = int(np.searchsorted(self._table["address"], address, side="right")) - 1
        if at < 0:
            return None
        begin, size = int(self._table["address"][at]), int(self._table["size"][at])
        return (begin, size) if begin <= address < begin + size else None

    def names(self, begin: int) -> list[str]:
        """The symbols of the function that begins there."""
        low, high = np.searchsorted(self._table["address"], [begin, begin + 1])
        return [self._symbols.name_at(int(name)) for name in self._table["name"][low:high]]
