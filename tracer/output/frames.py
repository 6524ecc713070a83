"""The stacks of a snapshot as people read them: each future with where it awaits the next, without the glue between."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from tracer.model import (
    FIRST_SUSPEND,
    PANICKED,
    RETURNED,
    AwaitPoint,
    Binary,
    FunctionKind,
    Layout,
    LayoutKind,
    SourceLocation,
    is_foreign,
)
from tracer.output.awaits import UNVERIFIED, short_place
from tracer.output.labels import MAYBE_DONE, POLL_FN, POLLS_ALL, short_awaitee, state_words
from tracer.stacks import Frame, Stack
from tracer.terminal import printable

_MACRO = re.compile(r"/(?:macros|async_await)/(\w+?)(?:_mod)?\.rs$")
"""tokio's and futures-util's."""

_CRATE = re.compile(r"^.*/registry/src/[^/]+/[^/]+/")

_EXECUTORS = re.compile(
    r"^(?:Pin<Box<|async_executor::|AsyncCallOnDrop<|(?:async_std::task::builder::)?SupportTaskLocals<)"
)
"""What runtimes put around the future that was spawned; a large one they box."""

_POINTERS = ("Pin<", "Box<", "&mut ")
_PENDING = "core::future::pending::Pending<"
"""What is polled through a trait object can be a pointer to the future."""

_ENDS_EMPTY = "futures_util::future::"
_SHARED = "futures_util::future::future::shared::"
"""futures-util 0.3: whoever has given away its future is over: Fuse, Map, Flatten, Select and those made of them; but
what a Shared has can be done without its knowing."""


@dataclass(frozen=True)
class FutureFrame:
    """A future of a stack, and those that it polls.

    name: as Layout has it.  kind: None where only its poll function is known.  point: the await it is at.
    begins: where a coroutine's body begins.  is_whole: False where its memory does not make sense.  number: of the
    stack's frame.  more: not 0: it stands for so many of a container.  may_be_off: nothing
    tells whether the one that has it polls it.  is_alive: something tells that it is there.  is_over: it has given away
    what it had.  own_folder: as Binary has it.
    """

    name: str
    kind: LayoutKind | None
    state: int | None
    point: AwaitPoint | None
    begins: SourceLocation | None
    is_whole: bool
    children: tuple[FutureFrame, ...]
    number: int = -1
    more: int = 0
    may_be_off: bool = False
    is_alive: bool = False
    is_over: bool = False
    own_folder: str | None = None

    @property
    def location(self) -> SourceLocation | None:
        """Where it awaits the next future, in the source of its own."""
        return self.point.location if self.point else None

    @property
    def is_own(self) -> bool:
        """Whether it awaits in the user's own source, as far as that is known."""
        place = self.location or (self.begins if self.point and self.point.macro else None)
        return place is not None and not is_foreign(place.file, (self.own_folder,) if self.own_folder else ())

    @cached_property
    def short(self) -> str:
        """Its name in short."""
        name = short_awaitee(self.name)
        if self.more:
            return f"{self.more:,} more: {name}"
        return f"{name} (if polled)" if self.may_be_off else name

    @property
    def place(self) -> str:
        """The line where it waits, else what is known of it; or ""."""
        if self.more:
            return ""
        if self.point is None:
            return state_words(self.state) if self.kind is LayoutKind.COROUTINE and self.state is not None else ""
        note = "" if self.point.is_verified else UNVERIFIED
        if self.point.location is not None:
            return short_place(self.point.location) + note
        if self.point.macro is not None:
            own = f", function at {short_place(self.begins)}" if self.begins else ""
            return f"{macro_words(self.point.macro)}{own}{note}"
        return state_words(self.state)


@dataclass(frozen=True, slots=True)
class Parked:
    """Where a stack waits, in a line.  place: the innermost line of the user's own source, or "".  location: the same
    as a value.  awaited: what is awaited there, in short.  leaf: what it all comes down to, in short."""

    place: str
    location: SourceLocation | None
    awaited: str
    leaf: str


def macro_words(macro: SourceLocation) -> str:
    """`select!`, as far as the file that it is in tells its name."""
    name = _MACRO.search(macro.file)
    return f"{name[1]}!" if name else f"macro at {short_place(macro)}"


