"""Whether two binaries are builds of one program, by what does not depend on how much debug information they have.

Debug information changes which functions the optimiser inlines where, so that code, and even the set of functions,
differs a little between two builds of one source.  What does not differ are the layouts of types.  They show in
vtables (the size of each type that has one), in the drop glue of each future (it finds every field that is to be
dropped), in the bodies of coroutines (the same for all their fields) and in the state byte that these read first.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tracer.model import FIRST_SUSPEND
from tracer.rust.code_shape import CodeShape, CodeShapes
from tracer.rust.demangle import demangle
from tracer.rust.dispatch import Dispatches
from tracer.rust.naming import coroutine_name, display_name, is_closure
from tracer.rust.panic_locations import PanicLocations
from tracer.rust.scan import CodeScan
from tracer.target.elf import FUNCTION, ElfImage

_DROP = re.compile(rb"drop_in_place\$LT\$|drop_in_place|drop_glue")
_DROP_GLUE = re.compile(r"^core::ptr::drop_(?:in_place|glue)(?:::)?<(?P<type>.+)>$")
_FUTURE_PART = re.compile(r"\{\{closure\}\}|\{closure#\d+\}")
_BODY = re.compile(rb"closure")
_PACKAGE = re.compile(r"(?:^|/)registry/src/[^/]+/([^/]+?)-(\d+\.\d+\.\d+[^/]*)/")
_MAX_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Contradiction:
    """function: the one that gives the other program away, or its type.  difference: what follows a colon.

    extent: how much memory it is about, in bytes; what holds the changed future changes too, but is larger.
    """

    function: str
    difference: str
    extent: int
    is_future: bool

    @property
    def order(self) -> tuple[bool, int, str]:
        """The first in this order is the nearest to what was changed."""
        return not self.is_future, self.extent, self.function


class Evidence:
    """What one binary shows, by the demangled names of its functions."""

    def __init__(self, image: ElfImage) -> None:
        self._image = image
        self.shapes = CodeShapes(image)
        self.locations = PanicLocations(image)
        self._dispatches = Dispatches(image, CodeScan(image, image).is_resumption)

    @cached_property
    def packages(self) -> Mapping[str, frozenset[str]]:
        """The versions of the dependencies that have panic locations, by name."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for file in self.locations.files:
            if match := _PACKAGE.search(file):
                found[match[1]].add(match[2])
        return {name: frozenset(versions) for name, versions in found.items()}

    def suspensions(self, address: int, size: int) -> frozenset[int] | None:
        """The states in which the code of a coroutine goes on somewhere; None when it is not understood."""
        dispatch = self._dispatches.of(address, size)
        return frozenset(one for one in dispatch.targets if one >= FIRST_SUSPEND) if dispatch is not None else None

    @cached_property
    def glue(self) -> Mapping[str, list[CodeShape]]:
        """The shapes of the drop glue of everything that holds a coroutine (or closure)."""
        found: defaultdict[str, list[CodeShape]] = defaultdict(list)
        for name, address, size in self._functions(_DROP):
            if _DROP_GLUE.match(name) and _FUTURE_PART.search(name):
                shape = self.shapes.of(address, size)
                if shape is not None:
                    found[name].append(shape)
        return found

    @cached_property
    def bodies(self) -> Mapping[str, list[CodeShape]]:
        """The shapes of the bodies of coroutines and closures."""
        found: defaultdict[str, list[CodeShape]] = defaultdict(list)
        for name, address, size in self._functions(_BODY):
            if is_closure(name):
                shape = self.shapes.of(address, size)
                if shape is not None:
                    found[name].append(shape)
        return found

    @cached_property
    def sizes(self) -> Mapping[str, frozenset[tuple[int, int]]]:
        """(size, alignment) in the vtables of each type with drop glue; several where types share a name.

        A vtable begins with the drop glue's address, the size and the alignment (rustc 1.63 to 1.97).
        """
        names: defaultdict[int, set[str]] = defaultdict(set)
        for name, address, _ in self._functions(_DROP):
            if match := _DROP_GLUE.match(name):
                names[address].add(match["type"])
        found: defaultdict[str, set[tuple[int, int]]] = defaultdict(set)
        pointers = self._image.pointers
        relocated = set(pointers[:, 0].tolist())
        for slot, target in pointers[np.isin(pointers[:, 1], np.array(sorted(names), np.int64))].tolist():
            words = self._image.read(slot + 8, 16)
            if words is None or len(names[target]) != 1 or relocated & {slot + 8, slot + 16}:
                continue
            size, alignment = int.from_bytes(words[:8], "little"), int.from_bytes(words[8:], "little")
            if alignment and not alignment & (alignment - 1) and size % alignment == 0:
                found[next(iter(names[target]))].add((size, alignment))
        return {name: frozenset(sizes) for name, sizes in found.items()}

    def _functions(self, pattern: re.Pattern[bytes]) -> Iterator[tuple[str, int, int]]:
        """(demangled name, address, size), each address once a name."""
        symbols = self._image.symbols()
        chosen = symbols.matching(pattern)
        rows = symbols.table[chosen]
        rows = rows[((rows["info"] & 15) == FUNCTION) & (rows["size"] > 0)]
        seen = set()
        for address, size, name in zip(*(rows[key].tolist() for key in ("address", "size", "name")), strict=True):
            readable = demangle(symbols.name_at(name))
            if (readable, address) not in seen:
                seen.add((readable, address))
                yield readable, address, size


