"""What is to be written is there, whatever the ring has deleted meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from tests.captures import busy_plan, events_at, recording_of
from tracer.capture import RingReader, RingWriter, segments_of
from tracer.commands.held import HeldSegments


def times(held: HeldSegments) -> list[int]:
    with RingReader(held.paths) as reader:
        return [int(time) for item in reader if isinstance(item, np.ndarray) for time in item["time"]]


def test_it_outlives_the_ring(tmp_path: Path) -> None:
    recording = recording_of(busy_plan())
    folder = tmp_path / "x.ring"
    held = HeldSegments(folder)
    begin = recording.start + 10
    with RingWriter(folder, recording, last=1 << 60, max_size=1 << 30) as ring:
        for offset in (0, 1):
            ring.events(events_at(begin + offset))
            ring._turn()
        held.hold()
        other = held.copy()
        segments_of(folder)[0].unlink()
        ring.events(events_at(begin + 2))
        ring.flush()  # to one that is held
        ring._turn()
        ring.events(events_at(begin + 3))
    assert times(held) == [begin, begin + 1, begin + 2]
    held.hold()
    assert times(held) == [begin, begin + 1, begin + 2, begin + 3]
    assert times(other) == [begin, begin + 1, begin + 2]
    before = len(os.listdir("/proc/self/fd"))
    held.close()
    held.close()
    assert len(os.listdir("/proc/self/fd")) == before - 4
    assert times(other) == [begin, begin + 1, begin + 2]
    other.close()
