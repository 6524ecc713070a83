"""Rows of bytes are what protobuf reads."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace

from tracer.output.rows import RowFormat, Varint, field, message, varint


def a_format(width: int) -> RowFormat:
    return RowFormat(field(8, Varint("time", width)), field(10, 300), message(11, field(11, Varint("track", 10))))


@given(st.integers(1, 10), st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=50), st.data())
def test_any_width(width: int, tracks: list[int], data: st.DataObject) -> None:
    top = min(2 ** (7 * width), 2**64) - 1
    times = data.draw(st.lists(st.integers(0, top), min_size=len(tracks), max_size=len(tracks)))
    rows = a_format(width).encode(len(times), time=np.array(times, np.uint64), track=np.array(tracks, np.uint64))
    packets = Trace.FromString(rows.tobytes()).packet
    assert [one.timestamp for one in packets] == times
    assert [one.track_event.track_uuid for one in packets] == tracks
    assert {one.trusted_packet_sequence_id for one in packets} == {300}


@given(st.integers(0, 2**64 - 1))
def test_minimal_varint(value: int) -> None:
    assert (
        Trace.FromString(b"\x0a" + bytes([1 + len(varint(value))]) + b"\x40" + varint(value)).packet[0].timestamp
        == value
    )


def test_one_column_in_two_places_and_templates() -> None:
    """A column may stand twice; rows taken from a filled template keep what is not written again."""
    row = RowFormat(field(8, Varint("time", 9)), field(10, Varint("sequence", 2)), field(58, Varint("time", 9)))
    template = row.encode(3, sequence=np.array([5, 6, 7]))
    rows = row.fill(template.take([2, 0, 0], axis=0), time=np.array([11, 12, 13]))
    packets = Trace.FromString(rows.tobytes()).packet
    assert [(p.timestamp, p.timestamp_clock_id, p.trusted_packet_sequence_id) for p in packets] == [
        (11, 11, 7),
        (12, 12, 5),
        (13, 13, 5),
    ]
