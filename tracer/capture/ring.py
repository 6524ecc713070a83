"""A capture that keeps only its latest time: a folder of segments, each a capture of its own, the oldest deleted.

A segment has the recording's header and then a SEGMENT block: all that was told before and holds still (threads,
what is probed, ids of tasks).  What it lacks is what a recording lacks that begins on a running process: polls under
way have no known begin, and of older tasks it is not known who made them.  Nothing is lost at the seam: what comes
later than the latest event of one segment stands in the next ones.

The folder is locked (flock) as long as it is written: one without a lock is what a recording left that was killed.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tracer import ownership
from tracer.capture import messages, raw_stacks
from tracer.capture.segments import ToldIds
from tracer.capture.writer import CaptureWriter
from tracer.errors import OutputFailed
from tracer.model import (
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
from tracer.terminal import shell_word

RING_SUFFIX = ".ring"
_NAME = re.compile(r"\d{8}\.ratcap")
_PARTS = 8
"""Segments of one asked-for time: what is written is longer by one of them at most."""
_LEAST_HEADERS = 8
"""Of headers, there must be room for so many."""
_LEAST_TIME = 500_000_000
"""ns of a segment."""
_SPARE = 5_000_000_000
"""ns, in which who reads it can start even where processors are scarce."""
_RETRY = 1_000_000_000
"""ns until it is tried again to begin a segment, where the disk was full."""


def spare_of(last: int) -> int:
    """ns that a ring keeps besides, so that there is time to take out of it what is before some moment."""
    return last // 2 + _SPARE


def segments_of(folder: Path) -> list[Path]:
    """The segments in a folder, the oldest first; empty: it is no ring, or cannot be read."""
    with suppress(OSError):
        return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
    return []


def left_behind(folder: Path) -> list[Path]:
    """The rings in a folder that no recording writes any more."""
    found = []
    with suppress(OSError):
        for path in sorted(folder.glob("*" + RING_SUFFIX)):
            if not segments_of(path):  # one that is being begun is not locked yet, and has none
                continue
            with suppress(OSError):
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    found.append(path)
                finally:
                    os.close(fd)
    return found


class RingWriter:
    """Writes as CaptureWriter does, and has its methods.

    last: ns that a reader wants to see before any moment; more is kept, see spare_of.  max_size: bytes of all segments
    together.  alive: the threads that there are now, by tid.  now: the events' clock, ns.
    full: always None: it goes on.  trouble: what is, or was, not as it should be, a sentence; None: all is well.
    dropped: events that could not be kept.
    Nothing but the constructor raises: it raises OutputFailed.
    """

    full: None = None

    def __init__(
        self,
        folder: Path,
        recording: Recording,
        *,
        last: int,
        max_size: int,
        alive: Callable[[], frozenset[int] | None] = lambda: None,
        now: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.path = folder
        self.trouble: str | None = None
        self.dropped = 0
        self._header = messages.write_recording(recording)
        self._kept = last + spare_of(last)
        self._length = max(last // _PARTS, _LEAST_TIME)
        self._last = last
        self._max_size = max_size
        self._alive = alive
        self._now = now
        self._ids = ToldIds()
        self._threads: dict[int, Thread] = {}
        self._change: PlanChange | None = None
        self._ends: list[ProcessEnd] = []
        self._older: list[tuple[str, int, int]] = []  # name, bytes, ns of its latest event
        self._older_size = self._older_hits = 0
        self._received = self._lost = self._number = 0
        self._latest = recording.start
        self._retry_at = 0
        self._folder = _make_folder(folder)
        try:
            self._writer = self._begin_segment()
            if _LEAST_HEADERS * self._header_size > max_size:
                least = _LEAST_HEADERS * self._header_size / (1 << 20)
                raise OutputFailed(
                    f"--max-size {max_size / (1 << 20):.3g}M is too little to keep the latest time of this program.",
                    why=f"What must be said of it anew in each part takes {self._header_size:,} bytes.",
                    fix=f"rat-ebpf … --last … --max-size {least + 1:.0f}M",
                )
        except BaseException:
            self.discard()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return self._older_size + self._writer.size

    @property
    def hit_count(self) -> int:
        """Hits of probes so far, those included that are not kept any more."""
        return self._older_hits + self._writer.hit_count

    def beside(self, name: str) -> Path:
        """Of another file in the ring's folder, whatever has the folder's name by now."""
        return Path(f"/proc/self/fd/{self._folder}", name)

    def events(self, events: Array) -> None:
        """Keep a batch (dtype EVENT, sorted by time)."""
        if self._is_due(events.nbytes):
            self._turn()
        if len(events):
            self._ids.add(events)
            self._received += len(events)
            self._latest = max(self._latest, int(events["time"][-1]))
        self._writer.events(events)

    def threads(self, threads: Sequence[Thread]) -> None:
        self._threads |= {thread.tid: thread for thread in threads}
        self._writer.threads(threads)

    def plan_change(self, change: PlanChange) -> None:
        self._change = change
        self._writer.plan_change(change)

    def loss(self, loss: Loss) -> None:
        self._lost += loss.count
        self._writer.loss(loss)

    def process_end(self, end: ProcessEnd) -> None:
        self._ends.append(end)
        self._writer.process_end(end)

    def memory_reading(self, reading: MemoryReading) -> None:
        self._writer.memory_reading(reading)

    def halt(self, halt: Halt) -> None:
        self._writer.halt(halt)

    def stack_samples(self, samples: StackSamples) -> None:
        self._writer.stack_samples(samples)

    def stacks(self, told: Stacks) -> None:
        self._writer.stacks(told)

    def end(self, end: CaptureEnd) -> None:
        self._tell_dropped(self._writer.dropped_loss())
        self._writer.end(end)

    def flush(self) -> None:
        """Write the waiting events now."""
        self._writer.flush()

    def close(self) -> None:
        """Write what waits and let the folder go.  Can be called twice."""
        if self._folder >= 0:
            self._writer.close()
            os.close(self._folder)
            self._folder = -1

    def discard(self) -> None:
        """Delete the ring, once it is closed or because it could not be begun."""
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1
        remove_ring(self.path)

    def _is_due(self, more: int) -> bool:
        """Whether the next events begin another segment."""
        writer, now = self._writer, self._now()
        if now < self._retry_at:
            return False
        if writer.full is not None:
            return True
        if writer.size + writer.waiting + more > self._most:
            return writer.event_count + writer.waiting > 0
        since = now - self._segment.time
        body = writer.size - self._header_size
        # A large header is not written again for little: a quiet program has longer segments.
        return since >= self._length and (2 * body >= self._header_size or (since >= self._last and body > 0))

    def _turn(self) -> None:
        """Begin another segment; where that cannot be, go on with this one."""
        self._writer.flush()
        self._delete_old(self._writer.size)
        try:
            following = self._begin_segment()
        except OutputFailed as error:
            self.trouble = " ".join(filter(None, (error.what, error.why)))
            self._retry_at = self._now() + _RETRY
            return
        before = self._writer
        self._older.append((before.path.name, before.size, self._latest))
        self._older_size += before.size
        self._older_hits += before.hit_count
        dropped = before.dropped_loss()
        before.close()
        self._writer = following
        self._retry_at = 0
        if dropped is not None:
            self.trouble = (before.full or "").replace(str(before.path), str(self.path)) or None
            self._tell_dropped(dropped)
            self._retry_at = self._now() + _RETRY

    def _tell_dropped(self, loss: Loss | None) -> None:
        if loss is not None:
            self.dropped += loss.count
            self.loss(loss)

    def _begin_segment(self) -> CaptureWriter:
        if self._number:
            alive = self._alive()
            if alive is not None:
                self._threads = {tid: thread for tid, thread in self._threads.items() if tid in alive}
        self._segment = Segment(
            self._number + 1,
            self._latest,
            self._change,
            tuple(self._threads.values()),
            tuple(self._ends),
            self._ids.result(),
            self._received,
            self._lost,
        )
        path = self.beside(f"{self._segment.number:08}.ratcap")
        try:
            writer = CaptureWriter(path, self._header, self._max_size)
        except OutputFailed as error:
            what = error.what.replace(str(path.parent), str(self.path))
            raise OutputFailed(what, why=error.why, fix="rat-ebpf … -o /another/folder/FILE") from None
        writer.segment(self._segment)
        self._number = self._segment.number
        self._header_size = writer.size
        self._most = max(self._max_size // _PARTS, 2 * self._header_size)
        return writer

    def _delete_old(self, current: int) -> None:
        """Of what is older than is kept, and of what is too much."""
        oldest_kept = self._now() - self._kept
        room = self._max_size - self._most
        while self._older and (
            self._older[0][2] < oldest_kept or self._older_size + current > room or self._writer.full is not None
        ):
            name, size, _ = self._older.pop(0)
            with suppress(OSError):
                os.unlink(name, dir_fd=self._folder)
            self._older_size -= size
            if self._writer.full is not None:
                break  # one a time: that may be enough


def remove_ring(folder: Path) -> None:
    """Delete a ring with what it holds; what is not a ring's stays, and then the folder too."""
    with suppress(OSError):
        with closing(ownership.OutputFolder(folder)) as inside:
            for name in [*(path.name for path in segments_of(folder)), raw_stacks.NAME]:
                inside.remove(name)
        with closing(ownership.OutputFolder(folder.parent)) as outside:
            outside.remove_folder(folder.name)


def _make_folder(path: Path) -> int:
    """A new folder, private to whoever typed sudo, open and locked.  Raises OutputFailed."""
    try:
        fd = ownership.create_private_folder(path)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileExistsError:
        quoted = shell_word(path)
        raise OutputFailed(
            f"{path} is already there.",
            why="It is what another recording keeps, or has left.",
            fix=f"rat-ebpf convert {quoted}\nrm -r {quoted}",
        ) from None
    except OSError as error:
        raise OutputFailed(
            f"{path} cannot be made.", why=f"{error.strerror}.", fix="rat-ebpf … -o /another/folder/FILE"
        ) from error
    return fd
