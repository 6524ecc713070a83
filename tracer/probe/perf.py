"""Perf buffers, one per CPU, mapped and decoded by numpy.

Layout (linux/perf_event.h): a control page, then a power of two of data pages written as a ring.
A sample is a header (u32 type, u16 misc, u16 size), a u32 size of the raw data, the data, padding
to 8 bytes.  A PERF_RECORD_LOST stands where earlier samples found no room.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracer.errors import AttachFailed
from tracer.model import EVENT, Array
from tracer.probe.kernel import NOT_ALLOWED, Map, cpus, enable_perf_event, open_perf_output
from tracer.probe.permission import refused
from tracer.probe.transport import joined

_PAGE = mmap.PAGESIZE
_HEAD, _TAIL = 1024 // 8, 1032 // 8  # data_head and data_tail in struct perf_event_mmap_page
_RECORD_LOST, _RECORD_SAMPLE = 2, 9
_DATA_AT = 12  # of a sample: its header and the raw size
_STRIDE = (_DATA_AT + EVENT.itemsize + 7) // 8 * 8
_HEADER_MISC = 0xFFFF << 32  # varies: user or kernel mode
_SAMPLE_HEADER = _RECORD_SAMPLE | _STRIDE << 48


def decode(data: npt.NDArray[np.uint8]) -> tuple[Array, int]:
    """Whole records as (events of dtype EVENT, the number of events the kernel says it dropped)."""
    parts: list[Array] = []
    dropped = 0
    at = 0
    while at < data.size:
        samples = data[at : at + (data.size - at) // _STRIDE * _STRIDE].view("<u8").reshape(-1, _STRIDE // 8)
        different = samples[:, 0] & np.uint64(~_HEADER_MISC & 2**64 - 1) != _SAMPLE_HEADER
        count = int(different.argmax()) if different.any() else len(samples)
        if count:
            words = samples[:count].view("<u4")[:, _DATA_AT // 4 : (_DATA_AT + EVENT.itemsize) // 4]
            parts.append(words.copy().view(EVENT).reshape(count))
            at += count * _STRIDE
        else:
            kind, _, size = struct.unpack("<IHH", data[at : at + 8].tobytes())
            if kind == _RECORD_LOST:
                dropped += int.from_bytes(data[at + 16 : at + 24].tobytes(), "little")
            at += size
    return joined(parts), dropped


@dataclass(frozen=True, slots=True)
class _CpuBuffer:
    fd: int
    mapping: mmap.mmap
    control: npt.NDArray[np.uint64]
    data: npt.NDArray[np.uint8]

    def drain(self) -> tuple[Array, int]:
        head, tail = int(self.control[_HEAD]), int(self.control[_TAIL])
        begin, length = tail % self.data.size, head - tail
        first = self.data[begin : begin + length]
        whole = first if len(first) == length else np.concatenate([first, self.data[: length - len(first)]])
        result = decode(whole)
        self.control[_TAIL] = head
        return result


class PerfBuffers:
    """Reads the events of a perf event array map.  Nothing wakes the reader: it polls.

    size: of all buffers together, in bytes; halved as often as the memory-lock limit asks for.  Raises AttachFailed,
    or PermissionMissing.
    dropped: what the kernel's own records say was lost, a second opinion on our counter.
    """

    name = "perf"

    def __init__(self, fd: int, size: int) -> None:
        self.dropped = 0
        self._buffers: list[_CpuBuffer] = []
        events = Map(fd, 4, 4)
        online = cpus("online")
        pages = max(1, 1 << (size // len(online) // _PAGE).bit_length() - 1)
        while not self._buffers:
            try:
                for cpu in online:
                    self._buffers.append(_open(cpu, pages, events))
            except _NoRoom as error:  # for all of them, since one that is large leaves nothing to the others
                self.close()
                if pages == 1:
                    raise _refusal(error) from error
                pages //= 2
            except OSError as error:
                self.close()
                if error.errno in NOT_ALLOWED:
                    raise refused("perf_event_open", error) from error
                raise AttachFailed("A perf buffer cannot be opened.", why=str(error), fix="rat-ebpf doctor") from error
            except BaseException:
                self.close()
                raise

    def drain(self) -> Array:
        """The events written since the last call, dtype EVENT, CPU after CPU."""
        parts = []
        for buffer in self._buffers:
            events, dropped = buffer.drain()
            self.dropped += dropped
            parts.append(events)
        return joined(parts)

    def close(self) -> None:
        while self._buffers:
            buffer = self._buffers.pop()
            fd, mapping = buffer.fd, buffer.mapping
            del buffer
            mapping.close()
            os.close(fd)


class _NoRoom(OSError):
    """A buffer of that size cannot be mapped."""


def _open(cpu: int, pages: int, events: Map) -> _CpuBuffer:
    """One CPU's buffer of so many data pages, and nothing of it where it raises OSError."""
    with ExitStack() as undone:
        fd = open_perf_output(cpu, watermark=pages * _PAGE)
        undone.callback(os.close, fd)
        try:
            mapping = mmap.mmap(fd, (1 + pages) * _PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        except OSError as error:
            if error.errno in (errno.EPERM, errno.ENOMEM):
                raise _NoRoom(error.errno, error.strerror) from error
            raise
        undone.callback(mapping.close)  # before an array is made of it, which would keep it open
        events.update(struct.pack("<I", cpu), struct.pack("<I", fd))
        enable_perf_event(fd)
        undone.pop_all()
    control = np.frombuffer(mapping, np.uint64, _PAGE // 8)
    return _CpuBuffer(fd, mapping, control, np.frombuffer(mapping, np.uint8, pages * _PAGE, _PAGE))


def _refusal(error: _NoRoom) -> AttachFailed:
    """For people."""
    if error.errno != errno.EPERM:
        return AttachFailed("A perf buffer cannot be mapped.", why=str(error), fix="rat-ebpf … --transport ring")
    return AttachFailed(
        "A perf buffer cannot be mapped.",
        why="The user may lock no more memory (ulimit -l, and the sysctl kernel.perf_event_mlock_kb)",
        fix="ulimit -l unlimited    # or use --transport ring",
    )
