"""Whether the lines of a twin's source are those of the running binary, by the panic locations that both keep.

A line is shown to be the same when a panic location at or after it, in the same file, is in both binaries, and none
before that one differs: whatever was inserted or taken away above it would have moved it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum

from tracer.model import SourceLocation
from tracer.rust.panic_locations import PanicLocations, Spot

_PACKAGE = re.compile(r"(?:^|/)(?:registry/src/[^/]+/([^/]+)|git/checkouts/([^/]+/[^/]+)|rustc/([0-9a-f]{40}))/(.*)$")
"""A dependency's folder names its version or commit, and what is in such a folder does not change."""


class Trust(Enum):
    SAME = "same"
    UNKNOWN = "unknown"  # nothing tells
    OTHER = "other"  # a location before it differs: it is another line


class TwinLines:
    """Compares the sources of two binaries, file by file."""

    def __init__(self, running: PanicLocations, twin: PanicLocations) -> None:
        self._running = _by_name(running.files)
        self._twin = _by_name(twin.files)
        self._packages = {package for name in running.files if (package := _package(name)) is not None}
        self._extents: dict[str, tuple[int, bool]] = {}
        self._names: dict[str, str | None] = {}
        self.differing: set[str] = set()
        """Files in which some line asked for was another one."""

    def trust(self, place: SourceLocation) -> Trust:
        """place: by the twin's debug information."""
        package = _package(place.file)
        if package is not None:
            return Trust.SAME if package in self._packages else Trust.UNKNOWN
        name = self._name(place.file)
        if name is None:
            return Trust.UNKNOWN
        if name not in self._extents:
            self._extents[name] = _extent(self._running.get(name, frozenset()), self._twin[name])
        last, differs = self._extents[name]
        if place.line <= last:
            return Trust.SAME
        if differs:
            self.differing.add(place.file)
        return Trust.OTHER if differs else Trust.UNKNOWN

    def _name(self, path: str) -> str | None:
        """What panic locations call a file: debug information adds the folder in which the compiler ran."""
        if path not in self._names:
            parts = path.split("/")
            tails = ("/".join(parts[start:]) for start in range(len(parts)))
            self._names[path] = next((tail for tail in tails if tail in self._twin), None)
        return self._names[path]


def _by_name(files: Mapping[str, frozenset[Spot]]) -> dict[str, frozenset[Spot]]:
    return {name.removeprefix("./"): spots for name, spots in files.items() if _package(name) is None}


def _package(path: str) -> str | None:
    match = _PACKAGE.search(path)
    return next(part for part in match.groups()[:3] if part) if match else None


def _extent(running: frozenset[Spot], twin: frozenset[Spot]) -> tuple[int, bool]:
    """(the last line that is shown to be the same, whether lines after it differ).

    A location that only one of two builds has shows nothing: the optimiser took it away in the other one.
    """
    missing, added = running - twin, twin - running
    differs = bool(missing) and bool(added)
    first = min(spot.line for spot in missing | added) if differs else None
    same = [spot.line for spot in running & twin if first is None or spot.line < first]
    return max(same, default=0), differs
