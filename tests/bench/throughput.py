"""The event path at a million events a second, and from captures to traces: how long, how much, and how it grows."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median_low

from tests.bench.feed import feed
from tests.bench.made import Shape, write_capture
from tests.bench.run import Cost, measured
from tests.bench.table import print_table
from tests.e2e.command import RAT
from tests.running import Targets
from tracer.capture import CaptureReader
from tracer.model import Loss

RATE, SECONDS = 1_000_000, 60
_TICKS = os.sysconf("SC_CLK_TCK")
_SETTLED = 1.0
SHAPES = {
    "task polls": Shape(),
    "futures in them": Shape(nested=4),
    "futures, wakes, scheduling": Shape(nested=2, wakes=True, scheduling=True),
}
EVENTS = (100_000, 1_000_000, 10_000_000)
MOST = 100_000_000
"""Of one shape only: 4 GB of capture, and more of trace."""
TASKS, FUNCTIONS = (100, 1_000, 10_000, 100_000), (10, 100, 1_000, 10_000)
_FEW, _MANY = 1_000, 4_000_000
"""Events: of a capture that costs nothing but to start; of those whose tasks and functions differ."""
_TIMES = 9
"""Conversions of one capture, at most."""


def run(targets: Targets, rate: int = RATE, seconds: float = SECONDS, most: int = MOST) -> None:
    """rate, seconds: of the recording.  most: events of the largest capture, 40 bytes each."""
    print_table(
        "Recording",
        ["transport", "events/s", "s", "recorded", "lost", "% of a core", "ns per event", "peak MB"],
        [record(targets, transport, rate, seconds) for transport in ("ring", "perf")],
        "A program in the kernel wrote them to the recording's own buffer; % of a core and peak are the tracer's.",
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        start = _converted(folder, Shape(), _FEW)
        wanted = [(name, shape, count) for name, shape in SHAPES.items() for count in EVENTS]
        wanted.insert(len(EVENTS), (*next(iter(SHAPES.items())), most))
        rows = [
            [name, count, *_figures(_converted(folder, shape, count), start, count)] for name, shape, count in wanted
        ]
        tasks, futures = SHAPES["task polls"], SHAPES["futures in them"]
        shapes = [("tasks", count, replace(tasks, tasks=count)) for count in TASKS]
        shapes += [("functions", count, replace(futures, functions=count)) for count in FUNCTIONS]
        several = [
            [what, count, *_figures(_converted(folder, shape, _MANY), start, _MANY)] for what, count, shape in shapes
        ]
    head = ["CPU ns per event", "M events/s", "peak MB"]
    note = f"Two processes at once; what it takes to start, {start.cpu:.2f} s of CPU time, is taken off."
    print_table("From capture to trace", ["of", "events", *head], rows, note)
    print_table(f"{_MANY:,} events by what there is", ["of", "number", *head], several)


def _figures(cost: Cost, start: Cost, events: int) -> list[float]:
    seconds = max(cost.seconds - start.seconds, 1e-3)
    return [(cost.cpu - start.cpu) / events * 1e9, events / seconds / 1e6, cost.memory / 1e6]


def record(targets: Targets, transport: str, rate: int, seconds: float) -> list[object]:
    """An idle target, recorded; a program of the bench writes to the recording's own buffer meanwhile.  A row."""
    with (
        tempfile.TemporaryDirectory() as folder,
        targets.run("spin", "release", "bare", str(seconds + 60), "2", "1") as running,
    ):
        capture = Path(folder) / "x.ratcap"
        words = [
            *(RAT, "--pid", running.pid, "-d", seconds + 4 * _SETTLED, "--exits", "task", "--transport", transport),
            *("--max-overhead", 100, "--max-size", "16G", "--format", "capture", "-o", capture, "-q"),
        ]
        command = [str(word) for word in words]
        process = subprocess.Popen(command)
        while not capture.exists() or not capture.stat().st_size:
            time.sleep(_SETTLED / 10)
        time.sleep(_SETTLED)
        with CaptureReader(capture) as reader:
            plan = reader.recording.plan
        before, began = _cpu_seconds(process.pid), time.monotonic()
        fed = feed(process.pid, plan, transport, rate, seconds)
        time.sleep(_SETTLED / 10)
        used, passed = _cpu_seconds(process.pid) - before, time.monotonic() - began
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        with CaptureReader(capture) as reader:
            recorded = reader.event_count
            lost = sum(item.count for item in reader if isinstance(item, Loss))
    peak = usage.ru_maxrss * 1024 / 1e6
    share, each = 100 * used / passed, used / fed.events * 1e9
    return [transport, fed.events / fed.seconds, fed.seconds, recorded, lost, share, each, peak]


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _converted(folder: Path, shape: Shape, events: int) -> Cost:
    """The median of so many conversions, by CPU time, as take long enough together; of long ones, one will do."""
    capture, trace = folder / "x.ratcap", folder / "x.pftrace"
    write_capture(capture, shape, events)
    times = max(1, min(_TIMES, _MANY * 3 // events))
    costs = [measured(RAT, "convert", capture, "-o", trace, "-q") for _ in range(times)]
    capture.unlink()
    middle = median_low(cost.cpu for cost in costs)
    return next(cost for cost in costs if cost.cpu == middle)
