"""The stacks of threads that compute, as the kernel's own sampling of them tells (perf_event_open(2)).

Nothing is stopped and nothing is changed: each thread's own clock interrupts it a few times, as the scheduler's does.
Numbers and layouts are of linux/perf_event.h and arch/x86/include/uapi/asm/perf_regs.h.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress

from tracer.probe.kernel import open_thread_clock
from tracer.probe.stacks import MOST_BYTES
from tracer.target.unwinding import StackCopy

_PERIOD = 1_000_000
"""ns of a thread's own time between two looks."""
LONGEST, _PAUSE = 0.1, 0.001
"""Seconds: a thread that got no CPU in that time is not told of."""
_AT_ONCE = 64
_PAGES = 16  # a power of two that has room for one sample at least
_HEAD, _SAMPLE = 1024, 9  # data_head in struct perf_event_mmap_page; PERF_RECORD_SAMPLE
_REGISTERS = (1 << 9) - 1 | 0xFF << 16
"""PERF_REG_X86_AX to _IP, and R8 to R15."""
_BY_DWARF_NUMBER = (0, 3, 2, 1, 4, 5, 6, 7, *range(9, 17), 8)
"""Where among these the registers are that StackCopy has."""
_EVERYWHERE = (1 << 64) - 1


def running_stacks(tids: Iterable[int], longest: float = LONGEST) -> dict[int, StackCopy]:
    """By tid; those that did not run for so many seconds, have ended, or may not be looked at are left out."""
    left = list(tids)
    found: dict[int, StackCopy] = {}
    for first in range(0, len(left), _AT_ONCE):
        found |= _look(left[first : first + _AT_ONCE], longest)
    return found


def _look(tids: list[int], longest: float) -> dict[int, StackCopy]:
    found: dict[int, StackCopy] = {}
    with ExitStack() as opened:
        rings = {}
        for tid in tids:
            with suppress(OSError):
                rings[tid] = _open(tid, opened)
        until = time.monotonic() + longest
        while len(found) < len(rings) and time.monotonic() < until:
            time.sleep(_PAUSE)
            for tid in rings.keys() - found.keys():
                copy = next(_samples(rings[tid]), None)
                if copy is not None:
                    found[tid] = copy
    return found


def _open(tid: int, opened: ExitStack) -> mmap.mmap:
    fd = open_thread_clock(tid, _PERIOD, _REGISTERS, MOST_BYTES)
    opened.callback(os.close, fd)
    ring = mmap.mmap(fd, (1 + _PAGES) * mmap.PAGESIZE)
    opened.callback(ring.close)
    return ring


def _samples(ring: mmap.mmap) -> Iterator[StackCopy]:
    """Those that have come: header (u32 type, u16 misc, u16 size), u64 ABI, the registers, u64 size, so many bytes of
    the stack, u64 how many of them there were."""
    at, end = mmap.PAGESIZE, mmap.PAGESIZE + min(*struct.unpack_from("<Q", ring, _HEAD), _PAGES * mmap.PAGESIZE)
    while at < end:
        kind, size = struct.unpack_from("<I2xH", ring, at)
        abi, *registers = struct.unpack_from(f"<{1 + len(_BY_DWARF_NUMBER)}Q", ring, at + 8)
        if kind == _SAMPLE and abi:
            stack = at + 16 + 8 * len(registers)
            (copied,) = struct.unpack_from("<Q", ring, stack)
            (whole,) = struct.unpack_from("<Q", ring, stack + 8 + copied) if copied else (0,)
            content = ring[stack + 8 : stack + 8 + min(copied, whole)]
            yield StackCopy(tuple(registers[number] for number in _BY_DWARF_NUMBER), content, _EVERYWHERE)
        at += max(size, 8)
