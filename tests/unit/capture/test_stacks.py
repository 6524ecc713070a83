"""Stacks in a capture: told at its end, known from its begin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.captures import START, busy_plan, events_at, recording_of
from tracer.capture import CaptureReader, CaptureWriter
from tracer.capture.stacks import read_stacks, write_stacks
from tracer.model import STACK_SAMPLE, Frame, SourceLocation, Stack, StackCensus, StackKind, Stacks, StackSamples

MAIN = Frame("app::main", SourceLocation("src/main.rs", 12), False, "app", "app")
NAP = Frame("app::nap", SourceLocation("src/main.rs", 40), True, "app", "app")
SLEEP = Frame("clock_nanosleep", None, False, "libc.so.6")
NOWHERE = Frame(None, None, False, "")
TOLD = Stacks(
    (Stack((SLEEP, NAP, MAIN), True), Stack((NOWHERE,), False), Stack((), False)),
    StackCensus(5, 1, 2, 3, 4, 1, 200_000, 5_000_000, 10_101_010),
)
REFUSED = Stacks((), StackCensus(refused="the kernel refused"))


@pytest.mark.parametrize("told", [TOLD, REFUSED])
def test_what_is_written_is_read(told: Stacks) -> None:
    assert read_stacks(write_stacks(told)) == told


def _write(path: Path) -> None:
    samples = np.array([(START + 5, START + 9, 7, 1, StackKind.BLOCKED, 0)], STACK_SAMPLE)
    with CaptureWriter(path, recording_of(busy_plan())) as writer:
        writer.stack_samples(StackSamples(samples))
        writer.stack_samples(StackSamples(samples[:0]))
        writer.events(events_at(START + 10))
        writer.stacks(TOLD)


def test_they_are_known_before_the_samples(tmp_path: Path) -> None:
    _write(tmp_path / "c")
    with CaptureReader(tmp_path / "c") as reader:
        assert reader.recording.stacks == TOLD
        samples, events = list(reader)
        assert isinstance(samples, StackSamples)
        assert samples.samples["until"].tolist() == [START + 9]
        assert isinstance(events, np.ndarray)
        assert (reader.torn, reader.damaged_blocks, reader.unknown_blocks) == (False, 0, 0)


def test_a_capture_that_breaks_off_has_samples_of_unknown_stacks(tmp_path: Path) -> None:
    _write(tmp_path / "c")
    (tmp_path / "c").write_bytes((tmp_path / "c").read_bytes()[:-1])
    with CaptureReader(tmp_path / "c") as reader:
        assert reader.recording.stacks is None
        assert not reader.torn  # of an iteration that has not begun
        assert len(list(reader)) == 2
        assert reader.torn


@pytest.mark.parametrize("part", ["frames", "texts"])
def test_what_leads_nowhere_is_damage(part: str) -> None:
    from tracer import capture_pb2 as pb

    message = pb.Stacks.FromString(write_stacks(TOLD))
    message.ClearField(part)
    with pytest.raises(ValueError, match="index"):
        read_stacks(message.SerializeToString())
