"""Writing a capture while it is being recorded."""

from __future__ import annotations

import errno
import os
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from tracer import ownership
from tracer.capture import format as fmt
from tracer.capture import messages, segments, stacks
from tracer.errors import OutputFailed
from tracer.model import (
    EVENT,
    Array,
    CaptureEnd,
    Halt,
    Loss,
    MemoryReading,
    PlanChange,
    ProcessEnd,
    Recording,
    Segment,
    Stacks,
    StackSamples,
    Thread,
    is_scheduling,
)

DEFAULT_MAX_SIZE = 2 << 30
"""Bytes."""

_BLOCK_EVENTS = 1 << 16
_BLOCK_SECONDS = 0.5
_DISK_SHARE = 0.05
_TRAILER_RESERVE = 64 << 10  # kept free under the limit for what the capture must still tell when it is full


class CaptureWriter:
    """One capture file, always a new one, complete up to its last block at any time.

    Events wait in memory until there are 65,536 of them or the first is half a second old: that much is
    lost when this process is killed.  Call events() now and then even with none, so that they get old.
    Any other block writes the waiting events first: the file has the order of the calls.

    recording: or the bytes that write_recording makes of it.
    full: None, or a sentence saying why no more events are kept: max_size reached, the disk's last 5 %
    reached, or a write failed.  Later events are dropped and counted in `dropped`; end() stores them as a
    Loss of all CPUs (-1).  Nothing but the constructor raises: it raises OutputFailed.
    """

    def __init__(self, path: Path, recording: Recording | bytes, max_size: int = DEFAULT_MAX_SIZE) -> None:
        self.path = path
        self.full: str | None = None
        self.size = 0
        self.event_count = 0
        self.hit_count = 0  # ... those of probes; what the scheduler tells comes from idle processes too
        self.dropped = 0
        self._dropped_first = self._dropped_last = 0
        self._max_size = max_size
        self._waiting = np.empty(_BLOCK_EVENTS, EVENT)
        self._waiting_bytes = _bytes(self._waiting)
        self._waiting_count = 0
        self._waiting_since = 0.0
        payload = recording if isinstance(recording, bytes) else messages.write_recording(recording)
        try:
            self._fd = ownership.create_private(path)
        except FileExistsError:
            raise OutputFailed(
                f"{path} is already there.", why="A capture is never written over a file.", fix=f"rm {path}"
            ) from None
        except OSError as error:
            raise _not_writable(path, "created", error) from error
        try:
            ownership.give_to_caller(self._fd)  # at once: it is theirs even when this process is killed
            self._write(fmt.FILE_HEADER.pack(fmt.MAGIC, fmt.FORMAT_VERSION, 0))
            self._write(_block(fmt.RECORDING, payload, time=0))
        except OSError as error:
            os.close(self._fd)
            ownership.remove(path)
            raise _not_writable(path, "written", error) from error

    @property
    def waiting(self) -> int:
        """Bytes of the events that wait in memory."""
        return self._waiting_count * EVENT.itemsize

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def events(self, events: Array) -> None:
        """Keep a batch (dtype EVENT, sorted by time)."""
        done = 0
        while done < len(events):
            if self._waiting_count == 0:
                self._waiting_since = time.monotonic()
            part = events[done : done + _BLOCK_EVENTS - self._waiting_count]
            self._waiting_bytes[self._waiting_count : self._waiting_count + len(part)] = _bytes(part)
            self._waiting_count += len(part)
            done += len(part)
            if self._waiting_count == _BLOCK_EVENTS:
                self.flush()
        if self._waiting_count and time.monotonic() - self._waiting_since >= _BLOCK_SECONDS:
            self.flush()

    def threads(self, threads: Sequence[Thread]) -> None:
        if threads:
            self._small(fmt.THREADS, messages.write_threads(threads))

    def plan_change(self, change: PlanChange) -> None:
        self._small(fmt.PLAN_CHANGE, messages.write_plan_change(change), change.time)

    def loss(self, loss: Loss) -> None:
        self._small(fmt.LOSS, messages.write_loss(loss), loss.before or 0)

    def process_end(self, end: ProcessEnd) -> None:
        self._small(fmt.PROCESS_END, messages.write_process_end(end), end.time)

    def memory_reading(self, reading: MemoryReading) -> None:
        self._small(fmt.MEMORY, messages.write_memory_reading(reading), reading.time)

    def halt(self, halt: Halt) -> None:
        self._small(fmt.HALT, messages.write_halt(halt), halt.until)

    def stack_samples(self, samples: StackSamples) -> None:
        if len(samples.samples):
            self._small(fmt.STACK_SAMPLES, stacks.write_stack_samples(samples))

    def stacks(self, told: Stacks) -> None:
        self._small(fmt.STACKS, stacks.write_stacks(told))

    def segment(self, segment: Segment) -> None:
        """Where this part of a recording begins; before anything else."""
        self._small(fmt.SEGMENT, segments.write_segment(segment), segment.time)

    def dropped_loss(self) -> Loss | None:
        """The events that were dropped and not told of yet."""
        self.flush()
        if not self.dropped:
            return None
        loss = Loss(-1, self.dropped, self._dropped_first, self._dropped_last)
        self.dropped = self._dropped_first = self._dropped_last = 0
        return loss

    def end(self, end: CaptureEnd) -> None:
        """The trailer; close() comes next."""
        dropped = self.dropped_loss()
        if dropped is not None:
            self.loss(dropped)
        self._small(fmt.CAPTURE_END, messages.write_capture_end(end), end.time)

    def flush(self) -> None:
        """Write the waiting events now."""
        if self._waiting_count == 0:
            return
        events = self._waiting[: self._waiting_count]
        self._waiting_count = 0
        times = events["time"]
        if np.any(times[1:] < times[:-1]):  # two batches overlap: a thread's own events are in order already
            events = events.take(np.argsort(times, kind="stable"))
            times = events["time"]
        first, last = int(times[0]), int(times[-1])
        if self._append_events(events, first, last):
            self.event_count += len(events)
            self.hit_count += int(np.count_nonzero(~is_scheduling(events["probe"])))
            return
        self._dropped_first = min(self._dropped_first or first, first)
        self._dropped_last = max(self._dropped_last, last)
        self.dropped += len(events)

    def close(self) -> None:
        """Write what waits and close the file.  Can be called twice."""
        if self._fd >= 0:
            self.flush()
            os.close(self._fd)
            self._fd = -1

    def discard(self) -> None:
        """Delete the file."""
        self.close()
        ownership.remove(self.path)

    def _append_events(self, events: Array, first: int, last: int) -> bool:
        if self.full is None:
            self.full = self._why_full(events.nbytes)
        if self.full is not None:
            return False
        cpus = events["cpu"]
        cpu = int(cpus[0]) if np.all(cpus == cpus[0]) else -1
        payload = events.view(np.uint8).data
        header = fmt.BlockHeader(fmt.EVENTS, EVENT.itemsize, len(events), cpu, first, last, zlib.crc32(payload)).pack()
        return self._append(header, payload)

    def _small(self, tag: bytes, payload: bytes, time: int = 0) -> None:
        self.flush()
        if self.size + len(payload) + fmt.BLOCK_HEADER_SIZE <= self._max_size:
            self._append(_block(tag, payload, time=time))

    def _why_full(self, more: int) -> str | None:
        if self.size + more + fmt.BLOCK_HEADER_SIZE > self._max_size - _TRAILER_RESERVE:
            return f"The capture has reached its size limit of {self._max_size / (1 << 20):,.0f} MiB."
        try:
            disk = os.fstatvfs(self._fd)
        except OSError:
            return None  # a filesystem that cannot say; a failing write is noticed anyway
        if disk.f_blocks and disk.f_bavail * disk.f_frsize - more < _DISK_SHARE * disk.f_blocks * disk.f_frsize:
            return f"The disk of {self.path} is 95 % full."
        return None

    def _append(self, *parts: bytes | memoryview) -> bool:
        """Add a whole block or nothing."""
        before = self.size
        try:
            for part in parts:
                self._write(part)
        except OSError as error:
            why = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror
            self.full = self.full or f"{self.path} cannot be written any more: {why}."
            self.size = before
            try:
                os.ftruncate(self._fd, before)
                os.lseek(self._fd, before, os.SEEK_SET)
            except OSError:
                pass  # a reader drops the torn block
            return False
        return True

    def _write(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            written = os.write(self._fd, rest)
            self.size += written
            rest = rest[written:]


def _bytes(events: Array) -> Array:
    """The same without a meaning: numpy moves records one field at a time."""
    return np.ascontiguousarray(events).view((np.void, EVENT.itemsize))


def _block(tag: bytes, payload: bytes, *, time: int) -> bytes:
    return fmt.BlockHeader(tag, 1, len(payload), -1, time, time, zlib.crc32(payload)).pack() + payload


def _not_writable(path: Path, doing: str, error: OSError) -> OutputFailed:
    return OutputFailed(
        f"{path} cannot be {doing}.", why=f"{error.strerror}.", fix=f"rat-ebpf … -o /another/folder/{path.name}"
    )
