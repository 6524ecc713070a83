"""What the probes took of the time of polls: the hits in them, as often as polls were recorded, times what a hit costs
on that machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tracer.model import Array, Plan, PollFlag, costs_by_function
from tracer.output.histogram import Integers
from tracer.output.labels import duration_words

Taken = TypeVar("Taken", int, Integers)

_PARTS = 2
MAY_TAKE_MORE = 1 / _PARTS
"""Of what is estimated: what a hit costs was measured with warm caches, and not all hits are counted."""
_MUCH = 0.1
"""Of a length, that is worth a word."""
_STEP = 1_000_000
"""ns: of the time before the latest polls only so much is told apart."""
_MOST = 8192
"""Such steps of each thread that are remembered."""
_MOST_THREADS = 1024


class ProbeTime:
    """Of the threads of late.  costs: Recording.hit_costs; where that is not known nothing is taken off.
    wake: ns that a hit where a task is woken costs.

    The hits of wakes and switches in polls are left out.
    """

    def __init__(self, plan: Plan, costs: Sequence[float]) -> None:
        self._is_known = bool(costs)
        self._entry, self._exit = (np.array(one or [0.0]) for one in costs_by_function(plan, costs))
        wakes = [cost for probe, cost in zip(plan.probes, costs, strict=False) if probe.wakes is not None]
        self.wake = sum(wakes) / len(wakes) if wakes else 0.0
        self._threads: dict[int, tuple[Integers, npt.NDArray[np.float64]]] = {}  # ends, and the sum of costs until then

    def add(self, polls: Array) -> None:
        """dtype POLL, in the order of their ends."""
        if not self._is_known or not len(polls):
            return
        order = np.argsort(polls["tid"], kind="stable")
        tid, end, cost = polls["tid"][order], polls["end"][order], self.own(polls)[order]
        first = np.flatnonzero(np.concatenate([[True], tid[1:] != tid[:-1]]))
        for begin, until in zip(first.tolist(), [*first[1:].tolist(), len(tid)], strict=True):
            number = int(tid[begin])
            ends, sums = self._threads.get(number, (np.zeros(1, np.int64), np.zeros(1)))
            kept = np.ones(len(ends), np.bool_)
            kept[:-1] = ends[1:] // _STEP != ends[:-1] // _STEP
            ends, sums = ends[kept][-_MOST:], sums[kept][-_MOST:]
            more = sums[-1] + np.cumsum(cost[begin:until])
            self._threads[number] = np.concatenate([ends, end[begin:until]]), np.concatenate([sums, more])
        if len(self._threads) > _MOST_THREADS:
            self._forget_half()

    def _forget_half(self) -> None:
        """Of the threads those of which nothing was heard for the longest."""
        by_end = sorted(self._threads, key=lambda tid: int(self._threads[tid][0][-1]))
        for tid in by_end[: len(by_end) // 2]:
            del self._threads[tid]

    def own(self, polls: Array | np.void) -> npt.NDArray[np.float64]:
        """ns that the hits at the begin and the end of each of these (dtype POLL) took."""
        exits = np.where(polls["flags"] & int(PollFlag.INFERRED_END), 0.0, self._exit[polls["function"]])
        return np.asarray(self._entry[polls["function"]] + exits)

    def inside(self, polls: Array, until: int | None = None) -> Integers:
        """ns, at the least, of each of these of late (fields of POLL): of the polls inside it, and its own.

        until: when those end that have not ended yet, ns.
        """
        taken = np.zeros(len(polls), np.int64)
        if not self._is_known:
            return taken
        for tid in np.unique(polls["tid"]).tolist():
            if tid in self._threads:
                ends, sums = self._threads[tid]
                here = polls["tid"] == tid
                end = polls["end"][here] if until is None else np.full(np.count_nonzero(here), until)
                first, last = (np.searchsorted(ends, one, side="right") for one in (polls["start"][here], end))
                known = np.concatenate([sums[:1], sums])  # of what came before all that are remembered, nothing
                taken[here] = np.rint(known[last] - known[first])
        return taken

    def inside_one(self, poll: np.void) -> int:
        """The same of one poll (dtype POLL)."""
        return int(self.inside(poll.reshape(1))[0])


def at_most(taken: Taken) -> Taken:
    """ns that the probes may have taken, of what is estimated, see MAY_TAKE_MORE."""
    return taken + taken // _PARTS


def taken_words(taken: int, length: int) -> str:
    """That the probes took so much of a length, ns, where that is a good part of it; as a sentence goes on."""
    return f", of which the probes took about {duration_words(taken)}" if taken >= _MUCH * length else ""
