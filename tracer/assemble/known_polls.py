"""Polls of futures whose addresses are known, those of earlier blocks among them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracer.assemble.arrays import Flags, Numbers, Small, Unsigned

STILL_OPEN = np.uint64(2**64 - 1)


@dataclass(frozen=True, slots=True)
class Polls:
    """Polls of known futures, earlier ones first: the first old_count are the latest of earlier blocks, the
    others began in this block.  Among those are marks: no polls, but the ends of the futures; they finish them.

    over: order of the row that ended the poll; 0: in an earlier block; STILL_OPEN.  end, result,
    state_after: valid when it is over.  gap, blind, inside: see LATEST.  instance: valid for the old ones.
    undone: a mark that says that a task had not returned, if it was not being polled.
    """

    function: npt.NDArray[np.uint32]
    self: Unsigned
    process: npt.NDArray[np.uint16]
    tid: npt.NDArray[np.uint32]
    order: Unsigned
    id: Unsigned
    places: Unsigned
    telling: Small
    over: Unsigned
    start: Numbers
    end: Numbers
    flags: npt.NDArray[np.uint16]
    state: Small
    state_after: Small
    result: Small
    gap: Flags
    blind: Flags
    inside: Flags
    instance: Unsigned
    is_mark: Flags
    undone: Flags
    old_count: int
