"""Whoever starts the tracer may have left it odd surroundings: they neither matter nor are lost on what it starts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.command import RAT, rat
from tests.e2e.trace import Trace
from tests.running import Targets, children_of
from tracer.errors import ExitCode

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

ODD = {
    "children ignored": 'exec env --ignore-signal=CHLD "$@"',
    "no standard files": 'exec "$@" <&- >&- 2>&-',
    "few files at first": 'ulimit -S -n 24; exec "$@"',
}


@pytest.mark.parametrize("odd", ODD)
def test_it_records_all_the_same(targets: Targets, tmp_path: Path, odd: str) -> None:
    output = tmp_path / "x.pftrace"
    with targets.run("spin", "release", "bare", "10") as running:
        running.go()
        options = ("-d", 0.5, "-o", output, "--max-slices", 10_000)
        done = rat("--pid", running.pid, *options, through=("sh", "-c", ODD[odd], "sh"))
    assert done.code == 0, done.err
    assert Trace(output).functions


def test_too_few_files_are_a_sentence(targets: Targets, tmp_path: Path) -> None:
    few = ("sh", "-c", 'ulimit -n 24; exec "$@"', "sh")
    with targets.run("spin", "release", "bare", "10") as running:
        done = rat("--pid", running.pid, "-d", 0.5, "-o", tmp_path / "x.pftrace", through=few)
    assert done.code in (ExitCode.OUTPUT_FAILED, ExitCode.ATTACH_FAILED), done.err
    assert "files" in done.err


def test_what_it_starts_has_them_as_they_were(targets: Targets, tmp_path: Path) -> None:
    path = targets.path("spin", "release")
    odd = 'ulimit -S -n 333; exec env --ignore-signal=CHLD "$@"'
    command = ["/bin/sh", "-c", odd, "sh", str(RAT), "-o", str(tmp_path / "x.pftrace"), "--", str(path), "bare", "10"]
    before = {"KEPT": "as it was", "LANG": "C", "PATH": os.environ["PATH"]}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=before, stdin=pipe, stdout=pipe, stderr=pipe) as tracing:
        proc = Path(f"/proc/{child_that_runs(path, tracing.pid)}")
        status, limits = (proc / "status").read_text(), (proc / "limits").read_text()
        given = (proc / "environ").read_bytes().decode()
        turns = [Path(f"/proc/{pid}/oom_score_adj").read_text() for pid in (proc.name, tracing.pid)]
        tracing.send_signal(signal.SIGINT)
        tracing.communicate(timeout=60)
    (ignored,) = (int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigIgn"))
    (files,) = (line.split()[3] for line in limits.splitlines() if line.startswith("Max open files"))
    assert ignored & 1 << signal.SIGCHLD - 1
    assert files == "333"
    assert turns == [Path("/proc/self/oom_score_adj").read_text(), "1000\n"]  # when memory is short
    assert {one for one in given.split("\0") if not one.startswith("PWD=")} == {*map("=".join, before.items()), ""}


def child_that_runs(executable: Path, parent: int) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for child in children_of(parent):
            with contextlib.suppress(OSError):  # of those that come and go
                if Path(f"/proc/{child}/exe").samefile(executable):
                    return child
        time.sleep(0.01)
    raise AssertionError("it starts nothing")
