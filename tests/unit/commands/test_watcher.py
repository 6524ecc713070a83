"""The watcher as a process of its own, beside a ring that is written here."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.captures import busy_plan, recording_of
from tracer.capture import CaptureReader, RingWriter
from tracer.commands import flight
from tracer.commands.convert import TraceOptions
from tracer.commands.flight import Flight
from tracer.commands.report import summarise
from tracer.commands.watch_options import WatchOptions
from tracer.model import EVENT, Array, CaptureEnd, EventFlag, Recording, Trigger, TriggerKind
from tracer.model import Flight as Latest
from tracer.output.carried import read_summary

MS = 1_000_000
LAST = 1_000 * MS
LONG = Trigger("poll > 50ms", TriggerKind.POLL, 50 * MS)


def options(folder: Path, *triggers: Trigger, form: str = "perfetto", max_size: int = 1 << 30) -> WatchOptions:
    suffix = {"perfetto": ".pftrace", "capture": ".ratcap"}[form]
    return WatchOptions(str(folder / "x.ring"), str(folder / "x"), suffix, LAST, max_size, triggers, TraceOptions(form))


def recording(start: int) -> Recording:
    made = recording_of(busy_plan())
    process = replace(made.processes[0], pid=os.getpid())  # whose threads are looked for
    return replace(made, start=start, flight=Latest(LAST, start), processes=(process,))


def poll(start: int, end: int, tid: int = 7) -> Array:
    """One of a task."""
    events = np.zeros(2, EVENT)
    events["time"], events["tid"], events["sp"], events["self"] = (start, end), tid, 0x7F00_0000_1000, tid << 8
    events["probe"], events["flags"] = (0, 1), EventFlag.SELF
    return events


class Beside:
    """A ring and its watcher."""

    def __init__(self, chosen: WatchOptions) -> None:
        self.said: list[str] = []
        self.start = time.monotonic_ns()
        self.ring = RingWriter(Path(chosen.ring), recording(self.start), last=chosen.last, max_size=1 << 30)
        self.flight = Flight(chosen, self.said.append)
        self.flight.begin()
        self.wait_until_it_reads()

    def wait_until_it_reads(self) -> None:
        """On a busy machine it starts late."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            process = self.flight._process
            assert process is not None
            with contextlib.suppress(OSError):
                if any(one.readlink().suffix == ".ratcap" for one in Path(f"/proc/{process.pid}/fd").iterdir()):
                    return
            time.sleep(0.02)
        pytest.fail("nothing reads the ring")

    def write(self, seconds: float, long: float | None = None) -> None:
        """Short polls for so long, and one that takes 60 ms after so many seconds."""
        begin = time.monotonic_ns()
        while (now := time.monotonic_ns()) < begin + seconds * 1e9:
            if long is not None and now > begin + long * 1e9:
                long = None
                self.ring.events(poll(now - 60 * MS, now, 8))
            else:
                self.ring.events(poll(now - 10_000, now))
            self.flight.look()
            time.sleep(0.02)

    def end(self) -> None:
        self.ring.end(CaptureEnd(time.monotonic_ns(), "done", 0, 0))
        self.ring.close()
        self.flight.finish()


def test_options_survive_the_way() -> None:
    chosen = options(Path("/a"), LONG, Trigger("finding:x", TriggerKind.FINDING, rule="x"))
    assert WatchOptions.from_json(chosen.as_json()) == chosen


def test_a_name_that_is_free(tmp_path: Path) -> None:
    chosen = options(tmp_path)
    first = chosen.free_name(time.monotonic_ns(), "poll")
    assert first.name.startswith(f"x-{time.strftime('%Y-%m-%dT')}")
    assert first.name.endswith("-poll.pftrace")
    for path in [first, first.with_name(first.name.replace(".pftrace", "-2.pftrace"))]:
        path.touch()
    moment = time.monotonic_ns()
    while (third := chosen.free_name(moment, "poll")).name[:21] != first.name[:21]:
        moment -= 1_000 * MS
    assert not third.exists()


