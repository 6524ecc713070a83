"""What a summary and a trace say of a recording of which only the latest time was kept."""

from __future__ import annotations

from typing import Any

from tracer.model import Finding, Hit, Recording, Severity
from tracer.output.labels import duration_words
from tracer.output.tables import Document

TRIGGER = "trigger"
"""In the place of a rule's id."""


def flight_of(recording: Recording, end: int) -> dict[str, Any] | None:
    """For the JSON; end: ns, of what is told.  None: all of the recording is told."""
    flight = recording.flight
    if flight is None:
        return None
    return {
        "last": flight.last,
        "before": max(0, recording.start - flight.began),
        "recorded": max(0, end - flight.began),
        "trigger": None if flight.hit is None else _hit(flight.hit, recording.start),
    }


def _hit(hit: Hit, start: int) -> dict[str, Any]:
    return {
        "trigger": hit.trigger,
        "kind": hit.kind,
        "title": hit.title,
        "time": hit.time,
        "seconds": (hit.time - start) / 1e9,
        "duration": hit.duration,
        "limit": hit.limit,
        "function": hit.function,
        "file": hit.where.file if hit.where is not None else None,
        "line": hit.where.line if hit.where is not None else None,
        "tid": hit.tid,
    }


def flight_words(document: Document) -> list[str]:
    """Sentences for the top of a summary, as flight_of has it."""
    flight = document.get("flight")
    if flight is None:
        return []
    told = f"the last {document['seconds']:.1f} s of a recording of {duration_words(flight['recorded'])}"
    asked = flight["last"] / 1e9
    if flight["before"] and document["seconds"] < 0.99 * asked:
        told += f"; {asked:g} s were asked for, more was not kept (--max-size, or the disk)"
    trigger = flight["trigger"]
    if trigger is None:
        return [told]
    return [told, f"written because of {trigger['trigger']}: {trigger['title']} · at {trigger['seconds']:.3f} s"]


def hit_marks(recording: Recording) -> list[Finding]:
    """What made it be written, to be drawn where findings are."""
    hit = recording.flight.hit if recording.flight is not None else None
    if hit is None:
        return []
    evidence: dict[str, int | float | str] = {"trigger": hit.trigger}
    if hit.limit is not None:
        evidence["limit_ns"] = hit.limit
    return [
        Finding(
            TRIGGER,
            Severity.INFO,
            hit.title,
            evidence,
            hit.function,
            hit.where,
            max(hit.time, recording.start),
            hit.duration,
            hit.tid,
            None,
            "See what led up to it: this trace was written because of it.",
        )
    ]
