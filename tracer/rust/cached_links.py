"""Links, containers and gates as the lists that the cache keeps, and back."""

from __future__ import annotations

from typing import Any

from tracer.model import Backlog, Container, Gate, Link, LinkKind, LinkRole, Route, VariantTest, WordTest


def from_link(one: Link) -> list[Any]:
    """Of numbers, texts and lists alone."""
    return [
        one.kind, one.role, _from_route(one.route), one.size, one.flags, one.is_certain,
        _from_word(one.busy) if one.busy is not None else None, [_from_word(word) for word in one.granted], one.child,
        _from_route(one.number) if one.number is not None else None, one.is_guess,
        _from_word(one.shared) if isinstance(one.shared, WordTest) else one.shared, one.queue,
        _from_backlog(one.backlog) if one.backlog is not None else None,
    ]  # fmt: skip


def to_link(row: list[Any]) -> Link:
    """Raises ValueError or TypeError on what from_link does not make."""
    kind, role, route, size, flags, is_certain, busy, granted, child, number, is_guess, shared, queue, backlog = row
    return Link(
        kind=LinkKind(kind),
        role=LinkRole(role),
        route=_to_route(route),
        size=int(size),
        flags=tuple(int(one) for one in flags),
        is_certain=bool(is_certain),
        busy=_to_word(busy) if busy is not None else None,
        granted=tuple(_to_word(one) for one in granted),
        child=int(child) if child is not None else None,
        number=_to_route(number) if number is not None else None,
        is_guess=bool(is_guess),
        shared=_to_word(shared) if isinstance(shared, list) else bool(shared),
        queue=(int(queue[0]), int(queue[1])) if queue is not None else None,
        backlog=_to_backlog(backlog) if backlog is not None else None,
    )


def from_container(one: Container) -> list[Any]:
    """Of numbers and lists alone."""
    return [
        _from_route(one.route), one.pointer, one.length, one.stride, one.next, one.item, one.is_pointer, one.child,
        one.is_polled, one.flags, one.is_certain,
    ]  # fmt: skip


def to_container(row: list[Any]) -> Container:
    """Raises ValueError or TypeError on what from_container does not make."""
    route, pointer, length, stride, following, item, is_pointer, child, is_polled, flags, is_certain = row
    return Container(
        route=_to_route(route),
        pointer=int(pointer),
        length=int(length) if length is not None else None,
        stride=int(stride),
        next=int(following),
        item=int(item),
        is_pointer=bool(is_pointer),
        child=int(child),
        is_polled=bool(is_polled),
        flags=tuple(int(one) for one in flags),
        is_certain=bool(is_certain),
    )


def from_gate(one: Gate | None) -> list[Any] | None:
    """As from_container."""
    return [_from_route(one.route), one.size] if one is not None else None


def to_gate(row: list[Any] | None) -> Gate | None:
    """As to_container."""
    return Gate(_to_route(row[0]), int(row[1])) if row is not None else None


def _from_route(route: Route) -> list[Any]:
    return [route.value, [[t.offset, t.size, t.values, t.is_one] for t in route.tests], route.steps]


def _to_route(row: list[Any]) -> Route:
    value, tests, steps = row
    return Route(
        int(value) if value is not None else None,
        tuple(
            VariantTest(int(offset), int(size), tuple(int(one) for one in values), bool(is_one))
            for offset, size, values, is_one in tests
        ),
        tuple(int(one) for one in steps),
    )


def _from_word(word: WordTest) -> list[int]:
    return [word.offset, word.mask, word.value]


def _from_backlog(one: Backlog) -> list[Any]:
    return [one.sent, one.received, one.senders, one.capacity]


def _to_backlog(row: list[Any]) -> Backlog:
    sent, received, senders, capacity = row
    return Backlog(int(sent), int(received), int(senders), int(capacity) if capacity is not None else None)


def _to_word(row: list[Any]) -> WordTest:
    offset, mask, value = row
    return WordTest(int(offset), int(mask), int(value))
