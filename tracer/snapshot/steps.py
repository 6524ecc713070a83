"""From layouts to a table of steps: what to look at next, by what was found until now.

A walk to where a task waits looks at one discriminant or pointer after the other.  Which one comes next depends on
nothing but the values found before it, so each step has a number and a row: a byte's value tells the next step.
Then a thousand tasks of any types advance by one step in a few array operations.  The table is made as it is needed:
a program has millions of ways that could be and a few hundred that are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tracer.model import FIRST_SUSPEND, Binary, Layout, LayoutEdge, LayoutKind
from tracer.stacks import Frame, Stack

UNKNOWN = -1
"""In the table: this value has not been met yet."""

FOUND, LOST = 0, 1
"""The two ways on from a pointer."""

NO_MARK = 255
"""The number of all values that mark nothing: a niche holds what it likes, a pointer or a count, while the variant is
the one without a mark."""

REGISTERS = 24
_MOST_STEPS = 1 << 14
_DEEPEST = 100
_WIDEST = 1 << 18
"""Bytes from where a register leads; of what lies further away nothing is said."""
_MOST_FRAMES = 400


# What a step does with the bytes at its place; plain numbers, since arrays are compared with them all the time.
BYTE = 0
"""The table has the next step for each value."""
NUMBER = 1
"""A discriminant of more bytes: the same by the number that `marks` gives a value."""
VTABLE = 2
"""Of a trait object: after_vtable() has the next step by its address."""
POINTER = 3
"""What it points to is where the register `target` leads; the table has the next steps for FOUND and LOST."""
END = 4
"""The stack is known."""
MANY = 5
"""Futures in a container: no table has room for what they can be together."""


@dataclass(frozen=True, slots=True)
class _GateAt:
    """The next place on the way to a gate, and how many pointers are left on it."""

    register: int
    offset: int
    left: int


@dataclass(frozen=True, slots=True)
class _Item:
    """What is still to be looked at.  parent: its frame.  register, offset: where it is.  is_pointer: not itself.

    gate: it is a future whose gate has to be looked at before what it polls; then `parent` is its own frame.
    off: bits of the branches that are switched off in what polls it.
    """

    parent: int
    layout: int
    register: int
    offset: int
    is_pointer: bool = False
    depth: int = 0
    gate: _GateAt | None = None
    off: int = 0


@dataclass(frozen=True, slots=True)
class _Way:
    """How far a walk is."""

    frames: tuple[Frame, ...]
    items: tuple[_Item, ...]
    registers: int


class Steps:
    """kind, register, offset, size, target: of each step, what it looks at.  next: shape (steps, 256).

    `register` and `offset` (bytes) are the place; size: bytes of a number, or of what a pointer leads to.  marks: of
    a NUMBER the values that decide something, ascending.
    stack: of an END, index into `stacks`.
    """

    def __init__(self, binary: Binary, polled: Callable[[int], int | None]) -> None:
        """polled: the poll that a vtable has, as an index into Binary.functions; None: it is no future's."""
        self._binary = binary
        self._polled = polled
        self._ways: list[_Way] = []
        self._roots: dict[int, int] = {}
        self._stacks: dict[Stack, int] = {}
        self._spans: dict[int, int] = {}
        self.marks: dict[int, npt.NDArray[np.uint64]] = {}
        self._behind: dict[tuple[int, int | None], int] = {}
        self.kind = np.empty(0, np.uint8)
        self.register = np.empty(0, np.int64)
        self.offset = np.empty(0, np.int64)
        self.size = np.empty(0, np.int64)
        self.target = np.empty(0, np.int64)
        self.stack = np.empty(0, np.int32)
        self.next = np.empty((0, 256), np.int32)

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """All that were met, by number."""
        return tuple(self._stacks)

    def stack_number(self, stack: Stack) -> int:
        """Of one that was found in another way, too."""
        return self._stacks.setdefault(stack, len(self._stacks))

    def root(self, layout: int) -> int:
        """The first step of what has this layout and begins where register 0 leads."""
        if layout not in self._roots:
            self._roots[layout] = self._settled(_Way((), (_Item(-1, layout, 0, 0),), 1))
        return self._roots[layout]

    def span(self, layout: int) -> int:
        """Bytes from a type's begin that steps look at, without what pointers lead to."""
        if layout not in self._spans:
            self._spans[layout] = _WIDEST  # of what contains itself, which no type does: it cannot be read
            one = self._binary.layouts[layout]
            reach = 16 if one.kind is LayoutKind.OBJECT else 0
            if one.discriminant_offset is not None:
                reach = one.discriminant_offset + one.discriminant_size
            if one.gate is not None:
                reach = max(reach, self._gate_reach(layout, len(one.gate.route.steps)))
            for edge in one.edges:
                if edge.child is not None:
                    reach = max(reach, edge.offset + (8 if edge.is_pointer else self.span(edge.child)))
            self._spans[layout] = min(reach, _WIDEST)
        return self._spans[layout]

    def after(self, step: int, value: int) -> int:
        """The step that follows with this value, made now."""
        made = self.next[step, value] = self._after(step, value)
        return int(made)

    def after_vtable(self, step: int, vtable: int) -> int:
        """The step that follows a VTABLE with this one."""
        function = self._polled(vtable)
        made = self._behind.get((step, function))
        if made is None:
            made = self._behind[step, function] = self._object(step, function)
        return made

    # ------------------------------------------------------------ making steps

    def _after(self, step: int, value: int) -> int:
        way = self._ways[step]
        item, rest = way.items[0], way.items[1:]
        if len(self._ways) >= _MOST_STEPS:
            return self._settled(_lost(way, item, rest))
        if self.kind[step] == NUMBER:
            return self._switched(way, item, rest, None if value == NO_MARK else int(self.marks[step][value]))
        if self.kind[step] == BYTE and item.gate is not None:
            return self._settled(self._children(way, item, rest, item.parent, off=value))
        if self.kind[step] == BYTE:
            return self._switched(way, item, rest, value)
        if item.gate is not None:
            return self._settled(self._nearer(way, item, rest, item.gate, is_found=value == FOUND))
        if value == LOST:
            return self._settled(_lost(way, item, rest))
        there = replace(item, register=way.registers, offset=0, is_pointer=False)
        return self._settled(_Way(way.frames, (there, *rest), way.registers + 1))

    def _object(self, step: int, function: int | None) -> int:
        way = self._ways[step]
        item, rest = way.items[0], way.items[1:]
        if function is None or len(self._ways) >= _MOST_STEPS:
            return self._settled(_lost(way, item, rest))
        frame = Frame(item.parent, item.layout, function, None)
        layout = self._binary.functions[function].layout
        below: tuple[_Item, ...] = ()
        if layout is not None:
            below = (_Item(len(way.frames), layout, item.register, item.offset, True, item.depth + 1),)
        return self._settled(_Way((*way.frames, frame), (*below, *rest), way.registers))

    def _switched(self, way: _Way, item: _Item, rest: tuple[_Item, ...], value: int | None) -> int:
        layout = self._binary.layouts[item.layout]
        if not makes_sense(layout, value):
            return self._settled(_lost(way, item, rest))
        if layout.kind is not LayoutKind.COROUTINE and value not in meanings(layout):
            value = None  # all others are one: what is there can be a part of something else
        frame = Frame(item.parent, item.layout, None, value)
        return self._settled(self._below(way, item, rest, frame, value))

    def _below(self, way: _Way, item: _Item, rest: tuple[_Item, ...], frame: Frame, value: int | None) -> _Way:
        layout = self._binary.layouts[item.layout]
        after = _Way((*way.frames, frame), rest, way.registers)
        gate = layout.gate
        if gate is not None and gate.size == 1 and not gate.route.tests:
            first, *pointers = gate.route.steps
            at = _GateAt(item.register, item.offset + first, len(pointers))
            return replace(after, items=(replace(item, parent=len(way.frames), gate=at), *rest))
        if gate is not None or any(one.is_polled and one.route.value in (None, value) for one in layout.containers):
            return replace(after, items=(_MANY_ITEMS, *rest))
        return self._children(after, item, rest, len(way.frames))

    def _children(self, way: _Way, item: _Item, rest: tuple[_Item, ...], parent: int, off: int = 0) -> _Way:
        """What the future with the frame `parent` polls.  off: of branches that what it has polls."""
        layout = self._binary.layouts[item.layout]
        children = []
        for order, edge in enumerate(edges_with(layout, way.frames[parent].state)):
            if edge.child is not None and not (layout.branches and item.off >> layout.branches[order] & 1):
                at = item.offset + edge.offset
                children.append(_Item(parent, edge.child, item.register, at, edge.is_pointer, item.depth + 1, off=off))
        return replace(way, items=(*children, *rest))

    def _nearer(self, way: _Way, item: _Item, rest: tuple[_Item, ...], at: _GateAt, *, is_found: bool) -> _Way:
        """On the way to a gate, past a pointer.  Of one that cannot be read nothing is switched off."""
        gate = self._binary.layouts[item.layout].gate
        if not is_found or gate is None:
            frame = Frame(way.frames[item.parent].parent, item.layout, None, None, is_whole=False)
            return self._children(replace(way, frames=(*way.frames, frame)), item, rest, item.parent)
        there = _GateAt(way.registers, gate.route.steps[-at.left], at.left - 1)
        return _Way(way.frames, (replace(item, gate=there), *rest), way.registers + 1)

    def _settled(self, way: _Way) -> int:
        """The step for the next thing that has to be looked at."""
        while way.items:
            item, rest = way.items[0], way.items[1:]
            if item is _MANY_ITEMS:
                return self._add(MANY, way)
            if self._is_too_far(item) or len(way.frames) >= _MOST_FRAMES or way.registers >= REGISTERS:
                way = _lost(way, item, rest)
                continue
            if item.gate is not None:
                gate = item.gate
                if not gate.left:
                    return self._add(BYTE, way, gate.register, gate.offset, 1)
                return self._add(POINTER, way, gate.register, gate.offset, self._gate_reach(item.layout, gate.left))
            if item.is_pointer:
                size = max(1, self.span(item.layout))
                return self._add(POINTER, way, item.register, item.offset, size)
            layout = self._binary.layouts[item.layout]
            if layout.kind is LayoutKind.OBJECT:
                return self._add(VTABLE, way, item.register, item.offset + 8, 8)
            if layout.discriminant_offset is not None:
                at = item.offset + layout.discriminant_offset
                if layout.discriminant_size == 1:
                    return self._add(BYTE, way, item.register, at, 1)
                step = self._add(NUMBER, way, item.register, at, layout.discriminant_size)
                self.marks[step] = _marks(layout)
                return step
            way = self._below(way, item, rest, Frame(item.parent, item.layout, None, None), None)
        return self._add(END, way, stack=self.stack_number(Stack(way.frames)))

    def _gate_reach(self, layout: int, left: int) -> int:
        """Bytes to the end of a place on the way to the gate, of which so many steps are left."""
        gate = self._binary.layouts[layout].gate
        return gate.route.steps[-left] + (8 if left > 1 else gate.size) if gate is not None else 0

    def _is_too_far(self, item: _Item) -> bool:
        own = self._binary.layouts[item.layout]
        reach = 16 if item.is_pointer or own.kind is LayoutKind.OBJECT else 0
        if own.discriminant_offset is not None and not reach:
            reach = own.discriminant_offset + own.discriminant_size
        return item.depth > _DEEPEST or item.offset + reach > _WIDEST

    def _add(self, kind: int, way: _Way, register: int = 0, offset: int = 0, size: int = 0, *, stack: int = -1) -> int:
        step = len(self._ways)
        if step == len(self.kind):
            self._grow()
        self._ways.append(way)
        self.kind[step], self.register[step], self.offset[step] = kind, register, offset
        self.size[step], self.target[step], self.stack[step] = size, way.registers, stack
        self.next[step] = UNKNOWN
        return step

    def _grow(self) -> None:
        room = max(64, 2 * len(self.kind))
        for name in ("kind", "register", "offset", "size", "target", "stack", "next"):
            old: npt.NDArray[np.integer] = getattr(self, name)
            new = np.zeros((room, *old.shape[1:]), old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)


