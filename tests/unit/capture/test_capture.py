"""Captures: what is written is read back, and damage is reported, never raised."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from tests.captures import EVERYTHING, RECORDING, events_at
from tracer import ownership
from tracer.capture import CaptureReader, CaptureWriter, Item, messages
from tracer.capture import format as fmt
from tracer.errors import BadCapture, OutputFailed
from tracer.model import (
    EVENT,
    PARKED,
    CaptureEnd,
    Channel,
    Group,
    Halt,
    HaltKind,
    KeptTasks,
    Loss,
    MemoryReading,
    PlanChange,
    ProcessEnd,
    SourceLocation,
    Stuck,
    StuckKind,
    Thread,
)

ROOT = Path(__file__).parents[3]


def write_example(path: Path) -> None:
    with CaptureWriter(path, RECORDING) as writer:
        writer.threads([Thread(7, 5, "worker"), Thread(8, 5, "bad \udcff name")])
        writer.events(events_at(10, 20, 30))
        writer.loss(Loss(1, 23, None, 35))
        writer.plan_change(PlanChange(40, frozenset({Group.TASKS}), "too dear"))
        writer.events(events_at(50, 60))
        writer.process_end(ProcessEnd(70, 5, "exited"))
        writer.end(CaptureEnd(80, "the process ended", 5, 23, 0.25))


def test_what_will_not_go_on_is_told(tmp_path: Path) -> None:
    """Beside what is parked; an earlier version did not look for it, and a later one may know of other kinds."""
    stuck = (
        Stuck(StuckKind.FUTURELOCK, (0x7F00, 2**64 - 1), False, "it \udcff waits", "a::b", SourceLocation("a.rs", 7)),
        Stuck(StuckKind.UNWAKEABLE, (), True, "", "c", None),
    )
    parked = np.zeros(2, PARKED)
    readings = [MemoryReading(9, 5, 0, True, 3, parked, told) for told in (stuck, (), None)]
    with CaptureWriter(tmp_path / "x.ratcap", RECORDING) as writer:
        for reading in readings:
            writer.memory_reading(reading)
    with CaptureReader(tmp_path / "x.ratcap") as reader:
        read = [item for item in reader if isinstance(item, MemoryReading)]
    assert [one.stuck for one in read] == [(replace(stuck[0], words="it \ufffd waits"), stuck[1]), (), None]
    assert all(np.array_equal(one.parked, parked) for one in read)
    later = messages.write_memory_reading(readings[0]).replace(b"futurelock", b"livelocked")
    kept = messages.read_memory_reading(later).stuck
    assert kept == stuck[1:]


def test_which_finished_tasks_are_kept_is_told(tmp_path: Path) -> None:
    """An earlier version did not look for them."""
    known = KeptTasks(3, 700, "a::keeps \udcff", 699, True, SourceLocation("a.rs", 7), 2**64 - 1)
    parked = np.zeros(0, PARKED)
    with CaptureWriter(tmp_path / "x.ratcap", RECORDING) as writer:
        for kept in ((known, KeptTasks(0, 1)), (), None):
            writer.memory_reading(MemoryReading(9, 5, 0, True, 3, parked, None, None, kept))
    with CaptureReader(tmp_path / "x.ratcap") as reader:
        read = [item.kept for item in reader if isinstance(item, MemoryReading)]
    assert read == [(replace(known, by="a::keeps \ufffd"), KeptTasks(0, 1)), (), None]


def test_what_waits_in_channels_is_told(tmp_path: Path) -> None:
    """Beside what is parked; an earlier version did not look for it, and a damaged one has a look without a time."""
    channels = (
        Channel(
            (5, 7, 9), (0, 2**40, 3), 2**50, None, 2**64 - 1, True, "it \udcff waits", "a::b", SourceLocation("a.rs", 7)
        ),
        Channel((5, 9), (1, 2), 0, 16, 0, False, "", "", None),
    )
    readings = [MemoryReading(9, 5, 0, True, 3, np.zeros(0, PARKED), channels=told) for told in (channels, (), None)]
    with CaptureWriter(tmp_path / "x.ratcap", RECORDING) as writer:
        for reading in readings:
            writer.memory_reading(reading)
        for times, waiting in (((5,), (1,)), ((9, 5), (1, 2)), ((5, 9), (1, 2, 3))):
            damaged = replace(channels[1], times=times, messages=waiting)
            writer.memory_reading(replace(readings[0], channels=(damaged,)))
    with CaptureReader(tmp_path / "x.ratcap") as reader:
        read = [item.channels for item in reader if isinstance(item, MemoryReading)]
        assert reader.damaged_blocks == 3
    assert read == [(replace(channels[0], words="it \ufffd waits"), channels[1]), (), None]


def test_what_is_told_of_no_process_that_was_recorded_is_damage(tmp_path: Path) -> None:
    count = len(RECORDING.processes)
    with CaptureWriter(tmp_path / "x.ratcap", RECORDING) as writer:
        for process in (count, count - 1):
            writer.memory_reading(MemoryReading(9, 5, process, True, 3, np.zeros(0, PARKED)))
            writer.halt(Halt(5, 9, process, HaltKind.FROZEN))
    with CaptureReader(tmp_path / "x.ratcap") as reader:
        kinds = [type(item) for item in reader]
        assert reader.damaged_blocks == 2
    assert kinds == [MemoryReading, Halt]


def plain(items: list[Item]) -> list[object]:
    return [item.tolist() if isinstance(item, np.ndarray) else item for item in items]


def read(path: Path) -> tuple[CaptureReader, list[object]]:
    with CaptureReader(path) as reader:
        return reader, plain(list(reader))


def block_offsets(data: bytes) -> list[int]:
    """Where each block begins, and the end of the file."""
    offsets, at = [], fmt.FILE_HEADER.size
    while at < len(data):
        offsets.append(at)
        header = fmt.parse_block_header(data[at : at + fmt.BLOCK_HEADER_SIZE])
        assert header is not None
        at += fmt.BLOCK_HEADER_SIZE + header.payload_size
    return [*offsets, at]


def test_everything_comes_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "c"
    write_example(path)
    reader, items = read(path)
    assert items == [
        [Thread(7, 5, "worker"), Thread(8, 5, "bad \ufffd name")],
        events_at(10, 20, 30).tolist(),
        Loss(1, 23, None, 35),
        PlanChange(40, frozenset({Group.TASKS}), "too dear"),
        events_at(50, 60).tolist(),
        ProcessEnd(70, 5, "exited"),
        CaptureEnd(80, "the process ended", 5, 23, 0.25),
    ]
    assert (reader.torn, reader.damaged_blocks, reader.unknown_blocks) == (False, 0, 0)


def test_the_header_comes_back_with_every_field(tmp_path: Path) -> None:
    with CaptureWriter(tmp_path / "c", EVERYTHING):
        pass
    reader, items = read(tmp_path / "c")
    assert reader.recording == EVERYTHING
    assert items == []


def test_a_function_that_the_plan_changed_is_kept_as_the_plan_has_it(tmp_path: Path) -> None:
    plan = EVERYTHING.plan
    changed = replace(plan.functions[0], exits=())
    recording = replace(EVERYTHING, plan=replace(plan, functions=(changed, *plan.functions[1:])))
    with CaptureWriter(tmp_path / "c", recording):
        pass
    assert read(tmp_path / "c")[0].recording == recording


def test_counting_events_reads_no_payload_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "c"
    write_example(path)
    path.write_bytes(path.read_bytes()[:-3])
    with CaptureReader(path) as reader:
        assert reader.event_count == 5
        before = reader.torn
        list(reader)
        assert (before, reader.torn) == (False, True)
        assert reader.event_count == 5


def test_every_cut_gives_the_blocks_before_it(tmp_path: Path) -> None:
    path = tmp_path / "c"
    write_example(path)
    data = path.read_bytes()
    _, whole = read(path)
    offsets = block_offsets(data)
    for length in range(offsets[1], len(data)):
        path.write_bytes(data[:length])
        reader, items = read(path)
        complete = sum(1 for end in offsets[2:] if end <= length)
        assert items == whole[:complete]
        assert reader.torn == (length not in offsets)


def test_every_damaged_byte_costs_one_block_at_most(tmp_path: Path) -> None:
    path = tmp_path / "c"
    write_example(path)
    data = path.read_bytes()
    _, whole = read(path)
    offsets = block_offsets(data)
    for at in range(offsets[1], len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        reader, items = read(path)
        block = max(i for i, begin in enumerate(offsets) if begin <= at) - 1
        assert items == whole[:block] + whole[block + 1 :]
        assert reader.damaged_blocks + reader.torn == 1


def test_an_unknown_block_is_skipped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "c"
    write_example(path)
    data = path.read_bytes()
    _, whole = read(path)
    at = block_offsets(data)[2]
    later = fmt.BlockHeader(b"NEW!", 4, 2, -1, 0, 0, 0xAA11FE4F).pack() + b"12345678"
    unknown = fmt.BlockHeader(b"NEW!", 1, 0, -1, 0, 0, 0).pack()
    path.write_bytes(data[:at] + unknown + later + data[at:])
    reader, items = read(path)
    assert items == whole
    assert reader.unknown_blocks + reader.damaged_blocks == 2


def test_a_length_beyond_all_bounds_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "c"
    write_example(path)
    hostile = fmt.BlockHeader(fmt.EVENTS, 0xFFFFFFFF, 0xFFFFFFFF, -1, 0, 0, 0).pack()
    path.write_bytes(path.read_bytes() + hostile)
    reader, items = read(path)
    assert len(items) == 7
    assert reader.torn


def test_a_file_full_of_short_damage_is_read_a_few_times(tmp_path: Path) -> None:
    path = tmp_path / "c"
    write_example(path)
    unknown = fmt.BlockHeader(b"NEW!", 1, 0, -1, 0, 0, 0).pack()
    path.write_bytes(path.read_bytes() + (unknown + b"?") * 20_000)
    with CaptureReader(path) as reader:
        counted = Counted(reader._file)
        reader._file = counted  # type: ignore[assignment]  # it reads and seeks
        assert len(list(reader)) == 7
        assert reader.damaged_blocks >= 19_999
        assert counted.read_bytes < 10 * path.stat().st_size


class Counted:
    """A file of which it is known how much was read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.read_bytes = 0

    def seek(self, *place: int) -> int:
        return self._file.seek(*place)

    def read(self, size: int) -> bytes:
        self.read_bytes += size
        return self._file.read(size)

    def close(self) -> None:
        self._file.close()


