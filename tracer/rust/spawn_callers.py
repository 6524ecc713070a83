"""Which calls in the source lead to a runtime's own functions, where those that users call were inlined.

Such a call returns to an address that is known here: the debug information tells of it which functions were inlined
around it, and where in the source each of them was called (DWARF 4 and 5, section 3.3.8).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from tracer.model import Array, CallSite, SourceLocation
from tracer.rust.dwarf import Die, Dwarf
from tracer.rust.forms import At, DwarfError, Tag
from tracer.rust.lines import LineTables
from tracer.rust.lookup import SubprogramLookup
from tracer.rust.scan import CodeScan
from tracer.target.elf import FUNCTION, ElfImage

_WITHIN = re.compile(
    r"/(?:tokio|async-std|async-global-executor|async-executor|async-task|async-lock|smol|blocking)-\d[^/]*/src/"
    r"|^/rustc/|/lib/rustlib/src/"
)
"""Sources of the runtimes, and of what they call that calls them back."""

_INSIDE = frozenset({Tag.INLINED_SUBROUTINE, Tag.LEXICAL_BLOCK})
_MAX_DEPTH, _MAX_ENTRIES = 64, 1 << 16


class SpawnCallers:
    """Of one binary with debug information.  named: where the symbols are."""

    def __init__(
        self, named: ElfImage, scan: CodeScan, dwarf: Dwarf, lookup: SubprogramLookup, lines: LineTables
    ) -> None:
        self._named = named
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
            caller = self._function_at(at)
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
        """A path as the compiler was given it, and as the program itself has it: relative to where that ran."""
        directory = self._dwarf.root(die.unit).get(At.COMP_DIR)
        return file.removeprefix(f"{directory}/") if isinstance(directory, str) else file

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
        return next((place for place in reversed(places) if place is not None and not _WITHIN.search(place[0])), None)

    def _calls(self, die: Die, address: int) -> Iterator[tuple[str, int, int] | None]:
        """Where each function was called that was inlined around this address, the outermost first."""
        for _ in range(_MAX_DEPTH):
            inside = next(
                (one for one in self._dwarf.children(die, _INSIDE, _MAX_ENTRIES) if self._has(one, address)), None
            )
            if inside is None:
                return
            die = inside
            if die.tag == Tag.INLINED_SUBROUTINE:
                file, line = die.integer(At.CALL_FILE), die.integer(At.CALL_LINE)
                path = self._lines.file(die.unit, file) if file is not None else None
                yield (path, line, die.integer(At.CALL_COLUMN) or 0) if path is not None and line else None

    def _has(self, die: Die, address: int) -> bool:
        return any(begin <= address < end for begin, end in self._dwarf.ranges_of(die))

    def _function_at(self, address: int) -> tuple[int, int] | None:
        """(address, size) of the function that has the code there, by the symbols."""
        at = int(np.searchsorted(self._functions["address"], address, side="right")) - 1
        if at < 0:
            return None
        begin, size = int(self._functions["address"][at]), int(self._functions["size"][at])
        return (begin, size) if begin <= address < begin + size else None

    @cached_property
    def _functions(self) -> Array:
        table = self._named.symbols().table
        table = table[((table["info"] & 15) == FUNCTION) & (table["size"] > 0)]
        functions: Array = table[np.argsort(table["address"], kind="stable")]
        return functions
