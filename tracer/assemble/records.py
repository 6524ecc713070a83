"""Records that tell something of the event after them, taken out of the events.

A record stands before the event that it belongs to, with its thread, time and `self`; other threads' events
may stand between, or the end of a block.  What the record of an event told that has none is not known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracer.assemble.arrays import Indexes, Unsigned
from tracer.assemble.columns import joined, pick
from tracer.assemble.sorting import stable_order
from tracer.model import Array


@dataclass(frozen=True, slots=True)
class Taken:
    """hits: the events without the records (dtype EVENT).  told: of each hit; None: nothing is told.

    records: those whose event is still to come.
    """

    hits: Array
    told: Unsigned | None
    records: Array


def take_records(events: Array, earlier: Array, tag: int) -> Taken:
    """Those with this number in the place of a probe's.  earlier: left over from earlier blocks, dtype EVENT."""
    is_record = events["probe"] == tag
    if not len(earlier) and not is_record.any():
        return Taken(events, None, earlier)
    if len(earlier):
        events = joined(earlier, events)
        is_record = events["probe"] == tag
    told = np.zeros(len(events), np.uint64)
    at = np.flatnonzero(is_record)
    beside = at[:-1] if at[-1] == len(events) - 1 else at
    beside = beside[events["tid"][beside] == events["tid"][beside + 1]]
    _give(told, events, beside, beside + 1)
    left = np.ones(len(events), np.bool_)
    left[beside] = False
    waiting = at[left[at]]
    if len(waiting):
        order = stable_order(events["tid"].astype(np.uint64))
        position = np.empty(len(order), np.intp)
        position[order] = np.arange(len(order))
        after = position[waiting] + 1
        following = order[np.minimum(after, len(order) - 1)]
        has = (after < len(order)) & (events["tid"][following] == events["tid"][waiting])
        _give(told, events, waiting[has], following[has])
        waiting = waiting[~has]
    hits = ~is_record
    return Taken(pick(events, hits), told[hits], events.take(waiting))


def _give(told: Unsigned, events: Array, records: Indexes, hits: Indexes) -> None:
    """Tell what records say to those of the events after them that are meant, in place."""
    meant = (events["time"][records] == events["time"][hits]) & (events["self"][records] == events["self"][hits])
    told[hits[meant]] = events["sp"][records[meant]]
