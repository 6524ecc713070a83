"""How long polls took, but for what their threads waited for a CPU; and which of a nest is the one to look at."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tracer.model import Array, PollFlag
from tracer.output.histogram import Integers

SHARE = 0.9
"""Of a poll's length, that one inside it takes where that is the one to look at."""
SCHEDULED = int(PollFlag.SCHEDULED)
"""Of such a poll the scheduler told what its thread did."""


def own_lengths(polls: Array) -> Integers:
    """ns of each poll, without what its thread waited for a CPU, where that is known."""
    lengths: Integers = polls["end"] - polls["start"] - polls["runnable"]  # 0 where it is not
    return lengths


def own_length(poll: np.void) -> int:
    """The same of one."""
    return int(poll["end"] - poll["start"] - poll["runnable"])


def innermost_of(polls: Array, outer: np.void) -> np.void:
    """The deepest of these polls inside that one that took most of its time; it itself where none did.

    Like is compared with like: where it is not known of one for how long it waited for a CPU, that counts in both.
    """
    inside = polls[within(polls, outer)]
    is_known = (inside["flags"] & outer["flags"] & SCHEDULED) != 0
    length = np.where(is_known, own_lengths(inside), inside["end"] - inside["start"])
    of_outer = np.where(is_known, own_length(outer), outer["end"] - outer["start"])
    inside = inside[length >= SHARE * of_outer]
    return inside[np.argmax(inside["depth"])] if len(inside) else outer


def within(polls: Array, outer: np.void) -> npt.NDArray[np.bool_]:
    """Which of these polls were inside that one."""
    inside: npt.NDArray[np.bool_] = polls["tid"] == outer["tid"]
    inside &= (polls["start"] >= outer["start"]) & (polls["end"] <= outer["end"])
    return inside
