"""Reading the segments of a ring as one capture: all of them, or those of a stretch of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from tracer.capture.reader import CaptureReader, Item, is_folder
from tracer.capture.ring import segments_of
from tracer.capture.segments import ToldAgain
from tracer.errors import BadCapture
from tracer.model import Array, CaptureEnd, Hit, Loss, Recording, Segment, Stacks


class RingReader:
    """As CaptureReader, of the segments with these paths, in their order.

    since: ns: the latest segment that begins before it is the first one, else the oldest there is.  until: ns: what
    comes behind it is left out, but for the rest of a block.  hit: why they are read.  stacks: where the segments tell
    none.  is_over: the recording goes on, but what is read is all that is asked for: it ends at `until`.
    Raises BadCapture when no segment can be read.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        since: int | None = None,
        until: int | None = None,
        hit: Hit | None = None,
        stacks: Stacks | None = None,
        is_over: bool = False,
    ) -> None:
        self.torn = False
        self.damaged_blocks = 0
        self.unknown_blocks = 0
        self._files = ExitStack()
        self._until, self._is_over, self._hit = until, is_over, hit
        self._parts: list[tuple[Segment, CaptureReader]] = []
        self._unread = 0
        try:
            self._open(paths)
            begins = [segment.time for segment, _ in self._parts]
            first = max((i for i, begin in enumerate(begins) if since is not None and begin <= since), default=0)
            self._parts = self._parts[first:]
            self.recording = self._header(stacks)
        except BaseException:
            self.close()
            raise

    def _open(self, paths: Sequence[Path]) -> None:
        like: Recording | None = None
        error: BadCapture | None = None
        for path in paths:
            try:
                reader = self._files.enter_context(CaptureReader(path, like=like))
            except BadCapture as one:
                error, self._unread = one, self._unread + 1  # it had just been begun, or it is damaged
                continue
            like = like or reader.recording
            if reader.segment is None:
                self._unread += 1
            else:
                self._parts.append((reader.segment, reader))
        if not self._parts:
            raise error or BadCapture("There is no whole segment.")

    def _header(self, stacks: Stacks | None) -> Recording:
        first, reader = self._parts[0]
        recording = reader.recording
        told = next((one.recording.stacks for _, one in reversed(self._parts) if one.recording.stacks), stacks)
        flight = recording.flight
        return replace(
            recording,
            start=first.time if first.number > 1 else recording.start,
            stacks=told,
            flight=replace(flight, hit=self._hit or flight.hit) if flight is not None else None,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._files.close()

    @property
    def event_count(self) -> int:
        """How many events the blocks say they hold; reads their headers only."""
        return sum(reader.event_count for _, reader in self._parts)

    @property
    def latest(self) -> int:
        """The latest time of an event, or the recording's end, ns."""
        return max(reader.latest for _, reader in self._parts[-2:])

    def __iter__(self) -> Iterator[Item]:
        self.torn, self.damaged_blocks, self.unknown_blocks = False, self._unread, 0
        self._received = self._lost = 0
        self._latest = self.recording.start
        first, before = self._parts[0][0], None
        again = ToldAgain(first.task_ids if len(self.recording.processes) == 1 else first.task_ids[:0])
        end: CaptureEnd | None = None
        yield from begin_of(first)
        for segment, reader in self._parts:
            if before is not None and segment.number != before + 1:
                yield self._gap(segment, first)
            before = segment.number
            for item in reader:
                if isinstance(item, CaptureEnd):
                    end = item
                elif isinstance(item, np.ndarray):
                    if self._is_behind(item):
                        break
                    yield self._counted(again.tell(item))
                else:
                    self._lost += item.count if isinstance(item, Loss) else 0
                    yield item
            self.damaged_blocks += reader.damaged_blocks
            self.unknown_blocks += reader.unknown_blocks
            self.torn |= reader.torn and not self._is_over
        if end is not None and not self._is_over:
            yield replace(end, received=max(0, end.received - first.received), lost=max(0, end.lost - first.lost))
        elif self._is_over:
            time = max(self._latest, self._until or 0)
            time = min(time, end.time) if end is not None else time
            yield CaptureEnd(time, self._reason(), self._received, self._lost)

    def _counted(self, events: Array) -> Array:
        self._received += len(events)
        if len(events):
            self._latest = max(self._latest, int(events["time"][-1]))
        return events

    def _is_behind(self, events: Array) -> bool:
        return self._until is not None and len(events) > 0 and int(events["time"][0]) > self._until

    def _reason(self) -> str:
        return f"written because of {self._hit.trigger}" if self._hit is not None else "written as it was"

    def _gap(self, segment: Segment, first: Segment) -> Loss:
        """Segments are missing in between."""
        count = segment.received - first.received - self._received
        return Loss(-1, max(1, count), self._latest, segment.time)


def begin_of(segment: Segment) -> Iterator[Item]:
    """What was told before the segment and holds still."""
    if segment.threads:
        yield list(segment.threads)
    if segment.change is not None:
        yield replace(segment.change, time=segment.time)
    yield from segment.ends


def open_latest(folder: Path, last: int, hit: Hit | None = None) -> RingReader:
    """The latest so many ns of a ring, and what is before them in the same segment.  hit: why it is read; of no later
    time than the end.  Raises BadCapture.
    """
    with RingReader(segments_of(folder)) as reader:
        latest = reader.latest
    if hit is not None:
        hit = replace(hit, time=min(hit.time, latest))
    return RingReader(segments_of(folder), since=latest - last, hit=hit)


def open_capture(path: Path) -> CaptureReader | RingReader:
    """A capture, or a ring, or one segment of a ring.  Raises BadCapture."""
    if is_folder(path):
        found = segments_of(path)
        if not found:
            raise BadCapture(f"{path} is a folder without a capture in it.", fix=f"ls -l {path}")
        return RingReader(found)
    reader = CaptureReader(path)
    if reader.segment is not None:
        reader.close()
        return RingReader([path])
    return reader
