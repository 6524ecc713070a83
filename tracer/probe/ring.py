"""The BPF ring buffer, mapped and decoded by numpy.

Layout (linux/bpf.h, kernel/bpf/ringbuf.c, Linux 5.8): a page with the consumer's position, a page
with the producer's, then the data, mapped twice in a row so that no record is split.  A record is
a u32 length with flags (busy, discarded), a u32 of the kernel's, and the data padded to 8 bytes.
"""

from __future__ import annotations

import mmap

import numpy as np

from tracer.model import EVENT, Array

_PAGE = mmap.PAGESIZE
BUSY, DISCARDED = 1 << 31, 1 << 30
"""Flags of a record's length."""
_WORDS = EVENT.itemsize // 8 + 1  # of a record with its header


class MappedRing:
    """One ring buffer map.  size: bytes.  consumer, producer: their positions.  data: words, shape (2 * size / 8,)."""

    def __init__(self, fd: int, pages: int) -> None:
        self.size = pages * _PAGE
        self._consumer_map = mmap.mmap(fd, _PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._producer_map = mmap.mmap(fd, _PAGE + 2 * self.size, mmap.MAP_SHARED, mmap.PROT_READ, offset=_PAGE)
        self.consumer = np.frombuffer(self._consumer_map, "<u8", 1)
        self.producer = np.frombuffer(self._producer_map, "<u8", 1)
        self.data = np.frombuffer(self._producer_map, "<u8", 2 * self.size // 8, _PAGE)

    def close(self) -> None:
        """Unmap it."""
        del self.consumer, self.producer, self.data
        self._consumer_map.close()
        self._producer_map.close()


class RingBuffer:
    """Reads the events of one ring buffer map.  Nothing wakes the reader: it polls."""

    name = "ring"

    def __init__(self, fd: int, pages: int) -> None:
        self._ring = MappedRing(fd, pages)

    def drain(self) -> Array:
        """The events written since the last call, dtype EVENT, in the order of their reservation."""
        ring = self._ring
        consumed = int(ring.consumer[0])
        count = (int(ring.producer[0]) - consumed) // (_WORDS * 8)
        if count <= 0:
            return np.zeros(0, EVENT)
        begin = consumed % ring.size // 8
        records = ring.data[begin : begin + count * _WORDS].reshape(count, _WORDS)
        busy = records[:, 0] & BUSY != 0
        if busy.any():  # a program was preempted while writing: what follows waits for it
            count = int(busy.argmax())
        events: Array = records[:count, 1:].copy().view(EVENT).reshape(count)
        ring.consumer[0] = consumed + count * _WORDS * 8
        return events

    def close(self) -> None:
        self._ring.close()
