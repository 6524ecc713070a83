"""Of which polls the length is known.

Where an exit is not probed, or was lost, a poll's end is only known to lie between what was seen last in it and what
came next on its thread: often that is all of its time.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tracer.model import Array
from tracer.output.histogram import Integers

LEAST_KNOWN = 16
"""A poll's length is known when it lasted at least so many times as long as its end is uncertain: within 6 %, as
percentiles are.  Of one that was seen to begin only, it is not."""


def is_length_known(polls: Array | np.void) -> npt.NDArray[np.bool_]:
    """Of which of these (dtype POLL), or of this one.

    What was under way at an end of the recording counts as long as it was seen.
    """
    known: npt.NDArray[np.bool_] = (polls["end_latest"] - polls["end"]) * LEAST_KNOWN <= polls["end"] - polls["start"]
    return known


def longest_possible(polls: Array) -> Integers:
    """ns that each may have taken."""
    lengths: Integers = np.maximum(polls["end_latest"], polls["end"]) - polls["start"]
    return lengths
