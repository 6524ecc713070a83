"""A plan, as a message of capture.proto and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from tracer import capture_pb2 as pb
from tracer.capture.binaries import (
    read_binary,
    read_function,
    read_refusals,
    write_binary,
    write_function,
    write_refusals,
)
from tracer.capture.layouts import (
    checked_index,
    maybe_text,
    read_places,
    write_place,
)
from tracer.capture.spawns import read_planned_spawn
from tracer.capture.wakes import read_planned_wake
from tracer.model import (
    Binary,
    ExitMode,
    Group,
    InstructionCost,
    Plan,
    PlannedEnd,
    Probe,
    Site,
    layouts_of,
)

T = TypeVar("T")


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
            planned.append(pb.PlannedFunction(binary=number, changed=write_function(function)))
    return planned


def _numbered(points: Sequence[T]) -> dict[T, int]:
    return {point: number for number, point in reversed([*enumerate(points)])}  # of equal ones the first


def write_plan(plan: Plan) -> pb.Plan:
    ends = [_numbered(binary.ends) for binary in plan.binaries]
    spawns = [_numbered(binary.spawns) for binary in plan.binaries]
    wakes = [_numbered(binary.wakes) for binary in plan.binaries]
    return pb.Plan(
        binaries=[write_binary(binary) for binary in plan.binaries],
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
        refusals=write_refusals(plan.refusals),
        exit_mode=plan.exit_mode.value,
        places=[write_place(place) for place in plan.places],
        ends=[
            pb.PlannedEnd(
                binary=one.binary,
                index=ends[one.binary][one.point],
                functions=one.functions,
            )
            for one in plan.ends
        ],
        spawns=[pb.PlannedSpawn(binary=one.binary, index=spawns[one.binary][one.point]) for one in plan.spawns],
        wakes=[pb.PlannedWake(binary=one.binary, index=wakes[one.binary][one.point]) for one in plan.wakes],
        scheduling=plan.scheduling,
        no_scheduling=maybe_text(plan.no_scheduling),
    )


def read_plan(message: pb.Plan) -> Plan:
    binaries = tuple(read_binary(m) for m in message.binaries)
    layouts = layouts_of(binaries)
    functions = []
    for planned in message.functions:
        checked_index(planned.binary, len(binaries))
        if planned.HasField("index"):
            own = binaries[planned.binary].functions
            functions.append(own[checked_index(planned.index, len(own))])
        else:
            functions.append(read_function(planned.changed))
    return Plan(
        binaries=binaries,
        functions=tuple(functions),
        function_binary=tuple(planned.binary for planned in message.functions),
        probes=tuple(_read_probe(i, m, message, len(binaries)) for i, m in enumerate(message.probes)),
        refusals=read_refusals(message.refusals),
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
