"""What is in a future besides what it polls: what it waits for and holds, futures that it keeps, and many of them.

A coroutine's state has those local variables that live on over the await.  One that was moved away or dropped can be
among them, because its place is still taken: then rustc (1.63 to 1.97) has a drop flag in that state, a local
variable of type bool without a name, which is 1 as long as its variable is there.  Which of them is whose, DWARF does
not tell: where all are 1, all variables are there.  In a build that cannot unwind there may be no flag.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from tracer.model import FIRST_SUSPEND, LENT, LOCKS, UNRESUMED, Container, Gate, Link, LinkKind, LinkRole, Route
from tracer.rust.awaits import AWAITEE
from tracer.rust.containers import Containers, FoundContainer, Item
from tracer.rust.forms import DwarfError, Tag
from tracer.rust.future_names import base_name
from tracer.rust.links import Links
from tracer.rust.routes import Place, Routes
from tracer.rust.shadowed import ShadowedVariables
from tracer.rust.types import Member, Type, Types

_UNNAMED = re.compile(r"^__\d+$")
_FUNCTION = "{async_fn_env#"
"""An async fn moves what it captured into local variables before anything else; an async block does not."""

_OWNERS = ("alloc::boxed::Box<", "Pin<alloc::boxed::Box<")

_MASKS = {"&mut u8": 1, "&mut u16": 2, "&mut u32": 4, "&mut u64": 8}
"""Pointers to as many bits as a select! needs, and the bytes of those."""

_ACQUIRE = "Acquire"
"""tokio 1.25 to 1.54, sync/batch_semaphore.rs: the wait for a permit, and so for room in a bounded channel."""

_WITH_TIMER = frozenset({"Timeout"})
"""Futures that wait for something of their own besides what they poll."""


@dataclass(slots=True)
class Beside:
    """waits: holds when nothing is polled.  kept, containers: with the position of the child's type, which has no
    number yet."""

    links: list[Link] = field(default_factory=list)
    waits: list[Link] = field(default_factory=list)
    kept: list[tuple[Link, int]] = field(default_factory=list)
    containers: list[FoundContainer] = field(default_factory=list)
    gate: Gate | None = None

    def links_to(self, place: Mapping[int, int], is_leaf: bool) -> tuple[Link, ...]:
        """place: the number of each layout, by its type's position.  is_leaf: the future polls no other."""
        kept = [replace(link, child=place[key]) for link, key in self.kept if key in place]
        return tuple(dict.fromkeys([*self.links, *(self.waits if is_leaf else ()), *kept]))

    def guards(self) -> tuple[int, ...]:
        """The states in which a coroutine has the guard of a lock, unless its flags say otherwise."""
        held = (link.route.value for link in self.links if link.role is LinkRole.HOLDS and link.kind in LOCKS)
        return tuple(sorted({state for state in held if state is not None}))

    def containers_of(self, place: Mapping[int, int]) -> tuple[Container, ...]:
        """As links_to."""
        found = [replace(one.container, child=place[one.key]) for one in self.containers if one.key in place]
        return tuple(dict.fromkeys(found))


