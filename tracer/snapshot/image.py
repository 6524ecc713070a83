"""What was read of a process' memory, kept at the addresses that it has there.

Reading goes in long runs, since a system call takes a thousand pieces: what lies near each other is
read together.  Everything that is asked for later is taken from these runs where they have it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tracer.target.memory import Addresses, Bytes, Memory

Known = npt.NDArray[np.bool_]

_GAP = np.uint64(1024)
"""Bytes between two pieces that are rather read than left out."""

_LARGE = 512
"""Bytes from which a copy takes longer than to say what is copied."""

_LONGEST = np.uint64(1 << 20)
_FIRST, _MOST = 1 << 20, 1 << 28
"""Bytes that one image has room for at first, and holds at most; what is beyond is not known."""


class Areas:
    """What of a process' memory can be read: nothing else is ever asked for."""

    def __init__(self, memory: Memory) -> None:
        """Raises NoSuchProcess, PermissionMissing."""
        begins: list[int] = []
        ends: list[int] = []
        for mapping in memory.mappings():
            if "r" not in mapping.permissions or mapping.path.startswith("[v"):
                continue
            if ends and ends[-1] == mapping.start:
                ends[-1] = mapping.end
            else:
                begins.append(mapping.start)
                ends.append(mapping.end)
        self._begins, self._ends = np.array(begins, np.uint64), np.array(ends, np.uint64)

    def have(self, addresses: Addresses, sizes: Addresses) -> Known:
        """Whether all of these bytes are the process' own, without a gap."""
        if not len(self._begins):
            return np.zeros(len(addresses), np.bool_)
        area = self.number(addresses)
        room = np.where(addresses < self._ends[area], self._ends[area] - addresses, np.uint64(0))
        has: Known = (area >= 0) & (room >= sizes)
        return has

    def number(self, addresses: Addresses) -> npt.NDArray[np.intp]:
        """The same for all addresses between which there is no gap."""
        return np.searchsorted(self._begins, addresses, "right") - 1


