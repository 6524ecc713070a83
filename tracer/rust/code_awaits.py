"""Where coroutines wait, by their code and line tables: for builds whose debug information has no types (debug = 1,
line-tables-only).

The code that a state leads to polls again what is awaited, and so comes from the await.  Code of inlined callees
comes from where the outermost of them is called.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from tracer.model import FIRST_SUSPEND, AwaitPoint, SourceLocation
from tracer.rust.awaits import is_in_macro
from tracer.rust.dispatch import Dispatches
from tracer.rust.dwarf import Die, Dwarf, Unit
from tracer.rust.extents import ranges_of
from tracer.rust.forms import At, DwarfError, Tag
from tracer.rust.lines import LineTables

_MAX_PATH = 64
"""Instructions from where a state leads to, to the poll."""
_MAX_ENTRIES = 1 << 16
_MAX_DEPTH = 64
_SCOPES = frozenset({int(Tag.LEXICAL_BLOCK), int(Tag.INLINED_SUBROUTINE)})


class CodeAwaits:
    """Reads the coroutine bodies of one binary.

    futures: display names by the address of their poll function.  own_folders: as is_foreign() has them.
    """

    def __init__(
        self,
        dwarf: Dwarf,
        lines: LineTables,
        dispatches: Dispatches,
        futures: Mapping[int, str],
        own_folders: Collection[str],
    ) -> None:
        self._own_folders = own_folders
        self._dwarf = dwarf
        self._lines = lines
        self._dispatches = dispatches
        self._futures = futures

    def of(
        self, unit: Unit, die: Die | None, address: int, size: int, own: SourceLocation | None
    ) -> tuple[AwaitPoint, ...]:
        """The awaits of the body at a link-time address, by state; () when its code is not understood.

        die: its entry, the only one there; None when there is none.  own: where the function is declared.
        """
        try:
            if die is None and not self._has_no_entry_for_lack_of_inlining(unit):
                return ()
            dispatch = self._dispatches.of(address, size)
            if dispatch is None:
                return ()
            origins = _Origins(self._dwarf, self._lines, unit, die, address, size)
        except DwarfError:
            return ()
        awaits = [
            self._await(state, target, origins, own)
            for state, target in sorted(dispatch.targets.items())
            if state >= FIRST_SUSPEND
        ]
        return tuple(one for one in awaits if one.location is not None or one.macro is not None)

    def _has_no_entry_for_lack_of_inlining(self, unit: Unit) -> bool:
        """Units with line tables only have entries of just those functions that something is inlined into.

        LLVM 14 to 22: these entries do not say where they are declared.
        """
        subprograms = [one for one in self._dwarf.abbreviations(unit).values() if one.tag == Tag.SUBPROGRAM]
        is_declared = any(at == At.DECL_LINE for one in subprograms for at, _, _ in one.attributes)
        return self._dwarf.is_rust(unit) and not is_declared

    def _await(self, state: int, target: int, origins: _Origins, own: SourceLocation | None) -> AwaitPoint:
        path = list(self._dispatches.path(target, _MAX_PATH))
        place = _place([origins.of(at) for at in path], own)
        if place is None:
            return AwaitPoint(state, None, None)
        awaitee = self._polled(path[-1], origins)
        if own is not None and is_in_macro(place, own, self._own_folders):
            return AwaitPoint(state, None, awaitee, place)
        return AwaitPoint(state, place, awaitee)

    def _polled(self, at: int, origins: _Origins) -> str | None:
        """The future that the call at an address polls, if the call is written in the function itself.

        One in an inlined callee polls a part of what is awaited.
        """
        callee = self._dispatches.callee(at)
        if callee is None or origins.is_inlined(at):
            return None
        return self._futures.get(callee)


def _place(places: list[SourceLocation | None], own: SourceLocation | None) -> SourceLocation | None:
    """The one place that code comes from, up to its first call or branch; None when there are several.

    What comes from the function's own line (it hands the context on) does not count beside others.
    """
    told = list(dict.fromkeys(place for place in places if place is not None))
    others = [place for place in told if place != own] or told
    return others[0] if len(others) == 1 and places[-1] in (None, others[0]) else None


@dataclass(frozen=True, slots=True)
class _Inlined:
    ranges: tuple[tuple[int, int], ...]
    place: SourceLocation | None


class _Origins:
    """Where in its own source a function's code comes from."""

    def __init__(self, dwarf: Dwarf, lines: LineTables, unit: Unit, die: Die | None, address: int, size: int) -> None:
        self._dwarf = dwarf
        self._lines = lines
        rows = lines.places(unit, address, address + size)
        self._begins = [begin for begin, _ in rows]
        self._places = [place for _, place in rows]
        self._inlined = list(self._outermost(die, 0)) if die is not None else []

    def is_inlined(self, at: int) -> bool:
        return any(begin <= at < end for inlined in self._inlined for begin, end in inlined.ranges)

    def of(self, at: int) -> SourceLocation | None:
        for inlined in self._inlined:
            if any(begin <= at < end for begin, end in inlined.ranges):
                return inlined.place
        row = bisect_right(self._begins, at) - 1
        return self._places[row] if row >= 0 else None

    def _outermost(self, die: Die, depth: int) -> Iterator[_Inlined]:
        if depth > _MAX_DEPTH:
            raise DwarfError("blocks are nested too deep")
        for child in self._dwarf.children(die, _SCOPES, _MAX_ENTRIES):
            if child.tag == Tag.LEXICAL_BLOCK:
                yield from self._outermost(child, depth + 1)
                continue
            file, line = child.integer(At.CALL_FILE), child.integer(At.CALL_LINE)
            path = self._lines.file(child.unit, file) if file is not None else None
            place = SourceLocation(path, line) if path is not None and line else None
            yield _Inlined(tuple(ranges_of(self._dwarf, child)), place)