def test_one_that_is_not_waited_for_any_more_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = Beside(options(tmp_path, LONG))
    monkeypatch.setattr(flight, "_PATIENCE", 0.0)
    beside.end()
    assert beside.said == ["what looks for triggers needs more than 0 min: something may be missing"]


def test_it_is_waited_for_beside_more_descriptors_than_select_knows(tmp_path: Path) -> None:
    """As a thousand probes have that are attached one by one."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as held:
        held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
        for _ in range(1100):
            held.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        beside = Beside(options(tmp_path, LONG))
        beside.end()
    assert beside.said == []


def test_two_long_polls_are_two_traces_each_of_its_own_time(tmp_path: Path) -> None:
    beside = Beside(options(tmp_path, LONG, form="capture"))
    beside.write(3.2, 1.3)
    beside.write(1.5, 0.2)
    beside.end()
    assert len(beside.flight.written) == 2, beside.said
    for told in beside.flight.written:
        path = Path(told["path"])
        assert f"{told['trigger']}: {told['title']} → {path}" in beside.said
        with CaptureReader(path) as reader:
            assert reader.recording.flight is not None
            hit = reader.recording.flight.hit
            assert hit is not None
            assert (hit.trigger, hit.duration) == (LONG.text, 60 * MS)
            events = np.concatenate([item for item in reader if isinstance(item, np.ndarray)])
        assert int(events["time"][0]) <= hit.time - min(LAST, hit.time - beside.start - 100 * MS)
        assert int(events["time"][-1]) >= hit.time + hit.duration + 100 * MS
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["x.ring", *(Path(one["path"]).name for one in beside.flight.written)]
    )


def test_what_happens_last_is_written(tmp_path: Path) -> None:
    """The recording ends before it is time."""
    beside = Beside(options(tmp_path, LONG))
    beside.write(1.0, 0.95)
    beside.end()
    (told,) = beside.flight.written
    document = read_summary(Path(told["path"]))
    assert document["flight"]["trigger"]["duration"] == 60 * MS


def test_nothing_happens(tmp_path: Path) -> None:
    beside = Beside(options(tmp_path, LONG))
    beside.write(1.0)
    beside.end()
    assert (beside.said, beside.flight.written) == ([], [])
    assert summarise(tmp_path / "x.ring", quiet=True)["polls"] > 20


def test_asked_for_by_a_signal(tmp_path: Path) -> None:
    beside = Beside(options(tmp_path))
    beside.write(1.5)
    beside.flight.write_now()
    beside.write(1.5)
    beside.end()
    (told,) = beside.flight.written
    assert told["kind"] == "signal"
    assert Path(told["path"]).name.endswith("-signal.pftrace")


def test_no_more_than_there_is_room_for(tmp_path: Path) -> None:
    beside = Beside(options(tmp_path, LONG, max_size=1))
    for _ in range(3):
        beside.write(1.5, 0.2)
    beside.end()
    assert len(beside.flight.written) == 1
    assert beside.flight.not_written == 2
    assert sum("no more traces are written" in words for words in beside.said) == 1


def test_more_than_can_be_written(tmp_path: Path) -> None:
    beside = Beside(options(tmp_path))
    beside.write(0.5)
    for _ in range(9):
        beside.flight.write_now()
    beside.write(0.5)
    beside.end()
    assert (len(beside.flight.written), beside.flight.not_written) == (4, 5)
    assert sum("not written as fast as triggers fire" in words for words in beside.said) == 1
    assert beside.flight.left_out() == ["5 more times a trigger fired, and no trace could be written"]


def test_what_fires_again_at_once_is_counted(tmp_path: Path) -> None:
    beside = Beside(options(tmp_path, LONG))
    beside.write(0.5)
    now = time.monotonic_ns()
    for before in (300, 200, 100):
        beside.ring.events(poll(now - before * MS, now - (before - 60) * MS, 8))
    beside.write(0.5)
    beside.end()
    assert len(beside.flight.written) == 1
    assert beside.flight.told()["again"] == {LONG.text: 2}


def test_a_recorder_that_is_held_up_is_no_long_poll(tmp_path: Path) -> None:
    """What it has not written may be the end of the poll."""
    beside = Beside(options(tmp_path, replace(LONG, least=1_500 * MS)))
    beside.ring.events(poll(time.monotonic_ns(), 0, os.getpid())[:1])
    beside.ring.flush()
    beside.write(0.6)
    time.sleep(3)
    beside.flight.look()
    time.sleep(0.6)
    assert beside.flight.written == []
    beside.flight.look()
    beside.end()


def test_a_poll_that_does_not_end(tmp_path: Path) -> None:
    beside = Beside(options(tmp_path, replace(LONG, least=1_500 * MS)))
    began = time.monotonic_ns()
    beside.ring.events(poll(began, 0, os.getpid())[:1])
    beside.write(4)  # for longer than its trigger is still
    beside.end()
    (told,) = beside.flight.written
    assert "has been polled for" in told["title"]
    assert read_summary(Path(told["path"]))["flight"]["trigger"]["time"] == began


def test_it_is_started_again(tmp_path: Path) -> None:
    beside = Beside(options(tmp_path, LONG))
    beside.write(1.0)
    assert beside.flight._process is not None
    os.kill(beside.flight._process.pid, signal.SIGKILL)
    beside.flight._process.wait()
    beside.flight.look()
    beside.wait_until_it_reads()
    beside.write(1.5, 0.5)
    beside.end()
    assert beside.said[0] == "what looks for triggers was ended by signal 9; it is started again"
    assert len(beside.flight.written) == 1, beside.said


def test_what_is_told_is_told_once_also_by_one_that_is_started_again(tmp_path: Path) -> None:
    beside = Beside(options(tmp_path, LONG))
    beside.write(2.5, 0.3)
    assert len(beside.flight.written) == 1, beside.said
    assert beside.flight._process is not None
    os.kill(beside.flight._process.pid, signal.SIGKILL)
    beside.flight._process.wait()
    beside.flight.look()
    beside.wait_until_it_reads()
    beside.write(1.5)
    beside.end()
    assert len(beside.flight.written) == 1, beside.said
    assert not [one for one in beside.said if "keep up" in one]


def test_it_does_not_outlive_the_recorder(tmp_path: Path) -> None:
    beside = Beside(options(tmp_path, LONG))
    process = beside.flight._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(10) == 0
    beside.flight.stop()
    beside.ring.close()


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_to_the_whole_group_are_the_recorders(tmp_path: Path, signal_: signal.Signals) -> None:
    beside = Beside(options(tmp_path, LONG))
    beside.write(0.8)
    assert beside.flight._process is not None
    os.kill(beside.flight._process.pid, signal_)
    beside.write(0.6, 0.3)
    beside.end()
    assert len(beside.flight.written) == 1, json.dumps(beside.said)


_LATER = """
import sys
from pathlib import Path
from tracer.capture import open_capture
from tracer.commands import watcher
from tracer.commands.convert import TraceOptions, write_trace
watcher.import_early()
def ours():
    return {name for name in sys.modules if name.split(".")[0] == "tracer"}
before = ours()
for form in ("perfetto", "chrome"):
    with open_capture(Path(sys.argv[1])) as reader:
        write_trace(reader, Path(sys.argv[2], form), TraceOptions(form), lambda share: None).summary.as_json()
print(*sorted(ours() - before))
"""


def test_what_it_needs_later_is_imported_at_the_begin(tmp_path: Path) -> None:
    """Within days the package may be replaced."""
    capture = sorted((Path(__file__).parents[2] / "golden").glob("*.ratcap"))[0]
    command = [sys.executable, "-c", _LATER, str(capture), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
