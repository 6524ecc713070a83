"""Looks now and then for findings in the latest time of a ring."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tracer.capture import RingReader
from tracer.commands.convert import replay
from tracer.commands.held import HeldSegments
from tracer.commands.jobs import Job, look_after, start_job
from tracer.commands.watch_options import SETTLED, WatchOptions
from tracer.model import Finding, Hit, SourceLocation, TriggerKind
from tracer.output.summary import Summary
from tracer.target.clock import kernel_now

_BETWEEN = 2
"""Looks in the time that is kept: what is wrong for half of it is seen while it is all there."""


class FindingWatch:
    """until: ns, of what the latest look saw.  trouble: what was not as it should be at it, a sentence; None: all was
    well.
    """

    def __init__(self, ring: Path, options: WatchOptions) -> None:
        self._held, self._last = HeldSegments(ring), options.last
        self._wanted = [one for one in options.triggers if one.kind is TriggerKind.FINDING]
        self._judging: Job | None = None
        self._at = self.until = 0
        self._was_last = False
        self._judged: list[dict[str, Any]] = []
        self._found: set[tuple[str, str | None]] = set()
        self.trouble: str | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a look is under way."""
        return self._judging is not None

    def look(self, *, is_over: bool) -> list[tuple[Hit, str, HeldSegments]]:
        """What is new, each with its rule's id, once until it is gone, and with what it was found in: to be closed.

        is_over: the recording is, which is looked at once more then.
        """
        self.trouble = None
        if self._judging is not None:
            look_after(self._judging)
        found = [(*self._hit(one), self._held.copy()) for one in self._judged]
        self._judged = []
        if self._judging is not None:
            return found
        self._held.close()
        now = kernel_now()
        self._at = self._at or now + self._last // _BETWEEN
        if self._wanted and not self._was_last and (is_over or now >= self._at):
            self._at, self._was_last = now + self._last // _BETWEEN, is_over
            self._held.hold()
            self.until = now if is_over else now - SETTLED
            self._judging = start_job(lambda: self._judge(self.until - self._last, self.until), self._take)
        return found

    def _judge(self, since: int, until: int) -> list[dict[str, Any]]:
        with RingReader(self._held.paths, since=since, until=until, is_over=True) as reader:
            summary = Summary(reader.recording)
            summary.close(*replay(reader, (summary,), lambda share: None))
        return [asdict(one) for one in summary.findings]

    def _take(self, found: list[dict[str, Any]] | None) -> None:
        self._judging = None
        if found is None:
            self.trouble = "findings could not be looked for: the process that did so was ended"
            return
        before, self._found = self._found, {(one["rule"], one["function"]) for one in found}
        self._judged = [
            one
            for one in found
            if (one["rule"], one["function"]) not in before
            and any(each.rule in (None, one["rule"]) for each in self._wanted)
        ]

    def _hit(self, found: dict[str, Any]) -> tuple[Hit, str]:
        finding = Finding(
            **{**found, "where": SourceLocation(**found["where"]) if found["where"] is not None else None}
        )
        trigger = next(one for one in self._wanted if one.rule in (None, finding.rule))
        hit = Hit(
            trigger.text,
            trigger.kind,
            f"{finding.rule}: {finding.title}",
            finding.time,
            finding.duration,
            None,
            finding.function,
            finding.where,
            finding.tid,
        )
        return hit, finding.rule
