"""Maps of the kernel as bytes."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

import numpy as np
import pytest

from tracer.probe.kernel import Map, create_map

pytestmark = pytest.mark.kernel

_HASH = 1
COUNT = 10_000


@pytest.fixture
def table() -> Iterator[Map]:
    """From n to n times 3."""
    fd = create_map(_HASH, 4, 8, COUNT, 0, "test")
    table = Map(fd, 4, 8)
    for key in range(COUNT):
        table.update(key.to_bytes(4, "little"), (3 * key).to_bytes(8, "little"))
    yield table
    os.close(fd)


@pytest.mark.parametrize("knows_batches", [True, False], ids=["in batches", "one by one"])
def test_all_that_is_in_a_table_is_read(table: Map, knows_batches: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Map) -> tuple[bytes, bytes]:
        raise OSError(errno.EINVAL, "before Linux 5.6")

    if not knows_batches:
        monkeypatch.setattr(Map, "_in_batches", refuse)
    keys, values = (np.frombuffer(one, kind) for one, kind in zip(table.items(), ("<u4", "<u8"), strict=True))
    assert sorted(keys.tolist()) == list(range(COUNT))
    assert np.array_equal(values, 3 * keys.astype(np.uint64))


def test_of_an_empty_one_nothing() -> None:
    fd = create_map(_HASH, 4, 8, COUNT, 0, "test")
    try:
        assert Map(fd, 4, 8).items() == (b"", b"")
    finally:
        os.close(fd)
