"""Events at any rate without a target that makes them: a program of our own writes to the maps of a recording that is
under way, in the recording's own format and with its own sequence numbers, as its probes do.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tracer.model import EVENT, EventFlag, Plan
from tracer.probe import kernel
from tracer.probe.kernel import load_program

_SOCKET_FILTER = 1
_TEST_RUN, _MAP_BY_ID, _INFORMATION = 10, 14, 15
_NAME_AT, _NAME = 24, 16  # in struct bpf_map_info
_LOOKUP, _CLOCK, _CPU, _PERF_OUTPUT, _RING_OUTPUT = 1, 5, 8, 25, 130  # enum bpf_func_id
_NO_WAKEUP, _CURRENT_CPU = 1, 0xFFFF_FFFF
_LOST, _SENT = 0, 8  # in struct cpu_state
_ROUND = 0.005
_TASKS, _HEADER, _CELL, _SP = 1_000, 0x7E00_0000_0000, 0x480, 0x7F00_0000_0000
_TID = 4_000_000
"""Of the first CPU's thread: there is none of that number."""


@dataclass(frozen=True, slots=True)
class Fed:
    """events: written, or counted as lost by the program, within `seconds`."""

    events: int
    seconds: float


def feed(pid: int, plan: Plan, transport: str, rate: float, seconds: float) -> Fed:
    """Polls of a thousand tasks by one thread a CPU, at so many events a second, on the CPUs by turns.

    pid: of the process that records.
    """
    entry, leave = _ends_of_a_poll(plan)
    events, cpus = _map_of(pid, "events"), _map_of(pid, "cpus")
    program = load_program(_SOCKET_FILTER, _program(transport, events, cpus, entry, leave), name="feed")
    packet = ctypes.create_string_buffer(64)
    allowed = os.sched_getaffinity(0)
    cpu = itertools.cycle(sorted(allowed))
    began, sent = time.monotonic(), 0
    try:
        while sent < int(seconds * rate):
            os.sched_setaffinity(0, {next(cpu)})
            time.sleep(_ROUND)
            due = int(min(time.monotonic() - began, seconds) * rate) - sent
            fields = (program, 0, len(packet), 0, ctypes.addressof(packet), 0, due, 0)
            if due:
                kernel._bpf(_TEST_RUN, struct.pack("<IIIIQQII", *fields))
            sent += due
        return Fed(sent, time.monotonic() - began)
    finally:
        os.sched_setaffinity(0, allowed)
        for fd in (program, events, cpus):
            os.close(fd)


def _ends_of_a_poll(plan: Plan) -> tuple[int, int]:
    """The probes at the entry and at an exit of one function."""
    leaves = {probe.leaves: probe.id for probe in plan.probes if probe.enters is None and not probe.is_tail}
    return next((one.id, leaves[one.enters]) for one in plan.probes if one.enters is not None and one.enters in leaves)


def _map_of(pid: int, name: str) -> int:
    """A descriptor of the map of that name which the process has open."""
    told = (one.read_text() for one in Path(f"/proc/{pid}/fdinfo").iterdir())
    maps = {int(line.split()[1]) for text in told for line in text.splitlines() if line.startswith("map_id:")}
    (number,) = (one for one in maps if _name_of(one) == name)
    return kernel._bpf(_MAP_BY_ID, struct.pack("<I", number))


def _name_of(number: int) -> str:
    fd = kernel._bpf(_MAP_BY_ID, struct.pack("<I", number))
    try:
        told = ctypes.create_string_buffer(_NAME_AT + _NAME)
        kernel._bpf(_INFORMATION, struct.pack("<IIQ", fd, len(told), ctypes.addressof(told)))
        return told.raw[_NAME_AT:].split(b"\0")[0].decode()
    finally:
        os.close(fd)


