"""What is carried of when threads were on their CPUs: a clock for each, and what is still to come to an end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracer.model import Array

Tids = npt.NDArray[np.uint32]

EVER, NEVER = np.iinfo(np.int64).min, np.iinfo(np.int64).max
"""Times before and after all others."""
LATEST = np.uint64(NEVER)
NO_READING = -1
"""In the place of what a clock had: it was not known."""

SWITCH = np.dtype(
    [
        ("time", "<i8"),
        ("instance", "<u8"),  # of one that leaves: the innermost open poll's, as OFF_CPU has it, and so on
        ("task", "<u8"),
        ("before", "<i8"),  # how many of the block's hits come before it in the file; -1: it is of an earlier block
        ("kind", "<u4"),  # EVENT.probe
        ("function", "<u4"),
        ("tid", "<u4"),
        ("by", "<u4"),  # of a wake: the thread
        ("ran", "<i8"),  # ns for which the thread has run so far, by the scheduler's account; NO_READING: not known
        ("syscall", "<i2"),
        ("cpu", "<u2"),
        ("state", "u1"),
        ("flags", "u1"),  # OffCpuFlag
    ],
    align=True,
)
"""What the kernel told of a thread."""

CLOCK = np.dtype(
    [
        ("tid", "<u4"),
        ("known", "<i8"),  # from when on all that concerns it was told
        ("runnable", "<i8"),  # ns that it had been so when it last got a CPU
        ("blocked", "<i8"),
        ("got", "<i8"),  # when that was
        ("ran", "<i8"),  # ns for which it had run by then, by the scheduler's account; NO_READING: not known
        ("last", "<i8"),  # time of the latest record
    ],
    align=True,
)
"""One thread's clock."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """clocks: dtype CLOCK, by tid, of the threads that were told of.  since: from when on the others' are known.
    pending: dtype SWITCH, of threads that are off their CPU, or were woken since they got it.
    """

    since: int
    clocks: Array
    pending: Array

    def restarted(self, time: int) -> Schedule:
        """Nothing from before this time is known of any thread; NEVER: nor will be."""
        clocks = self.clocks.copy()
        clocks["known"] = np.maximum(clocks["known"], time) if time != NEVER else NEVER
        return Schedule(max(self.since, time), clocks, self.pending[:0])

    def resumed(self, time: int) -> Schedule:
        """All is told again from this time on."""
        clocks = self.clocks.copy()
        clocks["known"] = time
        return Schedule(time, clocks, self.pending[:0])


def first_schedule(since: int) -> Schedule:
    return Schedule(since, np.empty(0, CLOCK), np.empty(0, SWITCH))
