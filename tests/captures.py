"""Plans, recordings and events that the tests of captures and assembly share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tracer.model import (
    EVENT,
    Array,
    AwaitPoint,
    Binary,
    CallSite,
    ClockReading,
    EndKind,
    EndPoint,
    ExitKind,
    ExitMode,
    ExitSite,
    FunctionKind,
    Group,
    HeaderTest,
    InstructionCost,
    Layout,
    LayoutEdge,
    LayoutKind,
    Place,
    Plan,
    PlannedEnd,
    PlannedSpawn,
    PlannedWake,
    PollFunction,
    Probe,
    Process,
    Recording,
    Refusal,
    Register,
    ResultEncoding,
    Site,
    Source,
    SourceLocation,
    SpawnPoint,
    SpawnStep,
    TaskIdPath,
    WakePoint,
)
from tracer.probe.walk import make_walks

START = 1_000
"""When the recordings here begin, ns."""


def function(name: str, kind: FunctionKind = FunctionKind.COROUTINE) -> PollFunction:
    return PollFunction(
        address=0x1000 + 16 * sum(name.encode()),
        offset=16 * sum(name.encode()),
        size=16,
        name=name,
        kind=kind,
        source=Source.SYMBOLS,
        exits=(),
    )


def plan_of(functions: list[PollFunction], probes: list[Probe], exit_mode: ExitMode = ExitMode.DEFAULT) -> Plan:
    binary = Binary(
        path="target/release/server",
        build_id="ab12",
        architecture="x86_64",
        size=12_345,
        symbols="symbol table",
        can_unwind=True,
        functions=tuple(functions),
    )
    return Plan((binary,), tuple(functions), (0,) * len(functions), tuple(probes), (), exit_mode)


LAYOUTS = (
    Layout(
        name="outer",
        kind=LayoutKind.COROUTINE,
        source=Source.DWARF,
        size=64,
        discriminant_offset=0,
        discriminant_size=1,
        # An await of another coroutine; one of two leaves at once; a leaf behind a pointer.
        edges=(
            LayoutEdge(3, 8, False, 1),
            LayoutEdge(4, 8, False, 2),
            LayoutEdge(4, 9, False, 2),
            LayoutEdge(5, 8, True, 2),
        ),
        awaits=(AwaitPoint(3, SourceLocation("src/main.rs", 30), "inner"), AwaitPoint(4, None, "Leaf")),
    ),
    Layout(
        name="inner",
        kind=LayoutKind.COROUTINE,
        source=Source.DWARF,
        size=32,
        discriminant_offset=4,
        discriminant_size=1,
        edges=(LayoutEdge(3, 8, False, 2), LayoutEdge(4, 16, False, 2)),
        awaits=(AwaitPoint(3, SourceLocation("src/main.rs", 10), "Leaf"), AwaitPoint(4, None, "Leaf")),
    ),
    Layout(name="Leaf", kind=LayoutKind.FUTURE, source=Source.DWARF, size=1),
)
"""One of every kind of way from a future to what it waits for."""


SPAWNS = (
    SpawnPoint(0x2050, 0x2050, "spawn", SpawnStep.CALLED, Register.RSI),
    SpawnPoint(0x206F, 0x206F, "bind", SpawnStep.MADE, Register.RAX, is_return=True),
)
WAKES = (
    WakePoint(0x2080, 0x2080, "wake_by_val", HeaderTest(0, 6, 0)),
    WakePoint(0x2090, 0x2090, "remote_abort", HeaderTest(0, 7, 0), is_indirect=True),
)
SITES = (
    CallSite(0x1F00, "src/main.rs", 7, 5),
    CallSite(0x1F18, "src/main.rs", 9, 13),
    CallSite(0x1F30, "src/main.rs", 7, 5),  # the same place once more, as optimised builds have it
)


def call_told(site: int) -> int:
    """What a record tells of a task that the spawn function made of a call at this address."""
    return 1 << 48 | (site - SPAWNS[0].address) & (1 << 48) - 1


def walked(plan: Plan, layouts: tuple[Layout, ...]) -> Plan:
    """The plan, with these layouts in its first binary."""
    binary = replace(plan.binaries[0], functions=plan.functions, layouts=layouts)
    places = make_walks(plan.functions, layouts).places
    return replace(plan, binaries=(binary, *plan.binaries[1:]), layouts=layouts, places=places)


def recording_of(plan: Plan, processes: int = 1) -> Recording:
    return Recording(
        version="0.1.0",
        clock=ClockReading(START - 3, START - 2, 1_700_000_000_000_000_000),
        start=START,
        processes=tuple(
            Process(5 + i, 77, "server", ("server", "--port", "1"), "/srv/server", 0, 0x5555_0000_0000)
            for i in range(processes)
        ),
        plan=plan,
        transport="ring",
        kernel="6.1.0",
        max_overhead=0.05,
    )


def events_at(*times: int) -> Array:
    """Events of one CPU that differ in their times only."""
    events = np.zeros(len(times), EVENT)
    events["time"] = times
    events["tid"] = 7
    events["sp"] = 0x7F00_0000_1000
    return events


TASK_SIZE = 0x80
"""Bytes of a task of the busy plan's first function."""


