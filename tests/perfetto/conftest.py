"""Fixtures of the tests that ask Perfetto itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.perfetto.simulation import make_recording, make_threads
from tests.perfetto.trace_processor import TraceProcessor
from tracer.model import CaptureEnd, Loss, PlanChange, ProcessEnd, Recording, Spans, Tally
from tracer.output.perfetto import PerfettoWriter
from tracer.output.trace import WrittenTrace, tell

Write = Callable[..., WrittenTrace]


@pytest.fixture
def trace_processor() -> Callable[[Path], TraceProcessor]:
    """Load a trace into the real trace_processor; fails on anything that its importer complains of."""

    def load(path: Path) -> TraceProcessor:
        loaded = TraceProcessor(path)
        loaded.health()
        return loaded

    return load


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a trace of some steps of spans (and of plan changes, losses, ends) by PerfettoWriter."""

    def run(
        steps: Sequence[Spans | PlanChange | Loss | ProcessEnd],
        recording: Recording | None = None,
        end: CaptureEnd | None = None,
        name: str = "trace.pftrace",
        summary: Mapping[str, Any] | None = None,
        **options: float,
    ) -> WrittenTrace:
        total = sum(2 * len(step.polls) for step in steps if isinstance(step, Spans))
        writer = PerfettoWriter(tmp_path / name, recording or make_recording(), total_events=total, **options)  # type: ignore[arg-type]
        writer.threads(make_threads())
        for step in steps:
            tell(writer, step)
        if summary is not None:
            writer.carry(summary)
        return writer.close(Tally(events=total), end)

    return run
