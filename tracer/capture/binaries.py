"""Binaries and their functions, as messages of capture.proto and back."""

from __future__ import annotations

from collections.abc import Iterable

from tracer import capture_pb2 as pb
from tracer.capture.layouts import (
    location_of,
    maybe_text,
    read_await,
    read_layout,
    read_test,
    text,
    write_await,
    write_layout,
    write_location,
    write_test,
)
from tracer.capture.spawns import (
    read_sites,
    read_spawn,
    write_sites,
    write_spawn,
)
from tracer.capture.wakes import read_wake, write_wake
from tracer.model import (
    Binary,
    EndKind,
    EndPoint,
    ExitKind,
    ExitSite,
    FunctionKind,
    InstructionCost,
    PollFunction,
    Refusal,
    Register,
    ResultEncoding,
    Source,
    TaskIdPath,
)


def write_function(function: PollFunction) -> pb.PollFunction:
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
        called=function.called,
        returned=[_write_exit(site) for site in function.returned],
    )


def read_function(message: pb.PollFunction) -> PollFunction:
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
        location=location_of(message),
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
        called=tuple(message.called),
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
        others=point.others,
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
        others=tuple(message.others),
    )


def write_refusals(refusals: Iterable[Refusal]) -> list[pb.Refusal]:
    return [
        pb.Refusal(name=text(r.name), reason=text(r.reason), address=r.address, location=write_location(r.location))
        for r in refusals
    ]


def read_refusals(messages: Iterable[pb.Refusal]) -> tuple[Refusal, ...]:
    return tuple(
        Refusal(
            m.name,
            m.reason,
            m.address if m.HasField("address") else None,
            location_of(m),
        )
        for m in messages
    )


def write_binary(binary: Binary) -> pb.Binary:
    return pb.Binary(
        path=text(binary.path),
        build_id=binary.build_id,
        architecture=binary.architecture,
        size=binary.size,
        symbols=binary.symbols,
        can_unwind=binary.can_unwind,
        functions=[write_function(function) for function in binary.functions],
        refusals=write_refusals(binary.refusals),
        rustc=maybe_text(binary.rustc),
        debug_file=maybe_text(binary.debug_file),
        layouts=[write_layout(layout) for layout in binary.layouts],
        twin=maybe_text(binary.twin),
        ends=[_write_end_point(point) for point in binary.ends],
        spawns=[write_spawn(point) for point in binary.spawns],
        sites=write_sites(binary.sites),
        wakes=[write_wake(point) for point in binary.wakes],
        own_folder=maybe_text(binary.own_folder),
    )


def read_binary(message: pb.Binary) -> Binary:
    return Binary(
        path=message.path,
        build_id=message.build_id if message.HasField("build_id") else None,
        architecture=message.architecture,
        size=message.size,
        symbols=message.symbols,
        can_unwind=message.can_unwind,
        functions=tuple(read_function(m) for m in message.functions),
        refusals=read_refusals(message.refusals),
        rustc=message.rustc if message.HasField("rustc") else None,
        debug_file=message.debug_file if message.HasField("debug_file") else None,
        layouts=tuple(read_layout(m, len(message.layouts)) for m in message.layouts),
        twin=message.twin if message.HasField("twin") else None,
        ends=tuple(_read_end_point(m) for m in message.ends),
        spawns=tuple(read_spawn(m) for m in message.spawns),
        sites=read_sites(message.sites),
        wakes=tuple(read_wake(m) for m in message.wakes),
        own_folder=message.own_folder if message.HasField("own_folder") else None,
    )
