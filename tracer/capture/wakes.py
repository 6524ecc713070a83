"""Where tasks are woken as protobuf messages, and back.

Reading raises ValueError on a message that does not make sense.
"""

from __future__ import annotations

from collections.abc import Sequence

from tracer import capture_pb2 as pb
from tracer.capture.layouts import checked_index, read_test, text, write_test
from tracer.model import Binary, InstructionCost, PlannedWake, Register, WakeOrigin, WakePoint


def write_wake(point: WakePoint) -> pb.WakePoint:
    return pb.WakePoint(
        address=point.address,
        offset=point.offset,
        name=text(point.name),
        effective=write_test(point.effective),
        is_indirect=point.is_indirect,
        cost=point.cost.value,
        state=point.state,
        begins=point.begins,
    )


def read_wake(message: pb.WakePoint) -> WakePoint:
    test = message.effective
    if max(test.mask, test.value) > 0xFF:
        raise ValueError("a test of more than a byte")
    return WakePoint(
        address=message.address,
        offset=message.offset,
        name=message.name,
        effective=read_test(test),
        is_indirect=message.is_indirect,
        cost=InstructionCost(message.cost),
        state=Register(message.state) if message.HasField("state") else None,
        begins=WakeOrigin(message.begins) if message.begins else None,
    )


def read_planned_wake(message: pb.PlannedWake, binaries: Sequence[Binary]) -> PlannedWake:
    own = binaries[checked_index(message.binary, len(binaries))].wakes
    return PlannedWake(message.binary, own[checked_index(message.index, len(own))])
