"""Channels in which more and more messages wait: which growth is told, and what is not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.unit.output.findings.made import MS, START, WORKERS, recording, spans, task
from tracer.model import PARKED, CaptureEnd, Channel, Finding, MemoryReading, Severity, SourceLocation, Tally
from tracer.output.summary import Summary

PLACE = SourceLocation("src/journal.rs", 80)
HEADER, RECEIVER = 0x500, 5
SECONDS = 10


def channel(
    messages: Sequence[int],
    received: int,
    *,
    seconds: float = SECONDS,
    receiver: int = HEADER,
    is_certain: bool = True,
    capacity: int | None = None,
) -> Channel:
    """messages: as many looks at it, in equal times from the begin on."""
    times = tuple(START + round(seconds * 1e9 * number / (len(messages) - 1)) for number in range(len(messages)))
    known = ("waits for Sleep at src/journal.rs:80", "echo::keep_journal", PLACE) if receiver else ("", "", None)
    return Channel(times, tuple(messages), received, capacity, receiver, is_certain, *known)


def found(*channels: Channel) -> list[Finding]:
    summary = Summary(recording())
    end = START + SECONDS * 1000 * MS
    nothing = np.empty(0, PARKED)
    summary.memory_reading(MemoryReading(end, 5, 0, is_last=True, tasks=3, parked=nothing, channels=channels))
    receives = task(RECEIVER, 0, SECONDS * 1000)
    receives["header"] = HEADER
    summary.spans(spans(over=[receives]))
    summary.close(Tally(), CaptureEnd(end, "over", 100, 0))
    assert all(one.rule == "backlog" for one in summary.findings)
    return summary.findings


def test_what_grows_all_the_time_is_told_with_its_numbers() -> None:
    (one,) = found(channel([500, 3_000, 5_500, 8_000, 10_500], 20_000))
    assert one.title == (
        "10,500 messages wait in a channel, 10,000 more than 10.0 s before (1,000 a second), and 2,000 a second are "
        "received; echo::keep_journal receives, which waits for Sleep at src/journal.rs:80"
    )
    assert one.evidence == {
        "messages": 10_500,
        "messages_before": 500,
        "growth_per_second": 1_000,
        "received_per_second": 2_000,
        "drain_ns": 5_250_000_000,
        "receiver": "waits for Sleep at src/journal.rs:80",
        "certain": 1,
    }
    assert (one.severity, one.where, one.function) == (Severity.WARNING, PLACE, "echo::keep_journal")
    assert (one.time, one.duration, one.task, one.tid) == (START, SECONDS * 1000 * MS, RECEIVER, WORKERS[0])


def test_who_has_the_receiver_may_be_doubtful_or_unknown() -> None:
    growing = [0, 2_000, 4_000, 6_000, 8_000]
    (one,) = found(channel(growing, 1_000, is_certain=False, capacity=50_000))
    assert "; perhaps echo::keep_journal receives, which waits" in one.title
    assert one.evidence["certain"] == 0
    assert one.evidence["capacity"] == 50_000
    (one,) = found(channel(growing, 1_000, receiver=0))
    assert one.title.endswith("; which task receives is not known")
    assert (one.function, one.where, one.task) == (None, None, None)


@pytest.mark.parametrize(
    ("messages", "received", "is_told"),
    [
        ([0, 250, 500, 750, 1_000], 900, True),
        ([0, 250, 500, 750, 999], 900, False),  # few
        ([0, 0, 0, 0, 50_000], 900, False),  # a burst at the end
        ([0, 90_000, 90_000, 70_000, 50_000], 90_000, False),  # one that is worked off
        ([0, 30_000, 30_400, 30_900, 34_000], 90_000, False),  # one that came, and another one
        ([0, 250, 500, 750, 10_000], 100_000, False),  # all of it is received within a second
        ([0, 5_000, 7_000, 9_000, 11_000], 0, True),  # nobody takes any
    ],
)
def test_how_it_grows(messages: list[int], received: int, is_told: bool) -> None:
    assert bool(found(channel(messages, received))) is is_told


@pytest.mark.parametrize(
    ("messages", "received", "is_told"),
    [
        ([20_000, 20_000, 20_100, 19_900, 20_000], 20_000, True),  # each waits for ten seconds
        ([20_000, 20_000, 20_100, 19_900, 20_000], 20_001, False),
        ([20_000, 19_000, 18_500, 18_000, 17_000], 9_000, False),  # it becomes fewer
        ([20_000, 20_000, 900, 19_900, 20_000], 9_000, False),  # it was all but empty in between
        ([20_000, 20_000, 20_000, 20_000, 20_000], 0, False),  # nobody uses it
    ],
)
def test_what_does_not_become_fewer(messages: list[int], received: int, is_told: bool) -> None:
    told = found(channel(messages, received))
    assert bool(told) is is_told
    assert all("0 more than 10.0 s before (0 a second)" in one.title for one in told)


def test_a_short_look_says_nothing() -> None:
    assert found(channel([0, 1_000, 2_000, 3_000, 4_000], 500, seconds=1))
    assert not found(channel([0, 1_000, 2_000, 3_000, 4_000], 500, seconds=0.99))
