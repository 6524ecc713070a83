"""What a trace counts over its whole length: polls a second, live tasks.  At most a thousand points each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tracer.model import Array, Outcome
from tracer.output.descriptors import Descriptors
from tracer.output.records import pick

MAX_POINTS = 1000
_FIRST_WIDTH = 1_000_000
"""ns; bins are made wider, two into one, as the recording goes on."""

Integers = npt.NDArray[np.int64]


class Counters:
    """Adds up polls and tasks in equal bins of time, and writes them at the end."""

    def __init__(self, start: int, is_job: Sequence[bool]) -> None:
        """is_job: by function; jobs are no tasks, and running one is no poll."""
        self._start = start
        self._is_job = np.array([*is_job] or [False])
        self._width = _FIRST_WIDTH
        self._polls = np.zeros(MAX_POINTS, np.int64)
        self._change = np.zeros(MAX_POINTS, np.int64)  # of the number of live tasks
        self._tasks = 0

    def add(self, polls: Array, over: Array) -> None:
        """polls: dtype POLL.  over: dtype TASK, each task once."""
        polls, over = (pick(rows, ~self._is_job[rows["function"]]) for rows in (polls, over))
        self._add(self._polls, polls["start"], 1)
        self._tasks += len(over)
        self._add(self._change, over["first"], 1)
        gone = ~np.isin(over["outcome"], (Outcome.RUNNING, Outcome.WAITING))
        self._add(self._change, over["last"][gone], -1)

    def _add(self, counts: Integers, times: Integers, sign: int) -> None:
        if not len(times):
            return
        since = np.maximum(times - self._start, 0)
        # A task that is gone counts to the end of the bin of its last poll.
        while int(since.max()) // self._width + 1 >= MAX_POINTS:
            self._widen()
        at = since // self._width + (1 if sign < 0 else 0)
        counts += sign * np.bincount(at, minlength=MAX_POINTS)

    def _widen(self) -> None:
        for counts in (self._polls, self._change):
            counts[: MAX_POINTS // 2] = counts[0::2] + counts[1::2]
            counts[MAX_POINTS // 2 :] = 0
        self._width *= 2

    def write(self, descriptors: Descriptors, parent: int | None, end: int) -> None:
        """Up to `end`, ns."""
        bins = min(MAX_POINTS, max(0, end - self._start) // self._width + 1)
        width = self._width / 1e9
        what = f"Polls begun a second; a step is {width:g} s."
        self._write(descriptors, parent, "polls/s", 10, self._polls[:bins] / width, what)
        if self._tasks:
            what = "Tasks from the first to the last poll seen of each; to the end if it was waiting or running then."
            self._write(descriptors, parent, "live tasks", 11, np.cumsum(self._change[:bins]), what)

    def _write(
        self,
        descriptors: Descriptors,
        parent: int | None,
        name: str,
        rank: int,
        values: npt.NDArray[np.float64] | Integers,
        description: str,
    ) -> None:
        track = descriptors.counter_track(name, parent, rank=rank, description=description)
        rounded = np.rint(values).astype(np.int64)
        changed = np.flatnonzero(np.append(True, rounded[1:] != rounded[:-1]))
        for place in changed.tolist():
            descriptors.counter(self._start + place * self._width, track, int(rounded[place]))
