"""Assembling in a process of its own, ahead of what is done with the spans: two cores then work at one conversion.

Threads would not do: numpy holds the interpreter's lock between its loops, which are short.  What is handed over are
arrays as they lie in memory and messages as captures have them; the process reads the capture and writes to a pipe,
and is gone when that is closed, whatever happens to its maker.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import signal
import struct
import threading
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import astuple, fields
from io import FileIO
from typing import NoReturn, TypeVar, cast

import numpy as np

from tracer import assemble
from tracer.capture import CaptureReader, Item, RingReader, messages
from tracer.children import fork
from tracer.errors import OutOfProcesses, OutputFailed
from tracer.model import (
    LOOK,
    OFF_CPU,
    POLL,
    TASK,
    WAIT,
    Array,
    CaptureEnd,
    Halt,
    Loss,
    MemoryReading,
    PlanChange,
    ProcessEnd,
    Spans,
    StackSamples,
    Tally,
    Thread,
)
from tracer.output.files import write_all

Assembled = Spans | Tally | PlanChange | Loss | ProcessEnd | MemoryReading | Halt | CaptureEnd | list[Thread]

T = TypeVar("T")

WORTH_A_PROCESS = 1 << 19
"""Events.  Fewer are assembled sooner than a process and its pages are made."""

_JOINED = 1 << 16
"""Events, or stacks, as many as blocks of busy programs have: more at once take memory and are no faster."""

_AHEAD = 4
_PIPE = 1 << 20
_HEAD = struct.Struct("<4sQ")
_SPANS, _TALLY, _READ, _NO_MEMORY, _FAILED = b"SPAN", b"TALL", b"READ", b"NOME", b"FAIL"
_ARRAYS = {"polls": POLL, "waits": WAIT, "begun": TASK, "over": TASK, "looks": LOOK, "off_cpu": OFF_CPU}
_COUNTS = struct.Struct(f"<{len(_ARRAYS)}Q")
_TALLIES = struct.Struct(f"<{len(fields(Tally))}Q")
_STATE = struct.Struct("<?QQ")
_MESSAGES: dict[type, tuple[bytes, Callable[..., bytes], Callable[[bytes], Assembled]]] = {
    list: (b"THRD", messages.write_threads, messages.read_threads),
    PlanChange: (b"PLAN", messages.write_plan_change, messages.read_plan_change),
    Loss: (b"LOSS", messages.write_loss, messages.read_loss),
    ProcessEnd: (b"PEND", messages.write_process_end, messages.read_process_end),
    MemoryReading: (b"MEMR", messages.write_memory_reading, messages.read_memory_reading),
    Halt: (b"HALT", messages.write_halt, messages.read_halt),
    CaptureEnd: (b"CEND", messages.write_capture_end, messages.read_capture_end),
}


def assembled(reader: CaptureReader | RingReader, events: int) -> Iterator[Assembled]:
    """The capture's items with its events, about so many, assembled into spans, and the tally after each step.

    The reader is not to be used meanwhile; afterwards its counts are as if it had been iterated over here.
    """
    if events < WORTH_A_PROCESS:
        yield from _assembled(reader)
        return
    reading, writing = os.pipe()
    try:
        child = fork()
    except (OutOfProcesses, OSError):
        os.close(reading)
        os.close(writing)
        yield from _assembled(reader)
        return
    if not child:
        os.close(reading)
        _assemble_into(writing, reader)
    os.close(writing)
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        items = ahead(_received(pipe, reader))
        try:
            yield from items
        finally:
            os.kill(child, signal.SIGKILL)  # it has ended, or writes what nobody wants
            os.waitpid(child, 0)
            items.close()


def _assembled(reader: CaptureReader | RingReader) -> Iterator[Assembled]:
    state = assemble.begin(reader.recording)
    end: CaptureEnd | None = None
    for item in _joined(reader):
        if isinstance(item, CaptureEnd):
            end = item
            continue
        if isinstance(item, PlanChange | Loss | ProcessEnd | MemoryReading | Halt | list):
            yield item
        state, spans = assemble.step(state, item)
        yield spans
        yield state.tally
    state, spans = assemble.finish(state, end)
    yield spans
    yield state.tally
    if end is not None:
        yield end


def _joined(items: Iterable[Item]) -> Iterator[Item]:
    """Blocks of events that follow each other as one, and the stacks between them as one before it.

    A step costs milliseconds however few its events are: a calm program of an hour has ten thousand blocks.  A stack
    may be known sooner than the events before it: it waits for the end of its poll.
    """
    samples: list[Array] = []
    blocks: list[Array] = []
    stacks = events = 0
    for item in items:
        is_full = False
        if isinstance(item, StackSamples):
            is_full = stacks + len(item.samples) > _JOINED
        elif isinstance(item, np.ndarray):
            is_full = events + len(item) > _JOINED
        if is_full or not isinstance(item, StackSamples | np.ndarray):
            yield from _as_one(samples, blocks)
            samples, blocks, stacks, events = [], [], 0, 0
        if isinstance(item, StackSamples):
            samples.append(item.samples)
            stacks += len(item.samples)
        elif isinstance(item, np.ndarray):
            blocks.append(item)
            events += len(item)
        else:
            yield item
    yield from _as_one(samples, blocks)


def _as_one(samples: list[Array], blocks: list[Array]) -> Iterator[Item]:
    if samples:
        yield StackSamples(np.concatenate(samples))
    if blocks:
        yield blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


# ---- in the process


def _assemble_into(pipe: int, reader: CaptureReader | RingReader) -> NoReturn:
    """Does not return: what is to be done at the exit of an interpreter is not this one's to do."""
    try:
        # Whoever made it says when to end, by closing the pipe.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        with contextlib.suppress(OSError):  # of one user all pipes together have a limit
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
        try:
            for item in _assembled(reader):
                _send(pipe, item)
            _write(pipe, _READ, _STATE.pack(reader.torn, reader.damaged_blocks, reader.unknown_blocks))
        except BrokenPipeError:
            pass
        except MemoryError:
            _write(pipe, _NO_MEMORY, b"")
        except BaseException:  # noqa: BLE001 - handed over, not swallowed
            _write(pipe, _FAILED, traceback.format_exc().encode())
    finally:
        os._exit(0)


