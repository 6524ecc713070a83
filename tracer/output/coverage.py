"""What of a flight recorder's whole run was probed, and at which cost: none of its summaries is of all of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tracer.model import Group, PlanChange, Recording
from tracer.output.probed import ALL_THE_TIME, GroupTime, ProbedTime
from tracer.output.summary_document import not_always_probed
from tracer.output.summary_remarks import left_out_words, overhead_words


class Coverage:
    """Adds up what the plan changes of a recording left out."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._tasks = GroupTime(Group.TASKS, recording.plan, recording.start)
        self._functions = ProbedTime(recording.plan, recording.start)

    def change(self, change: PlanChange) -> None:
        """Other probes from its time on."""
        self._tasks.change(change)
        self._functions.change(change)

    def document(self, end: int, of_target: float | None, of_processor: float | None) -> dict[str, Any]:
        """For the JSON: keys as the summary has them.  end: ns.  of_target, of_processor: as CaptureEnd has them."""
        recording = self._recording
        length = max(1, end - recording.start)
        return {
            "seconds": length / 1e9,
            "overhead": of_target,
            "overhead_of_processor": of_processor,
            "max_overhead": recording.max_overhead,
            "cpu_quota": recording.cpu_quota,
            "tasks_probed": self._tasks.until(end) / length if Group.TASKS in recording.plan.groups else None,
            **not_always_probed(recording.plan, self._functions, end),
        }


def coverage_words(document: dict[str, Any]) -> Iterator[str]:
    """The same for people."""
    if document["overhead"] is not None:
        yield f"overhead: the probes took about {overhead_words(document)}"
    left_out = list(left_out_words(document))
    share = document["tasks_probed"]
    if share is not None and share < ALL_THE_TIME:
        left_out.insert(0, f"tasks were probed in {share:.1%} of the time only")
    yield from left_out
    if left_out:
        yield "what happened where nothing was probed fires no trigger"
