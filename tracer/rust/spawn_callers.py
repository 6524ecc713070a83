"""Which calls in the source lead to a runtime's own functions, where those that users call were inlined.

Such a call returns to an address that is known here: the debug information tells of it which functions were inlined
around it, and where in the source each of them was called (DWARF 4 and 5, section 3.3.8).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from tracer.model import CallSite, SourceLocation, is_foreign, is_library
from tracer.rust.dwarf import Die, Dwarf
from tracer.rust.forms import At, DwarfError
from tracer.rust.inline_chain import inlined_around
from tracer.rust.lines import LineTables
from tracer.rust.lookup import SubprogramLookup
from tracer.rust.scan import CodeScan

_WITHIN = re.compile(
    r"/(?:tokio|tokio-util|async-std|async-global-executor|async-executor|async-task|async-lock|smol|blocking)"
    r"-\d[^/]*/src/"
)
"""Sources of the runtimes; the standard library calls them back, too."""


class SpawnCallers:
    """Of one binary with debug information."""

    def __init__(
        self,
        scan: CodeScan,
        dwarf: Dwarf,
        lookup: SubprogramLookup,
        lines: LineTables,
        own_folders: Collection[str],
    ) -> None:
        self._own_folders = own_folders
        self._functions = scan.functions
        self._scan = scan
        self._dwarf = dwarf
        self._lookup = lookup
        self._lines = lines

    def of(self, functions: frozenset[int]) -> Mapping[int, tuple[CallSite, ...]]:
        """By function, out of those at these addresses: the users' calls that lead there, at the addresses to which
        they return.  Column 0: not known."""
        calls = self._scan.calls_of(functions)
        callers: defaultdict[tuple[int, int], list[tuple[int, int, int]]] = defaultdict(list)
        for at, back, target in calls:
            caller = self._functions.at(at)
            if caller is not None:
                callers[caller].append((at, back, target))
        dies = self._lookup.find(dict(callers.keys()))
        found: defaultdict[int, list[CallSite]] = defaultdict(list)
        for (address, size), several in callers.items():
            described = dies.get(address, [])
            if len(described) != 1:  # of merged functions nobody can tell whose call it is
                continue
            lines = self._lines.places(described[0].unit, address, address + size)
            for at, back, target in several:
                place = self._place(described[0], at, lines)
                if place is not None:
                    file, line, column = place
                    found[target].append(CallSite(back, self._as_given(described[0], file), line, column))
        return {target: tuple(sites) for target, sites in found.items()}

    def _as_given(self, die: Die, file: str) -> str:
        """A path as the program itself has it: of its own packages relative to where the compiler ran."""
        directory = self._dwarf.root(die.unit).get(At.COMP_DIR)
        if not isinstance(directory, str) or is_foreign(file, self._own_folders):
            return file
        return file.removeprefix(f"{directory}/")

    def _place(
        self, die: Die, address: int, lines: Sequence[tuple[int, SourceLocation | None]]
    ) -> tuple[str, int, int] | None:
        """Where the code at an address of a function was called from, outside of the runtime's own sources.

        lines: of the function, see LineTables.places.
        """
        own = next((location for begin, location in reversed(lines) if begin <= address), None)
        try:
            places = [*self._calls(die, address), (own.file, own.line, 0) if own is not None else None]
        except DwarfError:
            return None
        return next((place for place in reversed(places) if place is not None and not _is_within(place[0])), None)

    def _calls(self, die: Die, address: int) -> Iterator[tuple[str, int, int] | None]:
        """Where each function was called that was inlined around this address, the outermost first."""
        for inside in inlined_around(self._dwarf, die, address):
            file, line = inside.integer(At.CALL_FILE), inside.integer(At.CALL_LINE)
            path = self._lines.file(inside.unit, file) if file is not None else None
            yield (path, line, inside.integer(At.CALL_COLUMN) or 0) if path is not None and line else None


def _is_within(file: str) -> bool:
    return is_library(file) or _WITHIN.search(file) is not None
