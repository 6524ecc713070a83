"""Tasks added up by kind: the future that they run."""

from __future__ import annotations

import numpy as np

from tracer.model import Array, Outcome


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

    def seen(self) -> list[int]:
        """The functions that tasks ran, the most busy first."""
        found = np.flatnonzero(self.tasks)
        return [int(one) for one in found[np.argsort(-self.busy[found], kind="stable")]]
