"""Signals and vanishing terminals: a recording ends with a trace, or says where its capture is."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.command import RAT, rat
from tests.e2e.trace import Trace
from tests.running import Targets
from tracer.errors import ExitCode

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]


def test_the_terminal_goes_away(targets: Targets, tmp_path: Path) -> None:
    """As when an SSH connection breaks: the recording ends, and its trace is written."""
    output = tmp_path / "x.pftrace"
    with targets.run("spin", "release", "bare", "10") as running:
        child, terminal = pty.fork()
        if child == 0:
            os.execv(RAT, [str(RAT), "--pid", str(running.pid), "-o", str(output)])
        shown = b""
        while b"events/s" not in shown:
            assert select.select([terminal], [], [], 30)[0]
            shown += os.read(terminal, 4096)
        running.go()
        time.sleep(0.3)
        os.close(terminal)
        os.waitpid(child, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["x.pftrace"]
    assert Trace(output).functions


def test_nobody_reads_what_is_said(targets: Targets, tmp_path: Path) -> None:
    output = tmp_path / "x.pftrace"
    with targets.run("spin", "release", "bare", "10") as running:
        running.go()
        command = [str(RAT), "--pid", str(running.pid), "-d", "0.5", "-o", str(output)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert process.stdout is not None
        process.stdout.close()
        process.wait(60)
    assert [path.name for path in tmp_path.iterdir()] == ["x.pftrace"]
    assert Trace(output).functions


def test_sigterm_while_the_trace_is_written(targets: Targets, tmp_path: Path) -> None:
    output, partial = tmp_path / "x.pftrace", tmp_path / "x.pftrace.partial"
    with targets.run("spin", "release", "nested", "20") as running:
        running.go()
        command = [str(RAT), "--pid", str(running.pid), "-d", "4", "--max-overhead", "100", "-o", str(output)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while not partial.exists():
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.OUTPUT_FAILED, err
    assert f"rat-ebpf convert {output}.ratcap" in err
    assert [path.name for path in tmp_path.iterdir()] == ["x.pftrace.ratcap"]
    assert rat("convert", f"{output}.ratcap").code == ExitCode.OK
    assert Trace(output).functions
