"""The tasks that are alive while a trace is written: what their rows say of them is known from their begin on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tracer.model import TASK, Array
from tracer.output.records import join, pick


class LiveTasks:
    """rows: dtype TASK, by rising number."""

    def __init__(self) -> None:
        self.rows = np.empty(0, TASK)
        self._over_but_held = np.empty(0, np.uint64)

    def begin(self, begun: Array) -> None:
        if len(begun):
            self.rows = join([self.rows, begun], TASK)

    def row(self, number: int) -> np.void | None:
        """That of one task; None when it is not alive."""
        at = int(np.searchsorted(self.rows["task"], np.uint64(number)))
        known = at < len(self.rows) and int(self.rows["task"][at]) == number
        return self.rows[at] if known else None

    def forget(self, over: npt.NDArray[np.uint64], held: Array) -> None:
        """These are over; each is needed as long as a poll of it, or in it, is held back (dtype POLL)."""
        if not len(over) and not len(self._over_but_held):
            return
        over = np.concatenate([self._over_but_held, over])
        needed = np.isin(over, np.concatenate([held["task"], held["instance"]]))
        self._over_but_held = over[needed]
        self.rows = pick(self.rows, ~np.isin(self.rows["task"], over[~needed]))
