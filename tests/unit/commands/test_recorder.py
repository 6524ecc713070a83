"""What a recording leaves when something goes wrong in the middle of it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import cast

import pytest

from tests.captures import START, busy_plan, events_at, recording_of
from tracer.capture import CaptureReader, CaptureWriter
from tracer.commands.recorder import Recorder, RecordOptions, _kept
from tracer.commands.survey import Selection, Survey, survey_processes
from tracer.errors import AttachFailed, NoSuchProcess, OutOfMemory
from tracer.model import ExitMode, ProcessEnd, Thread
from tracer.probe.session import Batch, ProbeSession
from tracer.target.process import TargetProcess


def test_an_error_says_that_the_capture_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "x.ratcap"
    with CaptureWriter(path, recording_of(busy_plan())) as writer:
        writer.events(events_at(START + 1, START + 2))
        with pytest.raises(AttachFailed) as caught, _kept(writer):
            raise AttachFailed("The kernel refused.", fix="try this")
    assert caught.value.fix.splitlines() == ["try this", f"what was recorded is kept: rat-ebpf convert {path}"]
    with CaptureReader(path) as reader:
        assert reader.event_count == 2


def test_no_more_memory_leaves_the_capture_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x.ratcap"
    with CaptureWriter(path, recording_of(busy_plan())) as writer:
        writer.events(events_at(START + 1, START + 2))
        with pytest.raises(OutOfMemory) as caught, _kept(writer):
            raise MemoryError
    assert f"what was recorded is kept: rat-ebpf convert {path}" in caught.value.fix
    assert "shorter time" in caught.value.fix


def test_before_anything_was_recorded_a_shorter_time_is_no_help(tmp_path: Path) -> None:
    writer = CaptureWriter(tmp_path / "x.ratcap", recording_of(busy_plan()))
    with pytest.raises(OutOfMemory) as caught, _kept(writer):
        raise MemoryError
    assert "shorter time" not in caught.value.fix
    assert "ulimit -v" in caught.value.fix


def test_an_empty_capture_does_not_outlive_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.ratcap"
    with pytest.raises(AttachFailed) as caught, CaptureWriter(path, recording_of(busy_plan())) as writer, _kept(writer):
        raise AttachFailed("The kernel refused.", fix="try this")
    assert caught.value.fix == "try this"
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_ends_while_another_is_looked_at() -> None:
    process = subprocess.Popen(["/bin/sleep", "60"])
    target = TargetProcess.open(process.pid)
    process.kill()
    process.wait()
    with pytest.raises(NoSuchProcess, match=str(process.pid)):
        survey_processes([target], Selection(), ExitMode.DEFAULT)


class LateSession:
    """Has events that came after the last look, of a thread that is new."""

    def read(self) -> Batch:
        return Batch(events_at(START + 1, START + 2), [])

    def threads(self) -> list[Thread]:
        return [Thread(77, 70, "late")]


def test_what_a_process_sent_last_stands_before_its_end_and_behind_whose_it_is(tmp_path: Path) -> None:
    process = subprocess.Popen(["/bin/sleep", "60"])
    target = TargetProcess.open(process.pid)
    process.kill()
    process.wait()
    path = tmp_path / "x.ratcap"
    options = RecordOptions(duration=None, max_overhead=1, transport="ring", max_size=1 << 20, asked={})
    recording = recording_of(busy_plan())
    recorder = Recorder(Survey(recording.plan, recording.processes, ()), [target], path, options)
    before = recorder._last_seen.of(process.pid)
    with CaptureWriter(path, recording) as writer:
        recorder._watch_targets(cast(ProbeSession, LateSession()), writer)
    with CaptureReader(path) as reader:
        threads, events, end = list(reader)
    assert threads == [Thread(77, 70, "late")]
    assert len(cast(list[object], events)) == 2
    # Its polls lasted until its last event at least, but not until somebody looked.
    assert isinstance(end, ProcessEnd)
    assert end.time == max(START + 2, before)