def _send(pipe: int, item: Assembled) -> None:
    if isinstance(item, Spans):
        arrays = [cast(Array, getattr(item, name)) for name in _ARRAYS]
        _write(pipe, _SPANS, _COUNTS.pack(*map(len, arrays)))
        for array in arrays:
            write_all(pipe, np.ascontiguousarray(array).view(np.uint8).data)
    elif isinstance(item, Tally):
        _write(pipe, _TALLY, _TALLIES.pack(*astuple(item)))
    else:
        tag, write, _ = _MESSAGES[type(item)]
        _write(pipe, tag, write(item))


def _write(pipe: int, tag: bytes, payload: bytes) -> None:
    write_all(pipe, memoryview(_HEAD.pack(tag, len(payload)) + payload))


# ---- at its maker's


def _received(pipe: FileIO, reader: CaptureReader | RingReader) -> Iterator[Assembled]:
    readers = {tag: read for tag, _, read in _MESSAGES.values()}
    while True:
        tag, size = _HEAD.unpack(_read(pipe, _HEAD.size))
        payload = _read(pipe, size)
        if tag == _SPANS:
            counts = _COUNTS.unpack(payload)
            yield Spans(*(_read_array(pipe, kind, n) for kind, n in zip(_ARRAYS.values(), counts, strict=True)))
        elif tag == _TALLY:
            yield Tally(*_TALLIES.unpack(payload))
        elif tag == _READ:
            reader.torn, reader.damaged_blocks, reader.unknown_blocks = _STATE.unpack(payload)
            return
        elif tag == _NO_MEMORY:
            raise MemoryError
        elif tag == _FAILED:
            raise RuntimeError(f"the process that assembles failed:\n{payload.decode()}")
        else:
            yield readers[tag](payload)


def _read_array(pipe: FileIO, kind: np.dtype[np.void], count: int) -> Array:
    array = np.empty(count, kind)
    _fill(pipe, array.view(np.uint8).data)
    return array


def _read(pipe: FileIO, size: int) -> bytes:
    buffer = bytearray(size)
    _fill(pipe, memoryview(buffer))
    return bytes(buffer)


def _fill(pipe: FileIO, room: memoryview) -> None:
    while room:
        done = pipe.readinto(room)
        if not done:
            raise OutputFailed(
                "The process that assembles the events was killed",
                why="as the kernel does where memory is short",
                fix="dmesg | tail",
            )
        room = room[done:]


def ahead(items: Iterable[T]) -> Generator[T]:
    """The same items, taken by a thread of their own a few at a time ahead of whoever wants them.

    An error of the maker is raised here; a reader that stops early stops the maker.
    """
    line: queue.Queue[T | BaseException | None] = queue.Queue(maxsize=_AHEAD)
    stopped = threading.Event()

    def put(item: T | BaseException | None) -> bool:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                line.put(item, timeout=0.1)
                return True
        return False

    def make() -> None:
        try:
            if all(put(item) for item in items):
                put(None)
        except BaseException as error:  # noqa: BLE001 - handed over, not swallowed
            put(error)

    import numpy.ma  # noqa: F401 - numpy does at its first need, which two threads must not have at the same time

    thread = threading.Thread(target=make, name="ahead")
    thread.start()
    try:
        while (item := line.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()
