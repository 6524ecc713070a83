"""Channels in which more and more messages wait: who receives is slower than those who send."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tracer.model import Array, Channel, Finding, MemoryReading, Severity
from tracer.output.findings.run import Need, Rule, Run
from tracer.output.labels import duration_words, short_awaitee

BACKLOG = Rule(
    "backlog",
    frozenset({Need.LINKS, Need.CHANNELS}),
    {
        "messages": 1_000,
        "run_ns": 1_000_000_000,
        "share_a_quarter": 0.1,
        "drain_ns": 1_000_000_000,
        "standing_drain_ns": 10_000_000_000,
        "share_left": 0.9,
    },
    "Do less per message, receive many at once (recv_many) or in several tasks, or bound it so that senders wait.",
)
_QUARTERS = 4


@dataclass(frozen=True, slots=True)
class _Rates:
    """Of a channel over the recording.  more: how many more messages wait at its end.  seconds: its length.

    drain: ns that those take which wait at the end, at the rate at which messages were received; None: none was.
    """

    more: int
    seconds: float
    drain: float | None


class Backlogs:
    """What memory told of channels.  tasks: those that receive, by header: (number, thread)."""

    def __init__(self) -> None:
        self.channels: list[Channel] = []
        self.tasks: dict[int, tuple[int, int]] = {}

    def memory_reading(self, reading: MemoryReading) -> None:
        """What it says of channels."""
        self.channels += reading.channels or ()

    def add(self, over: Array) -> None:
        """Tasks (dtype TASK) of which no more comes: those that are there at the end, after what memory told then."""
        if self.channels:
            wanted = np.array([one.receiver for one in self.channels], np.uint64)
            for header, task, tid in over[["header", "task", "tid"]][np.isin(over["header"], wanted)].tolist():
                self.tasks[header] = task, tid


def backlogs(rule: Rule, evidence: Backlogs, run: Run) -> Iterator[Finding]:
    """One finding a channel."""
    for channel in evidence.channels:
        rates = _rates(channel)
        if not (_grows(rule, channel, rates) or _stands(rule, channel, rates)):
            continue
        waiting = channel.messages[-1]
        task, tid = evidence.tasks.get(channel.receiver, (None, None))
        growth, received = rates.more / rates.seconds, channel.received / rates.seconds
        yield Finding(
            rule.id,
            Severity.WARNING,
            f"{waiting:,} messages wait in a channel, {_change(rates)}, and {received:,.0f} a second are received; "
            f"{_receiver(channel)}",
            {
                "messages": waiting,
                "messages_before": channel.messages[0],
                "growth_per_second": round(growth, 2),
                "received_per_second": round(received, 2),
                **({"drain_ns": round(rates.drain)} if rates.drain is not None else {}),
                **({"capacity": channel.capacity} if channel.capacity is not None else {}),
                **({"receiver": channel.words} if channel.words else {}),
                "certain": int(channel.is_certain),
            },
            channel.function or None,
            channel.location,
            max(run.start, channel.times[0]),
            channel.times[-1] - max(run.start, channel.times[0]),
            tid or None,
            task,
            rule.advice,
        )


def _rates(channel: Channel) -> _Rates:
    length = max(1, channel.times[-1] - channel.times[0])
    more = channel.messages[-1] - channel.messages[0]
    drain = channel.messages[-1] * length / channel.received if channel.received else None
    return _Rates(more, length / 1e9, drain)


def _grows(rule: Rule, channel: Channel, rates: _Rates) -> bool:
    """All the time, and who comes last waits for long: a burst does not."""
    if rates.seconds * 1e9 < rule.limits["run_ns"] or rates.more < rule.limits["messages"]:
        return False
    if rates.drain is not None and rates.drain < rule.limits["drain_ns"]:
        return False
    at = _at_quarters(channel)
    least = rule.limits["share_a_quarter"] * rates.more
    return all(after - before >= least for before, after in pairwise(at[1:]))


def _stands(rule: Rule, channel: Channel, rates: _Rates) -> bool:
    """It has been so for long, and there is no chance that it is worked off soon.  Of one from which nobody takes, and
    to which nobody puts, that is no trouble."""
    if rates.seconds * 1e9 < rule.limits["run_ns"] or min(channel.messages) < rule.limits["messages"]:
        return False
    is_left = channel.messages[-1] >= rule.limits["share_left"] * channel.messages[0]
    return is_left and rates.drain is not None and rates.drain >= rule.limits["standing_drain_ns"]


def _at_quarters(channel: Channel) -> Sequence[int]:
    """How many messages waited at the begin, after each quarter of the time, and at the end."""
    first, last = channel.times[0], channel.times[-1]
    moments = [first + (last - first) * number // _QUARTERS for number in range(_QUARTERS + 1)]
    looks = np.searchsorted(np.array(channel.times), moments, "right") - 1
    return [channel.messages[look] for look in looks.tolist()]


def _change(rates: _Rates) -> str:
    """`2,000 more than 5.0 s before (400 a second)`."""
    before = f"than {duration_words(round(rates.seconds * 1e9))} before"
    if rates.more < 0:
        return f"hardly fewer {before}"
    return f"{rates.more:,} more {before} ({rates.more / rates.seconds:,.0f} a second)"


def _receiver(channel: Channel) -> str:
    if not channel.function:
        return "which task receives is not known"
    perhaps = "" if channel.is_certain else "perhaps "
    return f"{perhaps}{short_awaitee(channel.function)} receives" + (
        f", which {channel.words}" if channel.words else ""
    )
