"""The memory of a process that is no more: an ELF core dump, with the executable for what the dump leaves out.

The kernel (fs/binfmt_elf.c, Linux 2.6 to 6.x) and gdb's gcore write a PT_LOAD for each mapping, with fewer bytes
than the mapping has where its content is in a file; what the executable's own segments have then comes from there.
"""

from __future__ import annotations

import mmap
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt
from elftools.elf.elffile import ELFFile

from tracer.errors import NotTraceable
from tracer.model import Mapping
from tracer.target.elf import ElfImage, map_elf
from tracer.target.memory import Addresses, Bytes
from tracer.target.memory_map import bias_from_auxiliary_vector, has_program_headers_at

_READ, _WRITE, _EXECUTE = 4, 2, 1
_NT_AUXV = 6
_WORD, _END = 8, 1 << 64
"""Bytes.  The kernel dumps its vsyscall page, too, which lies near the end of all addresses."""
_NT_PRSTATUS, _NT_PRPSINFO = "NT_PRSTATUS", "NT_PRPSINFO"
_PRSTATUS_PID = 32
"""Of struct elf_prstatus (include/linux/elfcore.h): pr_pid, the thread's number."""

_PRPSINFO_PID, _PRPSINFO_NAME = 24, 40
"""Of struct elf_prpsinfo on x86-64 (include/linux/elfcore.h): pr_pid, and pr_fname of 16 bytes."""


