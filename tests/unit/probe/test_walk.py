"""The tables of walks, walked here as the kernel side walks them, over memory made for the layouts."""

from __future__ import annotations

from dataclasses import replace

from tests.captures import LAYOUTS, function
from tracer.model import FunctionKind, Layout, LayoutEdge, LayoutKind, PollFunction, Register, Source
from tracer.probe.walk import Walks, make_walks

LEAF = LAYOUTS[2]
ADDRESS = 0x1000


def polled(layout: int, kind: FunctionKind = FunctionKind.COROUTINE) -> PollFunction:
    return replace(function("f", kind), layout=layout, self_register=Register.RDI)


def walk(walks: Walks, at: int, memory: dict[int, bytes]) -> list[int]:
    """bpf/walk.c once more: the places where the walk ends.  memory: by address; what is not there cannot be read."""
    bases, found = [ADDRESS, 0, 0], []
    while at:
        node = walks.nodes[at]
        size = int(node["size"])
        if size:
            value = read(memory, bases[int(node["base"])] + int(node["offset"]), size)
            following = 0
            if value is not None and node["into"]:
                bases[int(node["into"])], following = value, int(node["other"])
            elif value is not None:
                index = (value - int(node["low"])) % 2**64
                inside = index < int(node["count"])
                following = int(walks.edges[int(node["first"]) + index]) if inside else int(node["other"])
            if following:
                at = following
                continue
            if value is not None and node["is_branch"]:
                at = int(node["then"])
                continue
        found.append(at)
        at = int(node["then"])
    return found


def read(memory: dict[int, bytes], address: int, size: int) -> int | None:
    for begin, content in memory.items():
        if begin <= address and address + size <= begin + len(content):
            return int.from_bytes(content[address - begin :][:size], "little")
    return None


def names(walks: Walks, layouts: tuple[Layout, ...], numbers: list[int]) -> list[list[str]]:
    """Of each place the names from the root on; a pointer is `*`."""
    found = []
    for number in numbers:
        way: list[str] = []
        while number:
            place = walks.places[number - 1]
            way.insert(0, "*" if place.layout is None else layouts[place.layout].name)
            number = place.parent
        found.append(way)
    return found


def future(*edges: LayoutEdge, name: str = "F", kind: LayoutKind = LayoutKind.FUTURE) -> Layout:
    return Layout(name=name, kind=kind, source=Source.DWARF, size=8, edges=edges)


def walked(layouts: tuple[Layout, ...], memory: dict[int, bytes], *functions: PollFunction) -> list[list[str]]:
    walks = make_walks(functions or (polled(0),), layouts)
    return names(walks, layouts, walk(walks, walks.roots[0], memory))


def test_an_inlined_coroutine_is_walked_through() -> None:
    memory = bytearray(64)
    memory[0], memory[8 + 4] = 3, 3
    assert walked(LAYOUTS, {ADDRESS: bytes(memory)}) == [["outer", "inner", "Leaf"]]
    memory[8 + 4] = 1  # it has returned: nothing leads on
    assert walked(LAYOUTS, {ADDRESS: bytes(memory)}) == [["outer", "inner"]]
    assert walked(LAYOUTS, {ADDRESS: bytes(memory[:8])}) == [["outer", "inner"]]  # cannot be read


def test_what_has_a_probe_of_its_own_is_where_a_future_stops_and_a_task_does_not() -> None:
    memory = bytearray(64)
    memory[0], memory[8 + 4] = 3, 3
    inner = polled(1)
    assert walked(LAYOUTS, {ADDRESS: bytes(memory)}, polled(0), inner) == [["outer", "inner"]]
    task = polled(0, FunctionKind.TASK)
    assert walked(LAYOUTS, {ADDRESS: bytes(memory)}, task, inner) == [["outer", "inner", "Leaf"]]


def test_every_branch_is_walked_and_done_ones_are_left_out() -> None:
    edges = tuple(LayoutEdge(None, offset, False, 1) for offset in (0, 32, 64))
    layouts = (future(*edges, name="Join"), LAYOUTS[1], LEAF)
    layouts = (layouts[0], replace(LAYOUTS[1], edges=(LayoutEdge(3, 8, False, 2),)), LEAF)
    memory = bytearray(96)
    memory[4], memory[36], memory[68] = 3, 1, 3
    assert walked(layouts, {ADDRESS: bytes(memory)}) == [["Join", "inner", "Leaf"]] * 2


def test_pointers_are_followed_twice() -> None:
    inner = replace(LAYOUTS[1], edges=(LayoutEdge(3, 8, True, 1), LayoutEdge(4, 8, False, 2)))
    layouts = (future(LayoutEdge(None, 0, True, 1)), inner, LEAF)
    # A type inside itself: recursion, of which each level has a poll of its own.
    memory = {ADDRESS: (0x2000).to_bytes(8, "little"), 0x2000: bytes([0, 0, 0, 0, 4])}
    assert walked(layouts, memory) == [["F", "*", "inner", "Leaf"]]
    memory[0x2000] = bytes([0, 0, 0, 0, 3, 0, 0, 0]) + (0x3000).to_bytes(8, "little")
    assert walked(layouts, memory) == [["F", "*", "inner", "*", "inner"]]
    assert walked(layouts, {ADDRESS: bytes(8)}) == [["F", "*", "inner"]]


def test_a_niche_in_an_enum() -> None:
    """Option<F>: None is one value, all others are the future's own."""
    option = replace(
        future(LayoutEdge(None, 8, False, 1), LayoutEdge(2**63, 0, False, None), name="Option", kind=LayoutKind.GLUE),
        discriminant_offset=0,
        discriminant_size=8,
    )
    layouts = (option, LEAF)
    assert walked(layouts, {ADDRESS: (5).to_bytes(8, "little") * 2}) == [["Option", "Leaf"]]
    assert walked(layouts, {ADDRESS: (2**63).to_bytes(8, "little") * 2}) == [["Option"]]


def test_functions_without_layout_have_no_walk() -> None:
    walks = make_walks([function("f"), replace(polled(0), self_register=None)], LAYOUTS)
    assert walks.roots == (0, 0)
    assert not walks.places
