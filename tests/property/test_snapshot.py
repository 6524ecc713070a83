"""Damaged memory and damaged layouts: no exception, no endless walk, no byte read that is not mapped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.memory_image import MadeMemory
from tracer.assemble.shares import ShareSums
from tracer.model import (
    AwaitPoint,
    Binary,
    FunctionKind,
    Gate,
    Layout,
    LayoutEdge,
    LayoutKind,
    PollFunction,
    Route,
    Source,
    SourceLocation,
    TaskIdPath,
)
from tracer.output.frames import frame_json, future_frames, parked
from tracer.snapshot.read import SnapshotReader
from tracer.stacks import Snapshot

_DATA, _HEAP = 0x4000_0000, 0x7000_0000
_HEAP_SIZE = 1 << 12
_CODE = 0x1000
_LAYOUTS = 6
_TASKS = 3

_EDGES = st.builds(
    LayoutEdge,
    value=st.none() | st.integers(0, 4),
    offset=st.sampled_from((32, 0, 8, 16, 24, 48, 64, 13, 2**32)),
    is_pointer=st.booleans(),
    child=st.sampled_from((0, 0, *range(_LAYOUTS), None)),
)
_GATE = st.builds(
    Gate,
    route=st.builds(
        Route,
        value=st.none(),
        tests=st.just(()),
        steps=st.lists(st.sampled_from((0, 8, 16, 40, 2**32)), min_size=1, max_size=3).map(tuple),
    ),
    size=st.sampled_from((1, 2, 4, 8)),
)


def as_tuple(layout: Layout) -> Layout:
    """What has no discriminant can be the branches of a select!."""
    edges = tuple(replace(edge, value=None) for edge in layout.edges)
    return replace(layout, discriminant_offset=None, edges=edges, branches=tuple(range(len(edges))))


_LAYOUT = st.builds(
    Layout,
    name=st.sampled_from(("a::b", "PollFn<x>", "Sleep", "ArcInner<x>", "futures_util::future::Fuse<x>")),
    kind=st.sampled_from(LayoutKind),
    source=st.just(Source.DWARF),
    size=st.sampled_from((0, 8, 16, 64, 200, 300, 2**40)),
    edges=st.lists(_EDGES, max_size=4).map(tuple),
    discriminant_offset=st.none() | st.integers(0, 40),
    discriminant_size=st.sampled_from((1, 2, 4, 8)),
    awaits=st.lists(
        st.builds(AwaitPoint, st.integers(3, 5), st.just(SourceLocation("src/a.rs", 1)), st.none()), max_size=2
    ).map(tuple),
    gate=st.none() | _GATE,
    values=st.sampled_from(((), (), (0, 1, 2), (3, 4, 5, 2**64 - 1))),
)
_LAYOUT |= _LAYOUT.map(as_tuple)


def function(number: int, kind: FunctionKind, layout: int | None) -> PollFunction:
    address = _CODE + 16 * number
    runtime = ("tokio", "async-task")[number % 2] if kind is FunctionKind.TASK else None
    path = TaskIdPath(16, 72) if runtime == "tokio" else None
    return PollFunction(
        address, address, 16, f"f{number}", kind, Source.DWARF, (), runtime=runtime, layout=layout, task_id=path
    )


@st.composite
def binaries(draw: st.DrawFn) -> Binary:
    behind = Layout("dyn Future", LayoutKind.OBJECT, Source.DWARF, 16)
    layouts = (behind, *draw(st.lists(_LAYOUT, min_size=_LAYOUTS - 1, max_size=_LAYOUTS - 1)))
    places = st.sampled_from((*range(_LAYOUTS), None))
    functions = [function(number, FunctionKind.TASK, draw(places)) for number in range(_TASKS)]
    functions += [function(number, FunctionKind.FUTURE, draw(places)) for number in range(_TASKS, 2 * _TASKS)]
    return Binary("x", None, "x86_64", 1, "dwarf", True, tuple(functions), layouts=layouts)


@st.composite
def memories(draw: st.DrawFn) -> MadeMemory:
    """Vtables as they should be, headers that look like ones, and words that lead from anywhere to anywhere."""
    data = np.zeros(256, "<u8")
    for number in range(_TASKS):
        data[16 * number + (5 if number % 2 else 0)] = _CODE + 16 * number
        data[16 * number + 9] = draw(st.integers(0, 300))
    for number in range(_TASKS, 2 * _TASKS):
        data[16 * number + 1 : 16 * number + 4] = (draw(st.sampled_from((0, 8, 64))), 8, _CODE + 16 * number)
    heap = np.full(_HEAP_SIZE // 8, draw(st.sampled_from((0, 3, _HEAP + 512))), "<u8")
    targets = (
        st.integers(_HEAP, _HEAP + _HEAP_SIZE)
        | st.sampled_from([_DATA + 128 * number for number in range(2 * _TASKS)])
        | st.integers(0, 8)
        | st.integers(0, 2**64 - 1)
    )
    for place in draw(st.lists(st.integers(0, len(heap) - 1), max_size=200)):
        heap[place] = draw(targets)
    for place in draw(st.lists(st.integers(0, len(heap) - 2), max_size=100)):
        heap[place : place + 2] = (draw(targets), _DATA + 128 * draw(st.integers(_TASKS, 2 * _TASKS - 1)))
    for place in draw(st.lists(st.integers(0, len(heap) // 8 - 8), min_size=1, max_size=20)):
        at, number = place * 8, draw(st.integers(0, _TASKS - 1))
        vtable = _DATA + 128 * number
        behind = draw(targets), _DATA + 128 * draw(st.integers(_TASKS, 2 * _TASKS - 1))
        heap[at + 4 : at + 6] = behind
        heap[at : at + 4] = (vtable, 256, 0, 0) if number % 2 else (128 | draw(st.integers(0, 63)), 0, vtable, 1)
    return MadeMemory({_DATA: data.tobytes(), _HEAP: heap.tobytes()})


@settings(max_examples=200)
@given(binaries(), memories())
def test_no_memory_leads_astray(binary: Binary, memory: MadeMemory) -> None:
    reader = SnapshotReader(binary, 0, memory, [(_DATA, _DATA + 2048)])
    snapshot = reader.take()
    assert memory.asked < 64 << 20
    visits = sum(addresses.size for addresses in snapshot.addresses)
    assert visits <= 200 * len(snapshot.tasks) + (1 << 14)
    for task in snapshot.tasks:
        assert _HEAP <= task["header"] < _HEAP + _HEAP_SIZE
        assert -1 <= task["stack"] < len(snapshot.stacks)
    for stack, addresses in zip(snapshot.stacks, snapshot.addresses, strict=True):
        assert addresses.shape[1] == len(stack.frames)
        frames = future_frames(stack, binary)
        parked(frames)
        for frame in frames:
            frame_json(frame)
    compare_samples(reader, snapshot)


@settings(max_examples=100)
@given(binaries(), memories(), memories())
def test_no_memory_leads_samples_astray(binary: Binary, memory: MadeMemory, later: MadeMemory) -> None:
    """The same of what looks again and again, at memory that becomes another one between."""
    sampler = SnapshotReader(binary, 0, memory, [(_DATA, _DATA + 2048)]).sampler()
    sampler.search()
    first = sampler.tick()
    memory.areas = later.areas
    ticks = [first, sampler.tick(), *sampler.last_round()]
    sampler.search(2)
    ticks += [sampler.tick(), sampler.tick()]
    assert memory.asked < 128 << 20
    tasks, stacks = sampler.tasks, sampler.stacks
    assert np.all((tasks["header"] >= _HEAP) & (tasks["header"] < _HEAP + _HEAP_SIZE))
    sums = ShareSums()
    for tick in ticks:
        assert np.all(tick.samples["task"] < len(tasks))
        assert np.all((tick.samples["stack"] >= -1) & (tick.samples["stack"] < len(stacks)))
        sums.add(tick)
    shares = sums.result()
    assert shares.samples.sum() == sum(len(tick.samples) for tick in ticks)
    for stack in stacks:
        for frame in future_frames(stack, binary):
            frame_json(frame)


def compare_samples(reader: SnapshotReader, snapshot: Snapshot) -> None:
    """Samples see what snapshots see, where all of a stack makes sense."""
    sampler = reader.sampler()
    sampler.search()
    visits = sum(addresses.size for addresses in snapshot.addresses)
    seen = {int(sampler.tasks["header"][one["task"]]): one for one in sampler.tick().samples}
    for task in snapshot.tasks[snapshot.tasks["stack"] >= 0]:
        frames = snapshot.stacks[task["stack"]].frames
        sample = seen.get(int(task["header"]))
        if sample is None:
            assert sampler.counts.unreadable  # its memory ends before its type does
            continue
        assert sample["function"] == task["function"]
        assert sample["state"] == task["state"]
        found = sampler.stacks[sample["stack"]].frames if sample["stack"] >= 0 else ()
        # Both end somewhere, at limits of their own; sampling says so, and follows fewer pointers.
        if found and all(one.is_whole for one in (*frames, *found)) and visits < 1000:
            assert [(one.parent, one.layout, one.function) for one in found] == [
                (one.parent, one.layout, one.function) for one in frames
            ]
