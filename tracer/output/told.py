"""What slices tell, as columns: most tell the same as thousands of others, but for whose they are and when."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tracer.assemble.lookup import distinct
from tracer.output.descriptors import Descriptors
from tracer.output.histogram import Integers
from tracer.output.rows import RowFormat, Rows


@dataclass(frozen=True, slots=True)
class Told:
    """What there is to tell of slices.  What those of one pattern have in common is encoded once.

    table: columns by pattern.  pattern: of each slice.  own: columns by slice.
    """

    table: Mapping[str, Integers]
    pattern: npt.NDArray[np.intp]
    own: Mapping[str, npt.ArrayLike]

    def of(self, which: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Told:
        """Of some of them."""
        own = {key: np.asarray(values)[which] for key, values in self.own.items()}
        return Told(self.table, self.pattern[which], own)

    def instead(self, **same: int) -> Told:
        """The same of each of them, instead of what its pattern has."""
        others = {key: np.full_like(self.table[key], one) for key, one in same.items()}
        return replace(self, table={**self.table, **others})

    def rows(self, row: RowFormat, /, **more: npt.ArrayLike) -> Rows:
        """Rows of this format, one a slice, with more columns."""
        patterns, which = distinct(self.pattern)
        table = {key: values[patterns] for key, values in self.table.items() if row.has(key)}
        rows = row.encode(len(patterns), **table).take(which, axis=0)
        return row.fill(rows, **{key: values for key, values in self.own.items() if row.has(key)}, **more)


class FlagWords:
    """The words for combinations of some flags, interned when they are first met.  words: of those set in `mask`."""

    def __init__(self, descriptors: Descriptors, mask: int, words: Callable[[int], str]) -> None:
        self._descriptors, self._mask, self._words = descriptors, mask, words
        self._known: dict[int, int] = {}

    def of(self, flags: npt.NDArray[np.uint16]) -> Integers:
        """The intern ids for these flags."""
        found, inverse = distinct(flags & self._mask)
        for one in found.tolist():
            if one not in self._known:
                self._known[one] = self._descriptors.string(self._words(one))
        return np.array([self._known[one] for one in found.tolist()])[inverse]
