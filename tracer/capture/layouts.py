"""Locations, awaits, layouts and the places in them as protobuf messages, and back.

Reading raises ValueError on a message that does not make sense.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracer import capture_pb2 as pb
from tracer.model import AwaitPoint, HeaderTest, Layout, LayoutEdge, LayoutKind, Place, Source, SourceLocation


def text(value: str) -> str:
    """File and process names need not be UTF-8; Python keeps such bytes as surrogates, protobuf refuses them."""
    return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def maybe_text(value: str | None) -> str | None:
    return None if value is None else text(value)


def write_location(location: SourceLocation | None) -> pb.SourceLocation | None:
    return None if location is None else pb.SourceLocation(file=text(location.file), line=location.line)


def write_await(point: AwaitPoint) -> pb.AwaitPoint:
    return pb.AwaitPoint(
        state=point.state,
        location=write_location(point.location),
        awaitee=maybe_text(point.awaitee),
        macro=write_location(point.macro),
        is_unverified=not point.is_verified,
    )


def read_await(message: pb.AwaitPoint) -> AwaitPoint:
    return AwaitPoint(
        message.state,
        location_of(message),
        message.awaitee if message.HasField("awaitee") else None,
        _read_location(message.macro) if message.HasField("macro") else None,
        not message.is_unverified,
    )


def _read_location(message: pb.SourceLocation) -> SourceLocation:
    return SourceLocation(message.file, message.line)


def location_of(message: Any) -> SourceLocation | None:
    """What the field `location` of a message says; None: it is not told."""
    return _read_location(message.location) if message.HasField("location") else None


def write_layout(layout: Layout) -> pb.Layout:
    return pb.Layout(
        name=text(layout.name),
        kind=layout.kind.value,
        source=layout.source.value,
        size=layout.size,
        edges=[
            pb.LayoutEdge(value=edge.value, offset=edge.offset, is_pointer=edge.is_pointer, child=edge.child)
            for edge in layout.edges
        ],
        discriminant_offset=layout.discriminant_offset,
        discriminant_size=layout.discriminant_size,
        awaits=[write_await(one) for one in layout.awaits],
        location=write_location(layout.location),
        path=maybe_text(layout.path),
        guards=layout.guards,
    )


def read_layout(message: pb.Layout, layouts: int) -> Layout:
    """layouts: how many there are in the same binary."""
    return Layout(
        name=message.name,
        kind=LayoutKind(message.kind),
        source=Source(message.source),
        size=message.size,
        edges=tuple(
            LayoutEdge(
                m.value if m.HasField("value") else None,
                m.offset,
                m.is_pointer,
                checked_index(m.child, layouts) if m.HasField("child") else None,
            )
            for m in message.edges
        ),
        discriminant_offset=message.discriminant_offset if message.HasField("discriminant_offset") else None,
        discriminant_size=message.discriminant_size,
        awaits=tuple(read_await(one) for one in message.awaits),
        location=location_of(message),
        path=message.path if message.HasField("path") else None,
        guards=tuple(message.guards),
    )


def write_place(place: Place) -> pb.Place:
    return pb.Place(
        parent=place.parent,
        function=place.function,
        layout=place.layout,
        state=place.state,
        is_polled=place.is_polled,
    )


def read_places(messages: Sequence[pb.Place], functions: int, layouts: int) -> tuple[Place, ...]:
    """Each place comes after the one above it; where there is none above it, it has a layout."""
    places = tuple(
        Place(
            checked_index(m.parent, number + 1),
            checked_index(m.function, functions),
            checked_index(m.layout, layouts) if m.HasField("layout") else None,
            m.state if m.HasField("state") else None,
            m.is_polled,
        )
        for number, m in enumerate(messages)
    )
    if any(not place.parent and place.layout is None for place in places):
        raise ValueError("a future that is polled has no layout")
    return places


def write_test(test: HeaderTest | None) -> pb.HeaderTest | None:
    return None if test is None else pb.HeaderTest(offset=test.offset, mask=test.mask, value=test.value)


def read_test(message: pb.HeaderTest) -> HeaderTest:
    return HeaderTest(message.offset, message.mask, message.value)


def checked_index(index: int, length: int) -> int:
    if index >= length:
        raise ValueError(f"an index of {index} into {length} things")
    return index
