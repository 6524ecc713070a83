"""Where 32-bit words stand in a unit: how references and names are found without walking the entries."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tracer.rust.dwarf import Unit


def word_positions(info: bytes, unit: Unit, words: npt.NDArray[np.uint32]) -> list[int]:
    """Where in the unit's entries the four bytes of one of the words stand, in ascending order.

    One pass over the unit at each of the four alignments, whatever the number of words.
    """
    near = np.zeros(1 << 16, np.bool_)
    near[words & 0xFFFF] = True
    words = np.sort(words)  # numpy's own isin() sorts both, at each alignment
    hits: list[int] = []
    for shift in range(4):
        begin = unit.first_die + shift
        count = (unit.end - begin) // 4
        if count > 0:
            found = np.frombuffer(info, "<u4", count, begin)
            chosen = np.nonzero(near[found & 0xFFFF])[0]
            values = found[chosen]
            exact = words[np.minimum(np.searchsorted(words, values), len(words) - 1)] == values
            hits += (begin + 4 * chosen[exact]).tolist()
    return sorted(hits)
