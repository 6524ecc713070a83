"""How often something happened in each part of a run, by function; a part grows with the run, their number does not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tracer.output.histogram import Integers

SLOTS = 64
_FIRST_WIDTH = 20_000_000
"""ns that a part is long at first."""


class Timeline:
    """counts: shape (functions, SLOTS), each part `width` ns from `start` on."""

    def __init__(self, functions: int, start: int) -> None:
        self.start = start
        self.width = _FIRST_WIDTH
        self.counts = np.zeros((max(functions, 1), SLOTS), np.int64)

    def add(self, functions: npt.NDArray[np.uint32], times: Integers) -> None:
        """One for each of these functions, at these times (ns); what is earlier than the start counts as then."""
        if not len(times):
            return
        since = np.maximum(times - self.start, 0)
        while int(since.max()) >= SLOTS * self.width:
            pairs = self.counts[:, 0::2] + self.counts[:, 1::2]
            self.counts[:, : SLOTS // 2], self.counts[:, SLOTS // 2 :] = pairs, 0
            self.width *= 2
        np.add.at(self.counts, (functions.astype(np.intp), since // self.width), 1)

    def quarters(self, function: int, end: int) -> list[int]:
        """How many in each quarter of the time until then; what is in a part between two belongs to the earlier."""
        edges = [(end - self.start) * quarter // (4 * self.width) + (quarter > 0) for quarter in range(4)]
        parts = np.split(self.counts[function], edges[1:])
        return [int(part.sum()) for part in parts]

    def before(self, function: int, time: int) -> int:
        """How many in the parts that were over by then."""
        return int(self.counts[function, : max(0, (time - self.start) // self.width)].sum())

    def peak(self, function: int, until: int) -> tuple[int, int, int]:
        """(how many, begin, end) of the second, or the part where that is longer, with the most, before `until`."""
        parts = max(0, min(SLOTS, (until - self.start) // self.width))
        window = max(1, round(1_000_000_000 / self.width))
        sums = np.concatenate([[0], np.cumsum(self.counts[function, :parts])])
        last = np.arange(1, parts + 1)
        if not len(last):
            return 0, self.start, self.start
        within = sums[last] - sums[np.maximum(last - window, 0)]
        at = int(np.argmax(within))
        begin = max(at + 1 - window, 0)
        return int(within[at]), self.start + begin * self.width, self.start + (at + 1) * self.width
