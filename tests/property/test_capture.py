"""Captures damaged in any way: read as far as they are whole, reported, never an exception."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.captures import EVERYTHING, events_at
from tracer.capture import CaptureReader, CaptureWriter, Item
from tracer.capture.joining import put
from tracer.errors import BadCapture
from tracer.model import (
    CaptureEnd,
    Group,
    Halt,
    HaltKind,
    Loss,
    PlanChange,
    ProcessEnd,
    Thread,
)

_TIMES = st.integers(0, 2**63 - 1)
_FUNCTIONS = st.frozensets(st.integers(0, 99))
_TEXT = st.text(max_size=5)
_TIDS = st.integers(0, 2**31 - 1)  # a process or thread with a larger number is no possible one, and not read
_ITEMS = st.one_of(
    st.lists(_TIMES, min_size=1, max_size=3).map(lambda times: events_at(*sorted(times))),
    st.lists(st.builds(Thread, _TIDS, _TIDS, _TEXT), min_size=1, max_size=3),
    st.builds(
        PlanChange, _TIMES, st.frozensets(st.sampled_from(list(Group))), _TEXT, *[st.frozensets(st.integers(0, 99))] * 2
    ),
    st.builds(Loss, st.integers(-1, 999), st.integers(0, 2**64 - 1), st.none() | _TIMES, st.none() | _TIMES),
    st.builds(
        Halt,
        *(_TIMES, _TIMES, st.just(0), st.sampled_from(list(HaltKind)), _TEXT, st.none() | st.floats(0, 9)),
        *(st.integers(0, 2**63 - 1),) * 3,
    ),
    st.builds(ProcessEnd, _TIMES, _TIDS, _TEXT),
    st.builds(CaptureEnd, _TIMES, _TEXT, st.integers(0, 2**64 - 1), st.integers(0, 9), st.none() | st.floats(0, 1)),
)


def write(path: Path, items: list[Item]) -> None:
    with CaptureWriter(path, EVERYTHING) as writer:
        for item in items:
            put(writer, item)
            if isinstance(item, np.ndarray):
                writer.flush()


def plain(items: list[Item]) -> list[object]:
    return [item.tolist() if isinstance(item, np.ndarray) else item for item in items]


@given(st.lists(_ITEMS, max_size=5), st.data())
def test_what_is_left_of_a_damaged_capture_is_true(items: list[Item], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "c")
        write(path, items)
        whole = path.read_bytes()
        with CaptureReader(path) as reader:
            assert reader.recording == EVERYTHING
            assert plain(list(reader)) == plain(items)
        damaged = bytearray(whole)
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(damaged) - 1))
            how = data.draw(st.sampled_from(["change", "cut", "drop", "insert"]))
            if how == "change":
                damaged[at] ^= data.draw(st.integers(1, 255))
            elif how == "cut":
                del damaged[max(at, 1) :]
            elif how == "drop":
                del damaged[at : at + data.draw(st.integers(1, 100))]
            else:
                damaged[at:at] = data.draw(st.binary(min_size=1, max_size=60))
            if not damaged:
                break
        path.write_bytes(damaged)
        try:
            with CaptureReader(path) as reader:
                left = plain(list(reader))
                reported = reader.torn or reader.damaged_blocks > 0
                assert reader.event_count >= sum(len(item) for item in reader if isinstance(item, np.ndarray))
        except BadCapture:
            return
        assert is_subsequence(left, plain(items))
        assert reported or left == plain(items)[: len(left)]


def is_subsequence(part: list[object], whole: list[object]) -> bool:
    rest = iter(whole)
    return all(any(item == other for other in rest) for item in part)


@given(st.binary(max_size=200))
def test_any_bytes_behind_the_header_are_survived(tail: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "c")
        write(path, [])
        path.write_bytes(path.read_bytes() + tail)
        with CaptureReader(path) as reader:
            assert list(reader) == []
            assert reader.torn == (len(tail) > 0)
