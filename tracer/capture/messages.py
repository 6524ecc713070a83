"""The model's values as protobuf messages, and back.

Reading raises ValueError (or a subclass, or protobuf's DecodeError) on a message that does not
make sense; the reader turns that into its report.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tracer import capture_pb2 as pb
from tracer.capture.flight import read_flight, write_flight
from tracer.capture.layouts import (
    checked_index,
    maybe_text,
    read_await,
    read_layout,
    read_location,
    read_places,
    read_test,
    text,
    write_await,
    write_layout,
    write_location,
    write_place,
    write_test,
)
from tracer.capture.spawns import (
    read_planned_spawn,
    read_sites,
    read_spawn,
    write_planned_spawn,
    write_sites,
    write_spawn,
)
from tracer.capture.wakes import read_planned_wake, read_wake, write_planned_wake, write_wake
from tracer.model import (
    PARKED,
    Binary,
    CaptureEnd,
    ClockReading,
    EndKind,
    EndPoint,
    ExitKind,
    ExitMode,
    ExitSite,
    FunctionKind,
    Group,
    InstructionCost,
    Loss,
    MemoryReading,
    Plan,
    PlanChange,
    PlannedEnd,
    PollFunction,
    Probe,
    Process,
    ProcessEnd,
    Recording,
    Refusal,
    Register,
    ResultEncoding,
    Site,
    Source,
    Stuck,
    StuckKind,
    TaskIdPath,
    Thread,
    layouts_of,
)

# ---------------------------------------------------------------- functions and binaries


def _write_function(function: PollFunction) -> pb.PollFunction:
    result, ids = function.result, function.task_id
    return pb.PollFunction(
        address=function.address,
        offset=function.offset,
        size=function.size,
        name=text(function.name),
        kind=function.kind.value,
        source=function.source.value,
        exits=[_write_exit(site) for site in function.exits],
        names=[text(name) for name in function.names],
        crate=maybe_text(function.crate),
        location=write_location(function.location),
        self_register=function.self_register,
        context_register=function.context_register,
        state_offset=function.state_offset,
        result=None if result is None else pb.ResultEncoding(mask=result.mask, pending=result.pending),
        runtime=maybe_text(function.runtime),
        entry_cost=function.entry_cost.value,
        awaits=[write_await(one) for one in function.awaits],
        layout=function.layout,
        task_id=None if ids is None else pb.TaskIdPath(vtable=ids.vtable, offset=ids.offset),
        layout_source=function.layout_source,
        aborted=write_test(function.aborted),
        is_job=function.is_job,
        returned=[_write_exit(site) for site in function.returned],
    )


def _read_function(message: pb.PollFunction) -> PollFunction:
    return PollFunction(
        address=message.address,
        offset=message.offset,
        size=message.size,
        name=message.name,
        kind=FunctionKind(message.kind),
        source=Source(message.source),
        exits=tuple(_read_exit(one) for one in message.exits),
        names=tuple(message.names),
        crate=message.crate if message.HasField("crate") else None,
        location=read_location(message.location) if message.HasField("location") else None,
        self_register=Register(message.self_register) if message.HasField("self_register") else None,
        context_register=Register(message.context_register) if message.HasField("context_register") else None,
        state_offset=message.state_offset if message.HasField("state_offset") else None,
        result=ResultEncoding(message.result.mask, message.result.pending) if message.HasField("result") else None,
        runtime=message.runtime if message.HasField("runtime") else None,
        entry_cost=InstructionCost(message.entry_cost),
        awaits=tuple(read_await(one) for one in message.awaits),
        layout=message.layout if message.HasField("layout") else None,
        task_id=TaskIdPath(message.task_id.vtable, message.task_id.offset) if message.HasField("task_id") else None,
        layout_source=Source(message.layout_source) if message.HasField("layout_source") else None,
        aborted=read_test(message.aborted) if message.HasField("aborted") else None,
        is_job=message.is_job,
        returned=tuple(_read_exit(one) for one in message.returned),
    )


def _write_exit(site: ExitSite) -> pb.ExitSite:
    return pb.ExitSite(offset=site.offset, kind=site.kind.value, cost=site.cost.value, after=site.after)


def _read_exit(message: pb.ExitSite) -> ExitSite:
    return ExitSite(message.offset, ExitKind(message.kind), InstructionCost(message.cost), message.after)


def _write_end_point(point: EndPoint) -> pb.EndPoint:
    return pb.EndPoint(
        address=point.address,
        offset=point.offset,
        name=text(point.name),
        kind=point.kind.value,
        futures=point.futures,
        only_if=write_test(point.only_if),
        done=write_test(point.done),
        undone=write_test(point.undone),
        state_offset=point.state_offset,
        cost=point.cost.value,
    )


def _read_end_point(message: pb.EndPoint) -> EndPoint:
    return EndPoint(
        address=message.address,
        offset=message.offset,
        name=message.name,
        kind=EndKind(message.kind),
        futures=tuple(message.futures),
        only_if=read_test(message.only_if) if message.HasField("only_if") else None,
        done=read_test(message.done) if message.HasField("done") else None,
        undone=read_test(message.undone) if message.HasField("undone") else None,
        state_offset=message.state_offset if message.HasField("state_offset") else None,
        cost=InstructionCost(message.cost),
    )


def _write_refusals(refusals: Iterable[Refusal]) -> list[pb.Refusal]:
    return [
        pb.Refusal(name=text(r.name), reason=text(r.reason), address=r.address, location=write_location(r.location))
        for r in refusals
    ]


def _read_refusals(messages: Iterable[pb.Refusal]) -> tuple[Refusal, ...]:
    return tuple(
        Refusal(
            m.name,
            m.reason,
            m.address if m.HasField("address") else None,
            read_location(m.location) if m.HasField("location") else None,
        )
        for m in messages
    )


def _write_binary(binary: Binary) -> pb.Binary:
    return pb.Binary(
        path=text(binary.path),
        build_id=binary.build_id,
        architecture=binary.architecture,
        size=binary.size,
        symbols=binary.symbols,
        can_unwind=binary.can_unwind,
        functions=[_write_function(function) for function in binary.functions],
        refusals=_write_refusals(binary.refusals),
        rustc=maybe_text(binary.rustc),
        debug_file=maybe_text(binary.debug_file),
        layouts=[write_layout(layout) for layout in binary.layouts],
        twin=maybe_text(binary.twin),
        ends=[_write_end_point(point) for point in binary.ends],
        spawns=[write_spawn(point) for point in binary.spawns],
        sites=write_sites(binary.sites),
        wakes=[write_wake(point) for point in binary.wakes],
    )


def _read_binary(message: pb.Binary) -> Binary:
    return Binary(
        path=message.path,
        build_id=message.build_id if message.HasField("build_id") else None,
        architecture=message.architecture,
        size=message.size,
        symbols=message.symbols,
        can_unwind=message.can_unwind,
        functions=tuple(_read_function(m) for m in message.functions),
        refusals=_read_refusals(message.refusals),
        rustc=message.rustc if message.HasField("rustc") else None,
        debug_file=message.debug_file if message.HasField("debug_file") else None,
        layouts=tuple(read_layout(m, len(message.layouts)) for m in message.layouts),
        twin=message.twin if message.HasField("twin") else None,
        ends=tuple(_read_end_point(m) for m in message.ends),
        spawns=tuple(read_spawn(m) for m in message.spawns),
        sites=read_sites(message.sites),
        wakes=tuple(read_wake(m) for m in message.wakes),
    )


# ---------------------------------------------------------------- the plan


def _write_planned(plan: Plan) -> list[pb.PlannedFunction]:
    places = {
        (number, function.address): index
        for number, binary in enumerate(plan.binaries)
        for index, function in enumerate(binary.functions)
    }
    planned = []
    for function, number in zip(plan.functions, plan.function_binary, strict=True):
        index = places.get((number, function.address))
        if index is not None and plan.binaries[number].functions[index] == function:
            planned.append(pb.PlannedFunction(binary=number, index=index))
        else:
            planned.append(pb.PlannedFunction(binary=number, changed=_write_function(function)))
    return planned


def _write_plan(plan: Plan) -> pb.Plan:
    return pb.Plan(
        binaries=[_write_binary(binary) for binary in plan.binaries],
        functions=_write_planned(plan),
        probes=[
            pb.Probe(
                binary=p.binary,
                offset=p.offset,
                site=p.site.value,
                group=p.group.value,
                enters=p.enters,
                leaves=p.leaves,
                is_tail=p.is_tail,
                cost=p.cost.value,
                ends=p.ends,
                spawns=p.spawns,
                wakes=p.wakes,
                after=p.after,
            )
            for p in plan.probes
        ],
        refusals=_write_refusals(plan.refusals),
        exit_mode=plan.exit_mode.value,
        places=[write_place(place) for place in plan.places],
        ends=[
            pb.PlannedEnd(
                binary=one.binary,
                index=plan.binaries[one.binary].ends.index(one.point),
                functions=one.functions,
            )
            for one in plan.ends
        ],
        spawns=[write_planned_spawn(one, plan.binaries[one.binary]) for one in plan.spawns],
        wakes=[write_planned_wake(one, plan.binaries[one.binary]) for one in plan.wakes],
        scheduling=plan.scheduling,
        no_scheduling=maybe_text(plan.no_scheduling),
    )


def _read_plan(message: pb.Plan) -> Plan:
    binaries = tuple(_read_binary(m) for m in message.binaries)
    layouts = layouts_of(binaries)
    functions = []
    for planned in message.functions:
        checked_index(planned.binary, len(binaries))
        if planned.HasField("index"):
            own = binaries[planned.binary].functions
            functions.append(own[checked_index(planned.index, len(own))])
        else:
            functions.append(_read_function(planned.changed))
    return Plan(
        binaries=binaries,
        functions=tuple(functions),
        function_binary=tuple(planned.binary for planned in message.functions),
        probes=tuple(_read_probe(i, m, message, len(binaries)) for i, m in enumerate(message.probes)),
        refusals=_read_refusals(message.refusals),
        exit_mode=ExitMode(message.exit_mode),
        layouts=layouts,
        places=read_places(message.places, len(functions), len(layouts)),
        ends=tuple(_read_end(m, binaries, len(functions)) for m in message.ends),
        spawns=tuple(read_planned_spawn(m, binaries) for m in message.spawns),
        wakes=tuple(read_planned_wake(m, binaries) for m in message.wakes),
        scheduling=message.scheduling,
        no_scheduling=message.no_scheduling if message.HasField("no_scheduling") else None,
    )


def _read_end(message: pb.PlannedEnd, binaries: tuple[Binary, ...], functions: int) -> PlannedEnd:
    own = binaries[checked_index(message.binary, len(binaries))].ends
    point = own[checked_index(message.index, len(own))]
    return PlannedEnd(message.binary, point, tuple(checked_index(one, functions) for one in message.functions))


def _read_probe(number: int, message: pb.Probe, plan: pb.Plan, binaries: int) -> Probe:
    functions = len(plan.functions)
    return Probe(
        id=number,
        binary=checked_index(message.binary, binaries),
        offset=message.offset,
        site=Site(message.site),
        group=Group(message.group),
        enters=checked_index(message.enters, functions) if message.HasField("enters") else None,
        leaves=checked_index(message.leaves, functions) if message.HasField("leaves") else None,
        is_tail=message.is_tail,
        cost=InstructionCost(message.cost),
        ends=checked_index(message.ends, len(plan.ends)) if message.HasField("ends") else None,
        spawns=checked_index(message.spawns, len(plan.spawns)) if message.HasField("spawns") else None,
        wakes=checked_index(message.wakes, len(plan.wakes)) if message.HasField("wakes") else None,
        after=message.after,
    )


# ---------------------------------------------------------------- the blocks


def write_recording(recording: Recording) -> bytes:
    clock = recording.clock
    return pb.Recording(
        version=recording.version,
        clock=pb.ClockReading(monotonic=clock.monotonic, boottime=clock.boottime, realtime=clock.realtime),
        start=recording.start,
        processes=[
            pb.Process(
                pid=p.pid,
                start_time=p.start_time,
                name=text(p.name),
                command=[text(word) for word in p.command],
                executable=text(p.executable),
                binary=p.binary,
                load_bias=p.load_bias,
            )
            for p in recording.processes
        ],
        plan=_write_plan(recording.plan),
        transport=recording.transport,
        kernel=recording.kernel,
        max_overhead=recording.max_overhead,
        options={text(key): text(value) for key, value in recording.options.items()},
        flight=write_flight(recording.flight),
    ).SerializeToString(deterministic=True)


def read_recording(data: bytes) -> Recording:
    message = pb.Recording.FromString(data)
    plan = _read_plan(message.plan)
    return Recording(
        version=message.version,
        clock=ClockReading(message.clock.monotonic, message.clock.boottime, message.clock.realtime),
        start=message.start,
        processes=tuple(
            Process(
                pid=p.pid,
                start_time=p.start_time,
                name=p.name,
                command=tuple(p.command),
                executable=p.executable,
                binary=checked_index(p.binary, len(plan.binaries)),
                load_bias=p.load_bias,
            )
            for p in message.processes
        ),
        plan=plan,
        transport=message.transport,
        kernel=message.kernel,
        max_overhead=message.max_overhead,
        options=dict(sorted(message.options.items())),  # a map of protobuf has no order,
        flight=read_flight(message.flight) if message.HasField("flight") else None,
    )


def write_threads(threads: Iterable[Thread]) -> bytes:
    return pb.Threads(threads=[pb.Thread(tid=t.tid, pid=t.pid, name=text(t.name)) for t in threads]).SerializeToString()


def read_threads(data: bytes) -> list[Thread]:
    return [Thread(t.tid, t.pid, t.name) for t in pb.Threads.FromString(data).threads]


def write_plan_change(change: PlanChange) -> bytes:
    return pb.PlanChange(
        time=change.time,
        active=sorted(group.value for group in change.active),
        reason=text(change.reason),
        unprobed=sorted(change.unprobed),
        entries_only=sorted(change.entries_only),
    ).SerializeToString()


def read_plan_change(data: bytes) -> PlanChange:
    message = pb.PlanChange.FromString(data)
    active = frozenset(Group(word) for word in message.active)
    return PlanChange(
        message.time, active, message.reason, frozenset(message.unprobed), frozenset(message.entries_only)
    )


def write_loss(loss: Loss) -> bytes:
    return pb.Loss(cpu=loss.cpu, count=loss.count, after=loss.after, before=loss.before).SerializeToString()


def read_loss(data: bytes) -> Loss:
    message = pb.Loss.FromString(data)
    return Loss(
        message.cpu,
        message.count,
        message.after if message.HasField("after") else None,
        message.before if message.HasField("before") else None,
    )


def write_process_end(end: ProcessEnd) -> bytes:
    return pb.ProcessEnd(time=end.time, pid=end.pid, reason=text(end.reason)).SerializeToString()


def read_process_end(data: bytes) -> ProcessEnd:
    message = pb.ProcessEnd.FromString(data)
    return ProcessEnd(message.time, message.pid, message.reason)


_STUCK_KINDS = frozenset(StuckKind)
"""A later version may tell of others."""


def write_memory_reading(reading: MemoryReading) -> bytes:
    message = pb.MemoryReading(
        time=reading.time,
        duration=reading.duration,
        process=reading.process,
        is_last=reading.is_last,
        tasks=reading.tasks,
        parked=reading.parked.tobytes(),
    )
    if reading.stuck is not None:
        message.stuck.SetInParent()
        for one in reading.stuck:
            message.stuck.groups.add(
                kind=one.kind.value,
                tasks=one.tasks,
                is_certain=one.is_certain,
                words=text(one.words),
                function=text(one.function),
                location=write_location(one.location),
            )
    return message.SerializeToString()


def read_memory_reading(data: bytes) -> MemoryReading:
    message = pb.MemoryReading.FromString(data)
    parked = np.frombuffer(message.parked, PARKED)  # ValueError when it is cut off
    stuck = (
        tuple(_stuck(one) for one in message.stuck.groups if one.kind in _STUCK_KINDS)
        if message.HasField("stuck")
        else None
    )
    return MemoryReading(message.time, message.duration, message.process, message.is_last, message.tasks, parked, stuck)


def _stuck(one: pb.Stuck) -> Stuck:
    return Stuck(
        StuckKind(one.kind),
        tuple(one.tasks),
        one.is_certain,
        one.words,
        one.function,
        read_location(one.location) if one.HasField("location") else None,
    )


def write_capture_end(end: CaptureEnd) -> bytes:
    return pb.CaptureEnd(
        time=end.time, reason=text(end.reason), received=end.received, lost=end.lost, overhead=end.overhead
    ).SerializeToString()


def read_capture_end(data: bytes) -> CaptureEnd:
    message = pb.CaptureEnd.FromString(data)
    return CaptureEnd(
        message.time,
        message.reason,
        message.received,
        message.lost,
        message.overhead if message.HasField("overhead") else None,
    )
