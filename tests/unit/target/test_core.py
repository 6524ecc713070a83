"""Core dumps that say of their memory what cannot be."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.fuzz.parsers import CORPUS, core_seeds
from tracer.errors import NotTraceable
from tracer.target.core import CoreMemory
from tracer.target.elf import open_elf

_FIRST_LOAD = 64 + 56
_ADDRESS, _IN_FILE, _IN_MEMORY = 16, 32, 40
"""Of a program header: p_vaddr, p_filesz, p_memsz."""


def core(folder: Path, field: int, value: int) -> CoreMemory:
    data = bytearray(core_seeds()[0])
    struct.pack_into("<Q", data, _FIRST_LOAD + field, value)
    path = folder / "core"
    path.write_bytes(data)
    with open_elf(CORPUS / "elf" / "bare") as executable:
        return CoreMemory(path, executable)


@pytest.mark.parametrize("size", [253, 1 << 44, (1 << 62) + 3])
def test_what_is_dumped_is_in_the_file_by_whole_words(tmp_path: Path, size: int) -> None:
    memory = core(tmp_path, _IN_FILE, size)
    areas = [area for mapping in memory.mappings() for area in memory.resident(mapping)]
    assert len(areas) == 2
    for start, end in areas:
        assert (end - start) % 8 == 0
        assert 0 < end - start <= (tmp_path / "core").stat().st_size
    assert (memory.missing > 0) == (size > 1000)


@pytest.mark.parametrize(("field", "value"), [(_ADDRESS, (1 << 64) - 8), (_IN_MEMORY, (1 << 64) - 1)])
def test_memory_beyond_all_addresses_is_refused(tmp_path: Path, field: int, value: int) -> None:
    with pytest.raises(NotTraceable, match="core dump"):
        core(tmp_path, field, value)
