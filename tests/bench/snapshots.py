"""ps and tree: how long many tasks take, what it takes of memory, and what the target notices of it."""

from __future__ import annotations

import json
import threading
import time

from tests.bench.run import measured
from tests.bench.table import print_table
from tests.e2e.command import RAT
from tests.running import Running, Targets

_SECONDS = 8
_SETTLE = 20


def run(targets: Targets) -> None:
    """The same target left alone and then listed all the time."""
    rows = []
    for count in (10_000, 100_000):
        with targets.run("parked_tokio", "release-debug", str(count)) as running:
            reader = _Lines(running)
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
        ratio = _turns(watched) / _turns(alone)
        rows.append([count, listed, folded, memory, ratio, _gap(alone), _gap(watched)])
    head = ["tasks", "ps s", "tree s", "peak MiB", "turns/alone", "longest gap ms, alone", "listed"]
    print_table("Tasks read from memory, all the time", head, rows)


class _Lines:
    """What the target says each second."""

    def __init__(self, running: Running) -> None:
        self._lines: list[dict[str, int]] = []
        self._running = running
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        stream = self._running.process.stdout
        assert stream is not None
        for line in stream:
            self._lines.append(json.loads(line))

    def taken(self) -> list[dict[str, int]]:
        lines, self._lines = self._lines, []
        return lines


def _turns(lines: list[dict[str, int]]) -> float:
    return sum(line["turns"] for line in lines) / len(lines)


def _gap(lines: list[dict[str, int]]) -> float:
    return max(line["gap"] for line in lines) / 1e6
