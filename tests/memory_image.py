"""A process' memory made up of bytes, for what a real process does not offer: damage of every kind."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from tracer.model import Mapping
from tracer.target.memory import Addresses, Bytes


class MadeMemory:
    """Some areas of bytes; whoever asks for a byte outside of them fails the test."""

    def __init__(self, areas: dict[int, bytes], permissions: str = "rw-p") -> None:
        self.areas = areas
        self.asked = 0
        self._permissions = permissions

    def mappings(self) -> list[Mapping]:
        return [
            Mapping(start, start + len(content), 0, self._permissions, 0, "00:00", "")
            for start, content in sorted(self.areas.items())
        ]

    def fill(self, starts: Addresses, sizes: Addresses) -> tuple[Bytes, npt.NDArray[np.bool_]]:
        pieces = []
        for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
            self.asked += size
            pieces.append(self.content(start, size))
        return np.frombuffer(b"".join(pieces), np.uint8).copy(), np.ones(len(starts), np.bool_)

    def content(self, start: int, size: int) -> bytes:
        """Neighbouring areas follow each other."""
        found = b""
        while len(found) < size:
            at = start + len(found)
            begin = max((area for area in self.areas if area <= at), default=None)
            assert begin is not None, f"0x{at:x} is not mapped"
            rest = self.areas[begin][at - begin : at - begin + size - len(found)]
            assert rest, f"0x{at:x} is not mapped"
            found += rest
        return found

    def resident(self, mapping: Mapping) -> Iterable[tuple[int, int]]:
        return [(mapping.start, mapping.end)]