def future_frames(stack: Stack, binary: Binary) -> tuple[FutureFrame, ...]:
    """The task's own future: one, unless its memory tells nothing."""
    below: dict[int, list[int]] = {}
    for number, frame in enumerate(stack.frames):
        below.setdefault(frame.parent, []).append(number)
    made: dict[int, tuple[FutureFrame, ...]] = {}
    for number in range(len(stack.frames) - 1, -1, -1):  # those below come after
        children = tuple(one for child in below.get(number, ()) for one in made.pop(child))
        frame = stack.frames[number]
        made[number] = _shown(number, frame, binary, children)
        if frame.parent >= 0 and _is_contained(frame, stack.frames[frame.parent], binary):
            made[number] = _alive(made[number])
    found = tuple(one for root in below.get(-1, ()) for one in made[root])
    while len(found) == 1 and _EXECUTORS.match(found[0].name) and found[0].children:
        found = found[0].children
    return found


def task_frames(stack: Stack, binary: Binary, function: int) -> tuple[FutureFrame, ...]:
    """future_frames of a task, whose own future has the name that its poll tells where its type does not.

    function: its poll, index into Binary.functions.
    """
    frames = future_frames(stack, binary)
    if len(frames) == 1 and frames[0].name.startswith("{async "):
        return (replace(frames[0], name=binary.functions[function].name.removeprefix("task ")),)
    return frames


def _shown(number: int, frame: Frame, binary: Binary, children: tuple[FutureFrame, ...]) -> tuple[FutureFrame, ...]:
    """The future of a frame, or what is below it where it is only glue."""
    layout = binary.layouts[frame.layout] if frame.layout is not None else None
    if layout is not None and frame.more:
        inside = _inside(layout, binary)
        own_folder = binary.own_folder
        return (
            FutureFrame(
                inside.name, inside.kind, None, None, None, True, (), number, frame.more, own_folder=own_folder
            ),
        )
    if layout is not None and frame.is_whole:
        if layout.discriminant_offset is not None and layout.kind is not LayoutKind.COROUTINE:
            children = _alive(children)
        if layout.kind is LayoutKind.GLUE or (children and MAYBE_DONE.match(layout.name)):
            return children
        if children and (layout.kind is LayoutKind.OBJECT or layout.name.startswith(_POINTERS)):
            return children
    if frame.function is not None:
        function = binary.functions[frame.function]
        if children and function.name.startswith(_POINTERS):
            return children
        kind = LayoutKind.COROUTINE if function.kind is FunctionKind.COROUTINE else LayoutKind.FUTURE
        return (
            FutureFrame(
                function.name,
                kind,
                None,
                None,
                function.location,
                frame.is_whole,
                children,
                number,
                own_folder=binary.own_folder,
            ),
        )
    if layout is None:
        return children
    is_over = False
    if layout.kind is LayoutKind.FUTURE:
        children = _polled(layout, children)
        is_over = bool(layout.edges) and not children and frame.is_whole and layout.name.startswith(_ENDS_EMPTY)
        is_over = is_over and not layout.name.startswith(_SHARED)
    point = next((one for one in layout.awaits if one.state == frame.state), None)
    if point is not None and point.macro is not None and len(children) == 1 and POLL_FN.match(children[0].name):
        children = children[0].children or children  # the macro itself
    return (
        FutureFrame(
            layout.name,
            layout.kind,
            frame.state,
            point,
            layout.location,
            frame.is_whole,
            children,
            number,
            is_over=is_over,
            own_folder=binary.own_folder,
        ),
    )


def _inside(layout: Layout, binary: Binary) -> Layout:
    """The future in what a container has of each, or that itself where it leads to several."""
    seen = {layout.name}
    while layout.kind is LayoutKind.GLUE:
        below = {edge.child for edge in layout.edges if edge.child is not None}
        inside = binary.layouts[below.pop()] if len(below) == 1 else layout
        if inside.name in seen:
            break
        seen.add(inside.name)
        layout = inside
    return layout


def _polled(layout: Layout, children: tuple[FutureFrame, ...]) -> tuple[FutureFrame, ...]:
    """Of the futures that a hand-written one has, those that are not done; where nothing tells whether it polls one of
    several, that one is marked."""
    left = tuple(child for child in children if not _is_done(child))
    if len(left) < 2 or layout.gate is not None or POLLS_ALL.match(layout.name):
        return left
    return tuple(child if _is_suspended(child) else replace(child, may_be_off=True) for child in left)