def busy_plan() -> Plan:
    """Every kind of function, probe and end that assembly tells apart; the names say what they are."""
    names = ("task plain", "jumping", "plain", "endless", "instant", "endless task", "passing", "task other")
    functions = [function(name, FunctionKind.TASK if "task" in name else FunctionKind.COROUTINE) for name in names]
    roles: list[tuple[int | None, int | None, bool]] = [
        (0, None, False),
        (None, 0, False),
        (1, None, False),
        (None, 1, False),
        (None, 1, True),
        (2, None, False),
        (None, 2, False),
        (3, None, False),
        (4, 4, False),
        (5, None, False),
        (6, 6, True),
        (None, 6, False),
        (None, 2, True),
        (None, None, False),
        (None, 0, True),
    ]
    functions[0] = replace(functions[0], aborted=HeaderTest(0, 7, 4))
    probes = []
    for number, (enters, leaves, is_tail) in enumerate(roles):
        place = next((role for role in (enters, leaves) if role is not None), 2)
        group = Group.TASKS if "task" in names[place] else Group.FUTURES
        site = Site.ENTRY if enters is not None else Site.EXIT
        probes.append(Probe(number, 0, 0x100 + number, site, group, enters, leaves, is_tail))
    ends = (
        PlannedEnd(0, EndPoint(0x2000, 0x2000, "complete", EndKind.COMPLETE, done=HeaderTest(0, 2, 0))),
        PlannedEnd(
            0,
            EndPoint(0x2010, 0x2010, "shut", EndKind.SHUTDOWN, only_if=HeaderTest(0, 3, 0), undone=HeaderTest(0, 0, 0)),
        ),
        PlannedEnd(0, EndPoint(0x2020, 0x2020, "drop", EndKind.DROPPED, state_offset=4), (2,)),
        PlannedEnd(0, EndPoint(0x2030, 0x2030, "drop of several", EndKind.DROPPED), (1, 3)),
        PlannedEnd(0, EndPoint(0x2040, 0x2040, "catch", EndKind.CAUGHT, others=(-7, 32, 33))),
    )
    for number, one in enumerate(ends):
        group = Group.FUTURES if one.functions else Group.TASKS
        place = one.point.offset
        probes.append(Probe(len(roles) + number, 0, place, Site.END, group, None, None, ends=number))
    for number, point in enumerate(SPAWNS):
        site = Site.SPAWNED if point.is_return else Site.SPAWN
        probes.append(Probe(len(probes), 0, point.offset, site, Group.TASKS, None, None, spawns=number))
    for number, wake in enumerate(WAKES):
        probes.append(Probe(len(probes), 0, wake.offset, Site.WAKE, Group.WAKES, None, None, wakes=number))
    for site, enters, leaves in ((Site.ENTRY, 7, None), (Site.EXIT, None, 7)):
        probes.append(Probe(len(probes), 0, 0x100 + len(probes), site, Group.TASKS, enters, leaves))
    for number in (1, 2):
        functions[number] = replace(functions[number], layout=0, self_register=Register.RDI)
    functions[0] = replace(functions[0], layout=len(LAYOUTS))
    plan = walked(plan_of(functions, probes), (*LAYOUTS, Layout("Cell", LayoutKind.GLUE, Source.DWARF, TASK_SIZE)))
    ended = tuple(one.point for one in ends)
    binary = replace(plan.binaries[0], ends=ended, spawns=SPAWNS, sites=SITES, wakes=WAKES)
    spawns, wakes = tuple(PlannedSpawn(0, one) for one in SPAWNS), tuple(PlannedWake(0, one) for one in WAKES)
    return replace(plan, binaries=(binary,), ends=ends, spawns=spawns, wakes=wakes)


