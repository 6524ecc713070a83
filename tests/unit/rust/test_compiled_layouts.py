"""Which entries of the debug information are one type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from tracer.model import LayoutKind
from tracer.rust.awaits import Awaits, Described
from tracer.rust.compiled_layouts import Node, Way, compiled
from tracer.rust.forms import Tag
from tracer.rust.types import Member, Type, VariantPart


class _Paths:
    """Stands for the debug information: it has paths, and no coroutine."""

    def __init__(self, paths: Mapping[int, str]) -> None:
        self._paths = paths

    def describe(self, *_: object) -> Described:
        return Described({}, dict(self._paths), {})


def _named(name: str, leads_to: int | None, part: VariantPart | None = None) -> Node:
    ways: list[tuple[int | None, Way]] = [] if leads_to is None else [(None, Way(0, False, leads_to))]
    return Node(LayoutKind.FUTURE, Type(0, Tag.STRUCTURE, name, 24, None, (), part), ways)


def _layouts(nodes: Mapping[int, Node], paths: Mapping[int, str]) -> list[tuple[str, list[int | None]]]:
    found = compiled(nodes, cast(Awaits, _Paths(paths)), {})
    return [(one.name, [edge.child for edge in one.edges]) for one in found.layouts]


def test_an_entry_without_a_path_is_the_one_that_has_one() -> None:
    nodes = {1: _named("Inner", None), 2: _named("Map", 1), 3: _named("Map", 1)}
    assert _layouts(nodes, {1: "a::Inner", 2: "a::Map"}) == [("a::Inner", []), ("a::Map", [0])]


def test_a_struct_is_not_the_enum_of_the_same_name_in_it() -> None:
    """As futures_util's future::Map, in which there is a map::Map.  The path of the enum is not known."""
    enum = VariantPart(None, ((None, Member("Incomplete", 0, None)),))
    nodes = {1: _named("Inner", None), 2: _named("Map", 1, enum), 3: _named("Map", 2)}
    layouts = _layouts(nodes, {1: "a::Inner", 3: "a::Map"})
    assert [children for _, children in layouts] == [[], [0], [1]]
