"""Where in the source the calls stand that spawned tasks, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracer.model import Plan

_BITS = np.uint64(48)
_SIGN, _ALL = np.int64(1 << 47), np.uint64((1 << 48) - 1)


@dataclass(frozen=True, slots=True)
class Sites:
    """points, binaries: the address of each of Plan.spawns, and whose it is.  keys: binary and address of each site,
    sorted; numbers: 1 + their indexes into Plan.sites, of those that a binary has several times that of the first.
    """

    points: npt.NDArray[np.int64]
    binaries: npt.NDArray[np.int64]
    keys: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.uint32]

    def of(self, told: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint32]:
        """What records told (see SPAWN_RECORD) as 1 + index into Plan.sites; 0: it is none of them."""
        found = np.zeros(len(told), np.uint32)
        point = (told >> _BITS).astype(np.int64) - 1
        known = np.flatnonzero((point >= 0) & (point < len(self.points)))
        if not len(known) or not len(self.keys):
            return found
        distance = ((told[known] & _ALL).astype(np.int64) ^ _SIGN) - _SIGN
        point = point[known]
        address = self.points[point] + distance
        key = (self.binaries[point] << np.int64(48)) | (address & np.int64(_ALL))
        at = np.minimum(np.searchsorted(self.keys, key), len(self.keys) - 1)
        is_one = self.keys[at] == key
        found[known[is_one]] = self.numbers[at[is_one]]
        return found


def sites_of(plan: Plan) -> Sites:
    """The plan's."""
    mask = int(_ALL)
    keys: list[int] = []
    numbers: list[int] = []
    first: dict[tuple[int, str, int, int], int] = {}
    for binary, site in ((number, site) for number, one in enumerate(plan.binaries) for site in one.sites):
        keys.append(binary << 48 | site.address & mask)
        numbers.append(first.setdefault((binary, site.file, site.line, site.column), len(keys)))
    order = np.argsort(np.array(keys, np.int64), kind="stable")
    return Sites(
        points=np.array([one.point.address & mask for one in plan.spawns], np.int64),
        binaries=np.array([one.binary for one in plan.spawns], np.int64),
        keys=np.array(keys, np.int64)[order],
        numbers=np.array(numbers, np.uint32)[order],
    )
