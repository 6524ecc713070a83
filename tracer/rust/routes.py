"""Ways from a type to what is in it or behind its pointers, by the names that DWARF has of members and pointers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tracer.model import VariantTest
from tracer.rust.forms import DwarfError, Tag
from tracer.rust.future_names import base_name
from tracer.rust.types import Member, Type, Types, VariantPart, is_coroutine

_POINTERS = ("&mut ", "&", "*mut ", "*const ")
_BOX = "alloc::boxed::Box<"
_SHARED = "alloc::sync::ArcInner<"
_MOST_TYPES = 200
_MOST_DEPTH = 16


@dataclass(frozen=True, slots=True)
class Place:
    """A type, and how to come to it: see Route.  depth: how many types it is in."""

    type: Type
    steps: tuple[int, ...]
    tests: tuple[VariantTest, ...] = ()
    depth: int = 0


class Routes:
    """Of one binary.  No method raises: where DWARF is damaged, no way leads on."""

    def __init__(self, types: Types) -> None:
        self._types = types

    def inside(self, start: Place, is_end: Callable[[Type], bool], hops: int = 0) -> Iterator[Place]:
        """What is in a type, itself first: structures and pointers, through enums.

        is_end: what is in such a type is left out.  hops: so many `&mut` and boxes are followed too.
        """
        waiting, left = deque([start]), _MOST_TYPES
        while waiting and left > 0:
            place = waiting.popleft()
            left -= 1
            yield place
            if place.depth >= _MOST_DEPTH or is_coroutine(place.type) or (place is not start and is_end(place.type)):
                continue
            if place.type.tag == Tag.POINTER:
                if len(place.steps) - len(start.steps) < hops and place.type.name.startswith(("&mut ", _BOX)):
                    behind = self.behind(place)
                    waiting += [behind] if behind is not None else []
                continue
            waiting += self._members(place)

    def to(self, start: Place, target: str, hops: int = 3) -> Place | None:
        """The nearest of that path (without arguments) that a pointer in the type leads to.

        On the way only pointers to what is of the same crate are followed.
        """
        crate = target.partition("::")[0] + "::"
        for place, path in self._around(start, crate, hops):
            if path is not None and base_name(path) == target:
                return self.behind(place)
        return None

    def nearest(self, start: Place, name: str, crate: str, hops: int = 3) -> Place | None:
        """The nearest type of that name in the type, or behind pointers to what is of the crate."""
        around = self._around(start, crate, hops)
        return next(
            (one for one, _ in around if one.type.tag == Tag.STRUCTURE and base_name(one.type.name) == name), None
        )

    def _around(self, start: Place, crate: str, hops: int) -> Iterator[tuple[Place, str | None]]:
        """What is in a type and behind its pointers; of a pointer that can be followed with the path it leads to."""
        waiting, left = deque([start]), _MOST_TYPES
        while waiting and left > 0:
            place = waiting.popleft()
            left -= 1
            if place.depth >= _MOST_DEPTH:
                continue
            if place.type.tag != Tag.POINTER:
                yield place, None
                waiting += self._members(place)
                continue
            path = pointed(place.type.name)
            behind = self.behind(place) if path is not None and len(place.steps) <= hops else None
            if path is not None and behind is not None:
                yield place, path
                if path.startswith((crate, *_POINTERS)):
                    waiting.append(behind)

    def behind(self, place: Place) -> Place | None:
        """What a pointer points to: of an Arc, what is in it."""
        if place.type.target is None:
            return None
        try:
            target = self._types.at(place.type.target)
            shift = 0
            if place.type.name.startswith(tuple(prefix + _SHARED for prefix in _POINTERS)):
                data = next((member for member in target.members if member.name == "data"), None)
                if data is None or data.type is None:
                    return None
                target, shift = self._types.at(data.type), data.offset
        except DwarfError:
            return None
        return Place(target, (*place.steps, shift), place.tests, place.depth + 1)

    def member(self, type_: Type, *names: str) -> tuple[int, Type] | None:
        """(offset, type) of a member of a member …; None when there is none of these names."""
        offset = 0
        for name in names:
            member = next((one for one in type_.members if one.name == name), None)
            if member is None or member.type is None:
                return None
            offset += member.offset
            try:
                type_ = self._types.at(member.type)
            except DwarfError:
                return None
        return offset, type_

    def element(self, type_: Type) -> Type | None:
        """T of a Vec<T>, or of a slice's pointer."""
        try:
            if base_name(type_.name) == "Vec":
                return self._types.argument(type_)
            data = self.member(type_, "data_ptr")
            return self._types.at(data[1].target) if data is not None and data[1].target is not None else None
        except DwarfError:
            return None

    def at(self, member: Member, place: Place) -> Place | None:
        """The place of a member."""
        if member.type is None:
            return None
        try:
            type_ = self._types.at(member.type)
        except DwarfError:
            return None
        *before, last = place.steps
        return Place(type_, (*before, last + member.offset), place.tests, place.depth + 1)

    def _members(self, place: Place) -> Iterator[Place]:
        for member in place.type.members:
            there = self.at(member, place)
            if there is not None:
                yield there
        part = place.type.variant_part
        for value, variant in part.variants if part is not None else ():
            there = self.at(variant, place)
            if there is None or part is None:
                continue
            if part.discriminant is None:
                yield there
            elif len(place.steps) == 1:
                test = _variant_test(part, value, place.steps[0])
                yield Place(there.type, there.steps, (*place.tests, test), there.depth)
            elif value is None:
                yield there  # the others are niches: no pointer is there, and that shows


def pointed(name: str) -> str | None:
    """The path of what a pointer of this name points to, of an Arc of what is in it; None when it does not say."""
    prefix = next((prefix for prefix in _POINTERS if name.startswith(prefix)), None)
    if prefix is None:
        return None
    path = name[len(prefix) :]
    return path[len(_SHARED) : -1] if path.startswith(_SHARED) else path


def _variant_test(part: VariantPart, value: int | None, base: int) -> VariantTest:
    assert part.discriminant is not None
    offset, size = base + part.discriminant.offset, part.discriminant.size
    if value is not None:
        return VariantTest(offset, size, (value,), is_one=True)
    return VariantTest(offset, size, tuple(one for one, _ in part.variants if one is not None), is_one=False)
