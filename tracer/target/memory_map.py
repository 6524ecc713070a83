"""Where a file lies in a process' memory: /proc/PID/maps, /proc/PID/auxv, and the load bias from both."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterable, Sequence
from typing import Protocol

from tracer.model import Mapping

_PF_X = 1  # ELF segment flag: executable
_AT_PHDR, _AT_ENTRY = 3, 9  # auxiliary vector: the program's headers and its entry, as loaded (elf(5), getauxval(3))
_E_ENTRY, _E_PHOFF = 24, 32  # offsets of e_entry and e_phoff in an ELF64 header
DELETED = " (deleted)"
"""What the kernel appends to the name of a file that is no longer linked."""


class LoadSegment(Protocol):
    """A PT_LOAD program header."""

    @property
    def vaddr(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def filesz(self) -> int: ...
    @property
    def flags(self) -> int: ...


def parse_maps(text: bytes) -> list[Mapping]:
    """Parses /proc/PID/maps.

    Paths are for display and comparison: a newline that the kernel wrote as \\012 is one again, and the
    " (deleted)" that it appends to unlinked files is cut (the inode tells them apart).
    """
    found = []
    for line in text.split(b"\n"):
        if not line:
            continue
        fields = line.split(maxsplit=5)
        start, end = (int(part, 16) for part in fields[0].split(b"-"))
        inode = int(fields[4])
        path = fields[5].decode("utf-8", "replace").replace("\\012", "\n") if len(fields) > 5 else ""
        found.append(
            Mapping(
                start=start,
                end=end,
                offset=int(fields[2], 16),
                permissions=fields[1].decode(),
                inode=inode,
                device=fields[3].decode(),
                path=path.removesuffix(DELETED) if inode else path,
            )
        )
    return found


def bias_from_mappings(
    mappings: Iterable[Mapping], segments: Sequence[LoadSegment], file: os.stat_result, path: str
) -> int | None:
    """Load bias in bytes, from the first executable mapping of the file; None when it has none.

    The file is known by device and inode; on file systems whose mappings show other ones than stat does
    (overlayfs, btrfs) by its path.
    """
    device = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}"
    executable = [m for m in mappings if "x" in m.permissions]
    same_inode = [m for m in executable if (m.inode, m.device) == (file.st_ino, device)]
    for mapping in same_inode or [m for m in executable if m.inode and m.path == path]:
        for segment in segments:
            # Whole pages are mapped: the mapping of a segment begins below it in the file.
            first_page = segment.offset - segment.offset % mmap.PAGESIZE
            if segment.flags & _PF_X and first_page <= mapping.offset < segment.offset + segment.filesz:
                return mapping.start - (segment.vaddr - segment.offset + mapping.offset)
    return None


def bias_from_auxiliary_vector(vector: bytes, image: bytes | mmap.mmap) -> int | None:
    """Load bias in bytes of the executable whose file content is `image`, from the entry that the kernel jumped to."""
    (entry,) = struct.unpack_from("<Q", image, _E_ENTRY)
    value = _auxiliary_value(vector, _AT_ENTRY)
    return value - entry if value is not None else None


def has_program_headers_at(vector: bytes, begin: int, image: bytes | mmap.mmap) -> bool:
    """Whether the kernel loaded the file that is `image` with its first byte at this address, as far as it says where
    the program's headers are."""
    (offset,) = struct.unpack_from("<Q", image, _E_PHOFF)
    return _auxiliary_value(vector, _AT_PHDR) in (None, begin + offset)


def _auxiliary_value(vector: bytes, wanted: int) -> int | None:
    for key, value in struct.iter_unpack("<QQ", vector[: len(vector) // 16 * 16]):
        if key == wanted:
            return int(value)
    return None
