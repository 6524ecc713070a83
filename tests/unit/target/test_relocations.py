"""Pointers that the loader adjusts, in a table of either kind."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.running import Targets
from tracer.target.elf import open_elf
from tracer.target.relocations import from_rela, places_from_relr, words_at


def decoded(words: list[int]) -> list[int]:
    """As the gABI says it of SHT_RELR, word by word."""
    places, where = [], None
    for word in words:
        if not word & 1:
            places.append(word)
            where = word + 8
        elif where is not None:
            places += [where + 8 * bit for bit in range(63) if word >> (bit + 1) & 1]
            where += 8 * 63
    return places


WORD = st.one_of(st.integers(0, 1 << 40), st.integers(0, (1 << 63) - 1).map(lambda word: word << 1 | 1))


@given(st.lists(WORD, max_size=20))
def test_a_packed_table_names_its_places(words: list[int]) -> None:
    places = places_from_relr(struct.pack(f"<{len(words)}Q", *words))
    assert places is not None
    assert sorted(places.tolist()) == sorted(decoded(words))


def test_a_table_that_is_too_large_is_none() -> None:
    assert places_from_relr(bytes(8 << 16)) is not None
    assert places_from_relr(bytes((8 << 16) + 8)) is None


@given(st.binary(max_size=100))
def test_any_bytes_are_a_table(content: bytes) -> None:
    assert places_from_relr(content) is not None
    assert from_rela(content).shape[1] == 2


def test_words_that_are_nowhere_are_left_out() -> None:
    data = np.arange(64, dtype=np.uint8)
    segments = [(0x1000, 16, 32), (0x2000, 56, 1 << 40), (0x3000, 1 << 40, 8)]
    places = np.array([0x0FF8, 0x1000, 0x1018, 0x1019, 0x2000, 0x2001, 0x3000, -8, 1 << 62], np.int64)
    found = words_at(data, segments, places)
    assert found[:, 0].tolist() == [0x1000, 0x1018, 0x2000]
    assert found[:, 1].tolist() == [int.from_bytes(bytes(range(at, at + 8)), "little") for at in (16, 40, 56)]


def test_a_program_with_packed_relocations_has_the_pointers_that_readelf_tells(targets: Targets) -> None:
    path = targets.path("tokio_multi", "relr")
    readelf = shutil.which("readelf")
    assert readelf is not None
    told = subprocess.run([readelf, "-rW", path], capture_output=True, text=True, check=True).stdout
    packed = re.findall(r"^([0-9a-f]{16})$", told.partition(".relr.dyn")[2], re.MULTILINE)
    relative = re.findall(r"^([0-9a-f]{16}) .* R_X86_64_RELATIVE ", told, re.MULTILINE)
    with open_elf(path) as image:
        pointers = image.pointers
        end = max(segment.vaddr + segment.memsz for segment in image.segments)
        assert image.has_all_pointers
    assert len(packed) > 500
    assert sorted(pointers[:, 0].tolist()) == sorted(int(place, 16) for place in (*packed, *relative))
    assert np.all((pointers[:, 1] >= 0) & (pointers[:, 1] <= end))


def test_a_place_counts_once() -> None:
    """However often it is named, and in however many segments it is."""
    found = words_at(np.zeros(64, np.uint8), [(0x1000, 0, 64)] * 50, np.full(2_000, 0x1008, np.int64))
    assert found.tolist() == [[0x1008, 0]]
