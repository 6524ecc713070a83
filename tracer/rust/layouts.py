"""Where types keep the futures that they poll, out of DWARF: from each poll function's own type downwards.

Followed are a coroutine's `__awaitee` in each suspend state, and in hand-written futures the members
that are futures; through pins, boxes, references, options, tuples, streams and the closures of poll_fn().
What is shared (Arc, Rc, raw pointers) belongs to nobody's poll and is not followed.

A type's entry has its own name only, which others can have too: a stream is called `Map` as a future is, and a
user's future may be called `Stage` as a part of tokio's tasks is.  So all that have a future's name are taken for one
first; those whose path tells that they are something else are looked through from then on.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from tracer.model import UNRESUMED, LayoutKind
from tracer.rust.awaits import AWAITEE, Awaits
from tracer.rust.beside import Beside, Surveys
from tracer.rust.compiled_layouts import FoundLayouts, Node, Way, compiled
from tracer.rust.containers import Item
from tracer.rust.dwarf import Dwarf
from tracer.rust.forms import DwarfError, Tag
from tracer.rust.future_names import base_name, future_paths, stream_paths
from tracer.rust.naming import generic_arguments, own_name
from tracer.rust.shadowed import ShadowedVariables
from tracer.rust.type_paths import TypePaths
from tracer.rust.types import Member, Type, Types, is_coroutine

_COROUTINE_NAMES = ("{async_", "{coroutine")
_TRAIT_OBJECT = "dyn core::future::future::Future<"
_TRANSPARENT = frozenset(
    {"Pin", "Option", "ManuallyDrop", "MaybeUninit", "MaybeDangling", "UnsafeCell", "UnsafePinned", "GenFuture"}
)
"""Wrappers of core that are looked into; the last one is around the coroutines of rustc up to 1.66."""

_HAS_OUTPUT = frozenset({"MaybeDone", "TryMaybeDone", "FutureOrOutput"})
"""Enums of tokio and futures-util that have a future first, and what it returned after that, which can be one too."""
_POLLED_VARIANT = "Future"

_UNTOLD = _HAS_OUTPUT | {"OrderWrapper"}
"""Futures that only hold the branches of a join!, or what is in a FuturesOrdered."""

_STAGE, _RUNNING = "Stage", "Running"
"""tokio 1.0 to 1.54, runtime/task/core.rs: the part of a task that has its future, and the variant of it that does."""

_BETWEEN = frozenset({"Core", "CoreStage", _STAGE, "ArcInner", "Inner"})
"""What is between tokio's cell of a task, or a Shared, and the future in it."""

_POLL_FN = "PollFn"
_CLOSURE = "{closure_env#"
_POINTERS = (
    "&mut ",
    "alloc::boxed::Box<",
    "*const alloc::sync::ArcInner<futures_util::future::future::shared::Inner<",
    "*mut alloc::sync::ArcInner<futures_util::future::future::shared::Inner<",
)
"""How rustc names the pointers through which a future is polled: a Shared is polled by each who has it."""

_VALUES = frozenset({"Ready"})
"""Futures that have nothing but what they return."""

_TIMEOUT, _TIMER = "Timeout", "delay"
"""tokio's, whose links tell until when it waits, and what it has for that besides the future that it is about."""

_MEMBER_OF_TUPLE = re.compile(r"^__(\d+)$")

_MAX_GLUE = 12
_MAX_ROUNDS = 8
"""What is something else than its name says is mostly found in the first."""

_MAX_LAYOUTS = 1 << 14
"""Far more than a program of 130 MB has."""


