"""Damaged memory and layouts: whatever links and containers say, reading them ends, and reads nothing unmapped."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.memory_image import MadeMemory
from tests.property.test_snapshot import binaries, memories
from tracer.model import Backlog, Binary, Container, Link, LinkKind, LinkRole, Route, VariantTest, WordTest
from tracer.snapshot.read import SnapshotReader

_DATA = 0x4000_0000
_LAYOUTS = 6

_OFFSETS = st.integers(0, 64).map(lambda number: 8 * number) | st.integers(0, 2**40)
_ROUTE = st.builds(
    Route,
    value=st.none() | st.integers(0, 4),
    tests=st.lists(
        st.builds(
            VariantTest,
            _OFFSETS,
            st.sampled_from((1, 2, 4, 8)),
            st.lists(st.integers(0, 2**64 - 1), max_size=2).map(tuple),
            st.booleans(),
        ),
        max_size=1,
    ).map(tuple),
    steps=st.lists(_OFFSETS, min_size=1, max_size=3).map(tuple),
)
_WORDS = st.builds(WordTest, _OFFSETS, st.integers(0, 2**64 - 1), st.integers(0, 1))
_FLAGS = st.lists(_OFFSETS, max_size=2).map(tuple)
_CHILD = st.integers(0, _LAYOUTS - 1)
_LINK = st.builds(
    Link,
    kind=st.sampled_from(LinkKind),
    role=st.sampled_from([role for role in LinkRole if role is not LinkRole.KEEPS]),
    route=_ROUTE,
    size=st.integers(0, 2**32 - 1),
    flags=_FLAGS,
    is_certain=st.booleans(),
    busy=st.none() | _WORDS,
    granted=st.lists(_WORDS, max_size=2).map(tuple),
    number=st.none() | _ROUTE,
    backlog=st.none() | st.builds(Backlog, _OFFSETS, _OFFSETS, _OFFSETS, st.none() | _OFFSETS),
)
_KEPT = st.builds(
    Link, kind=st.just(LinkKind.FUTURE), role=st.just(LinkRole.KEEPS), route=_ROUTE, size=st.just(0), child=_CHILD
)
_CONTAINER = st.builds(
    Container,
    route=_ROUTE,
    pointer=_OFFSETS,
    length=st.none() | _OFFSETS,
    stride=st.integers(1, 300) | st.integers(1, 2**40),
    next=_OFFSETS,
    item=_OFFSETS,
    is_pointer=st.booleans(),
    child=_CHILD,
    is_polled=st.booleans(),
    flags=_FLAGS,
)


@st.composite
def linked(draw: st.DrawFn) -> Binary:
    binary = draw(binaries())
    layouts = tuple(
        replace(
            layout,
            links=tuple(draw(st.lists(_LINK | _KEPT, max_size=3))),
            containers=tuple(draw(st.lists(_CONTAINER, max_size=2))),
        )
        for layout in binary.layouts
    )
    return replace(binary, layouts=layouts)


@settings(max_examples=60)
@given(linked(), memories())
def test_no_link_leads_astray(binary: Binary, memory: MadeMemory) -> None:
    reader = SnapshotReader(binary, 0, memory, [(_DATA, _DATA + 2048)])
    snapshot = reader.take()
    links = reader.links(snapshot)
    assert memory.asked < 256 << 20
    tasks = len(snapshot.tasks)
    assert ((links.links["task"] >= 0) & (links.links["task"] < tasks)).all()
    assert ((links.blocks["task"] >= 0) & (links.blocks["task"] < tasks)).all()
    assert ((links.blocks["other"] >= 0) & (links.blocks["other"] < tasks)).all()
    for cycle in links.cycles:
        others = [int(links.blocks["other"][block]) for block in cycle.blocks]
        assert others == [int(links.blocks["task"][block]) for block in (*cycle.blocks[1:], cycle.blocks[0])]
