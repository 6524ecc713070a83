"""The ELF file of a program: segments, sections, symbols, build id.

pyelftools (0.33) reads the headers; the symbol table, which has 10^5 to 10^6 entries, is read
by numpy.  The input is not trusted: whatever the file says about sizes is checked against the
file's real size before anything is read or allocated.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, cast

import numpy as np
import numpy.typing as npt
from elftools.elf.elffile import ELFFile

from tracer.errors import NotTraceable, PermissionMissing
from tracer.privileges import Capability, has_capability
from tracer.target.compressed import decompressed, is_compressed
from tracer.target.elf_headers import (
    Section,
    Segment,
    check_header,
    damaged,
    find_build_id,
    frame_header,
    interpreter,
    program_headers,
    sections,
    segments,
    thread_local_block,
)
from tracer.target.inside import open_file
from tracer.target.relocations import Pointers, from_rela, places_from_relr, words_at
from tracer.target.symbols import FUNCTION, IFUNC, OBJECT, SYMBOL, SymbolTable

_EXECUTABLE = 1
_PROGRAMS = ("ET_EXEC", "ET_DYN")
_OBJECTS = ("ET_REL", "ET_NONE")


class ElfImage:
    """One open x86-64 ELF executable, shared object or debug file.  Use `open_elf`, or `open_split_file`.

    data: the whole file, mapped read-only.  path: what was opened, e.g. /proc/PID/exe.
    interpreter: the path of the dynamic linker that it names; None: it names none, and is not is_dynamic.
    is_relocatable: it can be loaded anywhere.  thread_local_block: bytes from a thread's pointer down to the begin of
    its thread-local variables, when it is the executable; None: it has none.  frame_header: link-time address of its
    .eh_frame_hdr; None: it has none.
    A section or an address that the file does not have is None.
    """

    def __init__(self, path: Path, data: mmap.mmap, kinds: tuple[str, ...] = _PROGRAMS) -> None:
        self.path = path
        self.data = data
        self.size = len(data)
        self.architecture = "x86_64"
        try:
            elf = ELFFile(cast(IO[bytes], data))
            check_header(elf, path, self.size, kinds)
            headers = program_headers(elf)
            self.segments = tuple(segments(headers))
            if any(segment.vaddr + segment.memsz >= 1 << 63 for segment in self.segments):
                raise damaged(path, "its addresses are out of range")
            self._sections = {section.name: section for section in reversed(list(sections(elf)))}
            self.is_relocatable = elf.header.e_type == "ET_DYN"
            self.interpreter = interpreter(headers, data)
            self.is_dynamic = self.interpreter is not None
            self.thread_local_block = thread_local_block(headers)
            self.frame_header = frame_header(headers)
            self.build_id = find_build_id(elf, headers, self._sections.get(".note.gnu.build-id"), self.size)
        except NotTraceable:
            raise
        except Exception as error:  # pyelftools raises many kinds on damaged input, not only ELFError
            raise damaged(path, str(error) or type(error).__name__) from error
        self._contents: dict[str, bytes | memoryview] = {}

    # ------------------------------------------------------------ sections

    @property
    def section_names(self) -> tuple[str, ...]:
        return tuple(self._sections)

    def has_section(self, name: str) -> bool:
        """Whether the section is there and has content in this file."""
        section = self._sections.get(name)
        return section is not None and section.in_file and section.size > 0

    def section_range(self, name: str) -> tuple[int, int] | None:
        """(begin, end) of the section's content in the file, as its header says; None when it has none."""
        section = self._sections.get(name)
        if section is None or not section.in_file:
            return None
        return section.offset, section.offset + section.size

    def section_address(self, name: str) -> int | None:
        section = self._sections.get(name)
        return section.address if section is not None and section.address else None

    def section(self, name: str) -> bytes | memoryview | None:
        """The section's content, decompressed; kept.  None when it has none in this file.

        Raises NotTraceable when the section lies beyond the end of the file or cannot be
        decompressed.
        """
        content = self._contents.get(name)
        if content is not None:
            return content
        section = self._sections.get(name)
        if section is None or not section.in_file:
            return None
        if section.offset + section.size > self.size:
            raise damaged(self.path, f"its section {name} lies beyond its end: it is cut off")
        content = memoryview(self.data)[section.offset : section.offset + section.size]
        if is_compressed(section):
            content = decompressed(self.path, section, content)
        self._contents[name] = content
        return content

    # ------------------------------------------------------------ addresses

    def constants(self) -> Iterator[tuple[int, bytes | memoryview]]:
        """(address, content) of each section of constants.  Most linkers make one of them; mold has strings apart."""
        for name in self.section_names:
            if name == ".rodata" or name.startswith(".rodata."):
                content, address = self.section(name), self.section_address(name)
                if content is not None and address is not None:
                    yield address, content

    def segment_of(self, vaddr: int) -> Segment | None:
        """The PT_LOAD segment with file content at this link-time address."""
        for segment in self.segments:
            if segment.vaddr <= vaddr < segment.vaddr + segment.filesz:
                return segment
        return None

    def offset_of(self, vaddr: int) -> int | None:
        """Link-time virtual address → offset into the file; None when nothing is loaded there."""
        segment = self.segment_of(vaddr)
        if segment is None:
            return None
        offset = vaddr - segment.vaddr + segment.offset
        return offset if offset < self.size else None

    def executable_code(self) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
        """(link-time address, bytes) of each executable segment; together no more than the file has."""
        left = self.size  # segments do not overlap, unless somebody made them to
        for segment in self.segments:
            size = min(segment.filesz, self.size - segment.offset, left)
            if segment.flags & _EXECUTABLE and size > 0:
                left -= size
                yield segment.vaddr, np.frombuffer(self.data, np.uint8, size, segment.offset)

    def vaddr_of(self, offset: int) -> int | None:
        """Offset into the file → link-time virtual address, by the executable segment first."""
        found: int | None = None
        for segment in self.segments:
            if segment.offset <= offset < segment.offset + segment.filesz:
                address = offset - segment.offset + segment.vaddr
                if segment.flags & _EXECUTABLE:
                    return address
                found = address if found is None else found
        return found

    def read(self, vaddr: int, size: int) -> bytes | None:
        """`size` bytes at a link-time address; None unless all of them are in one segment."""
        segment = self.segment_of(vaddr)
        if segment is None or size < 0 or vaddr + size > segment.vaddr + segment.filesz:
            return None
        offset = vaddr - segment.vaddr + segment.offset
        content = self.data[offset : offset + size]
        return content if len(content) == size else None

    def read_up_to(self, vaddr: int, size: int) -> bytes:
        """The same, cut where the segment's content in the file ends; empty where nothing is."""
        segment = self.segment_of(vaddr)
        if segment is None or size < 0:
            return b""
        offset = vaddr - segment.vaddr + segment.offset
        return self.data[offset : offset + min(size, segment.vaddr + segment.filesz - vaddr)]

    # ------------------------------------------------------------ pointers

    @cached_property
    def pointers(self) -> Pointers:
        """What the loader adjusts; empty where nothing is, or where no section tells it."""
        rela = self.section(".rela.dyn")
        found = [from_rela(rela)] if rela is not None else []
        places = self._packed_places
        if places is not None and len(places):
            segments = [(segment.vaddr, segment.offset, segment.filesz) for segment in self.segments]
            found.append(words_at(np.frombuffer(self.data, np.uint8), segments, places))
        return np.concatenate(found) if found else np.zeros((0, 2), np.int64)

    @property
    def has_all_pointers(self) -> bool:
        """Whether every address that is kept in its data is among `pointers`."""
        has_table = self.has_section(".rela.dyn") or self.has_section(".relr.dyn")
        return self.is_relocatable and has_table and self._packed_places is not None

    @cached_property
    def _packed_places(self) -> npt.NDArray[np.int64] | None:
        """None: there are more than we read."""
        packed = self.section(".relr.dyn")
        return places_from_relr(packed) if packed is not None else np.zeros(0, np.int64)

    # ------------------------------------------------------------ symbols

    @cached_property
    def _symbols(self) -> SymbolTable:
        return self.symbols_of(".symtab" if self.has_section(".symtab") else ".dynsym")

    def symbols(self) -> SymbolTable:
        """All defined symbols of .symtab, or of .dynsym in a stripped file; empty when there is neither."""
        return self._symbols

    def symbols_of(self, name: str) -> SymbolTable:
        """The defined symbols of one table, ".symtab" or ".dynsym"."""
        content = self.section(name) if self.has_section(name) else None
        strings = self.section({".symtab": ".strtab", ".dynsym": ".dynstr"}[name])
        if content is None or strings is None:
            return SymbolTable(np.zeros(0, SYMBOL), b"")
        table = np.frombuffer(content[: len(content) // SYMBOL.itemsize * SYMBOL.itemsize], SYMBOL)
        defined = table[(table["section"] != 0) & (table["name"] < len(strings))]
        return SymbolTable(defined, bytes(strings))

    # ------------------------------------------------------------ debug link

    def debuglink(self) -> tuple[str, int] | None:
        """The name and CRC32 of the separate debug file (.gnu_debuglink), or None."""
        content = self.section(".gnu_debuglink")
        if content is None:
            return None
        raw = bytes(content)
        end = raw.find(b"\0")
        at = (end + 4) & ~3
        if end <= 0 or at + 4 > len(raw):
            return None
        return raw[:end].decode("utf-8", "surrogateescape"), int.from_bytes(raw[at : at + 4], "little")

    def close(self) -> None:
        """Unmap the file.  What was handed out from it stays valid until it is dropped."""
        self._contents.clear()
        for kept in ("_symbols", "pointers", "_packed_places"):
            self.__dict__.pop(kept, None)
        with contextlib.suppress(BufferError):  # somebody still holds a view: the mapping goes with it
            self.data.close()

    def __enter__(self) -> ElfImage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_elf(path: Path) -> ElfImage:
    """Open an x86-64 ELF file.

    Raises NotTraceable when there is no such file, it is no ELF file, damaged, cut off, or for
    another machine; PermissionMissing when it must not be read.
    """
    return _open(path, _PROGRAMS)


def open_split_file(path: Path) -> ElfImage:
    """Open a file with split debug information: a .dwp, .dwo or .o.  Raises as open_elf does."""
    return _open(path, _OBJECTS)


def _open(path: Path, kinds: tuple[str, ...]) -> ElfImage:
    data = map_elf(path)
    try:
        return ElfImage(path, data, kinds)
    except NotTraceable:
        with contextlib.suppress(BufferError):  # the error's traceback still holds a view
            data.close()
        raise


def map_elf(path: Path) -> mmap.mmap:
    """The content of an ELF file of any kind.  Raises as open_elf does."""
    try:
        descriptor = open_file(path)
    except PermissionError as error:
        raise PermissionMissing(
            f"{path} cannot be read.",
            why="Only some may read that file: it takes CAP_DAC_READ_SEARCH, or read permission on it."
            if has_capability(Capability.SYS_PTRACE)
            else "Reading another process's executable needs CAP_SYS_PTRACE, or read permission on the file.",
        ) from error
    except OSError as error:
        raise NotTraceable(f"{path} cannot be opened: {error.strerror}.", fix="Check the path.") from error
    try:
        if os.pread(descriptor, 4, 0) != b"\x7fELF":
            raise NotTraceable(
                f"{path} is not an ELF program.",
                why="Only compiled programs can be traced; scripts run inside their interpreter.",
                fix="Name the executable that cargo built, e.g. target/release/NAME.",
            )
        data = mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
    except (OSError, ValueError) as error:
        raise NotTraceable(f"{path} cannot be read: {error}.") from error
    finally:
        os.close(descriptor)
    return data


__all__ = [
    "FUNCTION",
    "IFUNC",
    "OBJECT",
    "SYMBOL",
    "ElfImage",
    "Section",
    "Segment",
    "SymbolTable",
    "open_elf",
    "open_split_file",
]
