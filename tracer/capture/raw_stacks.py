"""Stacks of a recording that goes on, as they were unwound: run-time addresses, to be named by whoever needs them.

A file of little-endian words of 64 bits beside the segments of a ring.  The first is how much time of a CPU a look at
what runs stands for (ns); then for each stack, in the order of their numbers: the process' pid, whether it is whole,
how many addresses there are, and these, the innermost first.  It grows with what is new only, and is bounded by the
number of different stacks that are kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tracer import ownership

NAME = "stacks"
_WORD = np.dtype("<u8")
_MOST_FRAMES = 1 << 16
_HEAD = 3


@dataclass(frozen=True, slots=True)
class RawStack:
    """addresses: in the process' memory, the innermost first.  is_whole: as in Stack."""

    pid: int
    is_whole: bool
    addresses: tuple[int, ...]


class RawStackWriter:
    """Nothing raises: where it cannot be written, stacks stay without names.  path: of a new file."""

    def __init__(self, path: Path, period: int) -> None:
        self._fd = -1
        with suppress(OSError):
            self._fd = ownership.create_private(path)
            ownership.give_to_caller(self._fd)
        self._write([period])

    def add(self, stacks: Sequence[RawStack]) -> None:
        """Some more, in the order of their numbers."""
        words = [word for one in stacks for word in (one.pid, one.is_whole, len(one.addresses), *one.addresses)]
        if words:
            self._write(words)

    def _write(self, words: Sequence[int]) -> None:
        if self._fd < 0:
            return
        data = np.array(words, _WORD).tobytes()
        try:
            if os.write(self._fd, data) != len(data):
                self.close()  # the disk is full: later ones would have other numbers
        except OSError:
            self.close()

    def close(self) -> None:
        """Can be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class RawStackReader:
    """Reads what such a file has, also while it grows.  period: as the file has it; 0: not known yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self.period = 0

    def more(self) -> Iterator[RawStack]:
        """Those that were not yielded yet.  Nothing raises."""
        with suppress(OSError), self._path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
            words = np.frombuffer(data[: len(data) // _WORD.itemsize * _WORD.itemsize], _WORD).tolist()
            at = 0
            if self._at == 0 and words:
                self.period, at = words[0], 1
            while at + _HEAD <= len(words):
                pid, is_whole, count = words[at : at + _HEAD]
                end = at + _HEAD + count
                if count > _MOST_FRAMES or end > len(words):
                    break
                yield RawStack(pid, bool(is_whole), tuple(words[at + _HEAD : end]))
                at = end
            self._at += at * _WORD.itemsize
