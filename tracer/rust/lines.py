"""From an address to file and line: the line tables of DWARF 4 and 5 (.debug_line, section 6.2).

Only the part of a line program that is asked for is run: rustc places each function in a section
of its own, so that a sequence of the program begins at the function's address.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tracer.model import SourceLocation
from tracer.rust.dwarf import Dwarf, Unit
from tracer.rust.forms import DAMAGE, At, DwarfError, sleb, uleb

_BUDGET = 2_000_000
"""Operations of line programs that are run at most for one binary."""
_PATH, _DIRECTORY = 1, 2  # DW_LNCT_path, DW_LNCT_directory_index

_END_SEQUENCE = b"\0\x01\x01"


@dataclass(frozen=True, slots=True)
class _Header:
    files: dict[int, str]
    minimum_length: int
    line_base: int
    line_range: int
    opcode_base: int
    operands: bytes
    program: int
    end: int


class LineTables:
    """The line tables of one binary; headers are read when first needed, and kept."""

    def __init__(self, dwarf: Dwarf) -> None:
        self._dwarf = dwarf
        self._data = dwarf.section(".debug_line")
        self._headers: dict[int, _Header | None] = {}
        self._budget = _BUDGET

    def file(self, unit: Unit, index: int) -> str | None:
        """The file that DW_AT_decl_file names in this unit; None when unknown."""
        header = self._header(unit)
        return header.files.get(index) if header is not None else None

    def location(self, unit: Unit, address: int) -> SourceLocation | None:
        """Where the code at this address comes from; None when the table does not say."""
        header = self._header(unit)
        if header is None:
            return None
        try:
            rows = (row for run in self._runs(header, address) for row in run)
            found = next((row for row in rows if row[0] <= address < row[1]), None)
        except (DwarfError, *DAMAGE):
            return None
        return _place(header, found[2], found[3]) if found is not None else None

    def places(self, unit: Unit, low: int, high: int) -> list[tuple[int, SourceLocation | None]]:
        """(address, where the code from there on comes from) of a function, ascending; None where no line is told.

        low, high: where the function begins and ends.  Empty when the table does not have it.
        """
        header = self._header(unit)
        if header is None:
            return []
        found: list[tuple[int, SourceLocation | None]] = []
        try:
            for run in self._runs(header, low):
                for begin, end, file, line in run:
                    if begin < high and end > low:
                        found.append((begin, _place(header, file, line)))
                if found:
                    break
        except (DwarfError, *DAMAGE):
            return []
        return found

    def _header(self, unit: Unit) -> _Header | None:
        try:
            root = self._dwarf.root(unit)
            offset = root.get(At.STMT_LIST)
            if not isinstance(offset, int):
                return None
            if offset not in self._headers:
                directory = root.get(At.COMP_DIR)
                self._headers[offset] = None
                self._headers[offset] = self._read_header(unit, offset, directory if isinstance(directory, str) else "")
        except (DwarfError, *DAMAGE):
            return None
        return self._headers[offset]

    def _read_header(self, unit: Unit, offset: int, directory: str) -> _Header | None:
        data = self._data
        length, version = struct.unpack_from("<IH", data, offset)
        end = offset + 4 + length
        if end > len(data) or version not in (2, 3, 4, 5):
            return None
        at = offset + 6 + (2 if version == 5 else 0)
        program = at + 4 + struct.unpack_from("<I", data, at)[0]
        at += 4
        minimum_length = data[at]
        at += 3 if version >= 4 else 2  # minimum length, (maximum operations,) default is_stmt
        line_base, line_range, opcode_base = struct.unpack_from("<bBB", data, at)
        at += 3
        operands = data[at : at + opcode_base - 1]
        at += opcode_base - 1
        files = self._files5(unit, at, program) if version == 5 else self._files4(at, program, directory)
        return _Header(files, minimum_length, line_base, line_range, opcode_base, operands, program, end)

    def _files4(self, at: int, end: int, directory: str) -> dict[int, str]:
        data, directories = self._data, [directory]
        files: dict[int, str] = {}
        while data[at] and at < end:
            stop = data.index(0, at)
            directories.append(_joined(directory, data[at:stop].decode("utf-8", "replace")))
            at = stop + 1
        at += 1
        while data[at] and at < end:
            stop = data.index(0, at)
            name = data[at:stop].decode("utf-8", "replace")
            index, at = uleb(data, stop + 1)
            _, at = uleb(data, at)
            _, at = uleb(data, at)
            files[len(files) + 1] = _joined(directories[index] if index < len(directories) else "", name)
        return files

    def _files5(self, unit: Unit, at: int, end: int) -> dict[int, str]:
        entries, at = self._table5(unit, at, end)
        directories = [str(entry.get(_PATH, "")) for entry in entries]
        directories = [_joined(directories[0], name) for name in directories]
        entries, at = self._table5(unit, at, end)
        files = {}
        for number, entry in enumerate(entries):
            index = entry.get(_DIRECTORY, 0)
            directory = directories[index] if isinstance(index, int) and index < len(directories) else ""
            files[number] = _joined(directory, str(entry.get(_PATH, "")))
        return files

    def _table5(self, unit: Unit, at: int, end: int) -> tuple[list[dict[int, object]], int]:
        data = self._data
        formats = []
        count = data[at]
        at += 1
        for _ in range(count):
            content, at = uleb(data, at)
            form, at = uleb(data, at)
            formats.append((content, form))
        count, at = uleb(data, at)
        entries: list[dict[int, object]] = []
        for _ in range(count):
            if at >= end or not formats:
                break
            entry: dict[int, object] = {}
            begin = at
            for content, form in formats:
                entry[content], at = self._dwarf.read_form(at, form, unit, data=data)
            if at == begin:
                raise DwarfError("entries of no length, in any number")
            entries.append(entry)
        return entries, at

    def _runs(self, header: _Header, wanted: int) -> Iterator[Iterator[tuple[int, int, int, int]]]:
        """(begin, end, file, line) of the rows of the sequence that begins at `wanted`; then of all."""
        # DW_LNE_set_address with just this address; what stands between it and the DW_LNE_end_sequence before it,
        # such as the file's number, belongs to its sequence.
        at = self._data.find(b"\0\x09\x02" + struct.pack("<Q", wanted), header.program, header.end)
        start = self._data.rfind(_END_SEQUENCE, header.program, at) + len(_END_SEQUENCE) if at >= 0 else 0
        if start > len(_END_SEQUENCE):
            yield self._run(header, start, through=at)
        yield self._run(header, header.program)

    def _run(self, header: _Header, at: int, through: int = -1) -> Iterator[tuple[int, int, int, int]]:
        """The rows of the sequence that begins at `at`, or of all when `through` is not given.

        through: where an instruction must begin before the first row, else `at` was not the place to begin.
        """
        data, end = self._data, header.end
        is_one_only = through >= 0
        address, file, line = 0, 1, 1
        previous: tuple[int, int, int] | None = None
        while at < end:
            self._budget -= 1
            if self._budget < 0:
                return
            if at == through:
                through = -1
            opcode = data[at]
            at += 1
            emits = ends = False
            if opcode >= header.opcode_base:
                adjusted = opcode - header.opcode_base
                address += adjusted // header.line_range * header.minimum_length
                line += header.line_base + adjusted % header.line_range
                emits = True
            elif opcode == 0:
                length, at = uleb(data, at)
                extended = data[at]
                if extended == 2:
                    address = struct.unpack_from("<Q", data, at + 1)[0]
                emits = ends = extended == 1
                at += length
            elif opcode == 1:
                emits = True
            elif opcode == 2:
                advance, at = uleb(data, at)
                address += advance * header.minimum_length
            elif opcode == 3:
                advance, at = sleb(data, at)
                line += advance
            elif opcode == 4:
                file, at = uleb(data, at)
            elif opcode == 8:
                address += (255 - header.opcode_base) // header.line_range * header.minimum_length
            elif opcode == 9:
                address += struct.unpack_from("<H", data, at)[0]
                at += 2
            else:
                for _ in range(header.operands[opcode - 1]):
                    _, at = uleb(data, at)
            if not emits:
                continue
            if through >= 0:
                return
            if previous is not None:
                yield previous[0], address, previous[1], previous[2]
            if ends:
                if is_one_only:
                    return
                address, file, line, previous = 0, 1, 1, None
            else:
                previous = (address, file, line)


def _place(header: _Header, file: int, line: int) -> SourceLocation | None:
    name = header.files.get(file) if line else None
    return SourceLocation(name, line) if name is not None else None


def _joined(directory: str, name: str) -> str:
    return name if name.startswith("/") or not directory else f"{directory}/{name}"
