"""Findings as instants of a trace: on a track of their own, with arrows to the same on the thread's and the task's."""

from __future__ import annotations

from collections.abc import Sequence

from tracer.model import Finding
from tracer.output.descriptors import Descriptors, Flows, Value

CATEGORY = "finding"
_FIRST_FLOW = 1 << 62
"""Flows of spawns have the numbers of tasks, those of wakes begin at 2 ** 63."""


def arguments(finding: Finding) -> dict[str, Value]:
    """All that a finding says, as arguments of an event."""
    return {
        "rule": finding.rule,
        "severity": finding.severity.name.lower(),
        "function": finding.function,
        "location": str(finding.where) if finding.where else None,
        "duration (ns)": finding.duration,
        "task number": finding.task,
        "thread": finding.tid,
        **{f"evidence {key}": value for key, value in finding.evidence.items()},
        "advice": finding.advice,
    }


def name_of(finding: Finding) -> str:
    """What stands on the instant."""
    return f"{finding.rule}: {finding.title}"


def mark(descriptors: Descriptors, number: int, finding: Finding, track: int, places: Sequence[int]) -> int:
    """Draw one finding on its own track, and at the places, tracks to which arrows lead.  number: 0 and up, each once.

    How many instants it took is returned.
    """
    flows = tuple(_FIRST_FLOW + (number << 8) + at for at in range(len(places)))
    name, args = name_of(finding), arguments(finding)
    descriptors.instant(finding.time, track, name, args, Flows(begin=flows), CATEGORY)
    for flow, place in zip(flows, places, strict=True):
        descriptors.instant(finding.time, place, name, args, Flows(end=(flow,)), CATEGORY)
    return 1 + len(places)
