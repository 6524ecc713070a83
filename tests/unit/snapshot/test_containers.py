"""What lies in containers, where the memory of one of them makes no sense."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from tests.memory_image import MadeMemory
from tracer.model import Container, Route
from tracer.snapshot.containers import elements
from tracer.snapshot.image import Image

BASE, ELEMENTS = 0x10000, 0x10100
SLICE = Container(Route(None, (), (0,)), 0, 8, 8, next=0, item=0, is_pointer=False, child=0)
GARBAGE = (0x1234_5678_0000, 1 << 60)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_length_that_cannot_be_hides_nothing_in_others(at: int) -> None:
    headers = [(ELEMENTS, 2), (ELEMENTS + 16, 3)]
    headers.insert(at, GARBAGE)
    words = b"".join(struct.pack("<QQ", *one) for one in headers)
    image = Image(MadeMemory({BASE: words.ljust(0x100, b"\0") + bytes(64)}))
    found = elements(image, SLICE, BASE + 16 * np.arange(3, dtype=np.uint64))
    assert found.is_whole.tolist() == [place != at for place in range(3)]
    assert found.addresses.tolist() == [ELEMENTS + 8 * number for number in range(5)]
