"""Whether what was read of a task was so at one moment, although the process ran on.

All pieces that a task's stack was told by are read once more, close together: the cell of the task, what
lies elsewhere, and the cell again.  When they are what they were, then no poll has changed the task between the
two readings of its cell, and what lies elsewhere belongs to it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tracer.snapshot.image import Image, Known
from tracer.snapshot.walk import Reads
from tracer.target.memory import Addresses, Bytes

_CELL, _ELSEWHERE, _AGAIN = 0, 1, 2


def unchanged(image: Image, cells: Addresses, sizes: Addresses, reads: tuple[Reads, ...]) -> Known:
    """Whether all reads of each root have the same result again.

    cells, sizes: of each root.  Raises NoSuchProcess, PermissionMissing.
    """
    roots = np.arange(len(cells))
    same = np.ones(len(cells), np.bool_)
    inside = [_is_inside(read, cells, sizes) for read in reads]
    outer_roots = [read.roots[~within] for read, within in zip(reads, inside, strict=True)]
    outer = np.concatenate([np.empty(0, np.intp), *outer_roots])
    twice = np.unique(outer)
    pieces = [
        _pieces(roots, cells, sizes, _CELL),
        _pieces(twice, cells[twice], sizes[twice], _AGAIN),
        *(
            _pieces(read.roots[~within], read.addresses[~within], read.content.shape[1], _ELSEWHERE)
            for read, within in zip(reads, inside, strict=True)
        ),
    ]
    table = np.concatenate(pieces, axis=1)
    order = np.lexsort((table[1], table[0]))
    content, is_whole = image.anew(table[2][order], table[3][order])
    same[table[0][order][~is_whole].astype(np.intp)] = False
    sizes_read = np.where(is_whole, table[3][order], 0).astype(np.int64)
    begins = np.empty(len(order), np.int64)
    begins[order] = np.cumsum(sizes_read) - sizes_read
    again = np.full(len(cells), -1, np.int64)
    again[twice] = begins[len(roots) : len(roots) + len(twice)]
    at = len(roots) + len(twice)
    for read, within in zip(reads, inside, strict=True):
        count = int(np.count_nonzero(~within))
        _compare(same, content, read.roots[~within], begins[at : at + count], read.content[~within], read.mask)
        at += count
        owners = read.roots[within]
        offset = (read.addresses[within] - cells[owners]).astype(np.int64)
        _compare(same, content, owners, begins[owners] + offset, read.content[within], read.mask)
        has = again[owners] >= 0
        _compare(same, content, owners[has], again[owners[has]] + offset[has], read.content[within][has], read.mask)
    return same


def _is_inside(read: Reads, cells: Addresses, sizes: Addresses) -> Known:
    begin = cells[read.roots]
    return (read.addresses >= begin) & (read.addresses + np.uint64(read.content.shape[1]) <= begin + sizes[read.roots])


def _pieces(
    roots: npt.NDArray[np.intp], addresses: Addresses, sizes: Addresses | int, when: int
) -> npt.NDArray[np.uint64]:
    """Rows: root, order within it, address, size."""
    table = np.empty((4, len(roots)), np.uint64)
    table[0], table[1], table[2], table[3] = roots, when, addresses, sizes
    return table


def _compare(
    same: Known,
    content: Bytes,
    roots: npt.NDArray[np.intp],
    places: npt.NDArray[np.int64],
    was: Bytes,
    mask: Bytes | None,
) -> None:
    """Clear `same` of the roots whose bytes are others now, in place."""
    whole = same[roots]
    roots, places, was = roots[whole], places[whole], was[whole]
    changed = content[places[:, None] + np.arange(was.shape[1])] ^ was
    if mask is not None:
        changed &= mask
    same[roots[changed.any(axis=1)]] = False
