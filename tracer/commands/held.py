"""Segments of a ring that are still to be read: open, so that they are there when the ring has deleted them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from tracer.capture import segments_of


class HeldSegments:
    """Of the ring in a folder; none at first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, int] = {}

    def hold(self) -> None:
        """Hold all that are there by now too."""
        for path in segments_of(self._folder):
            if path.name not in self._files:
                with suppress(OSError):  # it is being deleted
                    self._files[path.name] = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def copy(self) -> HeldSegments:
        """The same, to be closed by itself.  Raises OSError when there are too many open files."""
        other = HeldSegments(self._folder)
        other._files = {name: os.dup(fd) for name, fd in self._files.items()}
        return other

    @property
    def paths(self) -> list[Path]:
        """For this process and its children, the oldest first."""
        return [Path(f"/proc/self/fd/{self._files[name]}") for name in sorted(self._files)]

    def close(self) -> None:
        """Let them go.  Can be called twice."""
        for fd in self._files.values():
            os.close(fd)
        self._files.clear()
