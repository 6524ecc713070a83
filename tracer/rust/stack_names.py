"""The functions and places in the source that addresses on a stack belong to, those inlined there included."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from tracer.model import Frame, SourceLocation
from tracer.rust.code_functions import FunctionTable
from tracer.rust.demangle import demangle
from tracer.rust.dwarf import Die, Dwarf
from tracer.rust.forms import At, DwarfError
from tracer.rust.inline_chain import inlined_around
from tracer.rust.lines import LineTables
from tracer.rust.lookup import SubprogramLookup
from tracer.rust.naming import coroutine_name, crate_of, display_name
from tracer.rust.split import SplitDebug
from tracer.target.elf import ElfImage

_BARE = re.compile(r"\{(async_fn|async_block|closure)(?:_env)?#\d+\}")


class StackNames:
    """Of one module.

    module: its name, for display.  debug: its separate debug file, if it is of the same build.  split: what is split
    off from the one of both that has the debug information.  Damaged debug information only makes less known.
    known: names of functions, by address, that are better than their symbols.
    """

    def __init__(
        self,
        image: ElfImage,
        module: str,
        debug: ElfImage | None = None,
        split: SplitDebug | None = None,
        known: Mapping[int, str] | None = None,
    ) -> None:
        self._module = module
        self._known = known or {}
        if debug is not None and (debug.build_id is None or debug.build_id != image.build_id):
            debug, split = None, None
        named = image if image.has_section(".symtab") or debug is None else debug
        described = image if image.has_section(".debug_info") or debug is None else debug
        self._functions = FunctionTable(named)
        self._dwarf: Dwarf | None = None
        if described.has_section(".debug_info"):
            try:
                self._dwarf = Dwarf(described, split.parts if split is not None else None)
                self._lookup, self._lines = SubprogramLookup(self._dwarf), LineTables(self._dwarf)
            except DwarfError:
                self._dwarf = None

    def of(self, addresses: Collection[int]) -> dict[int, tuple[Frame, ...]]:
        """By link-time address of an instruction: the functions there, the innermost first; at least one."""
        functions: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        found: dict[int, tuple[Frame, ...]] = {}
        for address in addresses:
            function = self._functions.at(address)
            if function is None:
                found[address] = (Frame(None, None, False, self._module),)
            else:
                functions[function].append(address)
        dies = self._lookup.find(dict(functions.keys())) if self._dwarf is not None else {}
        for (begin, size), inside in functions.items():
            for address in inside:
                found[address] = self._frames(begin, size, address, dies.get(begin, ()))
        return found

    def _frames(self, begin: int, size: int, address: int, dies: Sequence[Die]) -> tuple[Frame, ...]:
        # Of functions that the linker made one nobody can tell which is meant: it goes by the name of the first.
        symbol = demangle(min(self._functions.names(begin), key=_strangeness).partition("@")[0])
        named = Frame(self._known.get(begin) or _display(symbol, None), None, False, self._module, _crate(symbol))
        several = {self._described(die, begin, size, address, named) for die in dies}
        several.discard(None)
        return several.pop() or (named,) if len(several) == 1 else (named,)

    def _described(self, die: Die, begin: int, size: int, address: int, named: Frame) -> tuple[Frame, ...] | None:
        """named: the function as its symbol tells it, which is more than line tables alone do."""
        assert self._dwarf is not None, "entries are of its debug information"
        lines = self._lines.places(die.unit, begin, begin + size)
        place = next((location for start, location in reversed(lines) if start <= address), None)
        frames: list[Frame] = []
        try:
            inlined = list(inlined_around(self._dwarf, die, address))
            for inside in reversed(inlined):
                frames.append(self._frame(inside, place, is_inlined=True))
                place = self._call(inside)
            own = self._frame(die, place, is_inlined=False)
            frames.append(own if own.crate is not None else replace(named, location=own.location))
        except DwarfError:
            return None
        return tuple(with_surroundings(frames))

    def _frame(self, die: Die, place: SourceLocation | None, *, is_inlined: bool) -> Frame:
        assert self._dwarf is not None, "entries are of its debug information"
        chain = self._dwarf.chain(die)
        name = next((one.name for one in chain if one.name), None)
        linkage = next((text for one in chain if (text := one.string(At.LINKAGE_NAME))), None)
        symbol = demangle(linkage) if linkage is not None else None
        function = _display(symbol, name) if symbol is not None else name
        return Frame(function, place, is_inlined, self._module, _crate(symbol) if symbol is not None else None)

    def _call(self, die: Die) -> SourceLocation | None:
        """Where an inlined function was called."""
        file, line = die.integer(At.CALL_FILE), die.integer(At.CALL_LINE)
        path = self._lines.file(die.unit, file) if file is not None else None
        return SourceLocation(path, line) if path is not None and line else None


def with_surroundings(frames: Sequence[Frame]) -> Iterator[Frame]:
    """Frames, the innermost first, where those without a name of their own have that of what they were inlined into:
    of an async fn nothing but `{async_fn#0}` is left where there are line tables only."""
    for number, frame in enumerate(frames):
        bare = _BARE.fullmatch(frame.function or "")
        outer = next((one.function for one in frames[number + 1 :] if not _BARE.fullmatch(one.function or "{}")), None)
        yield replace(frame, function=f"{bare[1].replace('_', ' ')} in {outer}") if bare and outer else frame


@lru_cache(maxsize=1 << 12)
def _display(symbol: str, own_name: str | None) -> str:
    """own_name: as the debug information has it, which tells async functions from closures."""
    if own_name is not None and own_name.startswith("{async_"):
        return coroutine_name(symbol, None, own_name)
    return display_name(symbol)


def _crate(symbol: str) -> str | None:
    return crate_of(symbol) if "::" in symbol else None


def _strangeness(symbol: str) -> tuple[int, int]:
    """C libraries have several names for one function: the one that users call has no underscores before it."""
    return len(symbol) - len(symbol.lstrip("_")), len(symbol)
