"""The event path: what arrives, what it costs, and how fast a capture becomes a trace."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from tests.bench.run import measured
from tests.bench.table import print_table
from tests.e2e.command import RAT
from tests.running import Targets

SECONDS = 60


def run(targets: Targets, seconds: int = SECONDS) -> None:
    """Record the bare spinner (nothing but task polls, as fast as it can) and convert its captures."""
    rows, conversions = [], []
    for transport in ("ring", "perf"):
        for exits in ("task", "ret"):
            with (
                tempfile.TemporaryDirectory() as folder,
                targets.run("spin", "release", "bare", str(seconds + 2), "2", "1") as running,
            ):
                capture, trace = Path(folder) / "x.ratcap", Path(folder) / "x.pftrace"
                running.go()
                record = measured(
                    RAT, "--pid", running.pid, "-d", seconds, "--exits", exits, "--transport", transport,
                    "--max-overhead", 100, "--format", "capture", "-o", capture, "-q",
                )  # fmt: skip
                running.wait()
                convert = measured(RAT, "convert", capture, "-o", trace, "--json")
                document = json.loads(convert.out)
                size = capture.stat().st_size
                received, lost = document["events"], document["lost"]
                cpu = record.cpu / max(1, received) * 1e6
                rows.append([transport, exits, received / seconds, lost, cpu, record.memory / 1e6, size / 1e6])
                rate, traced = received / convert.seconds / 1e6, trace.stat().st_size / 1e6
                conversions.append([transport, exits, received, rate, convert.memory / 1e6, traced])
    head = ["transport", "exits", "events/s", "lost", "tracer CPU s per M events", "peak MB", "capture MB"]
    print_table(f"Recording for {seconds} s", head, rows)
    print_table("Converting", ["transport", "exits", "events", "M events/s", "peak MB", "trace MB"], conversions)
