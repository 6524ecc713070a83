"""A capture, assembled from its begin to its end."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np

from tracer.assemble import begin, finish, step
from tracer.capture import CaptureReader
from tracer.model import CaptureEnd, Recording, Spans, Tally


def assembled(capture: Path) -> tuple[Recording, list[Spans], Tally]:
    """The spans of each step, in their order, and what was counted."""
    parts, end = [], None
    with CaptureReader(capture) as reader:
        state = begin(reader.recording)
        for item in reader:
            if isinstance(item, CaptureEnd):
                end = item
            else:
                state, spans = step(state, item)
                parts.append(spans)
        state, spans = finish(state, end)
        return reader.recording, [*parts, spans], state.tally


def joined(parts: list[Spans]) -> Spans:
    """All of them as one."""
    names = [one.name for one in fields(Spans)]
    return Spans(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
