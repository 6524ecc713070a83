"""The ring on disk: what is kept, what is deleted, what each segment tells, and who is writing it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.captures import EVERYTHING, START, busy_plan, events_at, recording_of
from tracer.capture import (
    CaptureReader,
    Item,
    RingReader,
    RingWriter,
    join,
    left_behind,
    open_capture,
    open_latest,
    remove_ring,
    segments_of,
)
from tracer.capture.segments import ToldAgain, ToldIds
from tracer.capture.writer import CaptureWriter
from tracer.errors import BadCapture, OutputFailed
from tracer.model import (
    CHAIN_RECORD,
    TASK_ID_RECORD,
    TOLD_ID,
    Array,
    CaptureEnd,
    EventFlag,
    Flight,
    Group,
    Hit,
    Loss,
    PlanChange,
    ProcessEnd,
    Thread,
)

RECORDING = recording_of(busy_plan())
SECOND = 1_000_000_000
CHANGE = PlanChange(START + 50, frozenset({Group.TASKS, Group.FUTURES}), "too much", frozenset({1}), frozenset({0}))


def ring(
    folder: Path, *, last: int = SECOND, max_size: int = 64 << 20, alive: frozenset[int] | None = None
) -> RingWriter:
    return RingWriter(folder, RECORDING, last=last, max_size=max_size, alive=lambda: alive)


def items_of(reader: RingReader | CaptureReader) -> list[Item]:
    with reader:
        return list(reader)


def times(items: list[Item]) -> list[int]:
    return [int(time) for item in items if isinstance(item, np.ndarray) for time in item["time"]]


def test_a_segment_tells_what_was_told_before(tmp_path: Path) -> None:
    told = events_at(START + 1, START + 1)
    told["probe"][0], told["self"], told["sp"][0] = TASK_ID_RECORD, 0x40, 17
    told["flags"] = EventFlag.SELF | EventFlag.TASK_ID, EventFlag.SELF | EventFlag.TASK_ID | EventFlag.NEW_TASK_ID
    with ring(tmp_path / "r", last=1 << 60, alive=frozenset({7})) as writer:
        writer.threads([Thread(7, 5, "worker"), Thread(8, 5, "gone")])
        writer.plan_change(CHANGE)
        writer.process_end(ProcessEnd(START + 60, 6, "it ended"))
        writer.loss(Loss(0, 3, None, START + 2))
        writer.events(told)
        writer._turn()
        writer.events(events_at(START + 100))
        writer.end(CaptureEnd(START + 200, "done", 10, 5))
    first, second = segments_of(tmp_path / "r")
    with CaptureReader(second) as reader:
        segment = reader.segment
        assert segment is not None
        assert (segment.number, segment.time, segment.change) == (2, START + 1, CHANGE)
        assert segment.threads == (Thread(7, 5, "worker"),)
        assert segment.task_ids.tolist() == [(0x40, 17)]
        assert (segment.received, segment.lost) == (2, 3)
    assert items_of(open_capture(second)) == [
        [Thread(7, 5, "worker")],
        replace(CHANGE, time=START + 1),
        ProcessEnd(START + 60, 6, "it ended"),
        *[item for item in items_of(CaptureReader(second)) if not isinstance(item, CaptureEnd)],
        CaptureEnd(START + 200, "done", 8, 2),
    ]
    with open_capture(second) as part, open_capture(first) as begin:
        assert part.recording.start == START + 1
        assert begin.recording.start == START


def test_the_oldest_is_deleted(tmp_path: Path) -> None:
    now = time.monotonic_ns()
    with ring(tmp_path / "r") as writer:
        for age in (13, 9, 6, 1):
            writer.events(events_at(now - age * SECOND))
            writer._turn()
    with RingReader(segments_of(tmp_path / "r")) as reader:
        assert times(list(reader)) == [now - 6 * SECOND, now - SECOND]  # 1.5 s, and 5 s more to take it out


def test_it_is_no_larger_than_allowed(tmp_path: Path) -> None:
    batch = np.zeros(4_000, events_at(1).dtype)
    most = 4 << 20
    with ring(tmp_path / "r", last=1 << 60, max_size=most) as writer:
        for number in range(200):
            batch["time"] = START + 1 + number
            writer.events(batch)
            size = sum(path.stat().st_size for path in segments_of(tmp_path / "r"))
            assert size <= most
        assert writer.full is None
    with RingReader(segments_of(tmp_path / "r")) as reader:
        kept = times(list(reader))
        assert len(kept) > 0.6 * most / batch.itemsize
        assert kept[-1] == START + 200
        assert not any(isinstance(item, Loss) for item in reader)


def test_the_asked_for_time_and_no_more_than_a_segment_besides(tmp_path: Path) -> None:
    now = time.monotonic_ns()
    with ring(tmp_path / "r", last=10 * SECOND) as writer:
        for age in range(12, 0, -1):
            writer.events(events_at(now - age * SECOND))
            writer._turn()
        writer.end(CaptureEnd(now, "", 12, 0))
    with open_latest(tmp_path / "r", 5 * SECOND) as reader:
        assert reader.recording.start == now - 5 * SECOND
        assert times(list(reader)) == [now - age * SECOND for age in range(4, 0, -1)]


def test_a_part_ends_where_it_is_asked_to(tmp_path: Path) -> None:
    hit = Hit("poll > 1ms", "poll", "it took long", START + 3, 9, 5, "f", None, 7)
    recording = replace(RECORDING, flight=Flight(SECOND, START))
    with RingWriter(tmp_path / "r", recording, last=1 << 60, max_size=1 << 24) as writer:
        for time_ in (1, 2, 3, 4, 5):
            writer.events(events_at(START + time_))
            writer.flush()
    with RingReader(segments_of(tmp_path / "r"), until=START + 3, hit=hit, is_over=True) as reader:
        items = list(reader)
        assert times(items) == [START + 1, START + 2, START + 3]
        assert items[-1] == CaptureEnd(START + 3, "written because of poll > 1ms", 3, 0)
        assert reader.recording.flight == Flight(SECOND, START, hit)
        join(reader, tmp_path / "x.ratcap")
    with CaptureReader(tmp_path / "x.ratcap") as joined:
        assert joined.recording.flight == Flight(SECOND, START, hit)
        assert times(list(joined)) == [START + 1, START + 2, START + 3]


def test_a_copy_that_is_interrupted_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: RingReader) -> Iterator[Item]:
        yield events_at(START + 1)
        raise KeyboardInterrupt

    with ring(tmp_path / "r", last=1 << 60) as writer:
        writer.events(events_at(START + 1, START + 2))
    monkeypatch.setattr(RingReader, "__iter__", interrupted)
    with RingReader(segments_of(tmp_path / "r")) as reader, pytest.raises(KeyboardInterrupt):
        join(reader, tmp_path / "x.ratcap")
    assert [one.name for one in tmp_path.iterdir()] == ["r"]


def test_a_missing_segment_is_a_loss(tmp_path: Path) -> None:
    with ring(tmp_path / "r", last=1 << 60) as writer:
        for part in range(3):
            writer.events(events_at(START + 10 * part + 1, START + 10 * part + 2))
            writer._turn()
    segments_of(tmp_path / "r")[1].unlink()
    losses = [item for item in items_of(open_capture(tmp_path / "r")) if isinstance(item, Loss)]
    assert losses == [Loss(-1, 2, START + 2, START + 12)]


def test_what_is_torn_at_the_end(tmp_path: Path) -> None:
    with ring(tmp_path / "r", last=1 << 60) as writer:
        writer.events(events_at(START + 1))
        writer._turn()
        writer.events(events_at(START + 2))
    last = segments_of(tmp_path / "r")[-1]
    data = last.read_bytes()
    for length in (0, 10, len(data) // 2, len(data) - 5):
        last.write_bytes(data[:length])
        with open_capture(tmp_path / "r") as reader:
            assert times(list(reader)) == [START + 1]
            assert reader.torn or reader.damaged_blocks


def test_too_little_room(tmp_path: Path) -> None:
    with pytest.raises(OutputFailed, match="is too little") as caught:
        ring(tmp_path / "r", max_size=1000)
    assert "--max-size" in caught.value.fix
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(BadCapture, match="folder without a capture"):
        open_capture(tmp_path)


def test_who_writes_it(tmp_path: Path) -> None:
    kept = tmp_path / "x.ring"
    with ring(kept) as writer:
        writer.events(events_at(START + 1))
        assert left_behind(tmp_path) == []
        with pytest.raises(OutputFailed, match="already there"):
            ring(kept)
    assert left_behind(tmp_path) == [kept]
    remove_ring(kept)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_that_name_by_somebody_else(tmp_path: Path) -> None:
    """What is written goes into the folder that was made, whatever has its name later."""
    other = tmp_path / "other"
    other.mkdir()
    with ring(tmp_path / "r", last=1 << 60) as writer:
        (tmp_path / "r").rename(tmp_path / "moved")
        (tmp_path / "r").symlink_to(other)
        writer.events(events_at(START + 1))
        writer._turn()
    assert list(other.iterdir()) == []
    assert len(segments_of(tmp_path / "moved")) == 2


def test_a_segment_that_cannot_be_begun(tmp_path: Path) -> None:
    with ring(tmp_path / "r", last=1 << 60) as writer:
        writer.events(events_at(START + 1))
        (tmp_path / "r" / "00000001.ratcap").rename(tmp_path / "1")
        (tmp_path / "r").rmdir()
        writer._turn()
        writer.events(events_at(START + 2))
        assert writer.trouble is not None
        assert str(tmp_path / "r") in writer.trouble
    with CaptureReader(tmp_path / "1") as reader:
        assert times(list(reader)) == [START + 1, START + 2]


def test_a_full_disk_is_one_trouble_and_what_it_costs_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ring(tmp_path / "r", last=1 << 60) as writer:
        full = CaptureWriter._why_full
        monkeypatch.setattr(CaptureWriter, "_why_full", lambda self, more: f"The disk of {self.path} is 95 % full.")
        troubles = []
        for time_ in (1, 2):
            writer.events(events_at(START + time_))
            writer._turn()
            troubles.append(writer.trouble)
        writer.events(events_at(START + 3))
        writer.end(CaptureEnd(START + 9, "done", 3, 0))
        monkeypatch.setattr(CaptureWriter, "_why_full", full)
    assert troubles == [f"The disk of {tmp_path / 'r'} is 95 % full."] * 2
    assert writer.dropped == 3
    with RingReader(segments_of(tmp_path / "r")) as reader:
        assert sum(item.count for item in reader if isinstance(item, Loss)) == 3


def ids(*told: tuple[int, int]) -> Array:
    return np.array([*told], TOLD_ID)


def test_the_latest_id_of_each_header() -> None:
    kept = ToldIds()
    for header, number in ((1, 10), (2, 20), (1, 11)):
        record = events_at(5)
        record["probe"], record["self"], record["sp"] = TASK_ID_RECORD, header, number
        kept.add(record)
    assert kept.result().tolist() == [(2, 20), (1, 11)]
    assert kept.result().tolist() == [(2, 20), (1, 11)]


def test_ids_are_told_again_once_before_where_the_task_had_waited() -> None:
    events = events_at(1, 1, 2, 3)
    events["self"] = 0x40, 0x40, 0x40, 0x50
    events["probe"][0] = CHAIN_RECORD
    events["flags"] = EventFlag.SELF, *[EventFlag.SELF | EventFlag.TASK_ID] * 2, EventFlag.SELF
    again = ToldAgain(ids((0x40, 17), (0x50, 18)))
    told = again.tell(events)
    assert told["probe"].tolist() == [TASK_ID_RECORD, CHAIN_RECORD, 0, 0, 0]
    assert told["sp"][0] == 17
    assert [bool(flags & EventFlag.NEW_TASK_ID) for flags in told["flags"].tolist()] == [
        False,
        False,
        True,
        False,
        False,
    ]
    assert len(again.tell(events)) == 4


def test_an_id_that_is_new_takes_the_place_of_the_one_before() -> None:
    events = events_at(1, 2)
    events["self"] = 0x40
    new = EventFlag.SELF | EventFlag.TASK_ID | EventFlag.NEW_TASK_ID
    events["flags"] = new, EventFlag.SELF | EventFlag.TASK_ID
    assert ToldAgain(ids((0x40, 17))).tell(events).tolist() == events.tolist()


def test_everything_that_a_header_can_hold_is_in_each_segment(tmp_path: Path) -> None:
    with RingWriter(tmp_path / "r", EVERYTHING, last=1 << 60, max_size=1 << 24) as writer:
        writer.events(events_at(START + 1))
        writer._turn()
    for path in segments_of(tmp_path / "r"):
        with CaptureReader(path) as reader:
            assert reader.recording == EVERYTHING
