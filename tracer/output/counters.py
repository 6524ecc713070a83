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
    """Adds up polls in equal bins of time, and tasks at the moments between these, and writes them at the end."""

    def __init__(self, start: int, is_job: Sequence[bool]) -> None:
        """is_job: by function; jobs are no tasks, and running one is no poll."""
        self._start = start
        self._is_job = np.array([*is_job] or [False])
        self._width = _FIRST_WIDTH
        self._polls = np.zeros(MAX_POINTS, np.int64)
        self._change = np.zeros(MAX_POINTS, np.int64)  # of the number of live tasks, since the moment before
        self._tasks = 0

    def add(self, polls: Array, over: Array) -> None:
        """polls: dtype POLL.  over: dtype TASK, each task once."""
        polls, over = (pick(rows, ~self._is_job[rows["function"]]) for rows in (polls, over))
        gone = ~np.isin(over["outcome"], (Outcome.RUNNING, Outcome.WAITING))
        begins, firsts, lasts = (self._since(one) for one in (polls["start"], over["first"], over["until"][gone]))
        # Each moment knows all that was before it, so that a task that came and went in between is in none.
        latest = max(int(one.max(initial=0)) for one in (begins, firsts, lasts))
        while -(-latest // self._width) >= MAX_POINTS:
            self._widen()
        self._tasks += len(over)
        self._polls += np.bincount(begins // self._width, minlength=MAX_POINTS)
        self._change += np.bincount(-(-firsts // self._width), minlength=MAX_POINTS)
        self._change -= np.bincount(-(-lasts // self._width), minlength=MAX_POINTS)

    def _since(self, times: Integers) -> Integers:
        return np.maximum(times - self._start, 0)

    def _widen(self) -> None:
        half = MAX_POINTS // 2
        self._polls[:half] = self._polls[0::2] + self._polls[1::2]
        self._polls[half:] = 0
        # The first moment is the start; of two others the later one is left.
        later = np.append(self._change[1:], 0)
        self._change[1 : half + 1] = later[0::2] + later[1::2]
        self._change[half + 1 :] = 0
        self._width *= 2

    def write(self, descriptors: Descriptors, parent: int | None, end: int) -> None:
        """Up to `end`, ns."""
        bins = min(MAX_POINTS, max(0, end - self._start) // self._width + 1)
        width = self._width / 1e9
        times = self._start + np.arange(bins) * self._width
        what = f"Polls begun a second; a step is {width:g} s."
        self._write(descriptors, parent, "polls/s", 10, times, self._polls[:bins] / width, what)
        if self._tasks:
            what = (
                f"Tasks alive at one moment, every {width:g} s and at the end: there may have been more in between. "
                "Each from the first to the last poll seen of it; to the end if it was waiting or running then."
            )
            alive = np.append(np.cumsum(self._change[:bins]), self._change.sum())
            self._write(descriptors, parent, "live tasks", 11, np.append(times, max(end, times[-1])), alive, what)

    def _write(
        self,
        descriptors: Descriptors,
        parent: int | None,
        name: str,
        rank: int,
        times: Integers,
        values: npt.NDArray[np.float64] | Integers,
        description: str,
    ) -> None:
        track = descriptors.counter_track(name, parent, rank=rank, description=description)
        rounded = np.rint(values).astype(np.int64)
        changed = np.flatnonzero(np.append(True, rounded[1:] != rounded[:-1]))
        for place in changed.tolist():
            descriptors.counter(int(times[place]), track, int(rounded[place]))
