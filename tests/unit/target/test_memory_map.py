"""/proc/PID/maps and the load bias, on texts as the kernel writes them."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

import pytest

from tracer.model import Mapping
from tracer.target.memory_map import bias_from_auxiliary_vector, bias_from_mappings, has_program_headers_at, parse_maps

MAPS = (
    b"55d0c0000000-55d0c0010000 r--p 00000000 fe:01 4711                       /srv/app/server\n"
    b"55d0c0011000-55d0c0080000 r-xp 00010000 fe:01 4711                       /srv/app/server\n"
    b"7f0000000000-7f0000021000 rw-p 00000000 00:00 0 \n"
    b"7f1000000000-7f1000001000 r-xs 00001000 00:1b 12                         /srv/a b\\012c (deleted)\n"
    b"7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]\n"
    b"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n"
)


@dataclass(frozen=True)
class Segment:
    vaddr: int
    offset: int
    filesz: int
    flags: int


# As lld lays them out: addresses and offsets differ, and the text begins inside a page.
SEGMENTS = (
    Segment(vaddr=0, offset=0, filesz=0x10234, flags=4),
    Segment(vaddr=0x11240, offset=0x10240, filesz=0x6E000, flags=5),
    Segment(vaddr=0x80000, offset=0x7E240, filesz=0x3000, flags=6),
)


def file(inode: int, major: int = 0xFE, minor: int = 1) -> os.stat_result:
    return os.stat_result((0o100755, inode, os.makedev(major, minor), 1, 0, 0, 0, 0, 0, 0))


def test_parse_maps() -> None:
    mappings = parse_maps(MAPS)
    assert mappings[1] == Mapping(
        start=0x55D0C0011000,
        end=0x55D0C0080000,
        offset=0x10000,
        permissions="r-xp",
        inode=4711,
        device="fe:01",
        path="/srv/app/server",
    )
    assert [m.path for m in mappings] == [
        "/srv/app/server",
        "/srv/app/server",
        "",
        "/srv/a b\nc",
        "[stack]",
        "[vsyscall]",
    ]
    assert parse_maps(b"") == []


def test_bias_of_the_file_with_the_same_inode() -> None:
    # 0x55d0c0011000 is the page of file offset 0x10000, which is linked at 0x11000.
    assert bias_from_mappings(parse_maps(MAPS), SEGMENTS, file(4711), "/other/name") == 0x55D0C0000000


@pytest.mark.parametrize("status", [file(4711, major=0), file(9)])
def test_bias_by_path_where_inode_or_device_differ(status: os.stat_result) -> None:
    assert bias_from_mappings(parse_maps(MAPS), SEGMENTS, status, "/srv/app/server") == 0x55D0C0000000
    assert bias_from_mappings(parse_maps(MAPS), SEGMENTS, status, "/srv/app/other") is None


def test_bias_from_a_later_part_of_the_text() -> None:
    """A mapping that was split by mprotect, its first half replaced."""
    text = b"55d0c0031000-55d0c0080000 r-xp 00030000 fe:01 4711   /srv/app/server\n"
    assert bias_from_mappings(parse_maps(text), SEGMENTS, file(4711), "") == 0x55D0C0000000


def test_no_bias_from_data() -> None:
    text = b"55d0c0000000-55d0c0010000 r--p 00000000 fe:01 4711   /srv/app/server\n"
    assert bias_from_mappings(parse_maps(text), SEGMENTS, file(4711), "/srv/app/server") is None


def test_bias_from_the_entry() -> None:
    image = b"\x7fELF".ljust(24, b"\0") + struct.pack("<Q", 0x11500)
    vector = struct.pack("<6Q", 6, 4096, 9, 0x55D0C0011500, 0, 0)
    assert bias_from_auxiliary_vector(vector, image) == 0x55D0C0000000
    assert bias_from_auxiliary_vector(vector[:16], image) is None


def test_another_program_with_its_entry_at_the_same_place_of_a_page_has_its_headers_elsewhere() -> None:
    image = b"\x7fELF".ljust(24, b"\0") + struct.pack("<QQ", 0x11500, 64)
    vector = struct.pack("<6Q", 3, 0x55D0C0000040, 9, 0x55D0C0022500, 0, 0)
    bias = bias_from_auxiliary_vector(vector, image)
    assert bias == 0x55D0C0011000
    assert not has_program_headers_at(vector, bias, image)
    assert has_program_headers_at(vector, 0x55D0C0000000, image)
    assert has_program_headers_at(vector[16:], bias, image), "nobody says where"
