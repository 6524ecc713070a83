"""Tasks added up by kind: the future that they run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from tracer.model import Array, Outcome


@dataclass(frozen=True, slots=True)
class Spawn:
    """How tasks came.  at: as TASK.spawned_at.  by: the function of the task that spawned them; None: no task was
    being polled there, as far as was seen."""

    at: int
    by: int | None


class Spawns:
    """How tasks came, by function."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[int, Spawn]] = Counter()

    def add(self, over: Array) -> None:
        """over: dtype TASK."""
        seen = over["spawned"] != 0
        by = np.where(over["spawned_by"] != 0, over["spawned_by_function"].astype(np.int64), -1)
        keys = np.stack([over["function"].astype(np.int64), over["spawned_at"].astype(np.int64), by])[:, seen]
        for (kind, at, spawner), count in zip(*_counted(keys), strict=True):
            self._counts[kind, Spawn(at, None if spawner < 0 else spawner)] += count

    def of(self, function: int) -> list[tuple[Spawn, int]]:
        """How the tasks of one function came, and how many so, the most first; not those whose spawn was not seen."""
        return [(spawn, count) for (kind, spawn), count in self._counts.most_common() if kind == function]


class TaskKinds:
    """Totals by function; each task comes once, when it is over.  All times in ns."""

    def __init__(self, functions: int) -> None:
        count = max(functions, 1)
        self.tasks = np.zeros(count, np.int64)
        self.polls = np.zeros(count, np.int64)
        self.busy = np.zeros(count, np.int64)
        self.longest = np.zeros(count, np.int64)  # of one poll
        self.waiting = np.zeros(count, np.int64)
        self.unidentified = np.zeros(count, np.int64)  # tasks whose id is not known
        self.outcomes = np.zeros((count, len(Outcome)), np.int64)
        self.spawns = Spawns()

    def add(self, over: Array) -> None:
        """over: dtype TASK."""
        function = over["function"]
        np.add.at(self.tasks, function, 1)
        np.add.at(self.polls, function, over["polls"].astype(np.int64))
        for name in ("busy", "waiting"):
            np.add.at(getattr(self, name), function, over[name])
        np.maximum.at(self.longest, function, over["longest"])
        np.add.at(self.unidentified, function, (over["id"] == 0).astype(np.int64))
        np.add.at(self.outcomes, (function, over["outcome"]), 1)
        self.spawns.add(over)

    def seen(self) -> list[int]:
        """The functions that tasks ran, the most busy first."""
        found = np.flatnonzero(self.tasks)
        return [int(one) for one in found[np.argsort(-self.busy[found], kind="stable")]]


def _counted(keys: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> tuple[list[list[int]], list[int]]:
    """The distinct columns, and how often each is there."""
    distinct, counts = np.unique(keys, axis=1, return_counts=True)
    return distinct.T.tolist(), counts.tolist()
