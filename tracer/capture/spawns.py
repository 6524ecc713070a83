"""Where tasks are spawned as protobuf messages, and back.

Reading raises ValueError on a message that does not make sense.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from tracer import capture_pb2 as pb
from tracer.capture.layouts import checked_index, text
from tracer.model import Binary, CallSite, InstructionCost, PlannedSpawn, Register, SpawnPoint, SpawnStep


def write_spawn(point: SpawnPoint) -> pb.SpawnPoint:
    return pb.SpawnPoint(
        address=point.address,
        offset=point.offset,
        name=text(point.name),
        step=point.step.value,
        register=point.register,
        is_return=point.is_return,
        tells_caller=point.tells_caller,
        cost=point.cost.value,
    )


def read_spawn(message: pb.SpawnPoint) -> SpawnPoint:
    return SpawnPoint(
        address=message.address,
        offset=message.offset,
        name=message.name,
        step=SpawnStep(message.step),
        register=Register(message.register) if message.HasField("register") else None,
        is_return=message.is_return,
        tells_caller=message.tells_caller,
        cost=InstructionCost(message.cost),
    )


def write_sites(sites: Sequence[CallSite]) -> pb.CallSites | None:
    """In the order of their addresses, as Binary has them."""
    if not sites:
        return None
    files = {file: index for index, file in enumerate(dict.fromkeys(site.file for site in sites))}
    return pb.CallSites(
        files=[text(file) for file in files],
        distances=[after - before for before, after in pairwise([0, *(site.address for site in sites)])],
        file=[files[site.file] for site in sites],
        line=[site.line for site in sites],
        column=[site.column for site in sites],
    )


def read_sites(message: pb.CallSites) -> tuple[CallSite, ...]:
    columns = (accumulate(message.distances), message.file, message.line, message.column)
    return tuple(
        CallSite(address, message.files[checked_index(file, len(message.files))], line, column)
        for address, file, line, column in zip(*columns, strict=True)
    )


def read_planned_spawn(message: pb.PlannedSpawn, binaries: Sequence[Binary]) -> PlannedSpawn:
    own = binaries[checked_index(message.binary, len(binaries))].spawns
    return PlannedSpawn(message.binary, own[checked_index(message.index, len(own))])
