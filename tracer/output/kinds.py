"""Tasks added up by kind: the future that they run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracer.model import Array, MemoryReading, Outcome


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


class UnseenSpawns:
    """Tasks that came while the recording ran, at the least, and whose spawn was not seen, by function.

    Runtimes count their ids up: a later id than that of one whose spawn was seen is of a task that came after that.
    Where no spawn was seen at all, it is a later one than memory had at the begin.
    """

    def __init__(self, functions: int) -> None:
        self._functions = functions
        self._newest: dict[int, int] = {}  # by process, the highest id at the begin
        self._seen: dict[int, int] = {}  # by process, the lowest id of the first ones whose spawn was seen
        self._counts: dict[tuple[int, bool], npt.NDArray[np.int64]] = {}  # by process, and whether one was seen by then

    def memory_reading(self, reading: MemoryReading) -> None:
        if not reading.is_last and len(reading.parked):
            self._newest[reading.process] = int(reading.parked["id"].max())

    def add(self, begun: Array) -> None:
        """begun: dtype TASK."""
        for process, newest in self._newest.items():
            mine = begun[(begun["process"] == process) & (begun["id"] != 0)]
            is_seen = mine["spawned"] != 0
            if is_seen.any():
                self._seen.setdefault(process, int(mine["id"][is_seen].min()))
            after = self._seen.get(process, newest)
            unseen = mine["function"][~is_seen & (mine["id"] > after)]
            counts = np.bincount(unseen, minlength=self._functions)
            key = process, process in self._seen
            self._counts[key] = self._counts.get(key, 0) + counts

    def of(self, function: int) -> int | None:
        """None: not known."""
        if not self._newest:
            return None
        chosen = (one for (process, seen), one in self._counts.items() if seen or process not in self._seen)
        return sum(int(one[function]) for one in chosen)


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
        self._unseen = UnseenSpawns(count)

    def memory_reading(self, reading: MemoryReading) -> None:
        """What memory had at the begin, or at the end."""
        self._unseen.memory_reading(reading)

    def begin(self, begun: Array) -> None:
        """begun: dtype TASK, at their first polls."""
        self._unseen.add(begun)

    def unseen_spawns(self, function: int) -> int | None:
        """How many tasks of one function came while the recording ran, at the least, and from where was not seen; None:
        not known."""
        return None if self.unidentified[function] else self._unseen.of(function)

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
