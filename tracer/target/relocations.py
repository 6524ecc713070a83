"""Pointers that the loader adjusts to where a program is loaded, as its relocations tell them.

R_X86_64_RELATIVE of the System V psABI for x86-64, in .rela.dyn; and the packed form of the gABI's SHT_RELR, .relr.dyn
(`-z pack-relative-relocs`), whose addends are in the places themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Pointers = npt.NDArray[np.int64]
"""Of shape (N, 2): (place, address that the loader puts there), both link-time."""

_RELATIVE = 8
_WORD, _BITS = 8, 63
_MOST_WORDS = 1 << 16
"""Of a packed table; each can stand for 63 places.  The largest programs have some thousands."""


def from_rela(content: bytes | memoryview) -> Pointers:
    """content: of .rela.dyn."""
    rows = np.frombuffer(content, "<i8", len(content) // 24 * 3).reshape(-1, 3)
    pointers: Pointers = rows[(rows[:, 1] & 0xFFFFFFFF) == _RELATIVE][:, [0, 2]]
    return pointers


def places_from_relr(content: bytes | memoryview) -> npt.NDArray[np.int64] | None:
    """The places that a .relr.dyn names; None: it is too large to be one.

    An even word is a place; each odd one after it tells by its upper bits of the next 63 words which are places, too.
    """
    words = np.frombuffer(content, "<u8", len(content) // _WORD)
    if len(words) > _MOST_WORDS:
        return None
    is_place = words & np.uint64(1) == 0
    group = np.cumsum(is_place) - 1
    known = group >= 0  # a bitmap before all places belongs to nothing
    starts = words[is_place].astype(np.int64)
    first = np.flatnonzero(is_place)
    maps = np.flatnonzero(~is_place & known)
    base = starts[group[maps]] + _WORD + _WORD * _BITS * (maps - first[group[maps]] - 1)
    bits = (words[maps][:, None] >> np.arange(1, _BITS + 1, dtype=np.uint64)) & np.uint64(1) == 1
    marked = (base[:, None] + _WORD * np.arange(_BITS))[bits]
    return np.concatenate([starts, marked])


def words_at(
    data: npt.NDArray[np.uint8], segments: Sequence[tuple[int, int, int]], places: npt.NDArray[np.int64]
) -> Pointers:
    """(place, the 64-bit word there), without the places that are nowhere in the file.

    data: the whole file.  segments: (link-time address, offset, size) of each.
    """
    places = np.unique(places)  # each of them once, however often it is named, and however many segments there are
    found, done = [np.zeros((0, 2), np.int64)], 0
    for address, offset, size in sorted(segments):
        size = min(size, len(data) - offset)
        if size < _WORD:
            continue
        low, high = np.searchsorted(places, [address, address + size - _WORD + 1])
        inside = places[max(int(low), done) : high]
        done = max(done, int(high))
        at = inside - address + offset
        words = data[at[:, None] + np.arange(_WORD)].view("<i8") if len(at) else np.zeros((0, 1), np.int64)
        found.append(np.column_stack([inside, words[:, 0]]))
    return np.concatenate(found)
