"""Tasks that were made, as the target told them: events that are neither the entry nor the exit of a poll."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracer.assemble.arrays import Flags, Indexes, Unsigned
from tracer.assemble.marks import Catches
from tracer.assemble.plan_sites import Sites
from tracer.assemble.state import BIRTH, Threads, done_to_tasks
from tracer.model import Array, EventFlag

_SELF = np.uint8(EventFlag.SELF)


@dataclass(frozen=True, slots=True)
class Births:
    """rows: dtype BIRTH, whose spawners are still missing.  where: in which stacks they were."""

    rows: Array
    where: Catches


def births_of(
    events: Array,
    at: Indexes,
    rows: Indexes,
    told: Unsigned | None,
    sites: Sites,
    queues: Flags,
    threads: Threads,
    thread: Indexes,
    first: int,
) -> Births:
    """Those among these events, at `at`, on these threads, whose rows have these numbers from `first` on.

    told: of all events, by which calls; None: of none.  queues: of each probe, as Roles has it.
    """
    is_known = (events["flags"][at] & _SELF) != 0
    at, rows, thread = at[is_known], rows[is_known], thread[is_known]
    born = done_to_tasks(BIRTH, events.take(at), rows + first, threads.process[thread])
    born["is_queued"] = queues[events["probe"][at]]
    if told is not None:
        born["at"] = sites.of(told[at])
    return Births(born, Catches(thread, rows, events["sp"][at]))
