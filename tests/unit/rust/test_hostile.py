"""Damaged and hostile binaries: an answer or an error for people, soon."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tracer.errors import NotTraceable, RatError
from tracer.rust import read_binary
from tracer.target.elf import ElfImage, open_elf

SECTIONS = (
    ".debug_info",
    ".debug_abbrev",
    ".debug_aranges",
    ".debug_line",
    ".debug_line_str",
    ".debug_str_offsets",
    ".debug_addr",
    ".debug_loc",
    ".debug_loclists",
    ".symtab",
    ".rela.dyn",
    ".note.gnu.build-id",
)
WITHIN = 40_000
"""Bytes from a section's begin that are damaged: the sample's own unit comes first in each."""

damage = st.tuples(
    st.integers(0, 1 << 30),
    st.sampled_from(["headers", "sections", *SECTIONS]),
    st.one_of(
        st.binary(min_size=1, max_size=9),
        st.sampled_from([b"\xff" * 8, b"\0" * 8, b"\x80" * 16, b"\xff\xff\xff\x7f", b"\x01\0\0\0\0\0\0\x80"]),
    ),
)


def regions(path: Path) -> dict[str, tuple[int, int]]:
    """Name → (begin, end) in the file of what can be damaged."""
    with open_elf(path) as image:
        found = {"headers": (16, 64 + 12 * 56), "sections": (image.size - 64 * 45, image.size)}
        for name in SECTIONS:
            section = image.section_range(name)
            if section is not None:
                found[name] = (section[0], min(section[1], section[0] + WITHIN))
        return found


@pytest.mark.parametrize("build", ["debug", "release-v5"])
@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damages=st.lists(damage, min_size=1, max_size=4))
def test_damage_anywhere(
    build: str,
    samples: dict[str, Path],
    tmp_path: Path,
    damages: list[tuple[int, str, bytes]],
) -> None:
    content = bytearray(samples[build].read_bytes())
    places = regions(samples[build])
    for number, region, replacement in damages:
        begin, end = places.get(region, places[".debug_info"])
        at = begin + number % max(1, end - begin - len(replacement))
        content[at : at + len(replacement)] = replacement
    check(tmp_path, bytes(content))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.one_of(st.integers(0, 4096), st.integers(0, 5_000_000)))
def test_cut_off(samples: dict[str, Path], tmp_path: Path, size: int) -> None:
    content = samples["debug"].read_bytes()
    check(tmp_path, content[: min(size, len(content) - 1)], must_fail=True)


def check(folder: Path, content: bytes, *, must_fail: bool = False) -> None:
    path = folder / "damaged"
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    begin = time.process_time()
    problem: RatError | None = None
    try:
        with open_elf(path) as image:
            binary = read_binary(image, display_path="damaged")
            assert binary.functions or binary.refusals
            assert not must_fail
    except RatError as error:
        problem = error
    assert problem is None or (isinstance(problem, NotTraceable) and problem.what and problem.why + problem.fix)
    assert time.process_time() - begin < 5


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "not an ELF"),
        (b"#!/bin/sh\n", "not an ELF"),
        (b"\x7fELF", "damaged"),
        (b"\x7fELF\x02\x01\x01" + b"\0" * 57, "another machine"),
        (b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\x03\0\xb7\0\x01\0\0\0" + b"\0" * 40, "aarch64"),
        (b"\x7fELF\x01\x01\x01" + b"\0" * 9 + b"\x02\0\x03\0\x01\0\0\0" + b"\0" * 40, "32-bit x86"),
    ],
)
def test_what_is_no_program_for_this_machine(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(NotTraceable) as caught:
        open_elf(path)
    assert word in f"{caught.value.what} {caught.value.why}"


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", tmp_path / "missing"):
        with pytest.raises(NotTraceable):
            open_elf(path)


def test_a_section_that_lies_beyond_the_end_is_an_error(samples: dict[str, Path], tmp_path: Path) -> None:
    with open_elf(samples["debug"]) as image:
        place = _section_header(image, ".debug_line")
    assert place is not None
    content = bytearray(samples["debug"].read_bytes())
    content[place + 32 : place + 40] = (1 << 40).to_bytes(8, "little")
    (tmp_path / "file").write_bytes(content)
    with open_elf(tmp_path / "file") as image, pytest.raises(NotTraceable, match="damaged"):
        image.section(".debug_line")


def _section_header(image: ElfImage, name: str) -> int | None:
    """Where the section's header is in the file (Elf64_Shdr, 64 bytes each, at e_shoff)."""
    place = image.section_range(name)
    if place is None:
        return None
    begin = int.from_bytes(image.data[40:48], "little")
    for at in range(begin, image.size - 63, 64):
        if int.from_bytes(image.data[at + 24 : at + 32], "little") == place[0]:
            return at
    return None
