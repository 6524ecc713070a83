"""How many futures each task has that began and did not end, by function; memory grows with what is open only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tracer.output.histogram import Integers

Tasks = npt.NDArray[np.uint64]
Functions = npt.NDArray[np.uint32]


class OpenFutures:
    """Balances by task and function; what is even is forgotten, and so are tasks that are over."""

    def __init__(self, functions: int) -> None:
        self._functions = np.uint64(max(functions, 1))
        self._keys = np.empty(0, np.uint64)
        self._open = np.empty(0, np.int64)

    def change(self, began: tuple[Tasks, Functions], ended: tuple[Tasks, Functions]) -> None:
        """Futures that began and ended, each by its task (0: of none) and its function."""
        keys = [self._keys, *(tasks * self._functions + functions for tasks, functions in (began, ended))]
        if len(keys[1]) or len(keys[2]):
            weights: list[Integers] = [self._open, np.ones(len(keys[1]), np.int64), np.full(len(keys[2]), -1)]
            distinct, at = np.unique(np.concatenate(keys), return_inverse=True)
            balance = np.zeros(len(distinct), np.int64)
            np.add.at(balance, at, np.concatenate(weights))
            self._keys, self._open = distinct[balance > 0], balance[balance > 0]

    def forget(self, tasks: Tasks) -> None:
        """These are over, and so are their futures."""
        if len(tasks) and len(self._keys):
            left = ~np.isin(self._keys // self._functions, tasks)
            self._keys, self._open = self._keys[left], self._open[left]

    def most(self, function: int) -> int:
        """How many one task has of this function, that which has the most."""
        return int(self._open[self._keys % self._functions == np.uint64(function)].max(initial=0))
