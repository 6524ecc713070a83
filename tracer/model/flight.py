"""A recording that keeps only its latest time on disk, in segments, and writes what led up to an event."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from tracer.model.capture import PlanChange, ProcessEnd
from tracer.model.events import Array
from tracer.model.process import Thread

TOLD_ID = np.dtype([("header", "<u8"), ("id", "<u8")])
"""The header of a task and the runtime's id that was last told for it; 16 bytes."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Where a part of a recording begins, and what was told before and holds still.

    number: from 1 on.  time: ns; every later event is in this segment or a later one.  change: the latest.  threads:
    those that were alive.  ends: of processes.  task_ids: dtype TOLD_ID.  received, lost: events before.
    """

    number: int
    time: int
    change: PlanChange | None
    threads: tuple[Thread, ...]
    ends: tuple[ProcessEnd, ...]
    task_ids: Array
    received: int
    lost: int


class TriggerKind(StrEnum):
    """What makes a recording write its latest time."""

    POLL = "poll"  # a poll took that long, or has already
    WAIT = "wait"  # a wait did
    READY = "ready"  # a task was ready that long, from its wake or its spawn on, before it was polled
    FINDING = "finding"  # a rule fires on the latest time
    EXIT = "exit"  # a process ended
    SIGNAL = "signal"  # it was asked for by SIGUSR1


@dataclass(frozen=True, slots=True)
class Trigger:
    """text: as it was asked for.  least: ns, of those with a length.  pattern: of the function's name; None: any.

    rule: id of the rule of a finding; None: any.
    """

    text: str
    kind: TriggerKind
    least: int | None = None
    pattern: str | None = None
    rule: str | None = None