_MANY_ITEMS = _Item(-1, -1, 0, 0)
"""Stands for the futures in a container."""


def _lost(way: _Way, item: _Item, rest: tuple[_Item, ...]) -> _Way:
    """Nothing is said of what should be here."""
    frame = Frame(item.parent, item.layout, None, None, is_whole=False)
    return _Way((*way.frames, frame), rest, way.registers)


def edges_with(layout: Layout, value: int | None) -> list[LayoutEdge]:
    """Those that hold with this discriminant."""
    own = [edge for edge in layout.edges if edge.value == value]
    return own if own or value is None else [edge for edge in layout.edges if edge.value is None]


def meanings(layout: Layout) -> set[int]:
    """The discriminants that mean something; all others are the variant that has none of its own."""
    return {edge.value for edge in layout.edges if edge.value is not None}.union(layout.values)


def _marks(layout: Layout) -> npt.NDArray[np.uint64]:
    """The values that decide something, for a NUMBER."""
    return np.array(sorted(meanings(layout))[:NO_MARK] or [0], np.uint64)


def makes_sense(layout: Layout, value: int | None) -> bool:
    """Whether a coroutine can be in this state, or an enum have this discriminant; None: one without a meaning."""
    if layout.kind is not LayoutKind.COROUTINE or not layout.awaits:
        return not layout.values or value in layout.values
    return value is not None and (value < FIRST_SUSPEND or any(point.state == value for point in layout.awaits))
