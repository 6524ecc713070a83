"""sample: what it takes of a core and of memory, how often it sees each task, and what the target notices of it."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from tests.bench.lines import Lines, gap, turns
from tests.bench.run import measured
from tests.bench.table import print_table
from tests.e2e.command import RAT
from tests.running import Targets

_SECONDS = 10
_SETTLE = 20


def run(targets: Targets) -> None:
    """The same target left alone, and then sampled 99 times a second."""
    rows = []
    for count in (1_000, 10_000, 100_000):
        with targets.run("parked_tokio", "release-debug", str(count)) as running:
            lines = Lines(running)
            time.sleep(_SETTLE)
            lines.taken()
            time.sleep(_SECONDS)
            alone = lines.taken()
            with tempfile.TemporaryDirectory() as folder:
                trace = Path(folder) / "x.pftrace"
                cost = measured(RAT, "sample", running.pid, "-d", _SECONDS, "--json", "-o", trace)
            watched = lines.taken()
        told = json.loads(cost.out)["cost"]
        seen = told["ticks_per_second"] / told["ticks_per_round"]
        took = [told["ticks_per_second"], seen, 100 * told["cpu"], cost.memory / (1 << 20)]
        rows.append([count, *took, turns(watched) / turns(alone), gap(alone), gap(watched)])
    head = ["tasks", "looks/s", "of a task/s", "% of a core", "peak MiB", "turns/alone", "gap ms, alone", "sampled"]
    print_table("Tasks sampled at 99 Hz", head, rows)
