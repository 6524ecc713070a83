"""Which ids the runtime's tasks have: the records that tell them, taken out of the events.

A record stands before the entry that it belongs to, with its thread, time and header; other threads' events
may stand between, or the end of a block.  An entry whose record is missing has an id that is not known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracer.assemble.arrays import Indexes, Small, Unsigned
from tracer.assemble.columns import joined, pick
from tracer.assemble.state import LOST, NOT_READ, SAME, TOLD
from tracer.model import TASK_ID_RECORD, Array, EventFlag

_ID, _NEW = np.uint8(EventFlag.TASK_ID), np.uint8(EventFlag.TASK_ID | EventFlag.NEW_TASK_ID)


@dataclass(frozen=True, slots=True)
class Told:
    """hits: the events without the records (dtype EVENT).  ids, telling: of each hit; None: nothing is told.

    records: the latest one of each thread.
    """

    hits: Array
    ids: Unsigned | None
    telling: Small | None
    records: Array


def take_ids(events: Array, earlier: Array) -> Told:
    """earlier: the records of earlier blocks, dtype EVENT."""
    is_record = events["probe"] == TASK_ID_RECORD
    flags = events["flags"]
    if not (flags & _ID).any():
        return Told(pick(events, ~is_record) if is_record.any() else events, None, None, earlier)
    ids = np.zeros(len(events), np.uint64)
    is_new = ((flags & _NEW) == _NEW) & ~is_record
    at = np.flatnonzero(is_record)
    beside = at[:-1] if len(at) and at[-1] == len(events) - 1 else at
    for name in ("tid", "time", "self"):
        column = events[name]
        beside = beside[column[beside] == column[beside + 1]]
    beside = beside[is_new[beside + 1]]
    ids[beside + 1] = events["sp"][beside]
    found = np.zeros(len(events), np.bool_)
    found[beside + 1] = True
    missing = np.flatnonzero(is_new & ~found)
    if len(missing):
        _find(events, at, missing, earlier, ids)
    telling = np.where(flags & _ID, np.uint8(SAME), np.uint8(NOT_READ))
    telling[is_new] = np.where(ids[is_new] != 0, np.uint8(TOLD), np.uint8(LOST))
    if not len(at):
        return Told(events, ids, telling, earlier)
    hits = ~is_record
    return Told(pick(events, hits), ids[hits], telling[hits], _latest(joined(earlier, pick(events, is_record))))


def _find(events: Array, records: Indexes, entries: Indexes, earlier: Array, ids: Unsigned) -> None:
    """Fill in the ids of entries whose record does not stand right before them: it is the latest of their thread."""
    latest = {int(one["tid"]): (int(one["time"]), int(one["self"]), int(one["sp"])) for one in earlier}
    is_record = np.zeros(len(events), np.bool_)
    is_record[records] = True
    for place in np.sort(np.concatenate([records, entries])).tolist():
        event = events[place]
        tid, told = int(event["tid"]), (int(event["time"]), int(event["self"]))
        if is_record[place]:
            latest[tid] = (*told, int(event["sp"]))
        elif tid in latest and latest[tid][:2] == told:
            ids[place] = latest[tid][2]


def _latest(records: Array) -> Array:
    """The last record of each thread."""
    _, last = np.unique(records["tid"][::-1], return_index=True)
    return records.take(len(records) - 1 - last)
