"""Reading a capture, whole, torn, damaged or hostile, in bounded memory."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from google.protobuf.message import DecodeError

from tracer.capture import format as fmt
from tracer.capture import messages, segments, stacks
from tracer.errors import BadCapture
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
)

Item = Array | list[Thread] | PlanChange | Loss | ProcessEnd | MemoryReading | Halt | StackSamples | CaptureEnd
"""What a capture yields; an array is of dtype EVENT, read-only, sorted by time."""

_DECODERS: dict[bytes, Callable[[bytes], Item | Stacks | Segment]] = {
    fmt.THREADS: messages.read_threads,
    fmt.PLAN_CHANGE: messages.read_plan_change,
    fmt.LOSS: messages.read_loss,
    fmt.PROCESS_END: messages.read_process_end,
    fmt.CAPTURE_END: messages.read_capture_end,
    fmt.MEMORY: messages.read_memory_reading,
    fmt.HALT: messages.read_halt,
    fmt.STACK_SAMPLES: stacks.read_stack_samples,
    fmt.STACKS: stacks.read_stacks,
    fmt.SEGMENT: segments.read_segment,
}
_FIRST_SEARCH_STEP, _SEARCH_STEP = 1 << 8, 1 << 20
BAD_MESSAGE = (ValueError, DecodeError, struct.error)
"""What reading a message raises that makes no sense."""


class CaptureReader:
    """A capture's header and, by iteration, its items in the order of the file.

    Raises BadCapture when the file is no capture, of a later format, or its first block is damaged.
    After that nothing raises: what is damaged is left out and counted.  The counts are those of the
    latest iteration, complete when it has ended:
    torn: the file ends in the middle of a block (the tracer was killed, or the disk was full).
    damaged_blocks: blocks (or stretches between blocks) left out.  unknown_blocks: of a tag not known here.
    segment: which part of a longer recording it is; None: the whole.
    like: the header of a capture that this one has too, so that it need not be read again.
    """

    recording: Recording
    segment: Segment | None

    def __init__(self, path: Path, *, like: Recording | None = None) -> None:
        self.path = path
        self._like = like
        self._body = self._next = 0
        self.torn = False
        self.damaged_blocks = 0
        self.unknown_blocks = 0
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise _unreadable(path, error) from error
        try:
            self.size = self._file.seek(0, 2)
            start = self._read_start()
            self.segment = self._read_segment()
            self.recording = self._with_stacks(start)
        except BaseException as error:
            self._file.close()
            if isinstance(error, OSError):
                raise _unreadable(path, error) from error
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Item]:
        self.torn, self.damaged_blocks, self.unknown_blocks = False, 0, 0
        self._next = self._body
        yield from self.more()

    def more(self) -> Iterator[Item]:
        """The items that were not yielded yet, of a capture that may have grown since it was opened.

        torn: the last block is not whole, perhaps not yet: it is looked at again the next time.
        """
        self.torn = False
        self.size = self._file.seek(0, 2)
        for header, offset in self._headers(self._next):
            payload = self._payload(header, offset)
            is_whole = zlib.crc32(payload) == header.crc
            if not is_whole and offset + header.payload_size >= self.size:
                self.torn = True
                return
            self._next = offset + header.payload_size
            if not is_whole:
                self.damaged_blocks += 1
                continue
            item = self._decode(header, payload)
            if item is not None and not isinstance(item, Stacks | Segment):  # those are known already
                yield item

    @property
    def event_count(self) -> int:
        """How many events the blocks say they hold; reads their headers only."""
        return sum(
            header.count
            for header in self._looked_over()
            if header.tag == fmt.EVENTS and header.record_size == EVENT.itemsize
        )

    @property
    def latest(self) -> int:
        """The latest time of an event, or the recording's end, ns; 0: there is neither.  Reads blocks' headers only."""
        return max((one.last for one in self._looked_over() if one.tag in (fmt.EVENTS, fmt.CAPTURE_END)), default=0)

    def _looked_over(self) -> list[fmt.BlockHeader]:
        counts = self.torn, self.damaged_blocks, self.unknown_blocks
        try:
            return [header for header, _ in self._headers()]
        finally:
            self.torn, self.damaged_blocks, self.unknown_blocks = counts

    def _read_start(self) -> Recording:
        self._file.seek(0)
        start = self._file.read(fmt.FILE_HEADER.size)
        if len(start) < fmt.FILE_HEADER.size or not start.startswith(fmt.MAGIC):
            raise BadCapture(
                f"{self.path} is not a capture of rat-ebpf.",
                fix="make one: sudo rat-ebpf --pid PID --format capture -o FILE.ratcap",
            )
        _, version, _ = fmt.FILE_HEADER.unpack(start)
        if version != fmt.FORMAT_VERSION:
            raise BadCapture(
                f"{self.path} has capture format {version}.",
                why=f"This program knows format {fmt.FORMAT_VERSION}.",
                fix="pip install --upgrade rat-ebpf",
            )
        damaged = BadCapture(f"The beginning of {self.path} is damaged.", why="It says what was traced.")
        header = fmt.parse_block_header(self._file.read(fmt.BLOCK_HEADER_SIZE))
        if header is None or header.tag != fmt.RECORDING:
            raise damaged
        self._body = self._next = self._file.tell() + header.payload_size
        payload = self._payload(header, self._file.tell())
        if zlib.crc32(payload) != header.crc:
            raise damaged
        try:
            recording = self._like or messages.read_recording(payload)
        except BAD_MESSAGE as error:
            raise damaged from error
        if not recording.processes:
            raise damaged
        return recording

    def _read_segment(self) -> Segment | None:
        """It stands right behind the header."""
        header, offset = next(self._headers(), (None, 0))
        if header is None or header.tag != fmt.SEGMENT:
            return None
        payload = self._payload(header, offset)
        if zlib.crc32(payload) == header.crc:
            with suppress(*BAD_MESSAGE):
                return segments.read_segment(payload)
        return None

    def _with_stacks(self, recording: Recording) -> Recording:
        """With what the stacks are: it stands at the end, for then they are known, and is needed from the begin on."""
        for header, offset in self._headers():
            if header.tag == fmt.STACKS:
                payload = self._payload(header, offset)
                if zlib.crc32(payload) == header.crc:
                    with suppress(*BAD_MESSAGE):
                        recording = replace(recording, stacks=stacks.read_stacks(payload))
        self.torn, self.damaged_blocks, self.unknown_blocks = False, 0, 0
        return recording

    def _headers(self, offset: int | None = None) -> Iterator[tuple[fmt.BlockHeader, int]]:
        """Every whole block from there on, else after the first, with the place of its payload."""
        offset = self._body if offset is None else offset
        while offset < self.size:
            self._file.seek(offset)
            header = fmt.parse_block_header(self._file.read(fmt.BLOCK_HEADER_SIZE))
            if header is None:
                found = self._find_block(offset + 1)
                if found is None:
                    self.torn = True
                    return
                self.damaged_blocks += 1
                offset = found
                continue
            payload = offset + fmt.BLOCK_HEADER_SIZE
            offset = payload + header.payload_size
            if offset > self.size:
                self.torn = True
                return
            yield header, payload

    def _find_block(self, offset: int) -> int | None:
        """The place of the next undamaged block header at or after `offset`."""
        overlap = fmt.BLOCK_HEADER_SIZE - 1
        step = _FIRST_SEARCH_STEP  # most damage is short, and a file may be full of it
        while offset < self.size:
            self._file.seek(offset)
            window = self._file.read(step + overlap)
            at = window.find(fmt.MARKER)
            while 0 <= at < step:
                if fmt.parse_block_header(window[at : at + fmt.BLOCK_HEADER_SIZE]) is not None:
                    return offset + at
                at = window.find(fmt.MARKER, at + 1)
            offset += step
            step = min(2 * step, _SEARCH_STEP)
        return None

    def _payload(self, header: fmt.BlockHeader, offset: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(min(header.payload_size, self.size - offset))

    def _decode(self, header: fmt.BlockHeader, payload: bytes) -> Item | Stacks | Segment | None:
        if header.tag == fmt.EVENTS and header.record_size == EVENT.itemsize:
            return np.frombuffer(payload, EVENT)
        decoder = _DECODERS.get(header.tag)
        if decoder is None:
            self.unknown_blocks += 1
            return None
        try:
            item = decoder(payload)
            if isinstance(item, MemoryReading | Halt) and item.process >= len(self.recording.processes):
                raise ValueError("it is of no process that was recorded")
            return item
        except BAD_MESSAGE:
            self.damaged_blocks += 1
            return None


def is_capture(path: Path) -> bool:
    """Whether a file begins as captures do, of whatever version, or a folder may hold segments of one.

    Raises BadCapture when it cannot be read.
    """
    if is_folder(path):
        return True
    try:
        with path.open("rb") as file:
            return file.read(len(fmt.MAGIC)) == fmt.MAGIC
    except OSError as error:
        raise _unreadable(path, error) from error


def is_folder(path: Path) -> bool:
    """Whether it can be a ring, and is no file.  Raises BadCapture when nobody can tell."""
    try:
        return path.is_dir()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> BadCapture:
    return BadCapture(f"{path} cannot be read: {error.strerror}.", fix=f"ls -l {path}")
