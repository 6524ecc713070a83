"""Where futures keep many others, of which each is polled when it was woken.

futures-util 0.3: stream/futures_unordered/{mod,task}.rs, future/{join_all,try_join_all,select_all,select_ok}.rs.
tokio 1.25 to 1.54: task/join_set.rs, util/{idle_notified_set,linked_list}.rs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from tracer.model import Container, Route
from tracer.rust.forms import Tag
from tracer.rust.future_names import base_name
from tracer.rust.routes import Place, Routes
from tracer.rust.types import Type

_SLICES = frozenset({"JoinAll", "TryJoinAll"})
_VECTORS = frozenset({"SelectAll", "SelectOk"})
_NEAR = 2
"""A hand-written future's own Vec is not deeper in it, or in the stream that it has a reference to: of what is in that,
nothing tells whether it is polled."""

_HOPS = 3
_TASK = "futures_util::stream::futures_unordered::task::Task"
_ENTRY = "tokio::util::idle_notified_set::ListEntry"
_HANDLE = "JoinHandle"
"""Of the Vecs that a local variable has, those of handles are looked into: of others nobody polls what is in them."""


@dataclass(frozen=True, slots=True)
class Item:
    """A child in an element.  offset: bytes.  is_pointer: its address is there.  key: of the child's node."""

    offset: int
    is_pointer: bool
    key: int


@dataclass(frozen=True, slots=True)
class FoundContainer:
    """container: without its child.  key: of the child's node."""

    container: Container
    key: int


class Containers:
    """Of one binary.  items: the futures in a type; is_future: whether a type is one, with containers of its own."""

    def __init__(
        self, routes: Routes, items: Callable[[Type], Iterable[Item]], is_future: Callable[[Type], bool]
    ) -> None:
        self._routes = routes
        self._items = items
        self._is_future = is_future

    def polled(self, type_: Type) -> Iterator[FoundContainer]:
        """What a future polls, itself or through a pointer."""
        yield from self._found(Place(type_, (0,)), base_name(type_.name), _HOPS)

    def kept(self, place: Place) -> Iterator[FoundContainer]:
        """What a local variable at this place has."""
        if not self._is_future(place.type):
            yield from self._found(place, "", 0)

    def _found(self, start: Place, owner: str, hops: int) -> Iterator[FoundContainer]:
        for place in self._routes.inside(start, self._is_end, hops):
            name = base_name(place.type.name)
            if name == "FuturesUnordered":
                yield from self._unordered(place)
            elif name == "IdleNotifiedSet":
                yield from self._join_set(place)
            elif owner in _SLICES and "MaybeDone<" in place.type.name and place.type.name.startswith("alloc::boxed::"):
                yield from self._slice(place, ("data_ptr",), "length")
            elif name == "Vec" and (owner in _VECTORS or (not owner and self._has_handles(place))):
                yield from self._vector(place)
            elif owner and name == "Vec" and place.depth - (len(place.steps) - 1) <= _NEAR:
                for found in self._vector(place):
                    yield replace(found, container=replace(found.container, is_certain=False))

    def _is_end(self, type_: Type) -> bool:
        return self._is_future(type_) or base_name(type_.name) in ("FuturesUnordered", "IdleNotifiedSet", "Vec")

    def _has_handles(self, vector: Place) -> bool:
        element = self._routes.element(vector.type)
        return element is not None and base_name(element.name) == _HANDLE

    def _unordered(self, place: Place) -> Iterator[FoundContainer]:
        """A list of tasks of its own, linked by `next_all`."""
        head = self._routes.member(place.type, "head_all")
        task = self._routes.to(Place(head[1], (0,)), _TASK) if head is not None else None
        if head is None or task is None:
            return
        future = self._routes.member(task.type, "future")
        following = self._routes.member(task.type, "next_all")
        if future is not None and following is not None:
            yield from self._linked(place, head[0], future, following[0], task.type)

    def _join_set(self, place: Place) -> Iterator[FoundContainer]:
        """Two lists: of the tasks whose end was noted, and of the others."""
        lists = self._lists(place)
        for name in ("notified", "idle") if lists is not None else ():
            assert lists is not None
            head = self._routes.member(lists.type, name, "head")
            entry = self._routes.to(Place(head[1], (0,)), _ENTRY) if head is not None else None
            if head is None or entry is None:
                continue
            value = self._routes.member(entry.type, "value")
            pointers = self._routes.member(entry.type, "pointers", "inner", "value")
            following = self._routes.member(pointers[1], "next") if pointers is not None else None
            if value is not None and pointers is not None and following is not None:
                yield from self._linked(lists, head[0], value, pointers[0] + following[0], entry.type)

    def _lists(self, place: Place) -> Place | None:
        """What is in the mutex that the set has a pointer to."""
        for pointer in self._routes.inside(place, _no):
            if pointer.type.tag == Tag.POINTER:
                mutex = self._routes.behind(pointer)
                inside = self._routes.inside(mutex, _no) if mutex is not None else ()
                return next((one for one in inside if base_name(one.type.name) == "ListsInner"), None)
        return None

    def _linked(
        self, place: Place, head: int, item: tuple[int, Type], following: int, element: Type
    ) -> Iterator[FoundContainer]:
        for one in self._items(item[1]):
            container = Container(
                Route(None, place.tests, place.steps),
                pointer=head,
                length=None,
                stride=element.size,
                next=following,
                item=item[0] + one.offset,
                is_pointer=one.is_pointer,
                child=-1,
            )
            yield FoundContainer(container, one.key)

    def _vector(self, place: Place) -> Iterator[FoundContainer]:
        yield from self._slice(place, ("buf", "inner", "ptr"), "len")
        yield from self._slice(place, ("buf", "ptr"), "len")  # rustc up to 1.80

    def _slice(self, place: Place, pointer: tuple[str, ...], length: str) -> Iterator[FoundContainer]:
        start = self._routes.member(place.type, *pointer)
        count = self._routes.member(place.type, length)
        element = self._routes.element(place.type)
        if start is None or count is None or element is None or count[1].size != 8 or not element.size:
            return
        for one in self._items(element):
            container = Container(
                Route(None, place.tests, place.steps),
                pointer=start[0],
                length=count[0],
                stride=element.size,
                next=0,
                item=one.offset,
                is_pointer=one.is_pointer,
                child=-1,
            )
            yield FoundContainer(container, one.key)


def _no(_: Type) -> bool:
    return False
