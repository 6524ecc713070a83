"""ps and tree: how long many tasks take, what it takes of memory, and what the target notices of it."""

from __future__ import annotations

import time

from tests.bench.lines import Lines, gap, turns
from tests.bench.run import measured
from tests.bench.table import print_table
from tests.e2e.command import RAT
from tests.running import Targets

_SECONDS = 8
_SETTLE = 20


def run(targets: Targets) -> None:
    """The same target left alone and then listed all the time."""
    rows = []
    for count in (10_000, 100_000):
        with targets.run("parked_tokio", "release-debug", str(count)) as running:
            reader = Lines(running)
            time.sleep(_SETTLE)
            reader.taken()
            time.sleep(_SECONDS)
            alone = reader.taken()
            costs = []
            began = time.monotonic()
            while time.monotonic() - began < _SECONDS:
                costs.append((measured(RAT, "ps", running.pid), measured(RAT, "tree", running.pid)))
            watched = reader.taken()
        listed, folded = (min(one[which].seconds for one in costs) for which in (0, 1))
        memory = max(cost.memory for pair in costs for cost in pair) / (1 << 20)
        ratio = turns(watched) / turns(alone)
        rows.append([count, listed, folded, memory, ratio, gap(alone), gap(watched)])
    head = ["tasks", "ps s", "tree s", "peak MiB", "turns/alone", "longest gap ms, alone", "listed"]
    print_table("Tasks read from memory, all the time", head, rows)
