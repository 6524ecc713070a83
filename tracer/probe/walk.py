"""The layouts of a plan compiled into the tables by which the kernel side walks them.

A walk begins at the future that a probed function polls and follows what is inside it, until it comes to
what has a probe of its own, to what leads no further, or to memory that cannot be read.  Only that of a
task goes on through all: a task's wait is where its futures wait.  What the walk
can reach from one function is a tree: each place in it has a number, and the place where a walk ends
tells the whole way to it.  A join! or select! has several branches; their walks follow one another.

The record layouts are those of bpf/events.h.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tracer.model import Array, FunctionKind, Layout, LayoutEdge, Place, PollFunction

WALK_NODE = np.dtype(
    [
        ("low", "<u8"),
        ("count", "<u4"),
        ("first", "<u4"),
        ("other", "<u4"),
        ("then", "<u4"),
        ("offset", "<u4"),
        ("size", "u1"),
        ("base", "u1"),
        ("into", "u1"),
        ("is_branch", "u1"),
    ]
)
BASES = 3
"""Addresses that a walk keeps: that of the future, and those that two pointers after each other lead to."""

_MAX_PLACES = (1 << 16) - 1
_MAX_OF_FUNCTION = 1 << 12
_MAX_DEPTH = 40
_MAX_SPREAD = 1 << 10
"""Discriminants of one type lie closer together: rustc numbers variants, and niches, in a row."""


@dataclass(frozen=True, slots=True)
class Walks:
    """nodes: dtype WALK_NODE, by number of place (0 is none).  edges: numbers of places, <u4.

    roots: by function, the place where its walk begins; 0: it has none.
    """

    places: tuple[Place, ...]
    nodes: Array
    edges: np.ndarray[tuple[int], np.dtype[np.uint32]]
    roots: tuple[int, ...]


def make_walks(functions: Sequence[PollFunction], layouts: Sequence[Layout]) -> Walks:
    """functions: those that are probed."""
    compiler = _Compiler(layouts, frozenset(one.layout for one in functions if one.layout is not None))
    roots = [0] * len(functions)
    # What is polled in a task by probed functions is told by their own walks: if there is not enough room, the
    # tasks' own walks are what can be done without.
    for index in sorted(range(len(functions)), key=lambda index: functions[index].kind is FunctionKind.TASK):
        roots[index] = compiler.function(index, functions[index])
    nodes = np.zeros(len(compiler.places) + 1, WALK_NODE)
    for number, values in compiler.nodes.items():
        for name, value in values.items():
            nodes[name][number] = value
    return Walks(tuple(compiler.places), nodes, np.array(compiler.edges, np.uint32), tuple(roots))


@dataclass(frozen=True, slots=True)
class _Way:
    """How the walk comes to a place.  base: which of the addresses `offset` counts from.  then: the place to go
    on at when the walk has ended here; is_branch: there are others beside this one."""

    function: int
    parent: int
    state: int | None
    base: int
    offset: int
    then: int
    is_branch: bool
    above: tuple[int, ...] = ()


@dataclass(slots=True)
class _Compiler:
    layouts: Sequence[Layout]
    polled: frozenset[int]
    places: list[Place] = field(default_factory=list)
    nodes: dict[int, dict[str, int]] = field(default_factory=dict)
    edges: list[int] = field(default_factory=list)
    stops: bool = True
    limit: int = _MAX_PLACES

    def function(self, index: int, function: PollFunction) -> int:
        if function.layout is None or function.self_register is None:
            return 0
        self.stops = function.kind is not FunctionKind.TASK
        self.limit = min(len(self.places) + _MAX_OF_FUNCTION, _MAX_PLACES)
        return self._place(function.layout, _Way(index, 0, None, 0, 0, 0, False))

    def _new(self, layout: int | None, way: _Way) -> int:
        is_polled = way.parent != 0 and layout in self.polled
        self.places.append(Place(way.parent, way.function, layout, way.state, is_polled))
        number = len(self.places)
        self.nodes[number] = {"then": way.then, "is_branch": way.is_branch}
        return number

    def _place(self, index: int, way: _Way) -> int:
        """The place where the walk begins that enters this type."""
        number = self._new(index, way)
        layout = self.layouts[index]
        if (self.stops and self.places[-1].is_polled) or index in way.above or len(way.above) > _MAX_DEPTH:
            return number
        ways: dict[int | None, list[LayoutEdge]] = {}
        for edge in layout.edges:
            ways.setdefault(edge.value, []).append(edge)
        values = [value for value in ways if value is not None]
        if len(self.places) + len(layout.edges) > self.limit - _MAX_DEPTH:
            return number
        if values and max(values) - min(values) >= _MAX_SPREAD:
            return number
        inside = _Way(way.function, number, None, way.base, way.offset, way.then, way.is_branch, (*way.above, index))
        if layout.discriminant_offset is None:
            return self._branches(ways.get(None, []), None, inside) or number
        entries = {value: self._branches(edges, value, inside) for value, edges in ways.items()}
        if not any(entries.values()):
            return number
        other = entries.pop(None, 0)
        low = min(values, default=0)
        count = max(values, default=-1) + 1 - low if values else 0
        self.nodes[number] |= {
            "low": low,
            "count": count,
            "first": len(self.edges),
            "other": other,
            "offset": way.offset + layout.discriminant_offset,
            "size": layout.discriminant_size,
            "base": way.base,
        }
        self.edges += [entries.get(low + step, other) for step in range(count)]
        return number

    def _branches(self, edges: Sequence[LayoutEdge], state: int | None, way: _Way) -> int:
        """Where the walk goes on for one value; 0: nowhere.  The last branch is walked first: what is found first
        ends up in the highest bits."""
        leading = [edge for edge in edges if edge.child is not None]
        begin = 0
        then, is_branch = way.then, way.is_branch or len(leading) > 1
        for edge in leading:
            assert edge.child is not None
            begin = self._edge(
                edge,
                edge.child,
                _Way(way.function, way.parent, state, way.base, way.offset, then, is_branch, way.above),
            )
            then = begin
        return begin

    def _edge(self, edge: LayoutEdge, child: int, way: _Way) -> int:
        offset = way.offset + edge.offset
        if not edge.is_pointer:
            return self._place(
                child, _Way(way.function, way.parent, way.state, way.base, offset, way.then, way.is_branch, way.above)
            )
        pointer = self._new(None, way)
        if way.base + 1 >= BASES:
            return self._new(child, _Way(way.function, pointer, None, 0, 0, way.then, way.is_branch))
        beyond = _Way(way.function, pointer, None, way.base + 1, 0, way.then, way.is_branch, way.above)
        begin = self._place(child, beyond)
        if not self.nodes[begin].get("size"):
            return begin  # what is there does not depend on anything behind the pointer
        self.nodes[pointer] |= {
            "other": begin,
            "offset": offset,
            "size": 8,
            "base": way.base,
            "into": way.base + 1,
        }
        return pointer
