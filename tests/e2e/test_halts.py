"""A process that something keeps from running as a whole: a signal, a debugger, a freezer, its CPU limit."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.e2e.command import rat, recording
from tests.e2e.trace import Trace
from tests.faults.deaths import CGROUPS
from tests.running import Running, Targets

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

_PTRACE = """
import ctypes, os, sys, time
ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long] * 4
SEIZE, INTERRUPT, CONT = 0x4206, 0x4207, 7
threads = list(map(int, os.listdir(f"/proc/{sys.argv[1]}/task")))
for tid in threads:
    assert ptrace(SEIZE, tid, 0, 0) == 0
print("traced", flush=True)
"""
_DEBUGGER = """
for tid in threads:
    assert ptrace(INTERRUPT, tid, 0, 0) == 0
    os.waitpid(tid, 0x40000000)
time.sleep(60)
"""
"""All threads; they go on when it ends."""
_FOLLOWER = """
while True:
    for tid in threads:
        assert ptrace(INTERRUPT, tid, 0, 0) == 0
        os.waitpid(tid, 0x40000000)
        time.sleep(0.001)
        assert ptrace(CONT, tid, 0, 0) == 0
"""


@contextmanager
def by_signal(pid: int, _: Path) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    yield
    os.kill(pid, signal.SIGCONT)


@contextmanager
def tracer(program: str, pid: int) -> Iterator[None]:
    """What traces a process, from its first line of output on."""
    command = [sys.executable, "-c", _PTRACE + program, str(pid)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as tracing:
        assert tracing.stdout is not None
        assert tracing.stdout.readline() == b"traced\n"
        yield
        tracing.kill()


def by_debugger(pid: int, _: Path) -> AbstractContextManager[None]:
    return tracer(_DEBUGGER, pid)


@contextmanager
def group(parent: Path, pid: int) -> Iterator[Path]:
    """A control group with that process in it."""
    folder = parent / f"rat-halt-{os.getpid()}"
    folder.mkdir()
    (folder / "cgroup.procs").write_text(str(pid))
    try:
        yield folder
    finally:
        with contextlib.suppress(ProcessLookupError):
            (parent / "cgroup.procs").write_text(str(pid))
        _remove(folder)


def _remove(folder: Path) -> None:
    for _ in range(100):  # what has just left is still counted for a moment
        with contextlib.suppress(OSError):
            folder.rmdir()
            return
        time.sleep(0.02)


_NEWER = next((one for one in (CGROUPS, CGROUPS / "unified") if (one / "cgroup.controllers").exists()), None)


@contextmanager
def by_freezer(_: int, folder: Path) -> Iterator[None]:
    file, frozen, thawed = ("cgroup.freeze", "1", "0") if _NEWER else ("freezer.state", "FROZEN", "THAWED")
    (folder / file).write_text(frozen)
    yield
    (folder / file).write_text(thawed)


WAYS: dict[str, tuple[Callable[[int, Path], AbstractContextManager[None]], str, str]] = {
    "stopped": (by_signal, "stopped by a signal", "kill -CONT"),
    "traced": (by_debugger, "stopped by python", "in the debugger"),
    "frozen": (by_freezer, "its control group is frozen", "docker unpause"),
}
"""By kind: how, and what is said of it."""


@pytest.mark.parametrize("kind", WAYS)
def test_it_is_said_who_stopped_it(targets: Targets, tmp_path: Path, kind: str) -> None:
    stop, words, advice = WAYS[kind]
    output = tmp_path / "x.pftrace"
    with (
        targets.run("server", "release-debug") as server,
        group(_NEWER or CGROUPS / "freezer", server.pid) as folder,
    ):
        with recording("--pid", server.pid, "-o", output, "--json") as rec:
            time.sleep(0.5)
            with stop(server.pid, folder):
                began = time.monotonic_ns()
                listed, tree = rat("ps", server.pid), rat("tree", server.pid)
                document = json.loads(rat("tree", server.pid, "--json").out)
                sampled = rat("sample", server.pid, "-d", 0.3, "-o", tmp_path / "y.pftrace")
                time.sleep(0.5)
                lasted = time.monotonic_ns() - began
            time.sleep(0.3)
            done = rec.stop()
        assert done.code == 0, done.err
        assert "nothing of process" not in rat("ps", server.pid).out
    for shown in (listed.out, tree.out):
        said = shown[shown.index(f"\nnothing of process {server.pid} ran: {words}") :]
        assert advice in said
    assert document["standstill"]["kind"] == kind
    assert f"when it ended, nothing of process {server.pid} ran: {words}" in sampled.out
    summary = json.loads(done.out)
    (halt,) = summary["halts"]
    assert (halt["kind"], halt["times"], halt["pid"]) == (kind, 1, server.pid)
    assert lasted - 500_000_000 < halt["total"] == halt["longest"] < lasted + 500_000_000
    (finding,) = [one for one in summary["findings"] if one["rule"] == "halted"]
    assert words in finding["title"]
    assert advice in finding["advice"]
    drawn = Trace(output).processor.query(f"SELECT ts, dur FROM slice WHERE name GLOB '{words}*' ORDER BY ts")
    assert sum(row["dur"] for row in drawn) == halt["total"]
    # Nothing of the program was polled in it.
    (row,) = Trace(output).processor.query(
        "SELECT count(*) AS polls FROM slice JOIN thread_track ON slice.track_id = thread_track.id "
        f"WHERE ts BETWEEN {drawn[0]['ts']} AND {drawn[-1]['ts'] + drawn[-1]['dur']}"
    )
    assert row["polls"] == 0


def test_who_is_followed_thread_by_thread_is_not_stopped(targets: Targets, tmp_path: Path) -> None:
    """As strace does it, again and again, each for a moment."""
    with targets.run("server", "release-debug") as server, tracer(_FOLLOWER, server.pid):
        done = rat("--pid", server.pid, "-d", 1, "-o", tmp_path / "x.pftrace", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["halts"] == []


@contextmanager
def limited(server: Running, processors: float) -> Iterator[Path]:
    """Its control group gives it so much; the folder of that."""
    newer = (CGROUPS / "cgroup.controllers").exists()
    with group(CGROUPS if newer else CGROUPS / "cpu", server.pid) as folder:
        quota = round(processors * 100_000)
        if newer:
            (folder / "cpu.max").write_text(f"{quota} 100000")
        else:
            (folder / "cpu.cfs_quota_us").write_text(str(quota))
        yield folder


@pytest.mark.parametrize("processors", [0.2, 50])
def test_a_cpu_limit_is_told_where_it_holds_the_program_back(
    targets: Targets, tmp_path: Path, processors: float
) -> None:
    """As often as the kernel itself counts it."""
    output = tmp_path / "x.pftrace"
    with targets.run("trouble", "release-debug", "busy-loop-yield") as spins, limited(spins, processors) as folder:
        spins.go()
        time.sleep(0.3)
        with recording("--pid", spins.pid, "-o", output, "--json", "-d", 2) as rec:
            before = _throttled(folder)
            done = rec.wait()
            counted = _throttled(folder) - before
        spins.process.kill()
        spins.process.wait()
    assert done.code == 0, done.err
    summary = json.loads(done.out)
    found = [one for one in summary["findings"] if one["rule"] == "cpu-throttled"]
    if processors > 1:
        assert not found
        assert not summary["halts"]
        return
    (halt,) = summary["halts"]
    assert halt["quota"] == pytest.approx(0.2)
    assert 10 <= halt["throttled"] <= counted
    assert 500_000_000 < halt["lost"] < 4_000_000_000
    (finding,) = found
    assert finding["severity"] == "critical"
    assert "the CPU limit of 0.2 processors" in finding["title"]
    drawn = Trace(output).processor.query("SELECT count(*) AS n FROM slice WHERE name = 'its CPU limit was used up'")
    assert drawn[0]["n"] >= 1


def _throttled(folder: Path) -> int:
    return int(dict(line.split() for line in (folder / "cpu.stat").read_text().splitlines())["nr_throttled"])