@pytest.mark.parametrize("size", [0, 5, 16, 40, 80])
def test_a_file_without_a_whole_header_is_no_capture(tmp_path: Path, size: int) -> None:
    path = tmp_path / "c"
    write_example(path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(BadCapture):
        CaptureReader(path)


def test_other_files_are_no_captures(tmp_path: Path) -> None:
    for path in (Path(sys.executable), tmp_path, tmp_path / "missing"):
        with pytest.raises(BadCapture):
            CaptureReader(path)


def test_a_time_before_all_time_is_damage() -> None:
    tasks = frozenset({Group.TASKS})
    for read_message, message in (
        (messages.read_plan_change, messages.write_plan_change(PlanChange(-5, tasks, "too dear"))),
        (messages.read_loss, messages.write_loss(Loss(1, 23, -5, 35))),
        (messages.read_loss, messages.write_loss(Loss(1, 23, None, -5))),
        (messages.read_process_end, messages.write_process_end(ProcessEnd(-5, 5, "exited"))),
        (messages.read_capture_end, messages.write_capture_end(CaptureEnd(-5, "done", 5, 23, 0.25))),
        (messages.read_recording, messages.write_recording(replace(RECORDING, start=-5))),
        (
            messages.read_recording,
            messages.write_recording(replace(RECORDING, clock=replace(RECORDING.clock, realtime=-5))),
        ),
    ):
        with pytest.raises(ValueError, match="no time"):
            read_message(message)


def test_names_of_no_characters_are_kept_as_far_as_they_are_some(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with CaptureWriter(path, RECORDING) as writer:
        writer.threads([Thread(7, 5, "half \ud800 of one, é"), Thread(8, 5, "bad \udcff name")])
    assert read(path)[1] == [[Thread(7, 5, "half \ufffd of one, é"), Thread(8, 5, "bad \ufffd name")]]


def test_a_capture_of_no_process_is_damaged(tmp_path: Path) -> None:
    with CaptureWriter(tmp_path / "c", replace(RECORDING, processes=())) as writer:
        writer.end(CaptureEnd(80, "the process ended", 0, 0, 0.0))
    with pytest.raises(BadCapture, match="damaged"):
        CaptureReader(tmp_path / "c")


def test_a_later_format_says_which_it_is(tmp_path: Path) -> None:
    path = tmp_path / "c"
    write_example(path)
    data = bytearray(path.read_bytes())
    data[8] = 9
    path.write_bytes(data)
    with pytest.raises(BadCapture, match="format 9"):
        CaptureReader(path)


def test_no_damage_to_the_header_raises_anything_else(tmp_path: Path) -> None:
    path = tmp_path / "c"
    write_example(path)
    data = path.read_bytes()
    for at in range(block_offsets(data)[1]):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        if 12 <= at < 16:  # the reserved word
            assert len(read(path)[1]) == 7
        else:
            with pytest.raises(BadCapture):
                CaptureReader(path)


# ---------------------------------------------------------------- writing


def test_a_capture_is_private_and_never_replaces_a_file(tmp_path: Path) -> None:
    path = tmp_path / "c"
    write_example(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    with pytest.raises(OutputFailed):
        CaptureWriter(path, RECORDING)
    assert path.read_bytes() == before
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputFailed):
        CaptureWriter(tmp_path / "link", RECORDING)
    with pytest.raises(OutputFailed, match="cannot be created"):
        CaptureWriter(tmp_path / "no" / "folder", RECORDING)


def test_under_sudo_the_capture_is_the_callers_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "caller", lambda: (4242, 4243))
    with CaptureWriter(tmp_path / "c", RECORDING):
        status = (tmp_path / "c").stat()
    assert (status.st_uid, status.st_gid) == (4242, 4243)


def test_small_batches_share_a_block_and_large_ones_are_split(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with CaptureWriter(path, RECORDING) as writer:
        for time in range(1, 48):
            writer.events(events_at(time))
        writer.events(events_at(*range(100, 100 + 70_000)))
    _, items = read(path)
    assert [len(item) for item in items if isinstance(item, list)] == [65_536, 70_047 - 65_536]


def test_batches_that_overlap_are_sorted_within_a_block(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with CaptureWriter(path, RECORDING) as writer:
        writer.events(events_at(10, 20))
        writer.events(events_at(15, 25))
    _, items = read(path)
    assert items == [events_at(10, 15, 20, 25).tolist()]


def test_waiting_events_are_written_when_they_get_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("tracer.capture.writer.time.monotonic", lambda: now)
    with CaptureWriter(tmp_path / "c", RECORDING) as writer:
        writer.events(events_at(1, 2))
        assert writer.event_count == 0
        now = 100.6
        writer.events(np.empty(0, EVENT))
        assert read(tmp_path / "c")[1] == [events_at(1, 2).tolist()]


def test_past_its_size_it_drops_counts_and_ends_well(tmp_path: Path) -> None:
    path, limit = tmp_path / "c", 1 << 20
    with CaptureWriter(path, RECORDING, max_size=limit) as writer:
        for start in range(1, 100_000, 1_000):
            writer.events(events_at(*range(start, start + 1_000)))
            writer.flush()
        assert "size limit of 1 MiB" in str(writer.full)
        kept, dropped = writer.event_count, writer.dropped
        assert kept + dropped == 100_000
        writer.threads([Thread(7, 5, "late")])
        writer.end(CaptureEnd(1, str(writer.full), 100_000, 0))
    assert limit - (128 << 10) < path.stat().st_size <= limit
    reader, items = read(path)
    assert not reader.torn
    assert items[-3:-1] == [[Thread(7, 5, "late")], Loss(-1, dropped, kept + 1, 100_000)]
    assert sum(len(item) for item in items if isinstance(item, list)) == kept + 1


def test_the_last_part_of_the_disk_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fstatvfs(0)
    nearly_full = os.statvfs_result((4096, 4096, 1_000, 51, 51, *tuple(real)[5:]))
    with CaptureWriter(tmp_path / "c", RECORDING) as writer:
        monkeypatch.setattr(os, "fstatvfs", lambda fd: nearly_full)
        writer.events(events_at(1, 2, 3))
        writer.flush()
        assert writer.full is None
        writer.events(events_at(*range(5_000)))
        writer.flush()
        assert "95 % full" in str(writer.full)
        assert (writer.event_count, writer.dropped) == (3, 5_000)


_WRITE_UNTIL_IT_FAILS = """
import resource, signal, sys
from pathlib import Path
from tests.captures import RECORDING, events_at
from tracer.capture import CaptureWriter
from tracer.model import CaptureEnd
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with CaptureWriter(Path(sys.argv[1]), RECORDING) as writer:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    for start in range(1, 10_001, 1_000):
        writer.events(events_at(*range(start, start + 1_000)))
        writer.flush()
    writer.end(CaptureEnd(1, writer.full, 10_000, 0))
print(writer.full, writer.event_count, sep="|")
"""


def test_a_write_that_the_kernel_refuses_ends_the_capture_not_the_program(tmp_path: Path) -> None:
    path = tmp_path / "c"
    done = subprocess.run(
        [sys.executable, "-c", _WRITE_UNTIL_IT_FAILS, str(path)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    full, kept = done.stdout.strip().split("|")
    assert "cannot be written any more" in full
    assert kept == "2000"
    reader, items = read(path)
    assert not reader.torn
    assert [len(item) for item in items if isinstance(item, list)] == [1_000, 1_000]
    assert items[2:] == [Loss(-1, 8_000, 2_001, 10_000), CaptureEnd(1, full, 10_000, 0)]


_WRITE_FOREVER = """
import resource, sys
from pathlib import Path
from tests.captures import RECORDING, events_at
from tracer.capture import CaptureWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 20, 64 << 20))
writer = CaptureWriter(Path(sys.argv[1]), RECORDING)
for start in range(1, 1 << 40, 1_000):
    writer.events(events_at(*range(start, start + 1_000)))
    if writer.event_count > 100_000:
        print("go", flush=True)
"""


def test_a_killed_writer_leaves_a_capture_that_reads(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with subprocess.Popen(
        [sys.executable, "-c", _WRITE_FOREVER, str(path)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    _, items = read(path)
    times = [event[0] for item in items if isinstance(item, list) for event in item]
    assert len(times) > 100_000
    assert times == list(range(1, len(times) + 1))
