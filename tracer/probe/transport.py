"""How events come from the kernel: one interface over the ring buffer and the perf buffers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from tracer.errors import NotTraceable, UsageError
from tracer.model import EVENT, Array
from tracer.probe.kernel import has_ring_buffer


class Transport(Protocol):
    @property
    def name(self) -> str: ...

    def drain(self) -> Array:
        """The events since the last call, dtype EVENT; of one CPU nearly in sequence."""
        ...

    def close(self) -> None: ...


def joined(parts: Sequence[Array]) -> Array:
    """Arrays of EVENT as one.  Whole words are moved: numpy moves records one field at a time."""
    filled = [part for part in parts if len(part)]
    if not filled:
        return np.zeros(0, EVENT)
    if len(filled) == 1:
        return filled[0]
    return np.concatenate([part.view("<u8") for part in filled]).view(EVENT)


def choose(wanted: str) -> str:
    """ "auto" becomes "ring" where the kernel has it, else "perf"."""
    if wanted not in ("auto", "ring", "perf"):
        raise UsageError(f"There is no transport {wanted!r}.", fix="use --transport auto, ring or perf")
    if wanted == "perf":
        return "perf"
    has_ring = has_ring_buffer()
    if wanted == "ring" and not has_ring:
        raise NotTraceable(
            "This kernel has no BPF ring buffer.", why="it came with Linux 5.8", fix="use --transport perf"
        )
    return "ring" if has_ring else "perf"
