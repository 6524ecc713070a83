"""The types that futures lead to, as layouts: each once, and only those that lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from tracer.model import AwaitPoint, Layout, LayoutEdge, LayoutKind, Source
from tracer.rust.awaits import Awaits, Described, awaited_name
from tracer.rust.beside import Beside
from tracer.rust.naming import display_name
from tracer.rust.types import Type

_UNNAMED = re.compile(r"^\{async_fn_env#\d+\}")


@dataclass(frozen=True, slots=True)
class Way:
    """From the begin of a type to a node; `key` is the position of the node's entry.  branch: of a tuple's member."""

    offset: int
    is_pointer: bool
    key: int
    branch: int | None = None


@dataclass(slots=True)
class Node:
    """A type that futures lead to.  ways: (the discriminant's value where it is taken; None: always, the way)."""

    kind: LayoutKind
    type: Type
    ways: list[tuple[int | None, Way]] = field(default_factory=list)
    beside: Beside = field(default_factory=Beside)


Nodes = Mapping[int, Node]


@dataclass(frozen=True, slots=True)
class FoundLayouts:
    """index: by root, into layouts; roots that are no future have none.  points: by position of a coroutine's type."""

    layouts: tuple[Layout, ...]
    index: dict[int, int]
    points: dict[int, tuple[AwaitPoint, ...]]


def compiled(nodes: Nodes, awaits: Awaits, roots: Mapping[int, str | None]) -> FoundLayouts:
    """nodes: all that were found, by the positions of their types.  roots: those that are asked for, and their paths.

    Equal types, of which each unit has its own entry, are one.
    """
    useful = _useful(nodes)
    known = awaits.describe(
        [key for key in useful if nodes[key].kind is LayoutKind.COROUTINE],
        [key for key in useful if nodes[key].kind is not LayoutKind.GLUE],
        {root: path for root, path in roots.items() if path is not None},
    )
    groups: dict[str, dict[str | None, list[int]]] = {}
    for key in useful:
        paths = groups.setdefault(_shape(key, nodes[key], known, useful), {})
        paths.setdefault(known.paths.get(key), []).append(key)
    place: dict[int, int] = {}
    firsts: list[int] = []
    for paths in groups.values():
        # Some units do not have the pointer that tells the path: they mean the one that others name.
        unnamed = paths.pop(None, []) if len(paths) == 2 else []
        for keys in paths.values():
            place |= dict.fromkeys([*keys, *unnamed], len(firsts))
            firsts.append(keys[0])
    layouts = tuple(_layout(key, nodes[key], known, place) for key in firsts)
    return FoundLayouts(layouts, {root: place[root] for root in roots if root in place}, known.points)


def _shape(key: int, node: Node, known: Described, useful: Collection[int]) -> str:
    """Equal for the entries that different units have of one type."""
    waits = [(point.state, point.location, point.macro) for point in known.points.get(key, ())]
    ways = [(value, way.offset, way.is_pointer) for value, way in node.ways if way.key in useful]
    # A struct and the enum in it can have all else in common: futures_util's Map is a struct around another Map.
    is_enum = node.type.variant_part is not None
    gate = node.beside.gate
    return repr((node.type.name, node.kind, node.type.size, is_enum, known.begins.get(key), waits, ways, gate))


def _useful(nodes: Nodes) -> dict[int, None]:
    """Glue that leads nowhere is left out, again and again until only what leads somewhere is left."""
    kept = dict.fromkeys(nodes)
    while True:
        gone = [
            key
            for key in kept
            if nodes[key].kind is LayoutKind.GLUE and all(way.key not in kept for _, way in nodes[key].ways)
        ]
        if not gone:
            return kept
        for key in gone:
            del kept[key]


def _layout(key: int, node: Node, known: Described, place: Mapping[int, int]) -> Layout:
    part = node.type.variant_part
    ways = [(value, way) for value, way in node.ways if way.key in place]
    edges = [LayoutEdge(value, way.offset, way.is_pointer, place[way.key]) for value, way in ways]
    branches = [way.branch for _, way in ways if way.branch is not None]
    if part is not None and any(edge.value is None for edge in edges):
        leading = {edge.value for edge in edges}
        edges += [LayoutEdge(value, 0, False, None) for value, _ in part.variants if value not in leading]
    discriminant = part.discriminant if part is not None else None
    values = [value for value, _ in part.variants if value is not None] if part is not None else []
    path = known.paths.get(key)
    if node.kind is LayoutKind.OBJECT:
        path = f"core::pin::Pin<{path or node.type.name}>"  # as one that is awaited
    return Layout(
        name=awaited_name(path) if path is not None else display_name(_UNNAMED.sub("{async fn}", node.type.name)),
        kind=node.kind,
        source=Source.DWARF,
        size=node.type.size,
        edges=tuple(edges),
        discriminant_offset=discriminant.offset if discriminant is not None else None,
        discriminant_size=discriminant.size if discriminant is not None else 0,
        awaits=known.points.get(key, ()),
        location=known.begins.get(key),
        path=path,
        links=node.beside.links_to(place, is_leaf=not edges),
        containers=node.beside.containers_of(place),
        gate=node.beside.gate,
        branches=tuple(branches) if len(branches) == len(edges) else (),
        guards=node.beside.guards(),
        values=tuple(values) if part is not None and len(values) == len(part.variants) else (),
    )
