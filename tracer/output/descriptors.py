"""Trace packets that are few: clocks, tracks, interned strings, notes.  Built from the perfetto package's messages.

Only fields that Perfetto v52 knows are used: an unknown one puts a banner of errors over the trace.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TracePacket, TrackDescriptor, TrackEvent

from tracer.model import ClockReading, SourceLocation, Thread
from tracer.output.rows import delimited
from tracer.terminal import printable

SEQUENCE, THREAD_SEQUENCE = 1, 2
"""trusted_packet_sequence_id of all events and interned strings, and of the descriptors of threads: those would
make a thread the default of every event of their sequence."""
STATE_CLEARED, NEEDS_STATE = 1, 2
"""TracePacket.SequenceFlags."""
REALTIME, MONOTONIC, BOOTTIME = 1, 3, 6
"""BuiltinClock."""

Value = str | int | float | None


@dataclass(frozen=True, slots=True)
class Flows:
    """Ids of the arrows that begin and that end at an event."""

    begin: tuple[int, ...] = ()
    end: tuple[int, ...] = ()


NO_FLOWS = Flows()


class Descriptors:
    """Writes packets through `write`; hands out track uuids and intern ids, both from 1 on and dense."""

    def __init__(self, write: Callable[[bytes], None], clock: ClockReading) -> None:
        self._write = write
        self._tracks = 0
        self._names: dict[str, int] = {}
        self._strings: dict[str, int] = {}
        self._keys: dict[str, int] = {}
        self._locations: dict[tuple[str, SourceLocation], int] = {}
        self._categories: dict[str, int] = {}
        self._pending = TracePacket()
        self._write_clocks(clock)
        self._pending.trusted_packet_sequence_id = SEQUENCE
        self._pending.sequence_flags = STATE_CLEARED | NEEDS_STATE
        self._pending.first_packet_on_sequence = True
        self._pending.trace_packet_defaults.timestamp_clock_id = MONOTONIC

    def _write_clocks(self, clock: ClockReading) -> None:
        """Slices stay in raw CLOCK_MONOTONIC; the wall clock lets the UI show the time of day."""
        packet = TracePacket()
        packet.trusted_packet_sequence_id = SEQUENCE
        for number, time in ((MONOTONIC, clock.monotonic), (BOOTTIME, clock.boottime), (REALTIME, clock.realtime)):
            packet.clock_snapshot.clocks.add(clock_id=number, timestamp=time)
        packet.clock_snapshot.primary_trace_clock = MONOTONIC
        self.emit(packet)

    def emit(self, packet: TracePacket) -> None:
        """Write one packet."""
        self._write(delimited(1, packet.SerializeToString()))

    # ---- interned data: an entry has to precede its first use in the file, so `flush` before rows that use it

    def name(self, text: str) -> int:
        """The intern id of an event name."""
        return self._intern(self._names, text, self._pending.interned_data.event_names)

    def key(self, text: str) -> int:
        """The intern id of an argument's name."""
        return self._intern(self._keys, text, self._pending.interned_data.debug_annotation_names)

    def category(self, text: str) -> int:
        """The intern id of a category."""
        return self._intern(self._categories, text, self._pending.interned_data.event_categories)

    def _intern(self, known: dict[str, int], text: str, entries: object) -> int:
        number = known.get(text)
        if number is None:
            number = known[text] = len(known) + 1
            entries.add(iid=number, name=printable(text))  # type: ignore[attr-defined]
        return number

    def string(self, text: str) -> int:
        """The intern id of an argument's value."""
        return self.lines((text,))

    def lines(self, texts: Sequence[str]) -> int:
        """The intern id of an argument's value that has several lines."""
        text = "\n".join(map(printable, texts))
        number = self._strings.get(text)
        if number is None:
            number = self._strings[text] = len(self._strings) + 1
            self._pending.interned_data.debug_annotation_string_values.add(iid=number, str=text.encode())
        return number

    def location(self, function: str, place: SourceLocation) -> int:
        """The intern id of a function's place in the source."""
        number = self._locations.get((function, place))
        if number is None:
            number = self._locations[function, place] = len(self._locations) + 1
            entry = self._pending.interned_data.source_locations.add(iid=number, function_name=printable(function))
            entry.file_name, entry.line_number = printable(place.file), place.line
        return number

    def flush(self) -> None:
        """Write the interned strings that are new."""
        if self._pending.HasField("interned_data") or self._pending.HasField("trace_packet_defaults"):
            self.emit(self._pending)
            self._pending = TracePacket()
            self._pending.trusted_packet_sequence_id = SEQUENCE
            self._pending.sequence_flags = NEEDS_STATE

    # ---- tracks

    def new_track(self) -> int:
        """A uuid that no track has yet."""
        self._tracks += 1
        return self._tracks

    def track(
        self,
        name: str,
        parent: int | None = None,
        *,
        rank: int = 0,
        description: str = "",
        uuid: int | None = None,
    ) -> int:
        """A track (or a group of tracks) of that name, ordered by rank among its siblings, never merged with them."""
        packet, track = self._descriptor(uuid)
        track.name = printable(name)
        if parent is not None:
            track.parent_uuid = parent
        track.child_ordering = TrackDescriptor.EXPLICIT
        track.sibling_merge_behavior = TrackDescriptor.SIBLING_MERGE_BEHAVIOR_NONE
        track.sibling_order_rank = rank
        if description:
            track.description = printable(description)
        self.emit(packet)
        return int(track.uuid)

    def process(self, pid: int, name: str, command: tuple[str, ...]) -> int:
        """The track of a process."""
        packet, track = self._descriptor(None)
        track.process.pid = pid
        track.process.process_name = printable(name)
        track.process.cmdline.extend(printable(argument) for argument in command)
        track.child_ordering = TrackDescriptor.EXPLICIT
        self.emit(packet)
        return int(track.uuid)

    def thread(self, thread: Thread, uuid: int) -> None:
        """The track of a thread; can be written again when its name is known better."""
        packet, track = self._descriptor(uuid)
        packet.trusted_packet_sequence_id = THREAD_SEQUENCE
        track.thread.pid = thread.pid
        track.thread.tid = thread.tid
        if thread.name:
            track.thread.thread_name = printable(thread.name)
        self.emit(packet)

    def _descriptor(self, uuid: int | None) -> tuple[TracePacket, TrackDescriptor]:
        packet = TracePacket()
        packet.trusted_packet_sequence_id = SEQUENCE
        packet.track_descriptor.uuid = self.new_track() if uuid is None else uuid
        return packet, packet.track_descriptor

    def counter_track(self, name: str, parent: int | None, *, rank: int, description: str) -> int:
        """A track of values over time."""
        packet, track = self._descriptor(None)
        track.name = printable(name)
        track.description = description
        if parent is not None:
            track.parent_uuid = parent
        track.sibling_order_rank = rank
        track.counter.SetInParent()
        self.emit(packet)
        return int(track.uuid)

    # ---- single events

    def counter(self, time: int, track: int, value: int) -> None:
        """The value of a counter from `time` on."""
        packet = TracePacket()
        packet.trusted_packet_sequence_id = SEQUENCE
        packet.sequence_flags = NEEDS_STATE
        packet.timestamp = time
        packet.track_event.type = TrackEvent.TYPE_COUNTER
        packet.track_event.track_uuid = track
        packet.track_event.counter_value = value
        self.flush()
        self.emit(packet)

    def instant(
        self, time: int, track: int, name: str, args: Mapping[str, Value], flows: Flows = NO_FLOWS, category: str = ""
    ) -> None:
        """One instant; arguments that are None are left out."""
        self._event(TrackEvent.TYPE_INSTANT, time, track, name, args, flows, category)

    def slice(self, start: int, end: int, track: int, name: str, args: Mapping[str, Value]) -> None:
        """One slice.  Times in ns of CLOCK_MONOTONIC."""
        self._event(TrackEvent.TYPE_SLICE_BEGIN, start, track, name, args)
        self._event(TrackEvent.TYPE_SLICE_END, end, track, "", {})

    def _event(
        self,
        kind: int,
        time: int,
        track: int,
        name: str,
        args: Mapping[str, Value],
        flows: Flows = NO_FLOWS,
        category: str = "",
    ) -> None:
        packet = TracePacket()
        packet.trusted_packet_sequence_id = SEQUENCE
        packet.sequence_flags = NEEDS_STATE
        packet.timestamp = time
        event = packet.track_event
        event.type = kind
        event.track_uuid = track
        if name:
            event.name = printable(name)
        if category:
            event.categories.append(category)
        event.flow_ids.extend(flows.begin)
        event.terminating_flow_ids.extend(flows.end)
        for key, value in args.items():
            if value is None:
                continue
            annotation = event.debug_annotations.add(name=printable(key))
            if isinstance(value, str):
                annotation.string_value = printable(value)
            elif isinstance(value, float):
                annotation.double_value = value
            else:
                annotation.int_value = value
        self.flush()
        self.emit(packet)
