"""Whether tasks that seem to wait for each other for good still do a moment later.

Memory is not read at one instant: of tasks that take the same locks again and again, one reading can have each at
another moment, and so make up a cycle that never was.  A real one stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tracer.snapshot.link_reading import LinksFound
from tracer.stacks import Cycle, Snapshot, TaskLinks

_TIMES = 3
_PAUSE = 0.01
_SAME = ["address", "task", "frame", "future", "kind", "role"]


def lasting(read: Callable[[Snapshot], LinksFound], snapshot: Snapshot, links: TaskLinks) -> TaskLinks:
    """links without the cycles that a few more readings of their tasks do not show.

    read: the links of a part of the tasks of the snapshot.  Raises what it raises.
    """
    cycles = list(links.cycles)
    for _ in range(_TIMES if snapshot.time else 0):  # a core dump does not change
        if not cycles:
            break
        time.sleep(_PAUSE)
        tasks = np.unique([links.blocks["task"][block] for cycle in cycles for block in cycle.blocks])
        found = read(replace(snapshot, tasks=snapshot.tasks[tasks]))
        again = found.links.copy()
        again["task"] = tasks[again["task"]]
        there = set(again[_SAME].tolist())
        cycles = [cycle for cycle in cycles if all(one in there for one in _rows(links, cycle))]
    return replace(links, cycles=tuple(cycles))


def _rows(links: TaskLinks, cycle: Cycle) -> list[tuple[int, ...]]:
    """The waits of a cycle, and what is held in it."""
    blocks = links.blocks[list(cycle.blocks)]
    rows = np.concatenate([blocks["link"], blocks["by"][blocks["by"] >= 0]])
    chosen: list[tuple[int, ...]] = links.links[rows][_SAME].tolist()
    return chosen
