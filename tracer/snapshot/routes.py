"""Following a Route from many places at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tracer.model import Route, WordTest
from tracer.snapshot.image import Image, Known
from tracer.target.memory import Addresses, Bytes

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Piece:
    """What was read: for which rows of the places asked for, where, and the content, shape (n, bytes)."""

    rows: Rows
    addresses: Addresses
    content: Bytes


@dataclass(frozen=True, slots=True)
class Ends:
    """Of each place where its route leads.  known: whether all on the way could be read.

    leads: known, and the route's tests hold and no pointer is 0.
    """

    addresses: Addresses
    leads: Known
    known: Known
    pieces: list[Piece] = field(default_factory=list)


def follow(image: Image, route: Route, places: Addresses) -> Ends:
    """Raises NoSuchProcess, PermissionMissing."""
    ends = Ends(places.copy(), np.ones(len(places), np.bool_), np.ones(len(places), np.bool_))
    for test in route.tests:
        values = _read(image, ends, places + np.uint64(test.offset), test.size)
        ends.leads[:] &= np.isin(values, np.array(test.values, np.uint64)) == test.is_one
    ends.addresses[:] += np.uint64(route.steps[0])
    for step in route.steps[1:]:
        pointers = _read(image, ends, ends.addresses.copy(), 8)
        ends.leads[:] &= pointers != 0
        ends.addresses[:] = pointers + np.uint64(step)
    ends.leads[:] &= ends.known
    ends.addresses[~ends.leads] = 0
    return ends


def passes(image: Image, test: WordTest, places: Addresses) -> tuple[Known, Known]:
    """Whether a word test holds at each place, and whether that could be read."""
    words, known = image.numbers_at(places + np.uint64(test.offset), 8)
    return known & ((words & np.uint64(test.mask)) == np.uint64(test.value)), known


def _read(image: Image, ends: Ends, addresses: Addresses, size: int) -> Addresses:
    """The numbers at the addresses; 0 where they do not matter any more."""
    rows = np.flatnonzero(ends.leads)
    values = np.zeros(len(addresses), np.uint64)
    content, known = image.bytes_at(addresses[rows], size)
    wide = np.zeros((len(rows), 8), np.uint8)
    wide[:, :size] = content
    values[rows] = wide.view("<u8")[:, 0]
    ends.known[rows[~known]] = False
    ends.leads[rows[~known]] = False
    ends.pieces.append(Piece(rows[known], addresses[rows[known]], content[known]))
    return values
