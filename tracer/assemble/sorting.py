"""A stable sort of integers that is several times faster than numpy's for wide ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tracer.assemble.arrays import Flags, Indexes, Unsigned

_DIGIT = np.uint64(16)
_MIXER = np.uint64(0x9E3779B97F4A7C15)
_SPREAD, _HASH_SHIFT = np.uint64(40), np.uint64(16)
_SHORTER = np.uint64(16), np.uint64(0)


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


def by_address(address: Unsigned, where: Unsigned) -> tuple[Indexes, Flags]:
    """(the indexes that bring equal pairs together, those of one pair in the order they have; which are of the same
    pair as the one before).
    """
    hashes = hashes_of(address, where)
    for shift in _SHORTER:  # a digit less is sorted sooner, and will mostly do
        order = stable_order(hashes >> shift)
        same = _same(address[order], where[order])
        if not _is_mixed(hashes[order] >> shift, same):
            return order, same
    order = np.lexsort((where, address))
    return order, _same(address[order], where[order])


def _is_mixed(hashes: Unsigned, same: Flags) -> bool:
    """Whether two pairs have one hash; so they may stand among each other."""
    return bool(np.any((hashes[1:] == hashes[:-1]) & ~same[1:]))


def hashes_of(address: Unsigned, where: Unsigned) -> Unsigned:
    """Of 48 bits, which are three digits for stable_order."""
    return ((address ^ (where << _SPREAD)) * _MIXER) >> _HASH_SHIFT


def _same(address: Unsigned, where: Unsigned) -> Flags:
    same = np.zeros(len(address), np.bool_)
    same[1:] = (address[1:] == address[:-1]) & (where[1:] == where[:-1])
    return same
