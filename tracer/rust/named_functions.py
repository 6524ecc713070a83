"""Functions by what is in their names: that is how a runtime's own are known, with debug information or without."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tracer.rust.demangle import demangle
from tracer.target.elf import FUNCTION, ElfImage


class NamedFunction(NamedTuple):
    """name: demangled; one address can have several."""

    address: int
    size: int
    name: str


def functions_named(named: ElfImage, patterns: Sequence[re.Pattern[bytes]]) -> Iterator[NamedFunction]:
    """Those in whose mangled name one of the patterns is found, in the symbol table's order.

    named: where the symbols are.  Each pattern should begin with a literal, for which `re` has a fast search.
    """
    symbols = named.symbols()
    chosen = np.unique(np.concatenate([symbols.matching(pattern) for pattern in patterns]))
    rows = symbols.table[chosen]
    rows = rows[((rows["info"] & 15) == FUNCTION) & (rows["size"] > 0)]
    for address, size, at in zip(rows["address"].tolist(), rows["size"].tolist(), rows["name"].tolist(), strict=True):
        yield NamedFunction(address, size, demangle(symbols.name_at(at)))
