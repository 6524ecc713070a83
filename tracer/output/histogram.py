"""Lengths of time in bins of equal ratio, so that percentiles of any number of them take the same little memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_BINS_AN_OCTAVE = 6
BINS = 64 * _BINS_AN_OCTAVE
PERCENTILE_ERROR = 2 ** (0.5 / _BINS_AN_OCTAVE) - 1
"""The largest relative error of a percentile: half a bin, 5.9 %."""

Integers = npt.NDArray[np.int64]

NO_LEAST = np.iinfo(np.int64).max
"""The smallest of none."""


def bins_of(lengths: Integers) -> Integers:
    """The bin of each length (ns)."""
    return (np.log2(np.maximum(lengths, 1)) * _BINS_AN_OCTAVE).astype(np.int64)


def at_least(bins: Integers, length: float) -> int:
    """How many of those in the bins are at least so long (ns), within half a bin."""
    return int(bins[int(bins_of(np.array([int(length)]))[0]) :].sum())


def percentile(bins: Integers, share: float, least: int, longest: int) -> float:
    """The length in ns that `share` of those in the bins (BINS counts) do not exceed, within PERCENTILE_ERROR.

    least, longest: the smallest and the largest of them, ns.  0 when there are none.
    """
    total = int(bins.sum())
    if not total:
        return 0.0
    at = int(np.searchsorted(np.cumsum(bins), share * total))
    middle: float = 2 ** ((at + 0.5) / _BINS_AN_OCTAVE)
    return float(min(max(middle, least), longest))
