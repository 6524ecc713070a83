"""What a process of its own assembles arrives as it would here, and nothing of it stays behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from tracer import assemble
from tracer.capture import CaptureReader
from tracer.commands import assembling
from tracer.commands.assembling import _JOINED, Assembled, _joined, assembled
from tracer.errors import OutputFailed
from tracer.model import EVENT, STACK_SAMPLE, Spans, StackSamples, Tally

GOLDEN = sorted((Path(__file__).parents[2] / "golden").glob("*.ratcap"))
MANY = assembling.WORTH_A_PROCESS


def described(items: Iterator[Assembled]) -> list[object]:
    """The same as values that can be compared."""
    told: list[object] = []
    for item in items:
        if isinstance(item, Spans):
            told.append({one.name: getattr(item, one.name).tolist() for one in fields(Spans)})
        else:
            told.append(item if isinstance(item, Tally | list) else repr(item))
    return told


def children() -> set[str]:
    """The process ids of this process's children, whoever among the tests made them."""
    return {pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_what_arrives_is_what_was_assembled(path: Path) -> None:
    with CaptureReader(path) as reader:
        here = described(assembled(reader, 0))
        counts = reader.torn, reader.damaged_blocks, reader.unknown_blocks
    with CaptureReader(path) as reader:
        assert described(assembled(reader, MANY)) == here
        assert (reader.torn, reader.damaged_blocks, reader.unknown_blocks) == counts


def test_a_torn_capture_is_known_to_be(tmp_path: Path) -> None:
    torn = tmp_path / "torn.ratcap"
    torn.write_bytes(GOLDEN[0].read_bytes()[:-10])
    with CaptureReader(torn) as reader:
        list(assembled(reader, MANY))
        assert reader.torn


def test_who_stops_early_leaves_nothing_behind() -> None:
    with CaptureReader(GOLDEN[0]) as reader:
        items = iter(assembled(reader, MANY))
        next(items)
        items.close()  # type: ignore[attr-defined]


def test_an_error_of_the_process_is_raised_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no such state")

    monkeypatch.setattr(assemble, "step", fail)
    with CaptureReader(GOLDEN[0]) as reader, pytest.raises(RuntimeError, match="no such state"):
        list(assembled(reader, MANY))


def test_a_process_that_is_killed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(assemble, "finish", die)
    with CaptureReader(GOLDEN[0]) as reader, pytest.raises(OutputFailed, match="was killed"):
        list(assembled(reader, MANY))


def test_a_process_without_memory_is_that_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask_too_much(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(assemble, "finish", ask_too_much)
    with CaptureReader(GOLDEN[0]) as reader, pytest.raises(MemoryError):
        list(assembled(reader, MANY))


def test_without_another_process_it_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError

    with CaptureReader(GOLDEN[0]) as reader:
        here = described(assembled(reader, MANY))
        monkeypatch.setattr(os, "fork", refuse)
        assert described(assembled(reader, MANY)) == here


def test_arrays_keep_their_kind() -> None:
    with CaptureReader(GOLDEN[0]) as reader:
        for item in assembled(reader, MANY):
            if isinstance(item, Spans):
                kinds = {one.name: getattr(item, one.name).dtype for one in fields(Spans)}
                assert kinds == {name: np.dtype(kind) for name, kind in assembling._ARRAYS.items()}


def test_stacks_and_blocks_that_follow_each_other_are_one_item_each() -> None:
    one, other = (StackSamples(np.zeros(count, STACK_SAMPLE)) for count in (2, 3))
    few, more = np.zeros(10, EVENT), np.zeros(_JOINED - 20, EVENT)
    items = list(_joined([one, few, other, few, [], few, more, few, other, few, []]))
    assert [len(item.samples) for item in items if isinstance(item, StackSamples)] == [5, 3]
    assert [len(item) for item in items if isinstance(item, np.ndarray | list)] == [20, 0, _JOINED, 10, 0]
    assert [type(item) for item in items[:3]] == [StackSamples, np.ndarray, list]
    many = StackSamples(np.zeros(_JOINED, STACK_SAMPLE))  # of hours in which nothing else came
    items = list(_joined([few, many, one, few, []]))
    assert [len(getattr(item, "samples", item)) for item in items] == [_JOINED, 10, 2, 10, 0]  # type: ignore[arg-type]
