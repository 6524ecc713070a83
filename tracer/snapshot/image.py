"""What was read of a process' memory, kept at the addresses that it has there.

Reading goes in long runs, since a system call takes a thousand pieces: what lies near each other is
read together.  Everything that is asked for later is taken from these runs where they have it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tracer.target.memory import Addresses, Bytes, Memory

Known = npt.NDArray[np.bool_]

_GAP = np.uint64(4096)
"""Bytes between two pieces that are rather read than left out."""

_LONGEST = np.uint64(1 << 20)
_LIMIT = 1 << 47
"""User addresses end here (x86-64 with four levels)."""

_MOST = 1 << 28
"""Bytes that one image holds at most; what is beyond is not known."""


class Image:
    """Parts of a process' memory, each as it was when it was first asked for."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._starts = np.empty(0, np.uint64)
        self._ends = np.empty(0, np.uint64)
        self._places = np.empty(0, np.int64)
        self._buffer = np.empty(1 << 20, np.uint8)
        self._used = 0

    @property
    def bytes_read(self) -> int:
        """How much of the process' memory is kept."""
        return self._used

    def load(self, addresses: Addresses, size: int) -> None:
        """Read pieces of one size ahead.  Raises NoSuchProcess, PermissionMissing."""
        wanted = np.unique(addresses[is_address(addresses, size)])
        if len(wanted) and size:
            self._read(wanted, size)

    def bytes_at(self, addresses: Addresses, size: int) -> tuple[Bytes, Known]:
        """The bytes at each address, shape (n, size), and which of them are known; those that are not are 0.

        Raises NoSuchProcess, PermissionMissing.
        """
        found = np.zeros((len(addresses), size), np.uint8)
        known = np.zeros(len(addresses), np.bool_)
        asked = is_address(addresses, size)
        self._take(addresses, size, asked, found, known)
        missing = asked & ~known
        if missing.any():
            self._read(np.unique(addresses[missing]), size)
            self._take(addresses, size, missing, found, known)
        return found, known

    def numbers_at(self, addresses: Addresses, size: int) -> tuple[Addresses, Known]:
        """The unsigned numbers of `size` bytes (1 to 8) at each address."""
        content, known = self.bytes_at(addresses, size)
        return numbers(content), known

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
        found[at] = self._buffer[begin[:, None] + np.arange(size)]
        known[at] = True

    def _read(self, starts: Addresses, size: int) -> None:
        """starts: ascending, each once."""
        ends = starts + np.uint64(size)
        apart = np.empty(len(starts), np.bool_)
        apart[0] = True
        apart[1:] = (starts[1:] > ends[:-1] + _GAP) | (starts[1:] // _LONGEST != starts[:-1] // _LONGEST)
        first = np.flatnonzero(apart)
        last = np.append(first[1:], len(starts)) - 1
        is_whole = self._add(starts[first], ends[last])
        if not is_whole.all():
            # Something unmapped lies between the pieces of a run: each alone.
            of_run = np.cumsum(apart) - 1
            broken = ~is_whole[of_run] & ((last - first)[of_run] > 0)
            if broken.any():
                self._add(starts[broken], ends[broken])

    def _add(self, starts: Addresses, ends: Addresses) -> Known:
        """Read runs; those that could not be read whole are left out."""
        sizes = ends - starts
        fits = self._used + np.cumsum(sizes, dtype=np.uint64) <= _MOST
        content, is_whole = self._memory.fill(starts[fits], sizes[fits])
        all_whole = np.zeros(len(starts), np.bool_)
        all_whole[fits] = is_whole
        places = np.cumsum(sizes[fits]) - sizes[fits]
        while self._used + len(content) > len(self._buffer):
            self._buffer = np.concatenate([self._buffer, np.empty(len(self._buffer), np.uint8)])
        self._buffer[self._used : self._used + len(content)] = content
        new = (starts[all_whole], ends[all_whole], (places[is_whole].astype(np.int64) + self._used))
        self._used += len(content)
        order = np.argsort(np.concatenate([self._starts, new[0]]), kind="stable")
        self._starts = np.concatenate([self._starts, new[0]])[order]
        self._ends = np.concatenate([self._ends, new[1]])[order]
        self._places = np.concatenate([self._places, new[2]])[order]
        return all_whole


def numbers(content: Bytes) -> Addresses:
    """The unsigned numbers that rows of 1 to 8 bytes are."""
    wide = np.zeros((len(content), 8), np.uint8)
    wide[:, : content.shape[1]] = content
    return wide.view("<u8")[:, 0]


def is_address(addresses: Addresses, size: int) -> Known:
    """Whether there can be `size` bytes of a process' own at an address."""
    return (addresses >= 4096) & (addresses < np.uint64(_LIMIT - size))