class Layouts:
    """The layouts of one binary."""

    def __init__(self, dwarf: Dwarf, types: Types, awaits: Awaits, shadowed: ShadowedVariables) -> None:
        self._types = types
        self._awaits = awaits
        strings = dwarf.section(".debug_str")
        self._future_paths = future_paths(strings)
        self._futures = _own_names(self._future_paths)
        self._streams = _own_names(stream_paths(strings))
        self._type_paths = TypePaths(dwarf)
        self._paths: dict[int, str | None] = {}
        self._others: set[int] = set()
        self._certain: set[int] = set()
        self._nodes: dict[int, Node] = {}
        self._waiting: list[int] = []
        self._surveys = Surveys(types, self._items, self._is_followed, shadowed)

    def of(self, roots: Mapping[int, str | None], cells: Collection[int] = ()) -> FoundLayouts:
        """roots: positions of the types of futures, and their paths.  cells: positions of types that hold one."""
        for _ in range(_MAX_ROUNDS):
            wanted = self._explored(roots, cells)
            mistaken = self._mistaken()
            if not mistaken:
                break
            self._others |= mistaken
        return compiled(self._nodes, self._awaits, {root: roots.get(root) for root in wanted})

    def _explored(self, roots: Collection[int], cells: Collection[int]) -> list[int]:
        """Make the nodes anew.  Yields those of the roots and cells that are nodes."""
        self._nodes.clear()
        self._certain.clear()
        wanted = [root for root in roots if self._root(root)]
        wanted += [cell for cell in cells if self._cell(cell)]
        while self._waiting:
            node = self._nodes[self._waiting.pop()]
            try:
                node.ways = list(self._ways_of(node))
            except DwarfError:
                node.ways = []
            with contextlib.suppress(DwarfError):
                node.beside = self._beside(node)
        return wanted

    def _mistaken(self) -> set[int]:
        """Those that were followed for their own names only, which others have that are futures."""
        followed = [
            key for key, node in self._nodes.items() if node.kind is LayoutKind.FUTURE and key not in self._certain
        ]
        for search in (self._type_paths.of, self._type_paths.by_scopes):
            self._paths |= search([key for key in followed if key not in self._paths])
        for key in followed:
            self._paths.setdefault(key, None)
        return {key for key in followed if not self._fits(self._nodes[key].type, self._paths[key])}

    def _fits(self, type_: Type, path: str | None) -> bool:
        """Whether a type of a future's name is one, as far as is known."""
        own = base_name(path) if path is not None else ""
        return own in self._future_paths if "::" in own else base_name(type_.name) not in self._streams

    # ------------------------------------------------------------ types

    def _root(self, position: int) -> bool:
        try:
            type_ = self._types.at(position)
            kind = self._kind(type_)
            if kind is None and type_.tag == Tag.STRUCTURE:
                kind = LayoutKind.FUTURE  # it has a poll function
            if kind in (None, LayoutKind.OBJECT):
                return False
            self._certain.add(self._add(type_, kind))
        except DwarfError:
            return False
        return True

    def _cell(self, position: int) -> bool:
        try:
            self._add(self._types.at(position), LayoutKind.GLUE)
        except DwarfError:
            return False
        return True

    def _add(self, type_: Type, kind: LayoutKind) -> int:
        if type_.offset not in self._nodes and len(self._nodes) < _MAX_LAYOUTS:
            self._nodes[type_.offset] = Node(kind, type_)
            if kind is not LayoutKind.OBJECT:
                self._waiting.append(type_.offset)
        return type_.offset

    def _kind(self, type_: Type) -> LayoutKind | None:
        """Of a type that is a node; None of one that is looked through, or leads nowhere."""
        if type_.tag != Tag.STRUCTURE:
            return None
        if is_coroutine(type_):
            return LayoutKind.COROUTINE
        if _is_trait_object(type_):
            return LayoutKind.OBJECT
        base = base_name(type_.name)
        if base in self._futures and base not in _TRANSPARENT and base not in _UNTOLD:
            return LayoutKind.FUTURE if type_.offset not in self._others else None
        return None

    def _ways_of(self, node: Node) -> Iterator[tuple[int | None, Way]]:
        type_ = node.type
        if node.kind is LayoutKind.COROUTINE:
            assert type_.variant_part is not None
            for value, variant in type_.variant_part.variants:
                if value is not None and value > UNRESUMED and variant.type is not None:
                    for member in self._types.at(variant.type).members:
                        if member.name == AWAITEE:
                            yield from ((value, way) for way in self._awaited(member, variant.offset))
            return
        if node.kind is LayoutKind.GLUE and base_name(type_.name) == _STAGE and type_.variant_part is not None:
            for value, variant in type_.variant_part.variants:
                if variant.name == _RUNNING and variant.type is not None:
                    for member in self._types.at(variant.type).members:
                        yield from ((value, way) for way in self._awaited(member, variant.offset))
            return
        for value, members in self._groups(type_):
            if node.kind is LayoutKind.FUTURE:
                yield from ((value, way) for way in self._polled(type_, members))
                continue
            for base, member in members:
                match = _MEMBER_OF_TUPLE.match(member.name) if type_.name.startswith("(") else None
                branch = int(match[1]) if match is not None else None
                yield from ((value, replace(way, branch=branch)) for way in self._ways(member, base, 0))

    def _awaited(self, member: Member, base: int) -> list[Way]:
        """To what a coroutine awaits, or a task runs: a future, whatever its name."""
        ways = list(self._ways(member, base, 0))
        if not ways and member.type is not None:
            type_ = self._types.at(member.type)
            if type_.tag == Tag.STRUCTURE and not self._is_glue(type_.name):
                ways = list(self._way(base + member.offset, False, type_, LayoutKind.FUTURE))
        self._certain.update(way.key for way in ways)
        return ways

    def _groups(self, type_: Type) -> Iterator[tuple[int | None, list[tuple[int, Member]]]]:
        """(discriminant's value, [(offset of what the member is in, member)]): of each variant, and what is always."""
        if type_.tag == Tag.POINTER:
            return
        if type_.members:
            yield None, [(0, member) for member in type_.members]
        if type_.variant_part is not None:
            has_output = base_name(type_.name) in _HAS_OUTPUT
            for value, variant in type_.variant_part.variants:
                if variant.type is not None and (not has_output or variant.name == _POLLED_VARIANT):
                    yield value, [(variant.offset, member) for member in self._types.at(variant.type).members]

    def _polled(self, type_: Type, members: list[tuple[int, Member]]) -> list[Way]:
        """To what a hand-written future polls: first what has a coroutine or a trait object in it, and what it is
        generic over, then what else is a future, and enums of its own that have one in them: a limit that it has
        besides wakes it too.  A tokio Timeout<F> tells of its timer itself."""
        owner = base_name(type_.name)
        if owner in _VALUES:
            return []
        named = [(base, member, self._types.name_at(member.type)) for base, member in members if member.type]
        if owner != _POLL_FN:
            named = [one for one in named if not one[2].startswith(_CLOSURE)]
            if owner == _TIMEOUT:
                named = [one for one in named if one[1].name != _TIMER] or named
        arguments = generic_arguments(type_.name)
        chosen = [one for one in named if owner == _POLL_FN or _mentions(one[2]) or _is_generic(one[2], arguments)]
        ways = [way for base, member, _ in chosen for way in self._ways(member, base, 0)]
        if not ways or any(self._leads(way) for way in ways):
            ways += [way for one in named if one not in chosen for way in self._ways(one[1], one[0], 0)]
        # else an async_channel's Send<T> has the T yet, and says more than the listener that it has besides
        own = [(base, member) for base, member, name in named if not self._is_glue(name)]
        return [*ways, *(way for base, member in own for way in self._of_states(member, base))]

    def _leads(self, way: Way) -> bool:
        """Whether it comes to a future in the end: an option of anything is looked into."""
        seen: set[int] = set()
        waiting = [way.key]
        while waiting:
            node = self._nodes[waiting.pop()]
            if node.kind is not LayoutKind.GLUE:
                return True
            if node.type.offset not in seen:
                seen.add(node.type.offset)
                with contextlib.suppress(DwarfError):
                    waiting += [one.key for _, one in self._ways_of(node)]
        return False

    def _of_states(self, member: Member, base: int) -> Iterator[Way]:
        """To an enum of a future's own, in whose variants what it polls may be: tower's Oneshot<S> has a State<S>, what
        looks up a name in tokio has one that is generic over nothing."""
        type_ = self._types.at(member.type) if member.type is not None else None
        if type_ is None or type_.tag != Tag.STRUCTURE or type_.variant_part is None or self._kind(type_) is not None:
            return
        yield from self._way(base + member.offset, False, type_, LayoutKind.GLUE)

    def _is_future(self, name: str, position: int | None) -> bool:
        return _last(name) in self._futures and position not in self._others

    def _ways(self, member: Member, base: int, depth: int) -> Iterator[Way]:
        """To the nodes in a member, through what is only looked through."""
        if member.type is None or depth > _MAX_GLUE:
            return
        offset = base + member.offset
        type_ = self._types.at(member.type)
        kind = self._kind(type_)
        if kind is not None:
            yield from self._way(offset, False, type_, kind)
        elif type_.tag == Tag.POINTER:
            if type_.target is not None and type_.name.startswith(_POINTERS):
                yield from self._pointed(offset, type_.target)
        elif not self._is_glue(type_.name):
            return
        elif type_.variant_part is not None:
            yield from self._way(offset, False, type_, LayoutKind.GLUE)
        elif type_.tag == Tag.UNION:
            for one in type_.members[:]:
                if one.name == "value":
                    yield from self._ways(one, offset, depth + 1)
        else:
            is_stream = base_name(type_.name) in self._streams
            for one in type_.members:
                if not (is_stream and self._is_function(one)):
                    yield from self._ways(one, offset, depth + 1)

    def _is_function(self, member: Member) -> bool:
        """Of a stream: what makes futures, and may have some that are not polled."""
        return member.type is not None and self._types.name_at(member.type).startswith(_CLOSURE)

    def _pointed(self, offset: int, target: int) -> Iterator[Way]:
        name = self._types.name_at(target)
        if not (_mentions(name) or self._is_future(name, target) or self._is_glue(name)):
            return
        type_ = self._types.at(target)
        kind = self._kind(type_) or LayoutKind.GLUE
        if type_.tag in (Tag.STRUCTURE, Tag.POINTER):
            yield from self._way(offset, True, type_, kind)

    def _way(self, offset: int, is_pointer: bool, type_: Type, kind: LayoutKind) -> Iterator[Way]:
        key = self._add(type_, kind)
        if key in self._nodes:
            yield Way(offset, is_pointer, key)

    def _is_glue(self, name: str) -> bool:
        return (
            name.startswith(("(", _CLOSURE, "&mut "))
            or base_name(name) in _TRANSPARENT
            or base_name(name) in _UNTOLD | _BETWEEN | self._streams
            or _mentions(name)
        )

    # ------------------------------------------------------------ what is not polled

    def _beside(self, node: Node) -> Beside:
        if node.kind is LayoutKind.COROUTINE:
            return self._surveys.of_coroutine(node.type)
        return self._surveys.of_future(node.type) if node.kind is LayoutKind.FUTURE else Beside()

    def _items(self, type_: Type) -> list[Item]:
        """The futures in a type."""
        ways = self._ways(Member("", 0, type_.offset), 0, 0)
        return [Item(way.offset, way.is_pointer, way.key) for way in ways]

    def _is_followed(self, type_: Type) -> bool:
        return self._kind(type_) is not None


def _mentions(name: str) -> bool:
    """Whether a type's name tells of a coroutine or a future's trait object in it."""
    return any(word in name for word in _COROUTINE_NAMES) or _TRAIT_OBJECT in name


def _own_names(paths: Collection[str]) -> frozenset[str]:
    return frozenset(path.rpartition("::")[2] for path in paths)


def _is_generic(name: str, arguments: list[str]) -> bool:
    """Whether a member's type is an argument of the type that has it, or made of one."""
    return any(one in name or own_name(one) == name for one in arguments)


def _last(name: str) -> str:
    """The own name of a type or of what a pointer type points to: `Recv` of `&mut tokio::sync::Recv<u8>`."""
    bare = base_name(name)
    for prefix in ("&mut ",):
        bare = bare.removeprefix(prefix)
    return bare.rpartition("::")[2]


def _is_trait_object(type_: Type) -> bool:
    return _TRAIT_OBJECT in type_.name and {member.name for member in type_.members} == {"pointer", "vtable"}