def contradictions(running: Evidence, twin: Evidence) -> Iterator[Contradiction]:
    """What two builds of one program cannot differ in, and yet these do."""
    for name in sorted(running.packages.keys() & twin.packages.keys()):
        ours, theirs = running.packages[name], twin.packages[name]
        if not ours & theirs:
            difference = f"its version is {' or '.join(sorted(ours))}, in the twin {' or '.join(sorted(theirs))}"
            yield Contradiction(f"the dependency {name}", difference, 0, is_future=False)
    for name in sorted(running.sizes.keys() & twin.sizes.keys()):
        sizes, others = running.sizes[name], twin.sizes[name]
        if not sizes & others:
            difference = f"its size is {_sizes(sizes)} bytes, in the twin {_sizes(others)}"
            least = min(size for size, _ in sizes)
            yield Contradiction(_type_name(name), difference, least, is_future=is_closure(name))
    for mine, other in ((running.glue, twin.glue), (running.bodies, twin.bodies)):
        for name in sorted(mine.keys() & other.keys()):
            moved = _moved(mine[name], other[name])
            if moved is not None:
                match = _DROP_GLUE.match(name)
                type_name = match["type"] if match else name
                extent = max(max(shape.offsets, default=0) for shape in mine[name])
                yield Contradiction(_type_name(type_name), moved, extent, is_future=is_closure(type_name))


def _type_name(type_name: str) -> str:
    return coroutine_name(type_name, None) if is_closure(type_name) else display_name(type_name)


def _sizes(sizes: frozenset[tuple[int, int]]) -> str:
    return " or ".join(str(size) for size, _ in sorted(sizes))


def _moved(running: list[CodeShape], twin: list[CodeShape]) -> str | None:
    """The fields that moved, in words; None when they did not.

    What the optimiser inlined in one build only adds places on that side; a field that moved leaves one and gets one.
    """
    gone_and_come = [(one.offsets - other.offsets, other.offsets - one.offsets) for one in running for other in twin]
    if any(not gone or not come for gone, come in gone_and_come):
        return None
    gone, come = min(gone_and_come, key=lambda pair: len(pair[0]) + len(pair[1]))
    return f"it has fields at {_places(gone)}, in the twin at {_places(come)}"


def _places(offsets: frozenset[int]) -> str:
    shown = ", ".join(f"+{offset}" for offset in sorted(offsets)[:_MAX_SHOWN])
    return f"{shown}, …" if len(offsets) > _MAX_SHOWN else shown
