"""A ring, or a part of it, as one capture file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tracer.capture.reader import Item
from tracer.capture.ring import RingWriter
from tracer.capture.ring_reader import RingReader
from tracer.capture.writer import CaptureWriter
from tracer.errors import OutputFailed
from tracer.model import CaptureEnd, Halt, Loss, MemoryReading, PlanChange, ProcessEnd, StackSamples


def join(ring: RingReader, path: Path) -> None:
    """Copy all that it tells to a new file.  Raises OutputFailed, and leaves none then."""
    with CaptureWriter(path, ring.recording, 1 << 62) as writer:
        try:
            for item in ring:
                if isinstance(item, CaptureEnd) and ring.recording.stacks is not None:
                    writer.stacks(ring.recording.stacks)
                put(writer, item)
            writer.flush()
            if writer.full is not None:
                fix = "rat-ebpf … -o /another/folder/FILE"
                raise OutputFailed(f"{path} cannot be written.", why=writer.full, fix=fix)
        except BaseException:
            writer.discard()
            raise


def put(writer: CaptureWriter | RingWriter, item: Item) -> None:
    """Write what a reader yields.  After a CaptureEnd nothing can follow."""
    if isinstance(item, np.ndarray):
        writer.events(item)
    elif isinstance(item, CaptureEnd):
        writer.end(item)
    elif isinstance(item, PlanChange):
        writer.plan_change(item)
    elif isinstance(item, Loss):
        writer.loss(item)
    elif isinstance(item, ProcessEnd):
        writer.process_end(item)
    elif isinstance(item, MemoryReading):
        writer.memory_reading(item)
    elif isinstance(item, Halt):
        writer.halt(item)
    elif isinstance(item, StackSamples):
        writer.stack_samples(item)
    else:
        writer.threads(item)
