"""Until when each process surely ran: a poll that its end cut short lasted no longer than that is known."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tracer.model import Array, Thread


class LastSeen:
    """pids: of those that run at `time`; all times in ns of CLOCK_MONOTONIC."""

    def __init__(self, pids: Iterable[int], time: int) -> None:
        self._seen = dict.fromkeys(pids, time)
        self._threads: dict[int, set[int]] = {pid: set() for pid in self._seen}

    def looked(self, pid: int, time: int) -> None:
        """It ran then."""
        self._seen[pid] = max(self._seen.get(pid, 0), time)

    def threads(self, threads: Iterable[Thread]) -> None:
        """New ones; before their events."""
        for thread in threads:
            self._threads.setdefault(thread.pid, set()).add(thread.tid)

    def events(self, events: Array) -> None:
        """dtype EVENT."""
        if not len(events):
            return
        for pid in self._seen:
            times = events["time"]
            if len(self._seen) > 1:
                times = times[np.isin(events["tid"], np.array(sorted(self._threads[pid]), np.uint32))]
            if len(times):
                self.looked(pid, int(times.max()))

    def of(self, pid: int) -> int:
        """When it was last seen to run."""
        return self._seen[pid]
