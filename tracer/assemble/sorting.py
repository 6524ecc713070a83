"""A stable sort of integers that is several times faster than numpy's for wide ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tracer.assemble.state import Indexes

_DIGIT = np.uint64(16)


def stable_order(keys: npt.NDArray[np.uint64] | npt.NDArray[np.int64]) -> Indexes:
    """The indexes that sort `keys`, equal ones in the order they have.

    numpy sorts by radix only what is 16 bits wide: so many digits are sorted one after the other, lowest
    first.  Keys in order already, as most are here, cost one look.
    """
    if len(keys) == 0 or np.all(keys[1:] >= keys[:-1]):
        return np.arange(len(keys))
    # The difference wraps, and is right all the same, when the keys span more than half of the range.
    rest = keys.astype(np.uint64) - keys.min().astype(np.uint64)
    order = np.argsort(rest.astype(np.uint16), kind="stable")
    for _ in range((int(rest.max()).bit_length() - 1) // 16):
        rest >>= _DIGIT
        order = order[np.argsort(rest.astype(np.uint16)[order], kind="stable")]
    return order
