"""Of which polls the length is known.

Where an exit is not probed, or was lost, a poll's end is only known to lie between what was seen last in it and what
came next on its thread: often that is all of its time.  What was under way when its polls began or ceased to be
recorded lasted at least as long as it was seen.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tracer.model import Array, PollFlag
from tracer.output.histogram import Integers

LEAST_KNOWN = 16
"""A poll's end is known when it lasted at least so many times as long as that is uncertain: within 6 %, as
percentiles are.  Of one that was seen to begin only, it is not."""
_START_UNKNOWN, _END_UNKNOWN = int(PollFlag.START_UNKNOWN), int(PollFlag.END_UNKNOWN)


def is_length_known(polls: Array | np.void) -> npt.NDArray[np.bool_]:
    """Of which of these (dtype POLL), or of this one."""
    known: npt.NDArray[np.bool_] = is_end_known(polls) & ((polls["flags"] & _START_UNKNOWN) == 0)
    return known


def is_end_known(polls: Array | np.void) -> npt.NDArray[np.bool_]:
    """Of which of them it is known when they ended."""
    uncertain, has_end = polls["end_latest"] - polls["end"], (polls["flags"] & _END_UNKNOWN) == 0
    known: npt.NDArray[np.bool_] = has_end & (uncertain * LEAST_KNOWN <= polls["end"] - polls["start"])
    return known


def is_cut(polls: Array) -> npt.NDArray[np.bool_]:
    """Which of them were under way when their polls began or ceased to be recorded."""
    cut: npt.NDArray[np.bool_] = (polls["flags"] & (_START_UNKNOWN | _END_UNKNOWN)) != 0
    return cut


def longest_possible(polls: Array) -> Integers:
    """ns that each may have taken, as far as it was recorded."""
    lengths: Integers = np.maximum(polls["end_latest"], polls["end"]) - polls["start"]
    return lengths
