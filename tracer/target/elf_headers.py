"""What the headers of an ELF file say: pyelftools (0.33) reads them, and what they say of sizes is checked."""

from __future__ import annotations

import itertools
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from elftools.elf.notes import iter_notes

from tracer.errors import NotTraceable

_MAX_HEADERS = 8192
_MAX_NOTES = 64 << 10
_MAX_PATH = 4096
_OLD_COMPRESSED = ".zdebug_"


@dataclass(frozen=True, slots=True)
class Segment:
    """A PT_LOAD segment.  flags: PF_X 1, PF_W 2, PF_R 4."""

    vaddr: int
    offset: int
    filesz: int
    memsz: int
    flags: int


@dataclass(frozen=True, slots=True)
class Section:
    """is_old_compressed: it is called .zdebug_… in the file, for GNU's tools of old compressed it in their own way."""

    name: str
    address: int
    offset: int
    size: int
    flags: int
    in_file: bool
    is_old_compressed: bool = False


def check_header(elf: Any, path: Path, size: int, kinds: tuple[str, ...]) -> None:
    """Raises NotTraceable when it is for another machine, of another kind, or says what cannot be."""
    header = elf.header
    machine = header.e_machine
    if elf.elfclass != 64 or not elf.little_endian or machine != "EM_X86_64":
        raise NotTraceable(
            f"{path} is built for {_machine_name(machine, elf)}.",
            why="Only x86-64 programs can be traced.",
            fix="Trace an x86-64 build: cargo build --release --target x86_64-unknown-linux-gnu",
        )
    if header.e_type not in kinds:
        raise NotTraceable(
            f"{path} is neither a program nor a shared library.",
            why=f"Its ELF type is {header.e_type}.",
            fix="Name the executable itself.",
        )
    for what, offset, entry, least, count in (
        ("program", header.e_phoff, header.e_phentsize, 56, elf.num_segments() if header.e_phoff else 0),
        ("section", header.e_shoff, header.e_shentsize, 64, elf.num_sections() if header.e_shoff else 0),
    ):
        if not offset:
            continue
        if count > _MAX_HEADERS:
            raise damaged(path, f"it claims {count} {what} headers")
        if entry < least:
            raise damaged(path, f"its {what} headers are {entry} bytes long")
        if offset + count * entry > size:
            raise damaged(path, f"its {what} headers lie beyond its end: it is cut off")


def program_headers(elf: Any) -> list[Any]:
    """Not iter_segments(): it builds objects that parse on their own, a dynamic segment all sections."""
    return [elf._get_segment_header(index) for index in range(elf.num_segments())]


def find_build_id(elf: Any, headers: list[Any], section: Section | None, size: int) -> str | None:
    """section: .note.gnu.build-id; None: there is none.  size: of the file."""
    # The section first: in a separate debug file the segments' offsets are not to be relied on.
    if section is not None and section.in_file and section.size <= _MAX_NOTES:
        found = _build_id(iter_notes(elf, section.offset, section.size))
        if found is not None:
            return found
    for header in headers:
        if header.p_type == "PT_NOTE" and header.p_filesz <= min(_MAX_NOTES, size):
            found = _build_id(iter_notes(elf, header.p_offset, header.p_filesz))
            if found is not None:
                return found
    return None


def segments(headers: list[Any]) -> Iterator[Segment]:
    for header in headers:
        if header.p_type == "PT_LOAD":
            yield Segment(header.p_vaddr, header.p_offset, header.p_filesz, header.p_memsz, header.p_flags)


def thread_local_block(headers: list[Any]) -> int | None:
    """As ElfImage has it."""
    header = _first(headers, "PT_TLS")
    if header is None:
        return None
    align = max(int(header.p_align), 1)
    # The block begins where its address has the remainder of p_vaddr, as glibc and musl place it.
    return int(-(-(header.p_memsz + header.p_vaddr % align) // align) * align - header.p_vaddr % align)


def interpreter(headers: list[Any], data: mmap.mmap) -> PurePosixPath | None:
    """As ElfImage has it."""
    header = _first(headers, "PT_INTERP")
    if header is None:
        return None
    text = data[header.p_offset : header.p_offset + min(header.p_filesz, _MAX_PATH)]
    return PurePosixPath(os.fsdecode(text.partition(b"\0")[0]))


def frame_header(headers: list[Any]) -> int | None:
    """As ElfImage has it."""
    header = _first(headers, "PT_GNU_EH_FRAME")
    return None if header is None else int(header.p_vaddr)


def _first(headers: list[Any], kind: str) -> Any | None:
    return next((header for header in headers if header.p_type == kind), None)


def sections(elf: Any) -> Iterator[Section]:
    if not elf.header.e_shoff:
        return
    # Not iter_sections(): it builds objects that parse on their own (hash tables, versions).
    names = elf.get_section(elf.get_shstrndx()) if elf.num_sections() else None
    for index in range(elf.num_sections()):
        header = elf._get_section_header(index)
        name = names.get_string(header.sh_name) if names is not None else ""
        in_file = header.sh_type not in ("SHT_NOBITS", "SHT_NULL")
        is_old = name.startswith(_OLD_COMPRESSED)
        name = "." + name.removeprefix(".z") if is_old else name
        yield Section(name, header.sh_addr, header.sh_offset, header.sh_size, header.sh_flags, in_file, is_old)


def _build_id(notes: Iterator[Any]) -> str | None:
    for note in itertools.islice(notes, 256):
        if note["n_type"] == "NT_GNU_BUILD_ID" and note["n_name"] == "GNU":
            return str(note["n_desc"])
    return None


def _machine_name(machine: object, elf: Any) -> str:
    if machine == "EM_X86_64":
        return "x32 (32-bit pointers)" if elf.elfclass == 32 else "big-endian x86-64"
    known = {"EM_AARCH64": "aarch64 (64-bit ARM)", "EM_386": "32-bit x86", "EM_ARM": "32-bit ARM", "EM_RISCV": "RISC-V"}
    return known.get(str(machine), f"another machine ({machine})")


def damaged(path: Path, why: str) -> NotTraceable:
    """The error for a file that says what cannot be."""
    return NotTraceable(f"{path} is a damaged ELF file.", why=why[:1].upper() + why[1:] + ".", fix="Build it again.")
