"""What threads did between the polls of a task that had woken itself: as long as they polled no other and did
not block they worked for it.
"""

from __future__ import annotations

import numpy as np

from tracer.model import Array, OffCpuFlag
from tracer.output.histogram import Integers
from tracer.output.records import pick

_IN_POLL = int(OffCpuFlag.IN_POLL)


def time_between(own: Array, polls: Array, off_cpu: Array) -> Integers:
    """ns of each of these waits (WAIT) in which its thread polled no task and did not block: what it takes to wake a
    task and to come back to it."""
    lengths: Integers = own["end"] - own["start"]
    blocked = pick(off_cpu, (off_cpu["flags"] & _IN_POLL) == 0)
    until = np.where(blocked["woken"] != 0, blocked["woken"], blocked["end"])
    for tid in np.unique(own["tid"]).tolist():
        here, of_polls, of_blocked = (one["tid"] == tid for one in (own, polls, blocked))
        starts = np.concatenate([polls["start"][of_polls], blocked["start"][of_blocked]])
        ends = np.concatenate([polls["end"][of_polls], until[of_blocked]])
        lengths[here] -= _within(starts, ends, own["start"][here], own["end"][here])
    return np.maximum(lengths, 0)


def _within(starts: Integers, ends: Integers, since: Integers, until: Integers) -> Integers:
    """ns of each time (since, until) that lie in these ones (starts, ends), which may overlap and are in any order."""
    if not len(starts):
        return np.zeros(len(since), np.int64)
    order = np.argsort(starts, kind="stable")
    reached = np.maximum.accumulate(ends[order])
    begins = np.maximum(starts[order], np.append(starts.min(), reached[:-1]))
    lengths = np.maximum(reached - begins, 0)
    at = np.stack([np.minimum(begins, reached), reached], axis=1).reshape(-1)
    total = np.stack([np.cumsum(lengths) - lengths, np.cumsum(lengths)], axis=1).reshape(-1)
    within: Integers = (np.interp(until, at, total) - np.interp(since, at, total)).astype(np.int64)
    return within