_LEAF = function("leaf")
RECORDING = recording_of(plan_of([_LEAF], [Probe(0, 0, _LEAF.offset, Site.ENTRY, Group.FUTURES, 0, None)]))
"""One function, one probe."""

_RICH = PollFunction(
    address=0xFFFF_FFFF_FFFF_0000,
    offset=0x1234,
    size=99,
    name="server::handle::{async_fn#0}",
    kind=FunctionKind.COROUTINE,
    source=Source.DWARF,
    exits=(ExitSite(0x1250, ExitKind.RET), ExitSite(0x1260, ExitKind.TAIL, InstructionCost.EMULATED)),
    names=("server::handle::{async_fn#0}", "server::other::{async_fn#0}"),
    crate="server",
    location=SourceLocation("src/main.rs", 0),
    self_register=Register.RSI,
    context_register=Register.RDX,
    state_offset=0,
    layout=0,
    result=ResultEncoding(0xFF, 1),
    runtime=None,
    entry_cost=InstructionCost.EMULATED,
    awaits=(
        AwaitPoint(3, SourceLocation("src/main.rs", 7), "tokio::sync::mutex::Mutex<T>::lock<u64>"),
        AwaitPoint(4, None, None, SourceLocation("tokio/src/macros/select.rs", 746)),
        AwaitPoint(5, SourceLocation("src/main.rs", 9), None, is_verified=False),
    ),
    layout_source=Source.TWIN,
    called=(0x12F0, 2**40),
    returned=(ExitSite(0x1300, ExitKind.RETURNED, InstructionCost.EMULATED, after=7),),
)
_TASK = PollFunction(
    address=0x2000,
    offset=0x2000,
    size=1,
    name="tokio::runtime::task::raw::poll<F, S>",
    kind=FunctionKind.TASK,
    source=Source.SYMBOLS,
    exits=(),
    runtime="tokio",
    task_id=TaskIdPath(16, 72),
    aborted=HeaderTest(0, 0b100011, 0b100000),
)
_END = EndPoint(
    address=0x3000,
    offset=0x2FF0,
    name="tokio::runtime::task::raw::dealloc",
    kind=EndKind.FREED,
    only_if=HeaderTest(1, 2, 3),
    done=HeaderTest(1, 4, 4),
    undone=HeaderTest(1, 5, 0),
    cost=InstructionCost.EMULATED,
)
_CALL = SpawnPoint(0x3020, 0x3010, "tokio::task::spawn::spawn", SpawnStep.CALLED, Register.RDX)
_MADE = SpawnPoint(0x3030, 0x3020, "bind", SpawnStep.MADE, Register.RAX, is_return=True, cost=InstructionCost.EMULATED)
_WAKE = WakePoint(0x3050, 0x3040, "wake_by_ref", HeaderTest(8, 13, 2), cost=InstructionCost.EMULATED)
_ABORT = WakePoint(0x3060, 0x3050, "remote_abort", HeaderTest(1, 2, 3), is_indirect=True)
_DROP = EndPoint(0x3010, 0x3000, "drop of server::handle", EndKind.DROPPED, (_RICH.address,), state_offset=0)
_BINARY = Binary(
    path="/srv/bin/sérver",
    build_id=None,
    architecture="x86_64",
    size=1,
    symbols="dwarf",
    can_unwind=False,
    functions=(_RICH, _TASK),
    refusals=(Refusal("gone", "inlined only", None, SourceLocation("a.rs", 3)), Refusal("bad", "lock prefix", 0x10)),
    rustc="rustc 1.95.0",
    layouts=(
        Layout(
            "server::handle",
            LayoutKind.COROUTINE,
            Source.DWARF,
            2**40,
            (LayoutEdge(2**64 - 1, 2**33, True, 0), LayoutEdge(None, 0, False, None)),
            0,
            8,
            (AwaitPoint(3, None, None),),
            SourceLocation("src/main.rs", 1),
            "server::handle::{async_fn_env#0}",
        ),
    ),
    debug_file="/usr/lib/debug/x",
    twin="target-twin/release/server",
    own_folder="/srv/mé/.cargo/registry/src/x/server-1.0.0",
    ends=(_END, _DROP),
    spawns=(_CALL, _MADE),
    wakes=(_WAKE, _ABORT),
    sites=(CallSite(0x100, "sérver/main.rs", 5, 6), CallSite(0xFFFF_FFFF_FFFF_FFF0, "b.rs", 2**32 - 1, 1)),
)
EVERYTHING = Recording(
    version="0.1.0",
    clock=ClockReading(1, 2, 3),
    start=4,
    processes=(
        Process(5, 6, "a", ("a", "b c"), "/a", 0, -4096),
        Process(7, 8, "b", (), "/b", 1, 0x5555_5555_0000),
    ),
    plan=Plan(
        binaries=(_BINARY, Binary("/srv/bin/b", "00ff", "x86_64", 2, "none", True, ())),
        functions=(_RICH, _TASK),
        function_binary=(0, 0),
        probes=(
            Probe(0, 0, 0x1234, Site.ENTRY, Group.FUTURES, 0, None, cost=InstructionCost.EMULATED),
            Probe(1, 0, 0x1260, Site.EXIT, Group.FUTURES, None, 0, is_tail=True),
            Probe(2, 0, 0x2000, Site.RETURN, Group.TASKS, 1, 1),
            Probe(3, 0, 0x2FF0, Site.END, Group.TASKS, None, None, cost=InstructionCost.EMULATED, ends=0),
            Probe(4, 0, 0x3000, Site.END, Group.FUTURES, None, None, ends=1),
            Probe(5, 0, 0x3020, Site.SPAWNED, Group.TASKS, None, None, cost=InstructionCost.EMULATED, spawns=0),
            Probe(6, 0, 0x3050, Site.WAKE, Group.WAKES, None, None, wakes=1),
            Probe(7, 0, 0x12F0, Site.CALL, Group.FUTURES, 0, None, cost=InstructionCost.EMULATED),
            Probe(8, 0, 0x1300, Site.RETURNED, Group.FUTURES, None, 0, cost=InstructionCost.EMULATED, after=7),
        ),
        refusals=(Refusal("x", "over budget"),),
        exit_mode=ExitMode.RET,
        ends=(PlannedEnd(0, _END), PlannedEnd(0, _DROP, (0,))),
        spawns=(PlannedSpawn(0, _MADE),),
        wakes=(PlannedWake(0, _ABORT), PlannedWake(0, _WAKE)),
        layouts=_BINARY.layouts,
        places=(Place(0, 0, 0, None, False), Place(1, 0, None, 2**64 - 1, True)),
    ),
    transport="perf",
    kernel="6.18",
    max_overhead=0.5,
    options={"filter": "handle", "duration": "5"},
    hit_costs=(1500.5, 900.0, 650.25),
)
"""A recording in which every field has a value of its own."""
