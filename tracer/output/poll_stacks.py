"""Of each poll that stacks were taken in the one that tells most of it: for which the most time was seen."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import numpy.typing as npt

from tracer.model import Array, Stacks
from tracer.output.blockers import times_of

_MOST = 1 << 16
"""Polls that are remembered until they are written."""


class PollStacks:
    """What a writer remembers of polls that are over."""

    def __init__(self, stacks: Stacks | None) -> None:
        self._stacks = stacks
        self._numbers: dict[tuple[int, int], int] = {}

    def add(self, looks: Array) -> None:
        """dtype LOOK; those of one poll come together."""
        if not len(looks):
            return
        times: defaultdict[tuple[int, int], Counter[int]] = defaultdict(Counter)
        for look, time in zip(looks, times_of(looks, self._stacks), strict=True):
            times[int(look["tid"]), int(look["start"])][int(look["stack"])] += time
        self._numbers |= {poll: stacks.most_common(1)[0][0] for poll, stacks in times.items()}
        while len(self._numbers) > _MOST:
            del self._numbers[next(iter(self._numbers))]

    def of(self, polls: Array, is_task: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """The number of each poll's stack (dtype POLL); 0: none.  is_task: by function."""
        numbers = np.zeros(len(polls), np.int64)
        if self._numbers:
            starts = np.array([start for _, start in self._numbers])
            for at in np.flatnonzero(is_task[polls["function"]] & np.isin(polls["start"], starts)).tolist():
                numbers[at] = self._numbers.get((int(polls["tid"][at]), int(polls["start"][at])), 0)
        return numbers
