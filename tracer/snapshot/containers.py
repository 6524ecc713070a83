"""The futures in containers: those that lie one after the other, and those that are linked one to the next.

Links are followed in many lists at once; the last few lists, which can be long, one after the other, out of
blocks of memory: what was allocated together lies together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tracer.model import Container
from tracer.snapshot.image import Image, Known
from tracer.snapshot.routes import Ends, Piece, Rows, follow
from tracer.target.memory import Addresses

MOST_ELEMENTS = 100_000
_FEW_LISTS = 16
_SHORT = 32
"""Steps that are always made in all lists at once: most lists are no longer."""

_BLOCKS = (1 << 16, 1 << 12)
"""Sizes of the blocks that are read ahead: the first that is mapped as a whole."""


@dataclass(frozen=True, slots=True)
class Elements:
    """The futures in some containers, by rising row, in the order of the container.

    rows: of each future, whose it is: an index into the places asked for.  addresses: where it is.  is_whole: of
    each place, whether all that is in its container was found.  pieces: what was read for that.
    """

    rows: Rows
    addresses: Addresses
    is_whole: Known
    pieces: tuple[Piece, ...]


def elements(image: Image, container: Container, places: Addresses, most: int = MOST_ELEMENTS) -> Elements:
    """places: of futures whose layout has the container, and whose discriminant is the route's.

    At most so many elements; no list that leads back into itself, and no length that cannot be, makes more of
    them.  Raises NoSuchProcess, PermissionMissing.
    """
    ends = follow(image, container.route, places)
    pieces = list(ends.pieces)
    is_whole = ends.known.copy()
    found = _Found(image, pieces, is_whole, most)
    if container.length is None:
        rows, addresses = found.linked(container, ends)
    else:
        rows, addresses = found.counted(container, ends)
    order = np.argsort(rows, kind="stable")
    rows, addresses = rows[order], addresses[order] + np.uint64(container.item)
    if container.is_pointer:
        content, known = image.bytes_at(addresses, 8)
        pieces.append(Piece(rows[known], addresses[known], content[known]))
        is_whole[rows[~known]] = False
        rows, addresses = rows[known], content[known].view("<u8")[:, 0]
    return Elements(rows, addresses, is_whole, tuple(pieces))


@dataclass(slots=True)
class _Found:
    image: Image
    pieces: list[Piece]
    is_whole: Known
    most: int

    def counted(self, container: Container, ends: Ends) -> tuple[Rows, Addresses]:
        assert container.length is not None
        rows = np.flatnonzero(ends.leads)
        start, rows = self._words(rows, ends.addresses[rows] + np.uint64(container.pointer))
        count, left = self._words(rows, ends.addresses[rows] + np.uint64(container.length))
        start = start[np.isin(rows, left)]
        fits = (count <= np.uint64(self.most)) & self._are_there(container, start, count)
        fits &= np.cumsum(np.where(fits, count, np.uint64(0))) <= self.most
        self.is_whole[left[~fits]] = False
        start, count, left = start[fits], count[fits].astype(np.int64), left[fits]
        owner = np.repeat(np.arange(len(left)), count)
        place = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
        return left[owner], start[owner] + place.astype(np.uint64) * np.uint64(container.stride)

    def _are_there(self, container: Container, start: Addresses, count: Addresses) -> Known:
        """Whether the last of so many elements is in memory too."""
        last = start + (np.maximum(count, np.uint64(1)) - np.uint64(1)) * np.uint64(container.stride)
        _, known = self.image.bytes_at(last, 1)
        are_there: Known = known & (last >= start) | (count == 0)
        return are_there

    def linked(self, container: Container, ends: Ends) -> tuple[Rows, Addresses]:
        rows = np.flatnonzero(ends.leads)
        at, rows = self._words(rows, ends.addresses[rows] + np.uint64(container.pointer))
        all_rows, all_places = [rows[:0]], [at[:0]]
        mark, steps, count = at.copy(), 0, 0
        while True:
            alive = at != 0
            at, rows, mark = at[alive], rows[alive], mark[alive]
            if count + len(rows) > self.most:
                self.is_whole[rows] = False
                rows = rows[:0]
            if not len(rows) or (len(rows) <= _FEW_LISTS and steps >= _SHORT):
                break
            all_rows.append(rows)
            all_places.append(at)
            count += len(rows)
            before = rows
            at, rows = self._words(rows, at + np.uint64(container.next))
            mark = mark[np.isin(before, rows)]
            circular = at == mark
            self.is_whole[rows[circular]] = False
            at, rows, mark = at[~circular], rows[~circular], mark[~circular]
            steps += 1
            if steps & (steps - 1) == 0:
                mark = at.copy()
        for row, place in zip(rows.tolist(), at.tolist(), strict=False):
            chain = list(self._chain(container, row, place, self.most - count))
            count += len(chain)
            all_rows.append(np.full(len(chain), row, np.intp))
            all_places.append(np.array(chain, np.uint64))
        return np.concatenate(all_rows), np.concatenate(all_places)

    def _words(self, rows: Rows, addresses: Addresses) -> tuple[Addresses, Rows]:
        """What is at the addresses, and the rows of those that could be read."""
        content, known = self.image.bytes_at(addresses, 8)
        self.is_whole[rows[~known]] = False
        self.pieces.append(Piece(rows[known], addresses[known], content[known]))
        return content[known].view("<u8")[:, 0], rows[known]

    def _chain(self, container: Container, row: int, place: int, most: int) -> Iterator[int]:
        """One list, from its element at `place` on."""
        blocks: dict[int, bytes] = {}
        seen: set[int] = set()
        links: list[int] = []
        words: list[bytes] = []
        while place:
            word = self._word(blocks, place + container.next)
            if word is None or place in seen or len(seen) >= most:
                self.is_whole[row] = False
                break
            seen.add(place)
            links.append(place + container.next)
            words.append(word)
            yield place
            place = int.from_bytes(word, "little")
        content = np.frombuffer(bytearray().join(words), np.uint8).reshape(-1, 8)
        self.pieces.append(Piece(np.full(len(links), row, np.intp), np.array(links, np.uint64), content))

    def _word(self, blocks: dict[int, bytes], address: int) -> bytes | None:
        for size in _BLOCKS:
            block = blocks.get(address // size * size | (size == _BLOCKS[1]))
            if block is not None and address % size <= size - 8:
                return block[address % size : address % size + 8]
        if not 0 < address < 1 << 47:
            return None
        for size in _BLOCKS:
            begin = address // size * size
            content, known = self.image.bytes_at(np.array([begin], np.uint64), size)
            if known[0] and address - begin <= size - 8:
                blocks[begin | (size == _BLOCKS[1])] = content[0].tobytes()
                return content[0, address - begin : address - begin + 8].tobytes()
        content, known = self.image.bytes_at(np.array([address], np.uint64), 8)
        return content[0].tobytes() if known[0] else None
