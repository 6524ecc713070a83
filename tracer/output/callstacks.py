"""Stacks for Perfetto's own views of them, such as flamegraphs: its perf samples, with what they are interned.

Only looks at what ran are such samples: they are as many as it took time.  A frame's program counter is its number, by
which its line in the source is found: trace_processor has no other way to be told of one (v52).
"""

from __future__ import annotations

from collections.abc import Callable

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import PerfEvents, Profiling, TracePacket

from tracer.model import Array, Frame, StackKind, Stacks
from tracer.output.blockers import period_of, stack_of
from tracer.output.descriptors import MONOTONIC, NEEDS_STATE, STATE_CLEARED, Descriptors
from tracer.terminal import printable

_SEQUENCE = 3
_NANOSECONDS = 1_000_000_000


class Callstacks:
    """Writes samples, and each stack and frame before its first use."""

    def __init__(self, descriptors: Descriptors, stacks: Stacks | None) -> None:
        self._write = descriptors.emit
        self._stacks = stacks
        self._known: dict[int, int] = {}
        self._frames: dict[Frame, int] = {}
        self._names: dict[str, int] = {}
        self._modules: dict[str, int] = {}
        self._has_begun = False

    def add(self, looks: Array, process_of: Callable[[int], int | None]) -> None:
        """Those of dtype LOOK that are such; process_of: pid by tid, without which there are no samples."""
        for look in looks[looks["kind"] == StackKind.RUNNING]:
            tid, pid = int(look["tid"]), process_of(int(look["tid"]))
            callstack = self._callstack(int(look["stack"]))
            if pid is None or callstack is None:
                continue
            packet = self._packet()
            packet.timestamp = int(look["time"])
            sample = packet.perf_sample
            sample.pid, sample.tid, sample.callstack_iid = pid, tid, callstack
            sample.cpu_mode = Profiling.MODE_USER
            self._write(packet)

    def _packet(self) -> TracePacket:
        packet = TracePacket()
        packet.trusted_packet_sequence_id = _SEQUENCE
        packet.sequence_flags = NEEDS_STATE
        return packet

    def _callstack(self, number: int) -> int | None:
        """The intern id of a stack; None: it is not known."""
        stack = stack_of(self._stacks, number)
        if stack is None or not stack.frames:
            return None
        if number not in self._known:
            packet = self._packet()
            if not self._has_begun:
                self._begin(packet)
            for frame in stack.frames:
                if frame not in self._frames:
                    self._intern(frame, packet)
            self._known[number] = len(self._known) + 1
            frames = [self._frames[frame] for frame in reversed(stack.frames)]
            packet.interned_data.callstacks.add(iid=self._known[number], frame_ids=frames)
            self._write(packet)
        return self._known[number]

    def _begin(self, packet: TracePacket) -> None:
        self._has_begun = True
        packet.sequence_flags = STATE_CLEARED | NEEDS_STATE
        packet.first_packet_on_sequence = True
        packet.trace_packet_defaults.timestamp_clock_id = MONOTONIC
        timebase = packet.trace_packet_defaults.perf_sample_defaults.timebase
        timebase.counter = PerfEvents.SW_CPU_CLOCK
        period = period_of(self._stacks)
        timebase.frequency = _NANOSECONDS // period if period else 0

    def _intern(self, frame: Frame, packet: TracePacket) -> None:
        number = self._frames[frame] = len(self._frames) + 1
        interned, name = packet.interned_data, _name(frame)
        if name not in self._names:
            self._names[name] = len(self._names) + 1
            interned.function_names.add(iid=self._names[name], str=name.encode())
        module = printable(frame.module)
        if module not in self._modules:
            iid = self._modules[module] = len(self._modules) + 1
            interned.mapping_paths.add(iid=iid, str=module.encode())
            interned.build_ids.add(iid=iid, str=_build_id(iid).encode())
            interned.mappings.add(iid=iid, build_id=iid, path_string_ids=[iid])
        interned.frames.add(
            iid=number, function_name_id=self._names[name], mapping_id=self._modules[module], rel_pc=number
        )

    def close(self) -> None:
        """Tell the lines of all frames, a packet for each module: trace_processor must have seen samples of it."""
        packets: dict[str, TracePacket] = {}
        for frame in self._frames:
            if frame.location is None:
                continue
            module = printable(frame.module)
            symbols = packets.setdefault(module, self._packet()).module_symbols
            symbols.path, symbols.build_id = f"/{module}", _build_id(self._modules[module])
            line = symbols.address_symbols.add(address=self._frames[frame]).lines.add(function_name=_name(frame))
            line.source_file_name, line.line_number = printable(frame.location.file), frame.location.line
        for packet in packets.values():
            self._write(packet)


def _name(frame: Frame) -> str:
    return printable(frame.function or "unknown function")


def _build_id(module: int) -> str:
    """By which lines find their module, in this trace."""
    return f"module {module}"
