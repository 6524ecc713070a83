"""Whatever is asked for in whatever order: an image has what the memory has, and nothing of what is not mapped."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.memory_image import MadeMemory
from tracer.snapshot.image import Image

_AREAS = {
    0x1000: (np.arange(4096) % 251).astype(np.uint8).tobytes(),
    0x2000: (np.arange(4096) % 241).astype(np.uint8).tobytes(),  # goes on where the one before ends
    0x5000: (np.arange(8192) % 239).astype(np.uint8).tobytes(),
}
_ADDRESSES = st.lists(st.integers(0xFF0, 0x7010) | st.integers(0, 2**64 - 1), min_size=1, max_size=12)
_SIZES = st.sampled_from((1, 2, 4, 8, 16, 700))


@given(st.lists(st.tuples(st.booleans(), _ADDRESSES, _SIZES), min_size=1, max_size=8))
def test_an_image_is_the_memory(steps: list[tuple[bool, list[int], int]]) -> None:
    memory = MadeMemory(_AREAS)
    image = Image(memory)
    for is_ahead, several, size in steps:
        addresses = np.array(several, np.uint64)
        if is_ahead:
            image.load(addresses, size)
            continue
        content, known = image.bytes_at(addresses, size)
        for address, found, is_known in zip(several, content, known, strict=True):
            is_mapped = 0x1000 <= address <= 0x3000 - size or 0x5000 <= address <= 0x7000 - size
            assert is_known == is_mapped
            assert found.tobytes() == (memory.content(address, size) if is_mapped else bytes(size))
