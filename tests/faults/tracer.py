"""The tracer as a process that faults happen to, and what is checked of everything once it is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.e2e.command import RAT
from tests.e2e.trace import Trace
from tests.faults.bpf_objects import Objects, unheld
from tests.faults.captured import Captured, read, unaccounted
from tests.faults.endure import Endure, Work
from tests.faults.place import Place
from tests.text import changed_bytes
from tracer.commands.convert import TraceOptions, convert
from tracer.errors import BadCapture

PATIENCE = 30.0
"""Seconds until something must have happened that takes one or two."""


def wait_until(happened: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Looks every few milliseconds.  Fails with `what` when it does not come."""
    deadline = time.monotonic() + patience
    while not happened():
        assert time.monotonic() < deadline, what
        time.sleep(0.004)


class Tracer:
    """A recording of one process into `folder`, which is its alone.  output: the trace that was asked for, or the
    capture."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, output: Path) -> None:
        self.process = process
        self.folder = folder
        self.output = output

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text(errors="replace")

    @property
    def is_attached(self) -> bool:
        return "attached in" in self.said

    @property
    def captures(self) -> list[Path]:
        return sorted(self.output.parent.glob("*.ratcap"))

    def until_attached(self) -> None:
        wait_until(lambda: self.is_attached or self.process.poll() is not None, "it attaches nothing")
        assert self.is_attached, self.said

    def stop(self) -> None:
        """As Ctrl-C does, at a terminal: whatever runs it is told as well.  Nothing when it has ended."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGINT)

    def wait(self, patience: float = PATIENCE) -> int:
        """Its exit status, as subprocess tells it."""
        return self.process.wait(patience)


@contextmanager
def tracer(
    pid: int,
    folder: Path,
    *options: object,
    name: str = "x.pftrace",
    place: Place | None = None,
) -> Iterator[Tracer]:
    """Started; killed at the end if it still runs.  name: of the file that it writes."""
    place = place or Place()
    folder.mkdir(parents=True, exist_ok=True)
    output = (place.output or folder) / name
    command = [
        *place.tracer_prefix,
        str(RAT),
        "--pid",
        str(pid),
        "-o",
        str(output),
        "--max-overhead",
        "100",
        *map(str, options),
    ]
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            cwd=place.tracer_cwd or folder,
            env={**os.environ, "COLUMNS": "120", **place.tracer_env},
            start_new_session=True,
        )
    try:
        yield Tracer(process, folder, output)
    finally:
        process.kill()
        process.wait()


def assert_nothing_left(tracer: Tracer, pid: int, before: Objects) -> None:
    """No process of the tracer's runs on.  No byte of the code of `pid` is changed, none of its threads is stopped,
    and nothing is loaded that nobody holds."""
    wait_until(lambda: not _in_session(tracer.process.pid), "a process of the tracer's runs on", 5)
    wait_until(lambda: changed_bytes(pid) == 0, f"probes stay in the code of {pid}", 5)
    # The kernel takes the probes of a process that has ended away one by one, be it another one's that ends just now.
    wait_until(lambda: not unheld() - before, "programs, maps or links stay loaded that nobody holds")
    status = Path(f"/proc/{pid}/status").read_text()
    assert "\nTracerPid:\t0\n" in status
    assert "\nState:\tT" not in status
    assert "\nState:\tt" not in status


def _in_session(leader: int) -> list[str]:
    """What runs in the session that a process began, by its line in /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            line = stat.read_text()
            state, _, _, session = line.rpartition(")")[2].split()[:4]
            if int(session) == leader and state not in "ZX":
                found.append(line)
    return found


def captured_of(tracer: Tracer, scratch: Path) -> Captured | None:
    """What the one capture holds that it left, which must be readable and become a trace.

    None where none is left, or the tracer died before anything was attached.
    """
    if not tracer.captures:
        return None
    (capture,) = tracer.captures
    try:
        captured = read(capture)
    except BadCapture:
        if tracer.is_attached:
            raise
        return None  # it died while it began the file
    trace = scratch / "converted.pftrace"
    convert(capture, trace, TraceOptions(), lambda share: None)
    assert trace.stat().st_size > 0
    assert captured.damaged == 0
    trace.unlink()
    return captured


def assert_accounted(captured: Captured, enduring: Endure) -> int:
    """Every poll of every chunk that lies in the capture is there, or told as lost; returns how many chunks."""
    chunks, missing = unaccounted(captured, enduring)
    assert missing == 0, f"{missing} polls are neither there nor told as lost"
    return chunks


def assert_unharmed(work: Work, alone: Work) -> None:
    """All that it did it did as the untraced one: the same number of each chunk."""
    assert work.chunks > 0
    assert (work.wrong, work.checksum) == (0, alone.checksum)


def assert_trace(trace: Path) -> None:
    """The trace processor has nothing to say of it."""
    assert Trace(trace).functions, "it has no poll"