class Surveys:
    """Of one binary.  items: the futures in a type.  is_future: whether a type is one itself."""

    def __init__(
        self,
        types: Types,
        items: Callable[[Type], Iterable[Item]],
        is_future: Callable[[Type], bool],
        shadowed: ShadowedVariables,
    ) -> None:
        self._types = types
        self._shadowed = shadowed
        self._items = items
        routes = Routes(types)
        self._links = Links(routes)
        self._containers = Containers(routes, items, is_future)

    def of_future(self, type_: Type) -> Beside:
        """Of a hand-written future.  Raises DwarfError."""
        waits, containers = list(self._links.waits(type_)), list(self._containers.polled(type_))
        is_both = base_name(type_.name) in _WITH_TIMER
        gate = self._gate(type_) if base_name(type_.name) == "PollFn" else None
        return Beside(waits if is_both else [], [] if is_both else waits, containers=containers, gate=gate)

    def _gate(self, poll_fn: Type) -> Gate | None:
        """tokio 1.0 to 1.54, macros/select.rs: its closure has references to the branches and to a number of theirs."""
        for closure in poll_fn.members:
            if closure.type is None or not self._types.name_at(closure.type).startswith("{closure_env#"):
                continue
            captured = {member.name.removeprefix("_ref__"): member for member in self._types.at(closure.type).members}
            mask = captured.get("disabled")
            if mask is None or mask.type is None or "futures" not in captured:
                continue
            pointer = self._types.at(mask.type)
            size = _MASKS.get(pointer.name)
            if pointer.tag == Tag.POINTER and size is not None:
                return Gate(Route(None, (), (closure.offset + mask.offset, 0)), size)
        return None

    def of_coroutine(self, type_: Type) -> Beside:
        """Raises DwarfError."""
        beside = Beside()
        part = type_.variant_part
        variants = part.variants if part is not None else ()
        captured = next((self._members(variant) for value, variant in variants if value == UNRESUMED), ())
        for value, variant in variants:
            if value is None or value < FIRST_SUSPEND:
                continue
            own, outer = self._split(self._members(variant), captured)
            flags = tuple(variant.offset + member.offset for member in own if self._is_flag(member))
            for member in own:
                self._add(beside, value, variant.offset, member, flags)
            beside.links += self._lent(value, variant)
            beside.links += self._hidden(type_, value, variant, own, captured)
            if not type_.name.startswith(_FUNCTION):
                for member in outer:
                    self._add(beside, value, variant.offset, member, None)
        return beside

    def _hidden(
        self, type_: Type, value: int, variant: Member, own: Sequence[Member], captured: Sequence[Member]
    ) -> list[Link]:
        """The locks and permits that a state has in variables without a member; where one can be at several places,
        one at each."""
        links: list[Link] = []
        part = type_.variant_part
        state = part.discriminant if part is not None else None
        taken = [*captured, *(one for one in self._members(variant) if one.name == AWAITEE)]
        taken += [Member(state.name, state.offset, None)] if state is not None else []
        with suppress(DwarfError):
            for one in self._shadowed.of_state(type_, variant, own, taken):
                found = [
                    link
                    for place in one.places
                    for link in self._links.holds(Place(self._types.at(one.type), (place,)), value)
                    if link.kind in LENT
                ]
                links += [replace(link, is_certain=False, is_guess=len(one.places) > 1) for link in found]
        return links

    def _lent(self, value: int, variant: Member) -> list[Link]:
        """Of a wait for room in a channel, that channel: the sender is its caller's."""
        members = self._members(variant)
        awaited = next((one.type for one in members if one.name == AWAITEE), None)
        if awaited is None or base_name(self._types.name_at(awaited)) != _ACQUIRE:
            return []
        links: list[Link] = []
        with suppress(DwarfError):
            for member in members:
                if member.type is not None:
                    place = Place(self._types.at(member.type), (variant.offset + member.offset,))
                    links += self._links.lent(place, value)
        return links

    def _members(self, variant: Member) -> tuple[Member, ...]:
        return self._types.at(variant.type).members if variant.type is not None else ()

    def _split(
        self, members: tuple[Member, ...], captured: tuple[Member, ...]
    ) -> tuple[list[Member], tuple[Member, ...]]:
        """The local variables of a state but for what it awaits, and after them what the coroutine captured."""
        count = len(captured)
        has = count and [one.name for one in members[-count:]] == [one.name for one in captured]
        own, outer = (members[:-count], members[-count:]) if has else (members, ())
        return [one for one in own if one.name != AWAITEE], outer

    def _is_flag(self, member: Member) -> bool:
        return (
            member.type is not None
            and _UNNAMED.match(member.name) is not None
            and self._types.name_at(member.type) == "bool"
        )

    def _add(self, beside: Beside, value: int, base: int, member: Member, flags: tuple[int, ...] | None) -> None:
        """What one variable has.  flags: None: nothing tells whether the variable is still there."""
        if member.type is None:
            return
        try:
            type_ = self._types.at(member.type)
        except DwarfError:
            return
        offset, is_certain = base + member.offset, flags is not None
        place = Place(type_, (offset,))
        links = [replace(link, flags=flags or (), is_certain=is_certain) for link in self._links.holds(place, value)]
        beside.links += links
        for found in self._containers.kept(place):
            route = replace(found.container.route, value=value)
            container = replace(found.container, route=route, is_polled=False, flags=flags or (), is_certain=is_certain)
            beside.containers.append(FoundContainer(container, found.key))
        if not links:
            beside.kept += self._kept(type_, value, offset, flags)

    def _kept(self, type_: Type, value: int, offset: int, flags: tuple[int, ...] | None) -> Iterator[tuple[Link, int]]:
        for item in self._items(type_):
            steps = (offset + item.offset, 0) if item.is_pointer else (offset + item.offset,)
            # What a reference leads to may be gone before the variable is.
            is_owned = not item.is_pointer or type_.name.startswith(_OWNERS)
            link = Link(
                LinkKind.FUTURE,
                LinkRole.KEEPS,
                Route(value, (), steps),
                size=0,
                flags=flags or (),
                is_certain=flags is not None and is_owned,
            )
            yield link, item.key
