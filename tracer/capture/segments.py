"""Where a segment begins, as a protobuf message, and back; and the ids of tasks that it must tell again.

The kernel's side tells the runtime's id of a task once, when it is new.  What begins later has not heard it: a segment
has the ids told so far, and whoever begins there reads each anew at the task's first poll.
"""

from __future__ import annotations

import numpy as np

from tracer import capture_pb2 as pb
from tracer.capture import messages
from tracer.model import CHAIN_RECORD, EVENT, TASK_ID_RECORD, TOLD_ID, Array, EventFlag, Segment

MOST_IDS = 1 << 18
"""Ids that a segment tells: 4 MiB.  Those told last are kept; a task that was told before has an id that is unknown."""

_MOST_PARTS = 1 << 10
_ID = np.uint8(EventFlag.TASK_ID | EventFlag.SELF)
_NEW = np.uint8(EventFlag.NEW_TASK_ID)


def write_segment(segment: Segment) -> bytes:
    message = pb.Segment(
        number=segment.number,
        time=segment.time,
        task_ids=segment.task_ids.tobytes(),
        received=segment.received,
        lost=segment.lost,
    )
    message.threads.ParseFromString(messages.write_threads(segment.threads))
    if segment.change is not None:
        message.change.ParseFromString(messages.write_plan_change(segment.change))
    for end in segment.ends:
        message.ends.add().ParseFromString(messages.write_process_end(end))
    return message.SerializeToString()


def read_segment(data: bytes) -> Segment:
    """Raises ValueError on a message that does not make sense."""
    message = pb.Segment.FromString(data)
    return Segment(
        message.number,
        message.time,
        messages.read_plan_change(message.change.SerializeToString()) if message.HasField("change") else None,
        tuple(messages.read_threads(message.threads.SerializeToString())),
        tuple(messages.read_process_end(one.SerializeToString()) for one in message.ends),
        np.frombuffer(message.task_ids, TOLD_ID),
        message.received,
        message.lost,
    )


class ToldIds:
    """The latest id that was told for each header, in bounded memory."""

    def __init__(self) -> None:
        self._parts: list[Array] = []

    def add(self, events: Array) -> None:
        """Take in what these tell (dtype EVENT)."""
        records = events[events["probe"] == TASK_ID_RECORD]
        if not len(records):
            return
        told = np.empty(len(records), TOLD_ID)
        told["header"], told["id"] = records["self"], records["sp"]
        self._parts.append(told)
        if len(self._parts) >= _MOST_PARTS:
            self.result()

    def result(self) -> Array:
        """dtype TOLD_ID, those told last at the end."""
        told = np.concatenate([np.empty(0, TOLD_ID), *self._parts])
        _, from_end = np.unique(told["header"][::-1], return_index=True)
        latest: Array = told[np.sort(len(told) - 1 - from_end)][-MOST_IDS:]
        self._parts = [latest]
        return latest


class ToldAgain:
    """Puts the records of ids that were told before a segment where those tasks are polled for the first time in it."""

    def __init__(self, told: Array) -> None:
        self._left = told[np.argsort(told["header"], kind="stable")]

    def tell(self, events: Array) -> Array:
        """The same events (dtype EVENT), with the records."""
        if not len(self._left):
            return events
        polls = np.flatnonzero(((events["flags"] & _ID) == _ID) & (events["probe"] != TASK_ID_RECORD))
        headers, first = np.unique(events["self"][polls], return_index=True)
        at = np.minimum(np.searchsorted(self._left["header"], headers), len(self._left) - 1)
        is_left = self._left["header"][at] == headers
        if not is_left.any():
            return events
        rows, ids = polls[first[is_left]], self._left["id"][at[is_left]]
        left = np.ones(len(self._left), np.bool_)
        left[at[is_left]] = False
        self._left = self._left[left]
        is_told = (events["flags"][rows] & _NEW) != 0  # anew: what was told before is over
        rows, ids = rows[~is_told], ids[~is_told]
        records = events[rows]
        records["probe"], records["sp"], records["flags"] = TASK_ID_RECORD, ids, _ID
        told = events.copy()
        told["flags"][rows] |= _NEW
        # A record of where the task had been waiting stands between, right before the poll.
        before = events[np.maximum(rows - 1, 0)]
        has_chain = (rows > 0) & (before["probe"] == CHAIN_RECORD)
        has_chain &= (before["tid"] == records["tid"]) & (before["time"] == records["time"])
        return np.insert(told, rows - has_chain, records).astype(EVENT, copy=False)