def _is_done(frame: FutureFrame) -> bool:
    return frame.is_over or (frame.kind is LayoutKind.COROUTINE and frame.state in (RETURNED, PANICKED))


def _is_suspended(frame: FutureFrame) -> bool:
    """Whether it is surely polled, and not done."""
    if frame.kind is LayoutKind.COROUTINE:
        return frame.state is not None and frame.state >= FIRST_SUSPEND
    return frame.is_alive or frame.more > 0 or any(_is_suspended(child) for child in frame.children)


def _is_contained(frame: Frame, parent: Frame, binary: Binary) -> bool:
    """Whether it is in a container of what polls it, of which it polls all."""
    layout = binary.layouts[parent.layout] if parent.layout is not None else None
    return layout is not None and any(
        one.is_polled and one.is_certain and one.child == frame.layout for one in layout.containers
    )


def _alive(frames: tuple[FutureFrame, ...]) -> tuple[FutureFrame, ...]:
    return tuple(replace(frame, is_alive=True) for frame in frames)


def parked(frames: Sequence[FutureFrame]) -> Parked:
    """Where these frames wait."""
    at: FutureFrame | None = None
    names: Sequence[FutureFrame] = frames
    level = frames
    home = _home(frames[0]) if frames else ""
    while len(level) == 1:
        if level[0].is_own or (home and _home(level[0]) == home):
            at, names = level[0], level[0].children
        level = _surely(level[0])
    leaves = " | ".join(dict.fromkeys(one.short for one in _leaves(frames)))
    awaited = " | ".join(dict.fromkeys(one.short for one in names)) if at is not None else ""
    location = (at.location or at.begins) if at is not None else None
    return Parked(at.place if at is not None else "", location, awaited, leaves)


def innermost_own(frames: Sequence[FutureFrame], number: int) -> FutureFrame | None:
    """Of the frames down to the one of this number the last that awaits in the user's own source; past branches too."""
    ways: list[tuple[FutureFrame, ...]] = [(frame,) for frame in frames]
    while ways:
        way = ways.pop()
        if way[-1].number == number:
            return next((one for one in reversed(way) if one.is_own), None)
        ways += [(*way, child) for child in way[-1].children]
    return None


def _surely(frame: FutureFrame) -> Sequence[FutureFrame]:
    """What it polls; of a hand-written one that is only known to poll one of those it has, that one: a limit that it
    has besides may not be polled yet."""
    sure = [child for child in frame.children if not child.may_be_off]
    is_by_hand = frame.kind is LayoutKind.FUTURE and not POLL_FN.match(frame.name)
    return sure if is_by_hand and len(sure) == 1 else frame.children


def waits_for_ever(frames: Sequence[FutureFrame]) -> bool:
    """Whether all that these frames come down to is std's `pending()`, which nobody is to wake."""
    return bool(frames) and all(leaf.name.startswith(_PENDING) for leaf in _leaves(frames))


def _home(frame: FutureFrame) -> str:
    """The folder of the crate from a registry that a future is of, or "": a task can be from there as a whole."""
    place = frame.location or frame.begins
    crate = _CRATE.match(place.file) if place is not None else None
    return crate[0] if crate else ""


def _leaves(frames: Sequence[FutureFrame]) -> list[FutureFrame]:
    found: list[FutureFrame] = []
    waiting = list(reversed(frames))
    while waiting:
        frame = waiting.pop()
        if frame.children:
            waiting += reversed(frame.children)
        else:
            found.append(frame)
    return found


def frame_json(frame: FutureFrame) -> dict[str, Any]:
    """As docs/snapshot.schema.json has it."""
    macro = frame.point.macro if frame.point else None
    return {
        "future": printable(frame.name),
        "kind": str(frame.kind) if frame.kind is not None else None,
        "state": frame.state if frame.kind is LayoutKind.COROUTINE else None,
        "location": str(frame.location) if frame.location else None,
        "macro": str(macro) if macro else None,
        "function": str(frame.begins) if frame.begins else None,
        "verified": frame.point.is_verified if frame.point else True,
        "readable": frame.is_whole,
        "more": frame.more or None,
        "enabled": None if frame.may_be_off else True,
        "children": [frame_json(child) for child in frame.children],
    }