class Image:
    """Parts of a process' memory, each as it was when it was first asked for."""

    def __init__(self, memory: Memory, areas: Areas | None = None) -> None:
        """areas: None: as they are now.  Raises NoSuchProcess, PermissionMissing."""
        self._memory = memory
        self._areas = areas or Areas(memory)
        self._starts = np.empty(0, np.uint64)
        self._ends = np.empty(0, np.uint64)
        self._places = np.empty(0, np.int64)
        self._buffer = np.empty(_FIRST, np.uint8)
        self._used = 0

    @property
    def bytes_read(self) -> int:
        """How much of the process' memory is kept."""
        return self._used

    def load(self, addresses: Addresses, sizes: Addresses | int) -> None:
        """Read pieces ahead.  sizes: bytes, of each or of all.  Raises NoSuchProcess, PermissionMissing."""
        sizes = np.broadcast_to(np.asarray(sizes, np.uint64), addresses.shape)
        wanted = self._areas.have(addresses, sizes) & (sizes > 0)
        if wanted.any():
            self._read(addresses[wanted], sizes[wanted])

    def bytes_at(self, addresses: Addresses, size: int) -> tuple[Bytes, Known]:
        """The bytes at each address, shape (n, size), and which of them are known; those that are not are 0.

        Raises NoSuchProcess, PermissionMissing.
        """
        found = np.zeros((len(addresses), size), np.uint8)
        known = np.zeros(len(addresses), np.bool_)
        asked = self._areas.have(addresses, np.full(len(addresses), size, np.uint64))
        self._take(addresses, size, asked, found, known)
        missing = asked & ~known
        if missing.any():
            self._read(addresses[missing], np.full(np.count_nonzero(missing), size, np.uint64))
            self._take(addresses, size, missing, found, known)
        return found, known

    def numbers_at(self, addresses: Addresses, size: int) -> tuple[Addresses, Known]:
        """The unsigned numbers of `size` bytes (1 to 8) at each address."""
        content, known = self.bytes_at(addresses, size)
        return numbers(content), known

    def anew(self, starts: Addresses, sizes: Addresses) -> tuple[Bytes, Known]:
        """What is there now: the bytes of the pieces that can be read, one after the other, and which those are.

        Raises NoSuchProcess, PermissionMissing.
        """
        known = self._areas.have(starts, sizes) & (np.cumsum(np.minimum(sizes, _MOST), dtype=np.uint64) <= _MOST)
        content, is_whole = self._memory.fill(starts[known], sizes[known])
        if not is_whole.all():
            content = content[np.repeat(is_whole, sizes[known].astype(np.int64))]
        known[known] = is_whole
        return content, known

    def _take(self, addresses: Addresses, size: int, which: Known, found: Bytes, known: Known) -> None:
        """Copy what is there, in place."""
        if not len(self._starts):
            return
        at = np.flatnonzero(which)
        run = np.searchsorted(self._starts, addresses[at], "right") - 1
        has = run >= 0
        at, run = at[has], run[has]
        has = addresses[at] + np.uint64(size) <= self._ends[run]
        at, run = at[has], run[has]
        begin = self._places[run] + (addresses[at] - self._starts[run]).astype(np.int64)
        if size > _LARGE:
            for row, place in zip(at.tolist(), begin.tolist(), strict=True):
                found[row] = self._buffer[place : place + size]
        else:
            found[at] = self._buffer[begin[:, None] + np.arange(size)]
        known[at] = True

    def _read(self, starts: Addresses, sizes: Addresses) -> None:
        starts, ends = self._joined(starts, starts + sizes)
        between = np.searchsorted(self._starts, starts[1:]) - np.searchsorted(self._starts, ends[:-1])
        apart = np.empty(len(starts), np.bool_)
        apart[0] = True
        apart[1:] = (
            (starts[1:] > ends[:-1] + _GAP) | (between > 0) | (starts[1:] // _LONGEST != starts[:-1] // _LONGEST)
        )
        first = np.flatnonzero(apart)
        last = np.append(first[1:], len(starts)) - 1
        is_whole = self._add(starts[first], ends[last])
        # Something unmapped lies between the pieces of a run: each alone.
        of_run = np.cumsum(apart) - 1
        broken = ~is_whole[of_run] & ((last - first)[of_run] > 0)
        if broken.any():
            self._add(starts[broken], ends[broken])

    def _joined(self, starts: Addresses, ends: Addresses) -> tuple[Addresses, Addresses]:
        """Ascending and apart from each other; what overlaps a run that is there is joined to it, and read again."""
        first = np.searchsorted(self._ends, starts, "right")
        after = np.searchsorted(self._starts, ends, "left")
        overlaps = np.flatnonzero(after > first)
        starts, ends = starts.copy(), ends.copy()
        starts[overlaps] = np.minimum(starts[overlaps], self._starts[first[overlaps]])
        ends[overlaps] = np.maximum(ends[overlaps], self._ends[after[overlaps] - 1])
        order = np.argsort(starts, kind="stable")
        starts, ends = starts[order], np.maximum.accumulate(ends[order])
        begins = np.flatnonzero(np.concatenate([[True], starts[1:] >= ends[:-1]]))
        return starts[begins], ends[np.append(begins[1:], len(starts)) - 1]

    def _add(self, starts: Addresses, ends: Addresses) -> Known:
        """Read runs in place of those within them; those that could not be read whole are left out."""
        sizes = ends - starts
        fits = self._used + np.cumsum(sizes, dtype=np.uint64) <= _MOST
        content, is_whole = self._memory.fill(starts[fits], sizes[fits])
        all_whole = np.zeros(len(starts), np.bool_)
        all_whole[fits] = is_whole
        places = np.cumsum(sizes[fits]) - sizes[fits]
        self._make_room(len(content))
        self._buffer[self._used : self._used + len(content)] = content
        new_starts, new_ends = starts[all_whole], ends[all_whole]
        new_places = places[is_whole].astype(np.int64) + self._used
        self._used += len(content)
        # Runs never overlap: which one has an address is then told by where they start.
        gone = np.searchsorted(new_starts, self._starts, "right") - 1
        kept = (gone < 0) | (self._starts >= new_ends[gone]) if len(new_starts) else np.ones(len(gone), np.bool_)
        order = np.argsort(np.concatenate([self._starts[kept], new_starts]), kind="stable")
        self._starts = np.concatenate([self._starts[kept], new_starts])[order]
        self._ends = np.concatenate([self._ends[kept], new_ends])[order]
        self._places = np.concatenate([self._places[kept], new_places])[order]
        return all_whole

    def _make_room(self, more: int) -> None:
        if self._used + more > len(self._buffer):
            larger = np.empty(min(max(2 * len(self._buffer), self._used + more), _MOST), np.uint8)
            larger[: self._used] = self._buffer[: self._used]
            self._buffer = larger


def numbers(content: Bytes) -> Addresses:
    """The unsigned numbers that rows of 1 to 8 bytes are."""
    wide = np.zeros((len(content), 8), np.uint8)
    wide[:, : content.shape[1]] = content
    return wide.view("<u8")[:, 0]
