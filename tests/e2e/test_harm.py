"""A traced process ends as it does untraced, whatever it does and whatever becomes of the tracer."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.command import RAT, recording
from tests.e2e.trace import Trace, functions_of
from tests.running import Result, Targets
from tests.text import changed_bytes

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

BUILDS = ("dev", "release", "release-debug")


def outcome(result: Result) -> tuple[object, ...]:
    """All that a run says of its work, without its times."""
    totals = result.totals
    said = [{k: v for k, v in line.items() if k not in ("begin", "end", "records")} for line in result.lines]
    return result.returncode, said, totals.checksum if totals else None


def untraced(targets: Targets, name: str, profile: str, *arguments: str) -> tuple[object, ...]:
    with targets.run(name, profile, *arguments) as running:
        running.go()
        return outcome(running.wait())


@pytest.mark.parametrize("profile", BUILDS)
@pytest.mark.parametrize("options", [(), ("--exits", "ret"), ("--exits", "task")], ids=["default", "ret", "task"])
def test_a_hundred_panics(targets: Targets, tmp_path: Path, profile: str, options: tuple[str, ...]) -> None:
    """Panics unwind through polled futures; all are caught, and each is seen as an unwound poll."""
    output = tmp_path / "panics.pftrace"
    with (
        targets.run("panics", profile) as running,
        recording("--pid", running.pid, "-o", output, "--max-overhead", 100, *options) as rec,
    ):
        running.go()
        traced = running.wait()
        assert rec.wait().code == 0
    expected = untraced(targets, "panics", profile)
    # A return probe above tokio's catch_unwind shortens the backtraces that a task takes of itself, which is why
    # `--exits ret` exists: there nothing differs at all.
    if options == ("--exits", "ret"):
        assert outcome(traced) == expected
    assert traced.returncode == expected[0] == 0
    assert traced.totals is not None
    assert traced.totals.checksum == expected[2]
    trace = Trace(output)
    found = functions_of(targets.path("panics", profile))
    if "panics::burst" in found and "task" not in options:
        unwound = sum(count for note, count in trace.notes().items() if note.startswith("unwound by a panic"))
        assert unwound >= 100


@pytest.mark.parametrize("profile", BUILDS)
@pytest.mark.parametrize("how", ["exit", "exec", "fork", "abort"])
def test_unusual_ends(targets: Targets, tmp_path: Path, profile: str, how: str) -> None:
    output = tmp_path / "life.pftrace"
    with (
        targets.run("life", profile, how) as running,
        recording("--pid", running.pid, "-o", output, "--max-overhead", 100) as rec,
    ):
        running.go()
        traced = running.wait()
        done = rec.wait()
    assert done.code == 0, done.err
    assert outcome(traced) == untraced(targets, "life", profile, how)
    Trace(output)


@pytest.mark.parametrize("profile", ["dev", "release"])
def test_the_tracer_is_killed(targets: Targets, tmp_path: Path, profile: str) -> None:
    """No probe stays behind in the program's text, and the capture holds what was recorded until then."""
    capture = tmp_path / "spin.ratcap"
    with targets.run("spin", profile, "nested", "3") as running:
        with recording("--pid", running.pid, "-o", capture, "--format", "capture", "--max-overhead", 100) as rec:
            running.go()
            time.sleep(1.2)
            assert changed_bytes(running.pid) > 0
            rec.process.send_signal(signal.SIGKILL)
            rec.process.wait()
            deadline = time.monotonic() + 2
            while changed_bytes(running.pid) and time.monotonic() < deadline:
                time.sleep(0.02)
            assert changed_bytes(running.pid) == 0
        result = running.wait()
    assert result.returncode == 0
    done = subprocess.run(
        [RAT, "convert", capture, "-o", tmp_path / "spin.pftrace"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(Trace(tmp_path / "spin.pftrace").functions) > 0


def test_ctrl_c_leaves_a_whole_trace_and_a_running_program(targets: Targets, tmp_path: Path) -> None:
    output = tmp_path / "spin.pftrace"
    with targets.run("spin", "release", "nested", "4") as running:
        with recording("--pid", running.pid, "-o", output) as rec:
            running.go()
            time.sleep(1)
            done = rec.stop()
        assert done.code == 0, done.err
        assert "Ctrl-C" in done.out
        assert str(output) in done.out
        assert running.process.poll() is None
        assert changed_bytes(running.pid) == 0
        assert running.wait().returncode == 0
    assert len(Trace(output).functions) > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["spin.pftrace"]


@pytest.mark.parametrize("profile", BUILDS)
def test_two_tracers_at_once(targets: Targets, tmp_path: Path, profile: str) -> None:
    outputs = [tmp_path / "first.pftrace", tmp_path / "second.pftrace"]
    with targets.run("tokio_current", profile) as running:
        arguments = ("--pid", running.pid, "--max-overhead", 100, "-o")
        with recording(*arguments, outputs[0]) as first, recording(*arguments, outputs[1]) as second:
            running.go()
            result = running.wait()
            assert first.wait().code == second.wait().code == 0
    assert result.returncode == 0
    assert result.totals is not None
    for output in outputs:
        trace = Trace(output)
        tasks = functions_of(targets.path("tokio_current", profile))["task"]
        assert len(trace.polls(tasks)) == result.totals.polls["task"]


def test_a_launched_program_is_the_caller_s(targets: Targets, tmp_path: Path) -> None:
    """Under sudo it runs as the user behind it, with their HOME, from its first poll; the trace is theirs."""
    output = tmp_path / "out" / "sample.pftrace"
    output.parent.mkdir()
    program = targets.path("async_std_sample", "dev")
    environment = {**os.environ, "SUDO_UID": "65534", "SUDO_GID": "65534", "SUDO_USER": "nobody"}
    seen = tmp_path / "seen"
    seen.mkdir(mode=0o777)
    seen.chmod(0o777)
    done = subprocess.run(
        [RAT, "-o", output, "--max-overhead", "100", "--", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode == 4:
        assert "may not be executed" in done.stderr  # the checkout is closed to other users: nothing more to see
        return
    assert done.returncode == 0, done.stderr
    status = output.stat()
    assert (status.st_uid, status.st_gid) == (65534, 65534)
    assert "my_test" in " ".join(Trace(output).functions)


def test_several_processes_in_one_trace(targets: Targets, tmp_path: Path) -> None:
    output = tmp_path / "both.pftrace"
    with (
        targets.run("tokio_current", "release-debug") as first,
        targets.run("smol_log", "release-debug") as second,
        recording("--pid", first.pid, "--pid", second.pid, "-o", output, "--max-overhead", 100) as rec,
    ):
        first.go()
        second.go()
        results = [first.wait(), second.wait()]
        assert rec.wait().code == 0
    trace = Trace(output)
    pids = {row["pid"] for row in trace.processor.query("select pid from process where pid != 0")}
    assert {first.pid, second.pid} <= pids
    for result, outer in zip(results, ("tokio_current::outer", "smol_log::outer"), strict=True):
        assert result.returncode == 0
        assert result.totals is not None
        assert len(trace.polls({outer})) == result.totals.polls[outer]


def test_the_tracer_waits_for_its_turn(targets: Targets, tmp_path: Path) -> None:
    """Its wake-ups do not take the processor from the target's threads, which run as before."""
    with (
        targets.run("tokio_multi", "release") as running,
        recording("--pid", running.pid, "-o", tmp_path / "x.pftrace") as rec,
    ):
        threads = [int(name) for name in os.listdir(f"/proc/{running.pid}/task")]
        assert {os.sched_getscheduler(tid) for tid in threads} == {os.SCHED_OTHER}
        assert os.sched_getscheduler(rec.process.pid) == os.SCHED_BATCH
        running.go()
        assert running.wait().returncode == 0
        assert rec.wait().code == 0
