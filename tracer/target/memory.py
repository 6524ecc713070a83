"""The memory of a process at its own addresses, read without stopping it.

process_vm_readv(2) copies from the process' pages while it runs on: what was read can be torn, and the
readers of this must expect it.  It needs the right to trace the process (ptrace(2), PTRACE_MODE_ATTACH_REALCREDS)
and nothing else.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tracer.model import Mapping
from tracer.target.process import TargetProcess, ended, permission_missing

Addresses = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]

_PAGE = 4096
_PAGES_AT_ONCE = 1 << 20
_MOST_PIECES = 1024  # IOV_MAX
_PIECE = np.dtype([("base", "<u8"), ("length", "<u8")])  # struct iovec


class Memory(Protocol):
    """Of a live process, or out of a core dump."""

    def mappings(self) -> list[Mapping]:
        """The memory mappings, by rising address."""
        ...

    def fill(self, starts: Addresses, sizes: Addresses) -> tuple[Bytes, npt.NDArray[np.bool_]]:
        """The bytes of many pieces one after the other, and which pieces were read whole.

        Pieces that were not are zero.  Raises NoSuchProcess when the process has ended, PermissionMissing.
        """
        ...

    def threads(self) -> list[int]:
        """The numbers of the threads."""
        ...

    def resident(self, mapping: Mapping) -> Iterable[tuple[int, int]]:
        """(start, end) of the parts of a mapping that hold anything; what was never touched may be left out."""
        ...


class LiveMemory:
    """Of a process that runs."""

    def __init__(self, process: TargetProcess) -> None:
        self._process = process
        self._readv = ctypes.CDLL(None, use_errno=True).process_vm_readv
        self._readv.restype = ctypes.c_ssize_t
        self._readv.argtypes = [
            ctypes.c_int,
            ctypes.c_void_p,
            ctypes.c_ulong,
            ctypes.c_void_p,
            ctypes.c_ulong,
            ctypes.c_ulong,
        ]

    def mappings(self) -> list[Mapping]:
        """The memory mappings, by rising address.  Raises NoSuchProcess, PermissionMissing."""
        return self._process.maps()

    def fill(self, starts: Addresses, sizes: Addresses) -> tuple[Bytes, npt.NDArray[np.bool_]]:
        """As Memory.fill."""
        ends = np.cumsum(sizes, dtype=np.uint64)
        buffer = np.zeros(int(ends[-1]) if len(ends) else 0, np.uint8)
        is_whole = np.zeros(len(starts), np.bool_)
        pieces = np.empty(len(starts), _PIECE)
        pieces["base"], pieces["length"] = starts, sizes
        at = 0
        while at < len(starts):
            several = pieces[at : at + _MOST_PIECES]
            begin = int(ends[at] - sizes[at])
            wanted = int(ends[at + len(several) - 1]) - begin
            got = self._read(buffer[begin : begin + wanted], several)
            # It stops at the first piece that it cannot read whole; a part of that one may have been read.
            done = int(np.searchsorted(ends[at : at + len(several)], begin + got, "right"))
            is_whole[at : at + done] = True
            if done < len(several):
                broken = at + done
                buffer[int(ends[broken] - sizes[broken]) : int(ends[broken])] = 0
                done += 1
            at += done
        return buffer, is_whole

    def _read(self, into: Bytes, pieces: npt.NDArray[np.void]) -> int:
        """How many bytes were read."""
        here = np.array([(into.ctypes.data, into.nbytes)], _PIECE)
        got = int(self._readv(self._process.pid, here.ctypes.data, 1, pieces.ctypes.data, len(pieces), 0))
        if got >= 0:
            return got
        error = ctypes.get_errno()
        if error == errno.EFAULT:
            return 0
        if error == errno.EPERM:
            raise permission_missing(self._process.pid, self._process.name)
        if error == errno.ESRCH:
            raise ended(self._process.pid)
        raise OSError(error, os.strerror(error))

    def threads(self) -> list[int]:
        """The numbers of the threads.  Raises NoSuchProcess."""
        return [thread.tid for thread in self._process.threads()]

    def resident(self, mapping: Mapping) -> Iterator[tuple[int, int]]:
        """As Memory.resident, by the present and swapped bits of /proc/PID/pagemap (proc(5)); all of it where that
        cannot be read."""
        pages = (mapping.end - mapping.start) // _PAGE
        try:
            with open(f"/proc/{self._process.pid}/pagemap", "rb", buffering=0) as file:
                for first in range(0, pages, _PAGES_AT_ONCE):  # an area can be far larger than what is in it
                    begin = mapping.start + first * _PAGE
                    file.seek(begin // _PAGE * 8)
                    yield from _present(file.read(min(_PAGES_AT_ONCE, pages - first) * 8), begin)
        except OSError:
            yield mapping.start, mapping.end


def _present(entries: bytes, begin: int) -> Iterator[tuple[int, int]]:
    """The parts of memory, from `begin` on, that these entries of a pagemap say are present or swapped."""
    there = np.frombuffer(entries, "<u8", len(entries) // 8) >> np.uint64(62) != 0
    edges = np.flatnonzero(np.diff(there.astype(np.int8), prepend=0, append=0)).tolist()
    for first, after in zip(edges[::2], edges[1::2], strict=True):
        yield begin + first * _PAGE, begin + after * _PAGE


def private_parts(memory: Memory) -> Iterator[tuple[int, int]]:
    """(start, end) of what a process can write and shares with nobody: there its heap and its stacks are.

    Raises NoSuchProcess, PermissionMissing.
    """
    for mapping in memory.mappings():
        if "w" in mapping.permissions and "p" in mapping.permissions and not mapping.path.startswith("[v"):
            yield from memory.resident(mapping)
