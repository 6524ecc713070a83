"""Reading a ring while it is being written."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tracer.capture.reader import CaptureReader, Item
from tracer.capture.ring import segments_of
from tracer.capture.ring_reader import begin_of
from tracer.capture.segments import ToldAgain
from tracer.errors import BadCapture
from tracer.model import Recording


@dataclass(frozen=True, slots=True)
class Restart:
    """What comes next begins at `time` (ns), for what was before was deleted, or left out, unread: so many events."""

    time: int
    unread: int


class RingFollower:
    """latest: time of the latest event read, ns.  recording: None until there is a segment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._reader: CaptureReader | None = None
        self._again: ToldAgain | None = None
        self._number = self._received = 0
        self.recording: Recording | None = None
        self.latest = 0

    def more(self, most_behind: int) -> Iterator[Item | Restart]:
        """What was written since the last time; a Restart first where it begins, and wherever something is left out.

        most_behind: ns; who is further behind than that begins anew with the newest segment.
        """
        while True:
            following = self._following()  # before the current one is read: nothing is added to that any more then
            if self._reader is not None:
                for item in self._reader.more():
                    if isinstance(item, np.ndarray) and len(item):
                        self._received += len(item)
                        self.latest = max(self.latest, int(item["time"][-1]))
                        item = self._again.tell(item) if self._again is not None else item
                    yield item
            if following is None or not (yield from self._open(following, most_behind)):
                return

    def _following(self) -> Path | None:
        wanted = f"{self._number + 1:08}"
        return next((path for path in segments_of(self._folder) if path.stem >= wanted), None)

    def _open(self, path: Path, most_behind: int) -> Generator[Item | Restart, None, bool]:
        """True: it could be opened."""
        newest = segments_of(self._folder)[-1:]
        reader = _opened(path, self.recording)
        if newest and newest[0] != path and reader is not None and reader.segment is not None:
            last = _opened(newest[0], reader.recording)
            if last is not None and last.segment is not None:
                if last.segment.time - reader.segment.time > most_behind:
                    reader.close()
                    reader, last = last, None
                if last is not None:
                    last.close()
        if reader is None or reader.segment is None:
            return False
        segment = reader.segment
        self.close()
        self._reader = reader
        is_next = segment.number == self._number + 1 and self.recording is not None
        self.recording = self.recording or reader.recording
        if not is_next:
            unread = max(0, segment.received - self._received)
            self._again = ToldAgain(segment.task_ids if len(reader.recording.processes) == 1 else segment.task_ids[:0])
            self._received = segment.received
            self.latest = max(self.latest, segment.time)
            yield Restart(segment.time, unread)
            yield from begin_of(segment)
        self._number = segment.number
        return True

    def close(self) -> None:
        """Can be called twice."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def _opened(path: Path, like: Recording | None) -> CaptureReader | None:
    """None: it is gone, or its header is not whole yet."""
    try:
        return CaptureReader(path, like=like)
    except BadCapture:
        return None
