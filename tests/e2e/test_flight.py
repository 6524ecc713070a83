"""The flight recorder on real programs: what led up to a fault is in a file of its own, and the recording goes on."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import rat, recording
from tests.e2e.trace import Trace
from tests.running import Targets
from tracer.errors import ExitCode

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

LAST = 3
OPTIONS = ("--last", f"{LAST}s", "--max-overhead", 100)
MS = 1_000_000


def summary_of(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(rat("report", "--json", path).out)
    return document


def wait_for(folder: Path, pattern: str) -> Path:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for path in folder.glob(pattern):
            return path
        time.sleep(0.1)
    pytest.fail(f"no {pattern} was written in two minutes")


def test_a_finding_of_a_short_recording(targets: Targets, tmp_path: Path) -> None:
    """What nobody had looked at yet is looked at when it ends."""
    with targets.run("trouble", "release-debug", "long-poll-sleep") as running:
        running.go()
        options = ("--pid", running.pid, "--last", "60s", "--max-overhead", 100, "--trigger", "finding:long-poll")
        done = rat(*options, "-d", 3, "-o", tmp_path / "x.pftrace", "--json")
    (one,) = json.loads(done.out)["traces"]
    assert any(each["rule"] == "long-poll" for each in summary_of(Path(one["path"]))["findings"])


def seconds_before(document: dict[str, Any]) -> float:
    hit = document["flight"]["trigger"]
    return float(hit["seconds"])


def test_each_long_poll_is_written_with_what_led_up_to_it(targets: Targets, tmp_path: Path) -> None:
    with targets.run("trouble", "release-debug", "long-poll-sleep") as running:
        running.go()
        options = ("--pid", running.pid, "--trigger", "poll(sleep_in_task) > 30ms", "-d", 2.6 * LAST, "--json")
        with recording(*options, *OPTIONS, "-o", tmp_path / "x.pftrace") as rec:
            done = rec.wait()
        running.process.kill()
        told = [line for line in running.wait().lines if "begin" in line]
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["not_written"] == 0
    traces = [Path(one["path"]) for one in document["traces"]]
    assert len(traces) >= 2, done.err
    assert sorted(tmp_path.iterdir()) == sorted(traces)
    for number, path in enumerate(traces):
        assert path.name.startswith("x-20")
        assert path.name.endswith("-poll.pftrace")
        one = summary_of(path)
        hit = one["flight"]["trigger"]
        assert f"{hit['trigger']}: {hit['title']} → {path}" in done.err
        assert (one["lost"], one["complete"], hit["kind"], hit["limit"]) == (0, True, "poll", 30 * MS)
        assert (hit["file"].endswith("faults/src/lib.rs"), hit["line"]) == (True, 19)
        # The first one may come before so much was recorded; the others have all that was asked for.
        assert number == 0 or seconds_before(one) >= LAST
        assert one["seconds"] >= hit["seconds"] + hit["duration"] / 1e9 + 0.1
        end = hit["time"] + hit["duration"]
        (truth,) = [line for line in told if line["begin"] < end and line["end"] > hit["time"]]
        # The first one may have been under way at the start; one that still is when it is long enough has no end yet.
        assert ("at least" in hit["title"]) is (truth["begin"] < hit["time"])
        assert number == 0 or truth["begin"] >= hit["time"]
        assert ("has been" in hit["title"]) is (truth["end"] > end)
        seen = min(truth["end"], end) - max(truth["begin"], hit["time"])
        assert hit["duration"] - seen < 5 * MS
        assert_in_trace(path, hit, truth)
        kept = [one for one in one["blockers"] if "sleep_in_task" in (one["function"] or "")]
        assert kept, "nothing tells what kept the thread"


def assert_in_trace(path: Path, hit: dict[str, Any], truth: dict[str, int]) -> None:
    """The poll is there with its own time, and a mark that leads to it."""
    trace = Trace(path)
    polls = trace.polls({name for name in trace.functions if "sleep_in_task" in name})
    at = list(polls.starts).index(hit["time"])
    length = int(polls.ends[at]) - hit["time"]
    assert length > hit["duration"] if "has been" in hit["title"] else length == hit["duration"]
    assert int(polls.ends[at]) >= truth["end"]
    query = "select ts, name from slice where name like 'trigger: %' and category = 'finding'"
    marks = trace.processor.query(query)
    assert {row["ts"] for row in marks} == {hit["time"]}
    assert len(marks) == 2  # on the track of findings, and on the thread


def test_nothing_is_written_of_what_is_right(targets: Targets, tmp_path: Path) -> None:
    with targets.run("trouble", "release-debug", "clean") as running:
        running.go()
        with recording("--pid", running.pid, "--trigger", "poll > 2s", *OPTIONS, "-d", 4, cwd=tmp_path) as rec:
            done = rec.wait()
    assert done.code == 0, done.err
    assert "no trigger has fired, and nothing was written" in done.out
    assert list(tmp_path.iterdir()) == []


def test_one_that_can_never_fire_is_refused(targets: Targets, tmp_path: Path) -> None:
    with targets.run("trouble", "release-debug", "clean") as running:
        done = rat("--pid", running.pid, "--trigger", "poll(nobody_has_this_name) > 1ms", "-d", 1, cwd=tmp_path)
    assert done.code == ExitCode.USAGE, done.err
    assert "can never fire" in done.err
    assert list(tmp_path.iterdir()) == []


def test_what_the_budget_left_out_is_said(targets: Targets, tmp_path: Path) -> None:
    with targets.run("trouble", "release-debug", "busy-loop-yield") as running:
        running.go()
        options = ("--trigger", "wait > 100s", "--last", "2s", "--max-overhead", 1, "-d", 3)
        said = rat("--pid", running.pid, *options, cwd=tmp_path)
        document = json.loads(rat("--pid", running.pid, *options, "--json", cwd=tmp_path).out)
    assert "what happens where nothing is probed fires no trigger" in said.err
    assert "overhead: the probes took about" in said.out
    assert "what happened where nothing was probed fires no trigger" in said.out
    coverage = document["coverage"]
    assert coverage["max_overhead"] == 0.01
    assert coverage["tasks_probed"] < 1 or coverage["not_always_probed"]
    assert 2.5 < coverage["seconds"] < 4


def test_the_latest_time_is_written_at_the_end(targets: Targets, tmp_path: Path) -> None:
    with targets.run("trouble", "release-debug", "clean") as running:
        running.go()
        with recording("--pid", running.pid, *OPTIONS, "-o", tmp_path / "x.pftrace", "--json") as rec:
            time.sleep(2.5 * LAST)
            done = rec.stop()
    document = json.loads(done.out)
    assert LAST - 0.01 <= document["seconds"] <= LAST + 1.5, document["seconds"]
    assert document["flight"]["recorded"] > 2.4 * LAST * 1e9
    assert document["flight"]["trigger"] is None
    assert (document["lost"], document["unmatched_exits"]) == (0, 0)
    # The first part of the recording told them, and no later event does.
    assert not any(one["unidentified"] for one in document["task_kinds"])
    Trace(tmp_path / "x.pftrace")
    assert [path.name for path in tmp_path.iterdir()] == ["x.pftrace"]


def test_a_crash_leaves_what_led_up_to_it(targets: Targets, tmp_path: Path) -> None:
    with targets.run("trouble", "release-debug", "long-poll-sleep") as running:
        running.go()
        options = ("--pid", running.pid, *OPTIONS, "--trigger", "poll > 10s", "-o", tmp_path / "x.pftrace", "--json")
        with recording(*options) as rec:
            time.sleep(1.5 * LAST)
            ended = time.monotonic_ns()
            running.process.kill()
            done = rec.wait()
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["flight"]["trigger"]["kind"] == "exit"
    (trace,) = tmp_path.iterdir()
    assert trace.name.endswith("-exit.pftrace")
    trace_ = Trace(trace)
    last = trace_.processor.query("select max(ts + dur) t from slice where category = 'poll' and dur > 0")[0]["t"]
    assert ended - 300 * MS < int(str(last)) < ended + 300 * MS


def test_a_signal_asks_for_a_trace_and_ends_nothing(targets: Targets, tmp_path: Path) -> None:
    with targets.run("trouble", "release-debug", "clean") as running:
        running.go()
        with recording("--pid", running.pid, *OPTIONS, "-o", tmp_path / "x.pftrace") as rec:
            time.sleep(LAST + 1)
            rec.process.send_signal(signal.SIGUSR1)
            found = wait_for(tmp_path, "*-signal.pftrace")
            assert rec.process.poll() is None
            done = rec.stop()
    assert done.code == 0, done.err
    assert seconds_before(summary_of(found)) >= LAST
    assert (tmp_path / "x.pftrace").exists()


def test_a_signal_that_comes_when_nothing_is_recorded_ends_nothing(targets: Targets, tmp_path: Path) -> None:
    with targets.run("trouble", "release-debug", "clean") as running:
        running.go()
        options = ("--pid", running.pid, *OPTIONS, "-o", tmp_path / "x.pftrace")
        with recording(*options, until="expected to cost it", looks_on=False) as rec:
            rec.process.send_signal(signal.SIGUSR1)
            assert rec.process.stderr is not None
            assert "attached" in rec.process.stderr.readline()
            time.sleep(1)
            rec.process.send_signal(signal.SIGINT)
            for _ in range(50):
                time.sleep(0.02)
                rec.process.send_signal(signal.SIGUSR1)
            done = rec.wait()
    assert done.code == 0, done.err
    assert (tmp_path / "x.pftrace").exists()
    assert not (tmp_path / "x.pftrace.ring").exists()


def test_a_finding_is_written_once(targets: Targets, tmp_path: Path) -> None:
    with targets.run("trouble", "release-debug", "long-poll-sleep") as running:
        running.go()
        options = ("--pid", running.pid, *OPTIONS, "--trigger", "finding:long-poll", "--json")
        with recording(*options, "-o", tmp_path / "x.pftrace") as rec:
            wait_for(tmp_path, "*-long-poll.pftrace")
            time.sleep(1.5 * LAST)
            done = rec.stop()
    document = json.loads(done.out)
    (one,) = document["traces"]
    assert (one["trigger"], one["kind"]) == ("finding:long-poll", "finding")
    (found,) = [each for each in summary_of(Path(one["path"]))["findings"] if each["rule"] == "long-poll"]
    assert "sleep_in_task" in found["function"]


def test_a_killed_recorder_leaves_what_can_be_read(targets: Targets, tmp_path: Path) -> None:
    with targets.run("trouble", "release-debug", "clean") as running:
        running.go()
        output = tmp_path / "x.pftrace"
        with recording("--pid", running.pid, *OPTIONS, "--trigger", "poll > 10s", "-o", output) as rec:
            time.sleep(LAST)
            rec.process.kill()
            rec.process.wait()
        (ring,) = tmp_path.iterdir()
        assert ring.name == "x.pftrace.ring"
        done = rat("--pid", running.pid, "--last", "1s", "-d", 1.5, "-o", tmp_path / "y.pftrace")
        assert f"note: {ring} is of a recording that broke off: rat-ebpf convert {ring}" in done.err
        done = rat("--pid", running.pid, "--last", "1s", "-d", 1.5, "-o", output)
        assert done.code == 9
        assert "is already there" in done.err
    done = rat("convert", ring)
    assert done.code == 0, done.err
    assert summary_of(output)["polls"] > 100
    Trace(output)
    for segment in ring.glob("*.ratcap"):
        assert rat("report", segment).code == 0


def test_disk_and_memory_stay_as_they_are(targets: Targets, tmp_path: Path) -> None:
    """Over several times what is kept."""
    with targets.run("trouble", "release-debug", "clean") as running:
        running.go()
        options = ("--pid", running.pid, "--last", "1s", "--max-overhead", 100, "--trigger", "poll > 10s")
        with recording(*options, "-o", tmp_path / "x.pftrace") as rec:
            sizes, memory = [], []
            for _ in range(18):
                time.sleep(1)
                ring = tmp_path / "x.pftrace.ring"
                sizes.append(sum(path.stat().st_size for path in ring.iterdir()))
                memory.append(resident(rec.process.pid))
            done = rec.stop()
    assert done.code == 0, done.err
    assert max(sizes[13:]) < 1.3 * max(sizes[8:13])
    assert max(memory[13:]) < 1.1 * max(memory[8:13])


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
