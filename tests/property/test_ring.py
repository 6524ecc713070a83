"""A recording cut at any place, as a ring cuts it: it looks like one that begins there, and nothing is invented."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.captures import START, recording_of
from tests.property.test_assembly import PLAN, lives, noise, whole
from tracer.assemble import begin, finish, step
from tracer.capture import RingReader, RingWriter, segments_of
from tracer.capture.joining import put
from tracer.model import Array, CaptureEnd, Loss, PollFlag, Spans, WaitFlag

OPEN_BEFORE = int(PollFlag.START_UNKNOWN)
END = CaptureEnd(START + 100_000, "", 0, 0)


def ring_of(folder: Path, items: list[Any], cuts: set[int], last: int = 1_000) -> list[Path]:
    """The segments of a ring that begins another one before each of these items."""
    with RingWriter(folder, recording_of(PLAN), last=last, max_size=1 << 30) as writer:
        for number, item in enumerate(items):
            if number in cuts:
                writer._turn()
            if isinstance(item, np.ndarray):
                writer._writer.flush()
            put(writer, item)
            if isinstance(item, np.ndarray):
                writer.flush()
        writer.end(END)
    return segments_of(folder)


def assembled(reader: RingReader) -> tuple[Spans, list[Loss]]:
    state, parts, losses = begin(reader.recording), [], []
    for item in reader:
        if isinstance(item, CaptureEnd):
            continue
        if isinstance(item, Loss):
            losses.append(item)
        state, spans = step(state, item)
        parts.append(spans)
    state, spans = finish(state, END)
    parts.append(spans)
    names = ("polls", "waits", "begun", "over", "off_cpu")
    return Spans(**{name: np.concatenate([getattr(one, name) for one in parts]) for name in names}), losses


def blocks_of(events: Array, size: int) -> list[Array]:
    return [events[at : at + size] for at in range(0, len(events), size)]


@given(lives(), st.integers(1, 9), st.integers(0, 60))
def test_a_cut_invents_nothing(events: Array, size: int, cut: int) -> None:
    blocks = blocks_of(events, size)
    truth, _ = whole([*blocks], END)
    with tempfile.TemporaryDirectory() as folder:
        paths = ring_of(Path(folder, "ring"), blocks, {min(cut, len(blocks) - 1)})
        with RingReader(paths[-1:]) as reader:
            seen, losses = assembled(reader)
            start = reader.recording.start
    assert losses == []
    for poll in seen.polls:
        mine = truth.polls[(truth.polls["tid"] == poll["tid"]) & (truth.polls["function"] == poll["function"])]
        if poll["flags"] & OPEN_BEFORE:
            assert poll["start"] == start
            same = mine[mine["start"] <= start]
        else:
            same = mine[mine["start"] == poll["start"]]
        assert np.any(same["end_latest"] >= poll["end"]), poll
    for wait in seen.waits:
        mine = truth.waits[truth.waits["function"] == wait["function"]]
        mine = mine[(mine["self"] == wait["self"]) & (mine["end"] >= wait["end"])]
        early = (wait["flags"] & int(WaitFlag.START_UNKNOWN)) != 0
        assert np.any((mine["start"] <= wait["start"]) if early else (mine["start"] == wait["start"])), wait


@settings(max_examples=40)
@given(lives(), st.integers(1, 9), st.sets(st.integers(1, 60), max_size=6))
def test_all_segments_together_are_the_recording(events: Array, size: int, cuts: set[int]) -> None:
    blocks = blocks_of(events, size)
    truth, _ = whole([*blocks], END)
    with tempfile.TemporaryDirectory() as folder:
        paths = ring_of(Path(folder, "ring"), blocks, cuts, last=1 << 60)
        with RingReader(paths) as reader:
            seen, losses = assembled(reader)
    assert losses == []
    for name in ("polls", "waits", "begun", "over", "off_cpu"):
        assert getattr(seen, name).tolist() == getattr(truth, name).tolist()


@given(lives(), st.integers(1, 9), st.integers(1, 60))
def test_tasks_keep_their_ids_across_a_cut(events: Array, size: int, cut: int) -> None:
    blocks = blocks_of(events, size)
    truth, _ = whole([*blocks], END)
    with tempfile.TemporaryDirectory() as folder:
        paths = ring_of(Path(folder, "ring"), blocks, {min(cut, len(blocks) - 1)})
        with RingReader(paths[-1:]) as reader:
            seen, _ = assembled(reader)
    ids = {(int(task["header"]), int(task["id"])) for task in truth.over}
    for task in seen.over:
        if task["id"]:
            assert (int(task["header"]), int(task["id"])) in ids


@given(noise(), st.sets(st.integers(0, 30)), st.integers(0, 30))
def test_nothing_raises(items: list[Any], cuts: set[int], first: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = ring_of(Path(folder, "ring"), items, cuts)
        with RingReader(paths[min(first, len(paths) - 1) :]) as reader:
            assembled(reader)
