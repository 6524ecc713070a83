"""From the wakes of tasks, and from their spawns, to their polls, by the future that they run; memory grows with the
kinds of tasks only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from tracer.model import WAIT, Array, Outcome, PollFunction, WaitFlag, WakeOrigin
from tracer.output.histogram import BINS, NO_LEAST, Integers, at_least, bins_of, percentile
from tracer.output.records import pick


def is_answered(waits: Array) -> npt.NDArray[np.bool_]:
    """Of which (dtype WAIT) the wake is known, and a poll followed."""
    answered: npt.NDArray[np.bool_] = (waits["woken"] != 0) & ((waits["flags"] & int(WaitFlag.END_UNKNOWN)) == 0)
    return answered


def is_unpolled(begun: Array) -> npt.NDArray[np.bool_]:
    """Which of these (dtype TASK, as Spans.begun has them) no poll was seen of: all is told of them."""
    unpolled: npt.NDArray[np.bool_] = begun["outcome"] != Outcome.UNKNOWN
    return unpolled


def ready_times(waits: Array) -> Integers:
    """ns of each from its wake, or from the poll in which it was woken, to its end; of those whose wake is known."""
    ready: Integers = waits["end"] - np.maximum(waits["woken"], waits["start"])
    return ready


def first_waits(begun: Array) -> Array:
    """Of new tasks (dtype TASK) whose spawns were seen: the times from there to their first polls (dtype WAIT), as if
    they had been woken then, END_UNKNOWN where there is none; in the order of their ends."""
    spawned = pick(begun, begun["spawned"] != 0)
    waits = np.zeros(len(spawned), WAIT)
    for name in ("start", "woken"):
        waits[name] = spawned["spawned"]
    waits["end"], waits["instance"], waits["task"] = spawned["first"], spawned["task"], spawned["task"]
    waits["woken_by"], waits["woken_by_id"] = spawned["spawned_by"], spawned["spawned_by_id"]
    waits["woken_by_function"], waits["woken_on"] = spawned["spawned_by_function"], spawned["spawned_on"]
    waits["function"], waits["tid"] = spawned["function"], spawned["tid"]
    waits["flags"] = np.where(is_unpolled(spawned), np.uint16(WaitFlag.END_UNKNOWN), np.uint16(0))
    ordered: Array = waits[np.argsort(waits["end"], kind="stable")]
    return ordered


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lengths of time in ns; p50, p99 within histogram.PERCENTILE_ERROR."""

    total: int
    p50: int
    p99: int
    longest: int


@dataclass(frozen=True, slots=True)
class DelayFigures(Lengths):
    """How long one kind of task was ready before it was polled, where the wake is known.

    own: how many of these wakes were by the task itself.  woken_from: how many came from what: tasks, blocking jobs,
    and what else WakeOrigin has.
    """

    polls: int
    own: int
    woken_from: dict[str, int]


@dataclass(frozen=True, slots=True)
class FirstDelayFigures(Lengths):
    """The same before first polls, of tasks whose spawns were seen."""

    tasks: int


class Sums:
    """Lengths of time in ns, by function: count, total and what of() yields."""

    def __init__(self, functions: int) -> None:
        self.count = np.zeros(functions, np.int64)
        self.total = np.zeros(functions, np.int64)
        self._least = np.full(functions, NO_LEAST)
        self._longest = np.zeros(functions, np.int64)
        self._bins = np.zeros((functions, BINS), np.int64)

    def add(self, function: Integers, delay: Integers) -> None:
        np.add.at(self.count, function, 1)
        np.add.at(self.total, function, delay)
        np.minimum.at(self._least, function, delay)
        np.maximum.at(self._longest, function, delay)
        np.add.at(self._bins.reshape(-1), function * BINS + bins_of(delay), 1)

    def at_least(self, function: int, length: float) -> int:
        """How many were at least so long, within half a bin."""
        return at_least(self._bins[function], length)

    def of(self, function: int) -> Lengths | None:
        """None: there is nothing."""
        if not self.count[function]:
            return None
        bins, least, longest = self._bins[function], int(self._least[function]), int(self._longest[function])
        p50, p99 = (round(percentile(bins, share, least, longest)) for share in (0.5, 0.99))
        return Lengths(int(self.total[function]), p50, p99, longest)


class Delays:
    """Totals by function."""

    def __init__(self, functions: Sequence[PollFunction]) -> None:
        count = max(len(functions), 1)
        self._is_job = np.array([one.is_job for one in functions] or [False])
        self._own = np.zeros(count, np.int64)
        self._by_job = np.zeros(count, np.int64)
        self._origins = np.zeros((count, len(WakeOrigin)), np.int64)
        self._woken, self._spawned = Sums(count), Sums(count)

    def add(self, woken: Array, begun: Array) -> None:
        """Count in answered waits (dtype WAIT) and new tasks (dtype TASK)."""
        function = woken["function"].astype(np.intp)
        self._woken.add(function, ready_times(woken))
        np.add.at(self._origins.reshape(-1), function * len(WakeOrigin) + woken["woken_from"], 1)
        count, by_job = len(self._own), (woken["woken_by"] != 0) & self._is_job[woken["woken_by_function"]]
        self._own += np.bincount(function[woken["woken_by"] == woken["instance"]], minlength=count)
        self._by_job += np.bincount(function[by_job], minlength=count)
        spawned = pick(begun, (begun["spawned"] != 0) & ~is_unpolled(begun))
        self._spawned.add(spawned["function"].astype(np.intp), spawned["first"] - spawned["spawned"])

    def of(self, function: int) -> DelayFigures | None:
        """From wakes, of the tasks that run this function; None: no wake of theirs is known."""
        figures = self._woken.of(function)
        if figures is None:
            return None
        polls, own, by_job = (int(one[function]) for one in (self._woken.count, self._own, self._by_job))
        woken_from = {one.name.lower(): int(self._origins[function, one]) for one in WakeOrigin} | {"job": by_job}
        woken_from["task"] -= by_job
        return DelayFigures(**asdict(figures), polls=polls, own=own, woken_from=woken_from)

    def first_of(self, function: int) -> FirstDelayFigures | None:
        """From spawns, of the tasks that run this function; None: no spawn of theirs was seen."""
        figures = self._spawned.of(function)
        return (
            FirstDelayFigures(**asdict(figures), tasks=int(self._spawned.count[function]))
            if figures is not None
            else None
        )
