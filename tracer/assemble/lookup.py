"""Numbers found among others by tables, several times faster than by sorting and searching; for numbers that lie
close together, as those of threads, functions and instances do.  Where they do not, numpy sorts and searches.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T", bound=np.integer[Any])
Integers = npt.NDArray[np.integer[Any]]

_ROOM, _LEAST_ROOM = 4, 1 << 16
"""A table may have so many entries a number, and so many in any case."""


def distinct(values: npt.NDArray[T]) -> tuple[npt.NDArray[T], npt.NDArray[np.intp]]:
    """(the values that there are, ascending; for each of `values` its place among them), as numpy.unique has it."""
    span = _span(values, len(values))
    if span is None:
        found, inverse = np.unique(values, return_inverse=True)
        return found, inverse
    least, width = span
    offset = _offsets(values, least)
    is_there = np.zeros(width, np.bool_)
    is_there[offset] = True
    there = np.flatnonzero(is_there)
    place = np.empty(width, np.intp)
    place[there] = np.arange(len(there))
    return there.astype(values.dtype) + values.dtype.type(least), place[offset]


def locate(ordered: Integers, wanted: Integers) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """(where each wanted number is among `ordered`, which has each once, ascending; whether it is there at all).

    The place of one that is not there means nothing, but is one of the places as long as there are any.
    """
    if not len(ordered) or not len(wanted):
        return np.zeros(len(wanted), np.intp), np.zeros(len(wanted), np.bool_)
    least, width = int(ordered[0]), int(ordered[-1]) - int(ordered[0]) + 1
    if width > _room(len(ordered) + len(wanted)):
        at = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
        return at, ordered[at] == wanted
    place = np.zeros(width, np.intp)
    place[_offsets(ordered, least)] = np.arange(len(ordered))
    # A number below all others wraps around, to beyond the table.
    offset = np.minimum((wanted - wanted.dtype.type(least)).astype(np.uint64, copy=False), np.uint64(width - 1))
    at = place[offset.view(np.int64)]
    return at, ordered[at] == wanted


def _span(values: Integers, count: int) -> tuple[int, int] | None:
    """(the least of these, how many numbers there are from it to the largest); None: too many for a table."""
    if not count:
        return None
    least, largest = int(values.min()), int(values.max())
    return (least, largest - least + 1) if largest - least < _room(count) else None


def _room(count: int) -> int:
    return max(_LEAST_ROOM, _ROOM * count)


def _offsets(values: Integers, least: int) -> npt.NDArray[np.intp]:
    return (values - values.dtype.type(least)).astype(np.intp, copy=False)
