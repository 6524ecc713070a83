"""What takes the target's time and sends no event: the kernel side counts such hits, per CPU and probe."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracer.errors import AttachFailed
from tracer.probe.kernel import Map

SILENT_HITS = np.dtype([("count", "<u4", 512)])
_BLOCK: int = SILENT_HITS["count"].shape[0]
_KINDS = 2
_FEW = 256
"""So few hits that sent nothing are not worth a look at whose they are: 0.1 ms of the target's time, or some more."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """What took the target's time and sent no event: hits, by probe, and the time in which stacks were taken, ns.

    passed: what the probe is for did not happen there, or an event to come tells of it.  leaving: it was being
    attached or detached.
    """

    passed: npt.NDArray[np.int64]
    leaving: npt.NDArray[np.int64]
    stacks: int = 0

    @staticmethod
    def none(probes: int) -> Unseen:
        return Unseen(np.zeros(probes, np.int64), np.zeros(probes, np.int64))


def blocks_for(probes: int) -> int:
    """How many entries the map needs for so many probes; at least one."""
    return _KINDS * probes // _BLOCK + 1


class SilentHits:
    """counters: the map, with an entry of SILENT_HITS per CPU for each block of counters."""

    def __init__(self, counters: Map, probes: int) -> None:
        self._counters, self._probes = counters, probes
        self.forget()

    def forget(self) -> None:
        """What was counted so far."""
        self._looked = 0
        self._seen = self._counts()

    def new(self, total: int) -> Unseen:
        """Since the last call; none yet while they are few.  total: of all probes and CPUs since forget()."""
        if total - self._looked < _FEW:
            return Unseen.none(self._probes)
        self._looked = total
        counts = self._counts()
        new = (counts - self._seen).sum(axis=0, dtype=np.int64).reshape(-1, _KINDS)
        self._seen = counts
        return Unseen(*new[: self._probes].T)

    def _counts(self) -> npt.NDArray[np.uint32]:
        """By CPU, of each probe one of each kind; they begin anew when they are full."""
        blocks = []
        for number in range(blocks_for(self._probes)):
            value = self._counters.lookup(struct.pack("<I", number))
            if value is None:
                raise AttachFailed("The kernel's counters cannot be read.")
            blocks.append(np.frombuffer(value, SILENT_HITS)["count"])
        return np.concatenate(blocks, axis=1)
