"""Tables of functions by which tasks are found."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import cast

import pytest

from tests.memory_image import MadeMemory
from tracer.model import Binary, EndKind
from tracer.snapshot.vtables import has_other_layout

BIAS, DATA = 0x5000_0000, 0x5100_0000
POLL, FREED, SHUTDOWN, OTHER = 0x1000, 0x2000, 0x3000, 0x4000
KNOWN = [POLL, OTHER, FREED, OTHER, OTHER, OTHER, SHUTDOWN, 0, 0, 0, 0]
AT_RANDOM = [OTHER, POLL, OTHER, SHUTDOWN, FREED, OTHER, OTHER, 0, 0, 0, 0]
"""Runs of these have a SHUTDOWN where it belongs, of the table after that of the POLL or not."""


def binary(*kinds: EndKind) -> Binary:
    address = {EndKind.FREED: FREED, EndKind.SHUTDOWN: SHUTDOWN}
    return cast(Binary, SimpleNamespace(ends=[SimpleNamespace(kind=kind, address=address[kind]) for kind in kinds]))


@pytest.mark.parametrize("kinds", [(EndKind.FREED, EndKind.SHUTDOWN), (EndKind.FREED,), (EndKind.SHUTDOWN,), ()])
@pytest.mark.parametrize("table", [KNOWN, AT_RANDOM])
def test_tokio_tables_are_told_from_others_by_the_functions_around_the_poll(
    table: list[int], kinds: tuple[EndKind, ...]
) -> None:
    words = [0] * 16 + 3 * table + [0] * 16
    memory = MadeMemory({DATA: struct.pack(f"<{len(words)}Q", *(word and word + BIAS for word in words))})
    vtables = [DATA + 8 * at for at, word in enumerate(words) if word == POLL]
    assert has_other_layout(binary(*kinds), BIAS, memory, vtables) == (table is AT_RANDOM and bool(kinds))


def test_without_tables_nothing_is_known() -> None:
    assert not has_other_layout(binary(EndKind.FREED), BIAS, MadeMemory({}), [])
