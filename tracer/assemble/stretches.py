"""From samples to rows of a trace: as long as a task is seen in one state, it is taken to have been in it."""

from __future__ import annotations

import numpy as np

from tracer.model import Array
from tracer.stacks import Tick

STRETCH = np.dtype(
    [
        ("start", "<i8"),  # ns of CLOCK_MONOTONIC: when the task was first seen so
        ("end", "<i8"),  # when it was first seen otherwise; when it was last seen, if it was not seen any more
        ("task", "<u4"),  # as SAMPLE has it
        ("function", "<u4"),
        ("stack", "<i4"),
        ("state", "u1"),  # TaskState
        ("_pad", "u1", 3),
    ]
)
"""A time in which each sample of a task told the same, 32 bytes."""

_MOST_TASKS = 5_000
_MOST_OF_FUNCTION = 500
_MOST = 2_000_000
"""Of all stretches; a trace stays one that opens."""


class Stretches:
    """Follows the first tasks of each kind.  left_out: how many tasks it does not follow.  is_full: nor any further."""

    def __init__(self) -> None:
        self._open = np.empty(0, STRETCH)  # by place
        self._last = np.empty(0, np.int64)  # when each was seen last
        self._place = np.empty(0, np.int64)  # by task; -1: not followed
        self._of_function: dict[int, int] = {}
        self._done: list[Array] = []
        self._count = 0
        self.left_out = 0

    @property
    def is_full(self) -> bool:
        """Whether there is no room for more."""
        return self._count >= _MOST

    def add(self, tick: Tick) -> None:
        """One more tick, in the order of time."""
        samples = tick.samples
        if not len(samples) or self.is_full:
            return
        self._meet(samples, tick.time)
        place = self._place[samples["task"]]
        samples, place = samples[place >= 0], place[place >= 0]
        before = self._open[place]
        # Its place was looked at in between, and it was not there, or could not be read.
        is_lost = self._last[place] < tick.time - samples["since"].astype(np.int64)
        changed = is_lost | (before["state"] != samples["state"]) | (before["stack"] != samples["stack"])
        over, at = before[changed], place[changed]
        over["end"] = np.where(is_lost[changed], self._last[at], tick.time)
        if len(over):
            self._done.append(over[over["end"] > over["start"]])
            self._count += len(over)
            self._begin(at, samples[changed], tick.time)
        self._last[place] = tick.time

    def result(self) -> Array:
        """All until now, dtype STRETCH; those that go on end when they were seen last."""
        rest = self._open.copy()
        rest["end"] = self._last
        done = np.concatenate([np.empty(0, STRETCH), *self._done, rest])
        return done[np.lexsort((done["start"], done["task"]))]

    def _meet(self, samples: Array, time: int) -> None:
        most = int(samples["task"].max()) + 1
        if most > len(self._place):
            more = np.full(max(most, 2 * len(self._place)) - len(self._place), -2, np.int64)
            self._place = np.concatenate([self._place, more])
        new = samples[self._place[samples["task"]] == -2]
        if not len(new):
            return
        followed: list[int] = []
        for row, function in enumerate(new["function"].tolist()):
            count = self._of_function.get(function, 0)
            if count < _MOST_OF_FUNCTION and len(self._open) + len(followed) < _MOST_TASKS:
                self._of_function[function] = count + 1
                followed.append(row)
        self._place[new["task"]] = -1
        self.left_out += len(new) - len(followed)
        chosen = new[followed]
        places = len(self._open) + np.arange(len(chosen))
        self._place[chosen["task"]] = places
        self._open = np.concatenate([self._open, np.zeros(len(chosen), STRETCH)])
        self._last = np.concatenate([self._last, np.full(len(chosen), time)])
        self._begin(places, chosen, time)

    def _begin(self, places: np.ndarray[tuple[int], np.dtype[np.int64]], samples: Array, time: int) -> None:
        begun = np.zeros(len(places), STRETCH)
        begun["start"] = time
        for name in ("task", "function", "stack", "state"):
            begun[name] = samples[name]
        self._open[places] = begun
