"""From tasks down to where they wait: all at once, by what they have in common.

Tasks that are in the same futures in the same states are one group, however many they are, and each
step is one array operation on a group.  What is read is trusted nowhere: a discriminant that no state
has, a pointer to nowhere or a vtable of nothing end the way there, marked as not whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tracer.model import Binary, Container, Gate, LayoutKind
from tracer.snapshot.containers import elements
from tracer.snapshot.image import Image, Known, numbers
from tracer.snapshot.routes import follow
from tracer.snapshot.steps import edges_with, makes_sense, meanings
from tracer.snapshot.vtables import FutureVtables
from tracer.stacks import Frame, Stack
from tracer.target.memory import Addresses, Bytes

Rows = npt.NDArray[np.intp]

_LARGEST = (1 << 64) - 1
"""Discriminant."""

_SHARED = "ArcInner<"
"""What several have, and may poll."""

_MAX_DEPTH = 400
_MAX_NODES = 1 << 14
_MOST_BRANCHES = 32
"""Of a container."""

_MAX_VISITS_OF_TASK = 64
_MAX_VISITS = 1 << 11
"""On average, and of all tasks beyond that: futures of futures that garbage makes up are many."""


@dataclass(frozen=True, slots=True)
class Reads:
    """What decided on the way: which roots' walks, where it was read, and what was there, shape (n, bytes).

    mask: of these bytes the bits that matter; None: all.
    """

    roots: Rows
    addresses: Addresses
    content: Bytes
    mask: Bytes | None = None


@dataclass(frozen=True, slots=True)
class Walked:
    """stack: of each root, index into `stacks`; -1: nothing of it could be read.  row: of the stack's addresses.

    addresses: of each stack, shape (its roots, its frames).  reads: all that the result depends on.
    """

    stack: npt.NDArray[np.int32]
    row: npt.NDArray[np.uint32]
    stacks: tuple[Stack, ...]
    addresses: tuple[npt.NDArray[np.uint64], ...]
    reads: tuple[Reads, ...]


@dataclass(frozen=True, slots=True)
class _Group:
    """Roots that came the same way to a future of one type.  order: place among the branches of its parent.

    off: the branches that are off, bit by bit, where a select! told it.  salt: differs where futures are come to
    through something that several share.
    """

    parent: int
    order: int
    layout: int
    roots: Rows
    addresses: Addresses
    depth: int
    off: Addresses | None = None
    salt: int = 0

    def only(self, which: npt.NDArray[Any]) -> _Group:
        """Some of them."""
        off = self.off[which] if self.off is not None else None
        return replace(self, roots=self.roots[which], addresses=self.addresses[which], off=off)


@dataclass(slots=True)
class _Node:
    frame: Frame
    order: int


@dataclass(slots=True)
class _Visits:
    roots: list[Rows] = field(default_factory=list)
    nodes: list[npt.NDArray[np.int64]] = field(default_factory=list)
    addresses: list[Addresses] = field(default_factory=list)
    reads: list[Reads] = field(default_factory=list)


class Walk:
    """One walk through one image."""

    def __init__(self, binary: Binary, image: Image, vtables: FutureVtables) -> None:
        self._binary = binary
        self._image = image
        self._vtables = vtables
        self._nodes: list[_Node] = []
        self._ids: dict[tuple[int, int, Frame], int] = {}
        self._visits = _Visits()
        self._left = 0
        self._seen: dict[int, list[npt.NDArray[np.uint64]]] = {}

    def run(self, roots: Sequence[tuple[int, Rows, Addresses]], count: int) -> Walked:
        """roots: layouts, with the numbers (below `count`) of what begins there, and where that is.

        Raises NoSuchProcess, PermissionMissing.
        """
        self._left = _MAX_VISITS_OF_TASK * count + _MAX_VISITS
        waiting = [_Group(-1, 0, layout, rows, addresses, 0) for layout, rows, addresses in roots]
        while waiting:
            waiting += (group for group in self._step(waiting.pop()) if len(group.roots))
        return self._gathered(count)

    # ------------------------------------------------------------ one step

    def _step(self, group: _Group) -> Iterator[_Group]:
        layout = self._binary.layouts[group.layout]
        if (layout.edges or layout.containers) and not layout.name.startswith(_SHARED):
            group = self._first_time(group)
        if layout.kind is LayoutKind.OBJECT:
            yield from self._behind(group)
            return
        if layout.discriminant_offset is None:
            yield from self._below(group, self._visit(group, Frame(group.parent, group.layout, None, None)), None)
            return
        at = group.addresses + np.uint64(layout.discriminant_offset)
        values, known = self._numbers(group.roots, at, layout.discriminant_size)
        self._lost(group, ~known)
        group, values = group.only(known), values[known]
        own = meanings(layout)
        others = next(number for number in range(_LARGEST, 0, -1) if number not in own)
        if layout.kind is not LayoutKind.COROUTINE:  # all others are one: what is there can be a part of something else
            values = np.where(np.isin(values, np.array([*own], np.uint64)), values, np.uint64(others))
        for value in np.unique(values).tolist():
            chosen = group.only(values == value)
            state = None if value == others and layout.kind is not LayoutKind.COROUTINE else value
            frame = Frame(group.parent, group.layout, None, state, makes_sense(layout, value))
            node = self._visit(chosen, frame)
            if frame.is_whole:
                yield from self._below(chosen, node, state)

    def _below(self, group: _Group, node: int, value: int | None) -> Iterator[_Group]:
        layout = self._binary.layouts[group.layout]
        if node < 0:
            return
        salt = node + 1 if layout.name.startswith(_SHARED) else group.salt
        edges = edges_with(layout, value)
        off = self._switched_off(group, layout.gate) if layout.gate is not None else None
        for order, edge in enumerate(edges):
            if edge.child is None:
                continue
            at = group.addresses + np.uint64(edge.offset)
            child = _Group(node, order, edge.child, group.roots, at, group.depth + 1, off, salt)
            if group.off is not None and layout.branches:
                child = child.only(group.off >> np.uint64(layout.branches[order]) & np.uint64(1) == 0)
            if edge.is_pointer:
                child = self._followed(child, child.addresses)
            yield child
        for number, container in enumerate(layout.containers):
            if container.is_polled and container.route.value in (None, value):
                order = len(edges) + number * (_MOST_BRANCHES + 1)
                inside = replace(group, parent=node, order=order, layout=container.child, salt=salt, off=None)
                yield from self._contained(container, inside)

    def _switched_off(self, group: _Group, gate: Gate) -> Addresses:
        """The branches that are; none of those whose gate cannot be read."""
        ends = follow(self._image, gate.route, group.addresses)
        for piece in ends.pieces:
            self._visits.reads.append(Reads(group.roots[piece.rows], piece.addresses, piece.content))
        rows = np.flatnonzero(ends.leads)
        bits, known = self._numbers(group.roots[rows], ends.addresses[rows], gate.size)
        self._lost(group, ~np.isin(np.arange(len(group.roots)), rows[known]))
        off = np.zeros(len(group.roots), np.uint64)
        off[rows[known]] = bits[known]
        return off

    def _contained(self, container: Container, group: _Group) -> Iterator[_Group]:
        """The futures in a container: the first few one by one, for others it is said how many there are."""
        found = elements(self._image, container, group.addresses)
        for piece in found.pieces:
            self._visits.reads.append(Reads(group.roots[piece.rows], piece.addresses, piece.content))
        self._lost(group, ~found.is_whole)
        begins = np.searchsorted(found.rows, found.rows)
        place = np.arange(len(found.rows)) - begins
        layout = self._binary.layouts[container.child]
        self._image.load(found.addresses[place < _MOST_BRANCHES], layout.size)
        for number in range(min(int(place.max(initial=-1)) + 1, _MOST_BRANCHES)):
            at = np.flatnonzero(place == number)
            roots = group.roots[found.rows[at]]
            yield replace(
                group, order=group.order + number, roots=roots, addresses=found.addresses[at], depth=group.depth + 1
            )
        counts = np.bincount(found.rows, minlength=len(group.roots))
        for count in np.unique(counts[counts > _MOST_BRANCHES]).tolist():
            rows = np.flatnonzero(counts == count)
            frame = Frame(group.parent, container.child, None, None, more=count - _MOST_BRANCHES)
            self._visit(replace(group, order=group.order + _MOST_BRANCHES).only(rows), frame)

    def _followed(self, group: _Group, pointers: Addresses) -> _Group:
        targets, known = self._numbers(group.roots, pointers, 8)
        layout = self._binary.layouts[group.layout]
        self._image.load(targets[known], layout.size)
        if layout.size:
            _, is_there = self._image.bytes_at(targets, 1)
            known = known & is_there
        self._lost(group, ~known)
        return replace(group, addresses=targets).only(known)

    def _behind(self, group: _Group) -> Iterator[_Group]:
        """Past trait objects: a pointer to the future, and one to the vtable that says of which type it is."""
        content, known = self._image.bytes_at(group.addresses, 16)
        self._visits.reads.append(Reads(group.roots[known], group.addresses[known], content[known]))
        words = content.view("<u8")
        self._lost(group, ~known)
        for vtable in np.unique(words[known, 1]).tolist():
            rows = np.flatnonzero(known & (words[:, 1] == vtable))
            chosen = group.only(rows)
            function = self._vtables.function(self._image, vtable)
            frame = Frame(group.parent, group.layout, function, None, function is not None)
            node = self._visit(chosen, frame)
            layout = self._binary.functions[function].layout if function is not None else None
            if node < 0 or layout is None:
                continue
            self._image.load(words[rows, 0], self._binary.layouts[layout].size)
            yield _Group(node, 0, layout, chosen.roots, words[rows, 0], group.depth + 1, salt=group.salt)

    # ------------------------------------------------------------ what was found

    def _first_time(self, group: _Group) -> _Group:
        """A future has one owner: what a task's walk comes to again is no future, and would never end."""
        keys = _mixed(group.roots.astype(np.int64) + (group.salt << 32)) ^ group.addresses
        known = self._seen.setdefault(group.layout, [])
        again = np.isin(keys, np.concatenate(known)) if known else np.zeros(len(keys), np.bool_)
        known.append(keys)
        if not again.any():
            return group
        self._lost(group, again)
        return group.only(~again)

    def _numbers(self, roots: Rows, addresses: Addresses, size: int) -> tuple[Addresses, Known]:
        content, known = self._image.bytes_at(addresses, size)
        self._visits.reads.append(Reads(roots[known], addresses[known], content[known]))
        return numbers(content), known

    def _lost(self, group: _Group, which: Known) -> None:
        """Note those whose memory at this place could not be read."""
        if which.any():
            frame = Frame(group.parent, group.layout, None, None, is_whole=False)
            self._visit(group.only(which), frame)

    def _visit(self, group: _Group, frame: Frame) -> int:
        """The number of the frame; -1: there is no room for more below it."""
        key = group.parent, group.order, frame
        node = self._ids.get(key)
        if node is None:
            node = self._ids[key] = len(self._nodes)
            self._nodes.append(_Node(frame, group.order))
        self._visits.roots.append(group.roots)
        self._visits.nodes.append(np.full(len(group.roots), node, np.int64))
        self._visits.addresses.append(group.addresses)
        self._left -= len(group.roots)
        if self._left < 0 or len(self._nodes) > _MAX_NODES or group.depth >= _MAX_DEPTH:
            return -1
        return node

    def _gathered(self, count: int) -> Walked:
        stack, row = np.full(count, -1, np.int32), np.zeros(count, np.uint32)
        if not self._visits.roots:
            return Walked(stack, row, (), (), ())
        roots = np.concatenate(self._visits.roots)
        nodes = np.concatenate(self._visits.nodes)
        addresses = np.concatenate(self._visits.addresses)
        order = np.lexsort((nodes, roots))
        roots, nodes, addresses = roots[order], nodes[order], addresses[order]
        begins = np.flatnonzero(np.diff(roots, prepend=-1))
        # One number for the set of a task's nodes: tasks of the same set are in the same stack.
        sums = np.add.reduceat(_mixed(nodes), begins)
        _, first, of_task = np.unique(sums, return_index=True, return_inverse=True)
        lengths = np.diff(np.append(begins, len(roots)))
        stack[roots[begins]] = of_task
        stacks, places = [], []
        for number, one in enumerate(first.tolist()):
            begin, length = int(begins[one]), int(lengths[one])
            made, columns = self._stack(nodes[begin : begin + length].tolist())
            members = begins[of_task == number]
            row[roots[members]] = np.arange(len(members))
            places.append(addresses[members[:, None] + np.array(columns)])
            stacks.append(made)
        return Walked(stack, row, tuple(stacks), tuple(places), tuple(self._visits.reads))

    def _stack(self, nodes: list[int]) -> tuple[Stack, list[int]]:
        """The stack of some nodes, and by frame its place among them."""
        below: dict[int, list[int]] = {}
        for node in nodes:
            below.setdefault(self._nodes[node].frame.parent, []).append(node)
        frames: list[Frame] = []
        columns: list[int] = []
        place = {node: index for index, node in enumerate(nodes)}
        waiting = [(-1, node) for node in reversed(below[-1])]
        while waiting:
            parent, node = waiting.pop()
            one = self._nodes[node].frame
            number = len(frames)
            frames.append(replace(one, parent=parent))
            columns.append(place[node])
            children = sorted(below.get(node, ()), key=lambda child: self._nodes[child].order, reverse=True)
            waiting += [(number, child) for child in children]
        return Stack(tuple(frames)), columns


def _mixed(nodes: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """Numbers whose sums tell sets apart: splitmix64 of each."""
    with np.errstate(over="ignore"):
        value = (nodes.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return value ^ (value >> np.uint64(31))
