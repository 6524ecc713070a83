"""What a walk makes of memory: branches that are off, discriminants that are none, what several share."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

from tests.memory_image import MadeMemory
from tracer.model import (
    Binary,
    Container,
    Gate,
    Layout,
    LayoutEdge,
    LayoutKind,
    Link,
    LinkKind,
    LinkRole,
    Route,
    Source,
)
from tracer.output.frames import FutureFrame, future_frames
from tracer.snapshot.image import Image
from tracer.snapshot.links import read_links
from tracer.snapshot.vtables import FutureVtables
from tracer.snapshot.walk import Walk
from tracer.stacks import SNAPSHOT_TASK, Frame, Snapshot, Stack
from tracer.target.clock import kernel_now
from tracer.target.memory import Addresses, Bytes

_BASE = 0x1000_0000


def layout(
    name: str, *edges: LayoutEdge, kind: LayoutKind = LayoutKind.FUTURE, size: int = 8, **others: object
) -> Layout:
    return Layout(name, kind, Source.DWARF, size, edges, **others)  # type: ignore[arg-type]


def to(child: int, offset: int = 0, value: int | None = None, *, is_pointer: bool = False) -> LayoutEdge:
    return LayoutEdge(value, offset, is_pointer, child)


def seen(layouts: tuple[Layout, ...], *words: int, tasks: tuple[int, ...] = (0,)) -> list[str]:
    """The stacks of tasks of the first layout, whose memory is at these offsets, in words."""
    memory = MadeMemory({_BASE: struct.pack(f"<{len(words)}Q", *words) + bytes(256)})
    binary = Binary("x", None, "x86_64", 1, "dwarf", True, (), layouts=layouts)
    image = Image(memory)
    starts = np.array([_BASE + offset for offset in tasks], np.uint64)
    image.load(starts, 64)
    walked = Walk(binary, image, FutureVtables(binary, 0)).run([(0, np.arange(len(tasks)), starts)], len(tasks))
    return [told(*future_frames(walked.stacks[number], binary)) for number in walked.stack.tolist()]


def told(*frames: FutureFrame) -> str:
    words = []
    for frame in frames:
        below = f" > {told(*frame.children)}" if frame.children else ""
        words.append(f"{frame.short}{'' if frame.is_whole else ' !'}{below}")
    return words[0] if len(words) == 1 else "{" + " | ".join(words) + "}"


SELECT = (
    layout("PollFn<x>", to(1, is_pointer=True), size=16, gate=Gate(Route(None, (), (8, 0)), 1)),
    layout("(A, C, B)", to(2), to(3, 8), kind=LayoutKind.GLUE, size=16, branches=(0, 2)),
    layout("A", size=0),
    layout("B", size=0),
)


def test_branches_that_are_off_are_none() -> None:
    """Bits are of the members of the tuple, also of those that lead to no future."""
    for mask, expected in ((0, "{A | B}"), (0b001, "B"), (0b010, "{A | B}"), (0b100, "A"), (0x100, "{A | B}")):
        assert seen(SELECT, _BASE + 32, _BASE + 24, 0, mask, 0) == [f"PollFn<x> > {expected}"]
    assert seen(SELECT, _BASE + 32, _BASE + 24, 0, 0b101, 0) == ["PollFn<x>"]


def test_a_gate_that_leads_to_nowhere_is_said() -> None:
    (words,) = seen(SELECT, _BASE + 32, 0, 0, 0, 0)
    assert " !" in words


def test_tasks_with_other_branches_off_are_in_other_stacks() -> None:
    words = (_BASE + 48, _BASE + 32, _BASE + 48, _BASE + 40, 1, 4, 0)
    assert seen(SELECT, *words, tasks=(0, 16)) == ["PollFn<x> > B", "PollFn<x> > A"]


def test_a_discriminant_that_no_variant_has_is_said() -> None:
    either = (
        layout("Either", to(1, 8, 0), to(1, 16, 1), discriminant_offset=0, discriminant_size=8, values=(0, 1, 2)),
        layout("A", size=0),
    )
    assert seen(either, 1) == ["Either > A"]
    assert seen(either, 2) == ["Either"]
    assert seen(either, 3) == ["Either !"]
    assert seen(either, 2**64 - 1) == ["Either !"]


def test_what_is_in_the_place_of_a_discriminant_does_not_part_tasks() -> None:
    """A niche: the pointer that is there is another in each task."""
    optional = (
        layout("Fused", LayoutEdge(0, 0, False, None), to(1, 0), discriminant_offset=0, discriminant_size=8),
        layout("A", size=0),
    )
    assert seen(optional, 0x7000, 0x8000, 0, 2**64 - 1, tasks=(0, 8, 16, 24)) == [
        "Fused > A",
        "Fused > A",
        "Fused",
        "Fused > A",
    ]


def test_what_is_shared_is_told_of_each_that_has_it_and_a_circle_ends() -> None:
    both = (
        layout("Both", to(1), to(1, 8), size=16),
        layout("futures_util::future::future::shared::Shared<A>", to(2, is_pointer=True)),
        layout("ArcInner<A>", to(3, 8), kind=LayoutKind.GLUE),
        layout("A", to(4, is_pointer=True)),
        layout("B", size=0),
    )
    shared = "Shared<A> (if polled) > A > B"
    assert seen(both, _BASE + 16, _BASE + 16, 1, _BASE + 64) == [f"Both > {{{shared} | {shared}}}"]
    circle = (both[0], both[1], both[2], layout("A", to(1, is_pointer=True)))
    (words,) = seen(circle, _BASE + 16, _BASE + 16, 1, _BASE)
    assert len(words) < 1 << 16


def test_of_a_container_with_glue_around_each_the_rest_is_said_with_what_it_waits_for() -> None:
    """As FuturesUnordered has it: 32 one by one, and 8 more."""
    waits = Link(LinkKind.NOTIFY, LinkRole.WAITS, Route(None, (), (0, 0)), 8)
    container = Container(Route(None, (), (0,)), 0, 8, 8, next=0, item=0, is_pointer=False, child=1)
    layouts = (
        layout("Collect", size=16, containers=(container,)),
        layout("OrderWrapper<A>", to(2), kind=LayoutKind.GLUE),
        layout("A", links=(waits,)),
    )
    words = _BASE + 16, 40, *(_BASE + 8 * number for number in range(40))
    memory = MadeMemory({_BASE: struct.pack(f"<{len(words)}Q", *words)})
    binary = Binary("x", None, "x86_64", 1, "dwarf", True, (), layouts=layouts)
    image, vtables, start = Image(memory), FutureVtables(binary, 0), np.array([_BASE], np.uint64)
    image.load(start, 16)
    walked = Walk(binary, image, vtables).run([(0, np.arange(1), start)], 1)
    (collect,) = future_frames(walked.stacks[0], binary)
    assert [one.short for one in collect.children] == ["A"] * 32 + ["8 more: A"]
    snapshot = Snapshot(0, 0, np.zeros(1, SNAPSHOT_TASK), walked.stacks, walked.addresses)
    frames = read_links(binary, vtables, memory, snapshot).links["frame"].tolist()
    assert [frames.count(one.number) for one in collect.children] == [1] * 32 + [8]


class TimedMemory(MadeMemory):
    """Notes when it was read."""

    def __init__(self, areas: dict[int, bytes]) -> None:
        super().__init__(areas)
        self.times: list[int] = []

    def fill(self, starts: Addresses, sizes: Addresses) -> tuple[Bytes, npt.NDArray[np.bool_]]:
        self.times.append(kernel_now())
        return super().fill(starts, sizes)


def test_links_are_of_a_moment_between_the_two_readings_that_have_them() -> None:
    """A timer that both have has as long left as it has then: before the first one it may have been set anew."""
    waits = Link(LinkKind.NOTIFY, LinkRole.WAITS, Route(None, (), (0, 0)), 8)
    binary = Binary("x", None, "x86_64", 1, "dwarf", True, (), layouts=(layout("A", links=(waits,)),))
    memory = TimedMemory({_BASE: struct.pack("<Q", _BASE)})
    addresses = (np.array([[_BASE]], np.uint64),)
    stack = Stack((Frame(-1, 0, None, None),))
    snapshot = Snapshot(1, 0, np.zeros(1, SNAPSHOT_TASK), (stack,), addresses)
    found = read_links(binary, FutureVtables(binary, 0), memory, snapshot)
    assert len(found.links) == 1
    half = len(memory.times) // 2
    assert memory.times[half - 1] <= found.time <= memory.times[half]
