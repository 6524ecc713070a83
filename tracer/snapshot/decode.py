"""Where many tasks wait, read and decoded in one go: what sampling does a hundred times a second."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tracer.snapshot.image import Areas, Known, numbers
from tracer.snapshot.steps import BYTE, END, FOUND, LOST, NO_MARK, NUMBER, POINTER, REGISTERS, UNKNOWN, VTABLE, Steps
from tracer.target.memory import Addresses, Bytes, Memory

Places = npt.NDArray[np.int64]
"""Offsets in Pieces.content."""

_GAP = np.uint64(2048)
"""Bytes between two pieces that are rather read than left out."""

_LONGEST = np.uint64(1 << 18)
_WORD = np.uint64((1 << 64) - 8)
_MOST_STEPS = 4096


class Pieces:
    """Parts of a process' memory as they are at one moment, or nearly.

    content: the bytes of all, one piece after the other.
    """

    def __init__(self, memory: Memory, areas: Areas, addresses: Addresses, sizes: Addresses) -> None:
        """Reads what lies near each other together.  Raises NoSuchProcess, PermissionMissing."""
        self._memory = memory
        self._areas = areas
        own = areas.have(addresses, sizes)
        starts, ends = _joined(areas, addresses[own], sizes[own])
        self.content, is_whole = memory.fill(starts, ends - starts)
        places = np.cumsum(ends - starts, dtype=np.int64) - (ends - starts).astype(np.int64)
        self._starts, self._ends, self._places = starts[is_whole], ends[is_whole], places[is_whole]
        self._words = self.content.view("<u8")
        self.bytes_read = len(self.content)

    def places_of(self, addresses: Addresses, sizes: Addresses) -> tuple[Places, Known]:
        """Where these bytes are, and whether all of each are there."""
        if not len(self._starts):
            return np.zeros(len(addresses), np.int64), np.zeros(len(addresses), np.bool_)
        at = np.searchsorted(self._starts, addresses, "right") - 1
        known = (at >= 0) & (addresses + sizes <= self._ends[at]) & (addresses + sizes >= addresses)
        return self._places[at] + (addresses - self._starts[at]).astype(np.int64), known

    def places_at(self, addresses: Addresses, sizes: Addresses) -> tuple[Places, Known]:
        """The same; what is not there is read now.  Raises NoSuchProcess, PermissionMissing."""
        places, known = self.places_of(addresses, sizes)
        missing = (~known).nonzero()[0]
        missing = missing[self._areas.have(addresses[missing], sizes[missing])]
        if len(missing):
            content, is_whole = self._memory.fill(addresses[missing], sizes[missing])
            lengths = sizes[missing].astype(np.int64)
            places[missing] = np.cumsum(lengths) - lengths + len(self.content)
            known[missing] = is_whole
            self.content = np.concatenate([self.content, content, np.zeros(-len(content) % 8, np.uint8)])
            self._words = self.content.view("<u8")
            self.bytes_read += len(content)
        return places, known

    def bytes_at(self, places: Places) -> Bytes:
        """A byte at each of these places; nonsense beyond the end."""
        return self.content.take(places, mode="clip")

    def numbers_at(self, places: Places, size: int) -> Addresses:
        """The unsigned numbers of `size` bytes (1 to 8) at these places; nonsense beyond the end."""
        if size == 8 and not (places & 7).any():
            return self._words.take(places >> 3, mode="clip")
        return numbers(self.content.take(places[:, None] + np.arange(size), mode="clip"))


def _joined(areas: Areas, addresses: Addresses, sizes: Addresses) -> tuple[Addresses, Addresses]:
    """(starts, ends), whole words, ascending and apart from each other."""
    order = np.argsort(addresses, kind="stable")
    starts = addresses[order] & _WORD
    ends = np.maximum.accumulate((addresses[order] + sizes[order] + np.uint64(7)) & _WORD)
    if not len(starts):
        return starts, ends
    apart = np.ones(len(starts), np.bool_)
    is_far = (starts[1:] > ends[:-1] + _GAP) | (starts[1:] // _LONGEST != starts[:-1] // _LONGEST)
    is_far |= np.diff(areas.number(starts)) > 0
    apart[1:] = is_far & (starts[1:] >= ends[:-1])  # what overlaps is one piece
    first = np.flatnonzero(apart)
    return starts[first], ends[np.append(first[1:], len(starts)) - 1]


class Decoder:
    """followed: addresses and sizes of what pointers led to, of the last call."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self.followed: tuple[Addresses, Addresses] = (np.empty(0, np.uint64), np.empty(0, np.uint64))

    def stacks(self, pieces: Pieces, roots: npt.NDArray[np.int64], places: Places) -> npt.NDArray[np.int32]:
        """Of each of these futures the number of its stack; CONTAINED where a container has to be gone through.

        roots: Steps.root of each.  places: where in pieces.content each begins.
        Raises NoSuchProcess, PermissionMissing.
        """
        steps = self._steps
        found = np.full(len(roots), CONTAINED, np.int32)
        registers = np.zeros((REGISTERS + 1, len(roots)), np.int64)
        registers[0] = places
        rows, step = np.arange(len(roots)), roots
        followed: list[tuple[Addresses, Addresses]] = []
        for _ in range(_MOST_STEPS):
            kind = steps.kind[step]
            over = kind >= END
            if over.any():
                ended = kind == END
                found[rows[ended]] = steps.stack[step[ended]]
                left = ~over
                rows, step, kind = rows[left], step[left], kind[left]
            if not len(rows):
                break
            at = registers[steps.register[step], rows] + steps.offset[step]
            if kind.any():
                step = self._any_step(pieces, step, kind, at, rows, registers, followed)
            else:
                step = self._by_value(step, pieces.bytes_at(at))
        none = np.empty(0, np.uint64)
        self.followed = (
            np.concatenate([none, *(addresses for addresses, _ in followed)]),
            np.concatenate([none, *(sizes for _, sizes in followed)]),
        )
        return found

    def _by_value(self, step: npt.NDArray[np.int64], values: Bytes) -> npt.NDArray[np.int64]:
        following = self._steps.next[step, values]
        new = (following == UNKNOWN).nonzero()[0]
        if len(new):
            for one, value in set(zip(step[new].tolist(), values[new].tolist(), strict=True)):
                self._steps.after(one, value)
            following = self._steps.next[step, values]
        return following.astype(np.int64)

    def _any_step(
        self,
        pieces: Pieces,
        step: npt.NDArray[np.int64],
        kind: npt.NDArray[np.uint8],
        at: Places,
        rows: npt.NDArray[np.int64],
        registers: Places,
        followed: list[tuple[Addresses, Addresses]],
    ) -> npt.NDArray[np.int64]:
        following = np.empty_like(step)
        which = (kind == BYTE).nonzero()[0]
        following[which] = self._by_value(step[which], pieces.bytes_at(at[which]))
        for one in np.unique(step[kind == NUMBER]).tolist():
            which = np.flatnonzero(step == one)
            marks = self._steps.marks[one]
            values = pieces.numbers_at(at[which], int(self._steps.size[one]))
            column = np.minimum(np.searchsorted(marks, values), len(marks) - 1)
            column = np.where(marks[column] == values, column, NO_MARK)
            following[which] = self._by_value(step[which], column.astype(np.uint8))
        which = (kind == VTABLE).nonzero()[0]
        if len(which):
            following[which] = self._by_vtable(step[which], pieces.numbers_at(at[which], 8))
        which = (kind == POINTER).nonzero()[0]
        if len(which):
            ones = step[which]
            addresses = pieces.numbers_at(at[which], 8)
            sizes = self._steps.size[ones].astype(np.uint64)
            places, known = pieces.places_at(addresses, sizes)
            known &= addresses != 0
            registers[self._steps.target[ones], rows[which]] = places
            followed.append((addresses[known], sizes[known]))
            for one, is_known in set(zip(ones.tolist(), known.tolist(), strict=True)):
                if self._steps.next[one, FOUND if is_known else LOST] == UNKNOWN:
                    self._steps.after(one, FOUND if is_known else LOST)
            following[which] = self._steps.next[ones, np.where(known, FOUND, LOST)]
        return following

    def _by_vtable(self, step: npt.NDArray[np.int64], vtables: Addresses) -> npt.NDArray[np.int64]:
        following = np.empty_like(step)
        for vtable in np.unique(vtables).tolist():
            rows = np.flatnonzero(vtables == vtable)
            for one in np.unique(step[rows]).tolist():
                following[rows[step[rows] == one]] = self._steps.after_vtable(one, vtable)
        return following


CONTAINED = -2
"""Instead of a stack's number."""