def _program(transport: str, events: int, cpus: int, entry: int, leave: int) -> bytes:
    """One event a run: entries and exits by turns, as the sequence numbers of each CPU are even or odd."""
    code: list[bytes] = []

    def one(op: int, to: int = 0, of: int = 0, at: int = 0, value: int = 0) -> None:
        code.append(struct.pack("<BBhi", op, of << 4 | to, at, value))

    def wide(to: int, value: int, kind: int = 0) -> None:
        one(0x18, to, kind, 0, struct.unpack("<i", struct.pack("<I", value & 0xFFFF_FFFF))[0])
        one(0, 0, 0, 0, value >> 32)

    fields = EVENT.fields
    assert fields is not None
    place = {name: -48 + fields[name][1] for name in EVENT.names or ()}
    store: dict[str, Callable[[int], None]] = {
        name: lambda register, op=op, at=place[name]: one(op, 10, register, at)  # type: ignore[misc]
        for name, op in {
            **dict.fromkeys(("time", "sp", "self"), 0x7B),
            **dict.fromkeys(("tid", "sequence", "probe"), 0x63),
            "cpu": 0x6B,
            **dict.fromkeys(("state", "flags"), 0x73),
        }.items()
    }
    one(0x7B, 10, 1, -56)  # the context
    one(0x62, 10, 0, -4, 0)  # key = 0
    wide(1, cpus, 1)
    one(0xBF, 2, 10)
    one(0x07, 2, 0, 0, -4)
    one(0x85, value=_LOOKUP)
    one(0x55, 0, 0, 2, 0)  # if it is there, go on
    one(0xB7, 0, 0, 0, 0)
    one(0x95)
    one(0xBF, 9, 0)
    one(0xB7, 8, 0, 0, 1)
    one(0xDB, 9, 8, _SENT, 1)  # r8 = fetch_add(&cpu->sent, 1)
    one(0x85, value=_CLOCK)
    store["time"](0)
    one(0x85, value=_CPU)
    one(0xBF, 7, 0)
    store["cpu"](7)
    one(0x07, 7, 0, 0, _TID)
    store["tid"](7)
    wide(1, _SP)
    store["sp"](1)
    one(0xBF, 1, 8)
    one(0x77, 1, 0, 0, 1)
    one(0x97, 1, 0, 0, _TASKS)
    one(0x27, 1, 0, 0, _CELL)
    wide(2, _HEADER)
    one(0x0F, 1, 2)
    store["self"](1)
    store["sequence"](8)
    one(0xBF, 6, 8)
    one(0x57, 6, 0, 0, 1)  # is it an exit?
    one(0xBF, 1, 6)
    one(0x27, 1, 0, 0, leave - entry)
    one(0x07, 1, 0, 0, entry)
    store["probe"](1)
    one(0xB7, 1, 0, 0, 0)
    store["state"](1)
    one(0x27, 6, 0, 0, int(EventFlag.RESULT | EventFlag.PENDING))
    one(0x07, 6, 0, 0, int(EventFlag.SELF))
    store["flags"](6)
    if transport == "ring":
        wide(1, events, 1)
        one(0xBF, 2, 10)
        one(0x07, 2, 0, 0, -48)
        one(0xB7, 3, 0, 0, EVENT.itemsize)
        one(0xB7, 4, 0, 0, _NO_WAKEUP)
        one(0x85, value=_RING_OUTPUT)
    else:
        one(0x79, 1, 10, -56)
        wide(2, events, 1)
        wide(3, _CURRENT_CPU)
        one(0xBF, 4, 10)
        one(0x07, 4, 0, 0, -48)
        one(0xB7, 5, 0, 0, EVENT.itemsize)
        one(0x85, value=_PERF_OUTPUT)
    one(0x15, 0, 0, 2, 0)
    one(0xB7, 1, 0, 0, 1)
    one(0xDB, 9, 1, _LOST, 0)  # cpu->lost += 1
    one(0xB7, 0, 0, 0, 0)
    one(0x95)
    return b"".join(code)
