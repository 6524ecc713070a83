"""For how long tasks were polled inside of other polls: of an executor's loop that is no time of its own."""

from __future__ import annotations

import numpy as np

from tracer.model import POLL, Array
from tracer.output.histogram import Integers
from tracer.output.records import join, pick

_MOST_OPEN = 1 << 14
"""Polls of tasks that are remembered until the polls that they are in have ended."""
_MOST_LEVELS = 4
"""Of tasks that poll tasks."""


class TasksInside:
    """is_task: by function."""

    def __init__(self, is_task: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
        self._is_task = is_task
        self._open = np.empty(0, POLL)

    def of(self, polls: Array) -> Integers:
        """ns of each of these polls (dtype POLL, by rising ends) in which tasks were polled inside of it."""
        inside = np.zeros(len(polls), np.int64)
        is_task = self._is_task[polls["function"]]
        tasks = join([self._open, pick(polls, is_task & (polls["depth"] > 0))], POLL)
        left = []
        for tid in np.unique(tasks["tid"]).tolist():
            mine = pick(tasks, tasks["tid"] == tid)
            there = np.flatnonzero(polls["tid"] == tid)
            inside[there] = _inside(polls.take(there), is_task[there], mine)
            outermost = there[polls["depth"][there] == 0]
            left.append(pick(mine, mine["start"] >= polls["end"][outermost].max(initial=0)))
        self._open = join(left, POLL)[-_MOST_OPEN:]
        return inside


def _inside(polls: Array, is_task: np.ndarray[tuple[int], np.dtype[np.bool_]], tasks: Array) -> Integers:
    """The same of one thread: of the tasks in each poll, those that no other of them is in."""
    inside = np.zeros(len(polls), np.int64)
    rest = tasks.take(np.lexsort((-tasks["end"], tasks["start"])))
    for _ in range(_MOST_LEVELS):
        if not len(rest):
            break
        until = np.maximum.accumulate(rest["end"])
        is_outer = np.append(True, rest["start"][1:] >= until[:-1])
        outer, rest = pick(rest, is_outer), pick(rest, ~is_outer)
        sums = np.append(0, np.cumsum(outer["end"] - outer["start"]))
        starts = np.ascontiguousarray(outer["start"])
        own = np.searchsorted(starts, polls["start"], "right")  # a task is not inside of itself
        first = np.where(is_task, own, np.searchsorted(starts, polls["start"]))
        last = np.maximum(np.searchsorted(starts, polls["end"]), first)
        inside = np.where(inside == 0, sums[last] - sums[first], inside)
    return inside