class CoreMemory:
    """A core dump.  pid, name: of the process that it is of; bias: of the executable.

    missing: bytes that a dump which was cut off says to have.

    Raises NotTraceable when it is none, damaged, or of another program; PermissionMissing.
    """

    def __init__(self, path: Path, executable: ElfImage) -> None:
        data = map_elf(path)
        self.pid, self.name = 0, path.name
        self._threads: list[int] = []
        self._data = data
        try:
            elf = ELFFile(cast(IO[bytes], data))
            if elf.header.e_type != "ET_CORE" or elf.elfclass != 64:
                raise _no_core(path, f"its ELF type is {elf.header.e_type}")
            segments = list(elf.iter_segments())
            vector = self._read_notes(segments)
            loads = [segment.header for segment in segments if segment.header.p_type == "PT_LOAD"]
        except NotTraceable:
            raise
        except Exception as error:  # pyelftools raises many kinds on damaged input, not only ELFError
            raise _no_core(path, str(error) or type(error).__name__) from error
        if any(load.p_vaddr + max(load.p_memsz, load.p_filesz) >= _END for load in loads):
            raise _no_core(path, "it has memory beyond all addresses")
        bias = bias_from_auxiliary_vector(vector, executable.data)
        if bias is None:
            raise _no_core(path, "it does not say where the program was loaded")
        self.bias = bias
        self._mappings = [
            Mapping(load.p_vaddr, load.p_vaddr + load.p_memsz, 0, _permissions(load.p_flags), 0, "00:00", "")
            for load in sorted(loads, key=lambda load: int(load.p_vaddr))
        ]
        self._dumped = [
            _Part(load.p_vaddr, load.p_filesz, load.p_offset, data)
            for load in sorted(loads, key=lambda load: int(load.p_vaddr))
            if load.p_filesz
        ]
        self.missing = sum(max(part.offset + part.size - len(data), 0) for part in self._dumped)
        self._starts = [part.start for part in self._dumped]
        self._in_file = [_Part(bias + s.vaddr, s.filesz, s.offset, executable.data) for s in executable.segments]
        self._check_build(path, executable, vector)

    def _read_notes(self, segments: list[Any]) -> bytes:
        """The auxiliary vector; the process' number and name, and its threads' numbers, in place."""
        vector = b""
        for segment in segments:
            if segment.header.p_type != "PT_NOTE":
                continue
            for note in segment.iter_notes():
                content = bytes(note["n_descdata"])
                if note["n_type"] == _NT_PRSTATUS and len(content) >= _PRSTATUS_PID + 4:
                    self._threads.append(int.from_bytes(content[_PRSTATUS_PID : _PRSTATUS_PID + 4], "little"))
                elif note["n_type"] in ("NT_AUXV", _NT_AUXV):
                    vector = content
                elif note["n_type"] == _NT_PRPSINFO and len(content) >= _PRPSINFO_NAME + 16:
                    self.pid = int.from_bytes(content[_PRPSINFO_PID : _PRPSINFO_PID + 4], "little")
                    name = content[_PRPSINFO_NAME : _PRPSINFO_NAME + 16].partition(b"\0")[0]
                    self.name = name.decode("utf-8", "replace")
        return vector

    def _check_build(self, path: Path, executable: ElfImage, vector: bytes) -> None:
        """The dump has the page with the program's header and build id, by default.

        Where another program has its entry at the same place of a page, that looks for them where nothing is.
        """
        header = self._dumped_at(self.bias + executable.segments[0].vaddr) if executable.segments else None
        begin = bytes(executable.data[:64]) if executable.segments and not executable.segments[0].offset else b""
        is_elsewhere = self.bias % mmap.PAGESIZE != 0
        if begin:
            loaded_at = self.bias + executable.segments[0].vaddr
            is_elsewhere |= not has_program_headers_at(vector, loaded_at, executable.data)
            is_elsewhere |= header is not None and header.content(header.start, 64) != begin
        if is_elsewhere:
            raise _of_another(path, executable, "Its memory has another file's header where that program would be.")
        if executable.build_id is None:
            return
        at = executable.data.find(bytes.fromhex(executable.build_id))
        size = len(executable.build_id) // 2
        for segment in executable.segments:
            if segment.offset <= at < segment.offset + segment.filesz - size:
                start = self.bias + segment.vaddr + at - segment.offset
                part = self._dumped_at(start)
                dumped = part.content(start, size) if part is not None else b""
                if len(dumped) == size and dumped.hex() != executable.build_id:
                    theirs, ours = dumped.hex(), executable.build_id
                    raise _of_another(path, executable, f"The build id in it is {theirs}, that of the file is {ours}.")

    def mappings(self) -> list[Mapping]:
        """The memory mappings, by rising address."""
        return self._mappings

    def fill(self, starts: Addresses, sizes: Addresses) -> tuple[Bytes, npt.NDArray[np.bool_]]:
        """As Memory.fill."""
        pieces = []
        is_whole = np.zeros(len(starts), np.bool_)
        for number, (start, size) in enumerate(zip(starts.tolist(), sizes.tolist(), strict=True)):
            content = self._content(start, size)
            is_whole[number] = content is not None
            pieces.append(bytes(size) if content is None else content)
        return np.frombuffer(b"".join(pieces), np.uint8).copy(), is_whole

    def _content(self, start: int, size: int) -> bytes | None:
        """What lies across two mappings is put together."""
        found = b""
        while len(found) < size:
            at = start + len(found)
            part = self._dumped_at(at) or next((one for one in self._in_file if one.has(at)), None)
            if part is None:
                return None
            more = part.content(at, size - len(found))
            if not more:
                return None  # the dump is cut off
            found += more
        return found

    def _dumped_at(self, address: int) -> _Part | None:
        index = bisect_right(self._starts, address) - 1
        return self._dumped[index] if index >= 0 and self._dumped[index].has(address) else None

    def threads(self) -> list[int]:
        """The numbers of the threads."""
        return self._threads

    def resident(self, mapping: Mapping) -> Iterable[tuple[int, int]]:
        """As Memory.resident: what was dumped, and is in the file, by whole words."""
        for part in self._dumped:
            if mapping.start <= part.start < mapping.end:
                there = min(part.size, max(len(self._data) - part.offset, 0))
                yield part.start, part.start + there // _WORD * _WORD


@dataclass(frozen=True, slots=True)
class _Part:
    """Some of the memory: `size` bytes from `start`, which are in a file at `offset`."""

    start: int
    size: int
    offset: int
    data: mmap.mmap

    def has(self, address: int) -> bool:
        return self.start <= address < self.start + self.size

    def content(self, address: int, most: int) -> bytes:
        """At least one byte, when the file is whole."""
        place = self.offset + address - self.start
        return self.data[place : place + min(most, self.start + self.size - address)]


def _permissions(flags: int) -> str:
    letters = (("r", _READ), ("w", _WRITE), ("x", _EXECUTE))
    return "".join(letter if flags & bit else "-" for letter, bit in letters) + "p"  # what was shared is not told


def _of_another(path: Path, executable: ElfImage, why: str) -> NotTraceable:
    return NotTraceable(
        f"{path} is not a dump of {executable.path}.",
        why=why,
        fix=f"rat-ebpf tree --core {path} --exe THE_PROGRAM_THAT_CRASHED",
    )


def _no_core(path: Path, why: str) -> NotTraceable:
    return NotTraceable(
        f"{path} is not a core dump that can be read.",
        why=why[:1].upper() + why[1:] + ".",
        fix="sudo gcore -o core PID    # writes one of a live process",
    )
