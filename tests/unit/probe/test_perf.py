"""Perf buffers that cannot be had."""

from __future__ import annotations

import errno
import mmap
import os

import pytest

from tracer.errors import AttachFailed
from tracer.probe import perf
from tracer.probe.kernel import Map


def test_the_memory_lock_limit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second CPU's buffer has no room, of whatever size; the first one's is given back each time."""
    opened: list[int] = []
    sizes: list[int] = []

    def event(cpu: int, watermark: int) -> int:
        del watermark
        opened.append(cpu)
        return os.open("/dev/zero", os.O_RDWR)

    def mapped(fd: int, size: int, *_: int) -> mmap.mmap:
        sizes.append(size)
        if opened[-1] == 1:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        return of_memory(-1, size)

    of_memory = mmap.mmap
    monkeypatch.setattr(perf, "cpus", lambda kind: [0, 1])
    monkeypatch.setattr(perf, "open_perf_output", event)
    monkeypatch.setattr(perf, "enable_perf_event", lambda fd: None)
    monkeypatch.setattr(Map, "update", lambda *_: None)
    monkeypatch.setattr(mmap, "mmap", mapped)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(AttachFailed) as caught:
        perf.PerfBuffers(0, 8 * mmap.PAGESIZE)
    assert "ulimit -l" in caught.value.why
    assert sizes == [pages * mmap.PAGESIZE for pages in (5, 5, 3, 3, 2, 2)]
    assert os.listdir("/proc/self/fd") == before
