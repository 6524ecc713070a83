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
    location_of,
    text,
    write_location,
)
from tracer.capture.plans import read_plan, write_plan
from tracer.model import (
    PARKED,
    CaptureEnd,
    Channel,
    ClockReading,
    Group,
    Halt,
    HaltKind,
    KeptTasks,
    Loss,
    MemoryReading,
    PlanChange,
    Process,
    ProcessEnd,
    Recording,
    Stuck,
    StuckKind,
    Thread,
)


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
        plan=write_plan(recording.plan),
        transport=recording.transport,
        kernel=recording.kernel,
        max_overhead=recording.max_overhead,
        options={text(key): text(value) for key, value in recording.options.items()},
        flight=write_flight(recording.flight),
        cpu_quota=recording.cpu_quota,
        hit_costs=recording.hit_costs,
    ).SerializeToString(deterministic=True)


def read_recording(data: bytes) -> Recording:
    message = pb.Recording.FromString(data)
    plan = read_plan(message.plan)
    return Recording(
        version=message.version,
        clock=ClockReading(*map(_time, (message.clock.monotonic, message.clock.boottime, message.clock.realtime))),
        start=_time(message.start),
        processes=tuple(
            Process(
                pid=_checked_pid(p.pid),
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
        cpu_quota=message.cpu_quota if message.HasField("cpu_quota") else None,
        hit_costs=_checked_costs(message.hit_costs),
    )


def _checked_costs(costs: Iterable[float]) -> tuple[float, ...]:
    if not all(0 <= cost < _MOST_COST for cost in costs):
        raise ValueError("a hit of a probe costs no such time")
    return tuple(costs)


def _time(number: int) -> int:
    """ns.  Raises ValueError before the time began."""
    if number < 0:
        raise ValueError(f"{number} is no time")
    return number


def _checked_pid(number: int) -> int:
    if number > _MOST_PID:
        raise ValueError(f"{number} is no process or thread")
    return number


def write_threads(threads: Iterable[Thread]) -> bytes:
    return pb.Threads(threads=[pb.Thread(tid=t.tid, pid=t.pid, name=text(t.name)) for t in threads]).SerializeToString()


def read_threads(data: bytes) -> list[Thread]:
    return [Thread(_checked_pid(t.tid), _checked_pid(t.pid), t.name) for t in pb.Threads.FromString(data).threads]


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
        _time(message.time), active, message.reason, frozenset(message.unprobed), frozenset(message.entries_only)
    )


def write_loss(loss: Loss) -> bytes:
    return pb.Loss(cpu=loss.cpu, count=loss.count, after=loss.after, before=loss.before).SerializeToString()


def read_loss(data: bytes) -> Loss:
    message = pb.Loss.FromString(data)
    return Loss(
        message.cpu,
        message.count,
        _time(message.after) if message.HasField("after") else None,
        _time(message.before) if message.HasField("before") else None,
    )


def write_process_end(end: ProcessEnd) -> bytes:
    return pb.ProcessEnd(time=end.time, pid=end.pid, reason=text(end.reason)).SerializeToString()


def read_process_end(data: bytes) -> ProcessEnd:
    message = pb.ProcessEnd.FromString(data)
    return ProcessEnd(_time(message.time), _checked_pid(message.pid), message.reason)


_MOST_PID = (1 << 31) - 1
_MOST_COST = 1e9
"""ns."""

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
        missed=reading.missed,
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
                behind=one.behind,
            )
    if reading.kept is not None:
        message.kept.SetInParent()
        for kind in reading.kept:
            message.kept.kinds.add(
                function=kind.function,
                count=kind.count,
                by=text(kind.by),
                of_these=kind.of_these,
                is_asked=kind.is_asked,
                location=write_location(kind.location),
                keeper=kind.keeper,
            )
    if reading.channels is not None:
        message.channels.SetInParent()
        for channel in reading.channels:
            message.channels.channels.add(
                times=channel.times,
                messages=channel.messages,
                received=channel.received,
                capacity=channel.capacity,
                receiver=channel.receiver,
                is_certain=channel.is_certain,
                words=text(channel.words),
                function=text(channel.function),
                location=write_location(channel.location),
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
    missed = message.missed if message.HasField("missed") else None
    kept = tuple(_kept(one) for one in message.kept.kinds) if message.HasField("kept") else None
    channels = tuple(_channel(one) for one in message.channels.channels) if message.HasField("channels") else None
    return MemoryReading(
        _time(message.time),
        _time(message.duration),
        message.process,
        message.is_last,
        message.tasks,
        parked,
        stuck,
        missed,
        kept,
        channels,
    )


def _channel(one: pb.Channel) -> Channel:
    """Raises ValueError when it is none."""
    if not 2 <= len(one.times) == len(one.messages) or list(one.times) != sorted(one.times):
        raise ValueError("a channel without two looks at it")
    return Channel(
        tuple(one.times),
        tuple(one.messages),
        one.received,
        one.capacity if one.HasField("capacity") else None,
        one.receiver,
        one.is_certain,
        one.words,
        one.function,
        location_of(one),
    )


def _kept(one: pb.KeptTasks) -> KeptTasks:
    location = location_of(one)
    return KeptTasks(one.function, one.count, one.by, one.of_these, one.is_asked, location, one.keeper)


def _stuck(one: pb.Stuck) -> Stuck:
    return Stuck(
        StuckKind(one.kind),
        tuple(one.tasks),
        one.is_certain,
        one.words,
        one.function,
        location_of(one),
        tuple(one.behind),
    )


def write_halt(halt: Halt) -> bytes:
    return pb.Halt(
        time=halt.time,
        until=halt.until,
        process=halt.process,
        kind=halt.kind.value,
        by=text(halt.by),
        quota=halt.quota,
        periods=halt.periods,
        throttled=halt.throttled,
        lost=halt.lost,
    ).SerializeToString()


def read_halt(data: bytes) -> Halt:
    """ValueError of a kind that a later version tells of."""
    message = pb.Halt.FromString(data)
    return Halt(
        _time(message.time),
        _time(message.until),
        message.process,
        HaltKind(message.kind),
        message.by,
        message.quota if message.HasField("quota") else None,
        message.periods,
        message.throttled,
        message.lost,
    )


def write_capture_end(end: CaptureEnd) -> bytes:
    return pb.CaptureEnd(
        time=end.time,
        reason=text(end.reason),
        received=end.received,
        lost=end.lost,
        overhead=end.overhead,
        of_processor=end.of_processor,
    ).SerializeToString()


def read_capture_end(data: bytes) -> CaptureEnd:
    message = pb.CaptureEnd.FromString(data)
    return CaptureEnd(
        _time(message.time),
        message.reason,
        message.received,
        message.lost,
        message.overhead if message.HasField("overhead") else None,
        message.of_processor if message.HasField("of_processor") else None,
    )
