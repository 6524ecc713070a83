"""How long it takes from the command until every probe is attached, and until the first event."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np

from tests.bench.table import print_table
from tests.cells import Cell
from tests.running import Targets
from tracer.capture import CaptureReader

ROUNDS = 5
RAT = Path(sys.executable).parent / "rat-ebpf"
_CACHE = "/var/cache/rat-ebpf"
_FORGETFUL = ("unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o mode=700 none {_CACHE} && exec "$@"', "sh")
"""Runs a command that finds nothing of what earlier runs kept."""


def run(targets: Targets, program: Path, scratch: Path) -> None:
    """Cold: nothing is kept from earlier runs.  Warm: of this program, all of it."""
    Path(_CACHE).mkdir(mode=0o700, exist_ok=True)
    rows: list[list[object]] = []
    for cell in (Cell("server", "release"), Cell("server", "release-debug"), Cell("server", "dev")):
        with targets.run(cell.target, cell.profile) as server:
            address = f"127.0.0.1:{server.ready['port']}"
            load: list[str | Path] = [targets.path("load", "release"), address, "4", "600", "300"]
            with subprocess.Popen(load, stdout=subprocess.DEVNULL) as busy:
                rows.append([f"{cell.target}, {cell.profile}", *_times(server.pid, scratch)])
                busy.kill()
    with subprocess.Popen([program], stdout=subprocess.DEVNULL) as big:
        time.sleep(0.5)
        rows.append([f"{program.name}, {program.stat().st_size / 1e6:.0f} MB", *_times(big.pid, scratch)])
        big.kill()
    head = ["program", "cold: attached s", "first event s", "warm: attached s", "first event s"]
    print_table("From the command to the first event", head, rows, f"Medians of {ROUNDS}.")


def _times(pid: int, scratch: Path) -> list[float]:
    found = []
    for before in (_FORGETFUL, ()):
        times = [_start(before, pid, scratch / "start.ratcap") for _ in range(ROUNDS)]
        found += [median(attached for attached, _ in times), median(first for _, first in times)]
    return found


def _start(before: Sequence[str], pid: int, capture: Path) -> tuple[float, float]:
    """Seconds from the command until (all is attached, the first event)."""
    capture.unlink(missing_ok=True)
    began = time.monotonic_ns()
    options = ["--pid", str(pid), "-d", "0.5", "--format", "capture", "-o", str(capture), "-q"]
    subprocess.run([*before, str(RAT), *options], check=True)
    with CaptureReader(capture) as reader:
        attached = reader.recording.start
        first = next((int(item["time"][0]) for item in reader if isinstance(item, np.ndarray) and len(item)), attached)
        return (attached - began) / 1e9, (first - began) / 1e9
