"""How much of a poll the host may have taken away from the virtual machine that it ran in.

A thread whose machine stands still seems to be on its CPU all that time.  The scheduler's account of how long it ran
tells of it, as often as the thread leaves its CPU.
"""

from __future__ import annotations

import numpy as np

from tracer.assemble.lookup import distinct
from tracer.model import OFF_CPU, Array
from tracer.output.records import join, pick
from tracer.output.scheduled import LEAST_STOLEN

_WINDOW = 4096


class Stolen:
    """What threads lack of late; memory grows with their number only."""

    def __init__(self) -> None:
        self._rows = np.empty(0, OFF_CPU)
        self._left: dict[int, int] = {}

    def add(self, off: Array) -> None:
        """dtype OFF_CPU, in the order of their ends."""
        if not len(off):
            return
        tids, thread = distinct(off["tid"])
        latest = np.full(len(tids), np.iinfo(np.int64).min)
        np.maximum.at(latest, thread, off["start"])
        self._left |= dict(zip(tids.tolist(), latest.tolist(), strict=True))
        lacking = pick(off, (off["stolen"] < 0) | (off["stolen"] >= LEAST_STOLEN))
        if len(lacking):
            self._rows = join([self._rows, lacking], OFF_CPU)[-_WINDOW:]

    def is_known(self, poll: np.void) -> bool:
        """Whether its thread has left its CPU since the end of this poll (POLL)."""
        return self._left.get(int(poll["tid"]), int(poll["start"])) >= int(poll["end"])

    def at_most(self, poll: np.void) -> int:
        """ns of this poll (POLL); all of what nothing is known of."""
        rows = self._rows[self._rows["tid"] == poll["tid"]]
        inside = np.minimum(rows["start"], poll["end"]) - np.maximum(rows["since"], poll["start"])
        stolen = np.where(rows["stolen"] < 0, inside, np.minimum(rows["stolen"], inside))
        return int(np.maximum(stolen, 0).sum())
