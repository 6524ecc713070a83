"""What every writer of a trace can be told, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tracer.model import CaptureEnd, Finding, Halt, Loss, MemoryReading, PlanChange, ProcessEnd, Spans, Tally, Thread


@dataclass(frozen=True, slots=True)
class WrittenTrace:
    """A finished trace file.

    slices: drawn slices, waits and instants.  merged: polls that stand in a merged slice.  omitted: polls
    and waits that are not drawn at all (too short for --min-us, or inside a longer slice where the trace
    would have grown too large).  remarks: sentences for people that say so.
    """

    path: Path
    bytes: int
    slices: int
    merged: int = 0
    omitted: int = 0
    remarks: tuple[str, ...] = ()


class Listener(Protocol):
    """What can be told of a recording: a trace that is being written, a summary."""

    def threads(self, threads: Sequence[Thread]) -> None:
        """Names of threads; a later name of the same thread wins."""

    def spans(self, spans: Spans) -> None:
        """Polls and waits, in the order of their ends."""

    def plan_change(self, change: PlanChange) -> None:
        """From its time on other probes are attached."""

    def loss(self, loss: Loss) -> None:
        """Events that are missing."""

    def process_end(self, end: ProcessEnd) -> None:
        """A traced process is gone."""

    def memory_reading(self, reading: MemoryReading) -> None:
        """The tasks were read from a process' memory."""

    def halt(self, halt: Halt) -> None:
        """A process was kept from running."""


class TraceWriter(Listener, Protocol):
    """A trace being written, in bounded memory.  Every method raises OutputFailed when the file cannot grow."""

    def mark(self, findings: Sequence[Finding]) -> None:
        """What was found, to be drawn.  To be told after all spans, before `close`."""

    def close(self, tally: Tally, end: CaptureEnd | None) -> WrittenTrace:
        """Finish the file and give it its name.  end: None when the capture is torn."""

    def abort(self) -> None:
        """Remove what was written.  No effect after close."""


def tell(
    listener: Listener, item: Spans | PlanChange | Loss | ProcessEnd | MemoryReading | Halt | Sequence[Thread]
) -> None:
    """Call the method that is for such an item."""
    if isinstance(item, Spans):
        listener.spans(item)
    elif isinstance(item, PlanChange):
        listener.plan_change(item)
    elif isinstance(item, Loss):
        listener.loss(item)
    elif isinstance(item, ProcessEnd):
        listener.process_end(item)
    elif isinstance(item, MemoryReading):
        listener.memory_reading(item)
    elif isinstance(item, Halt):
        listener.halt(item)
    else:
        listener.threads(item)
