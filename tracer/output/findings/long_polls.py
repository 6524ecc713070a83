"""Polls that kept their thread for long: while one lasts no other task runs there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from tracer.model import POLL, Array, Finding, PollFlag, Severity
from tracer.output.findings.run import Need, Rule, Run
from tracer.output.histogram import BINS, Integers, bins_of, percentile
from tracer.output.labels import duration_words
from tracer.output.records import join, pick

LONG_POLL = Rule(
    "long-poll",
    frozenset({Need.TASKS}),
    {"least_ns": 10_000_000, "times_median": 10, "always_ns": 100_000_000, "sure_ns": 100_000_000, "polls": 2},
    "Move what blocks or computes to spawn_blocking (or a thread), use the async variant, or yield in between.",
)

LEAST = 5_000_000
"""ns; no poll that is shorter is of interest to any rule."""
_SHARE = 0.9
"""Of a poll's length, that one inside it takes where that is the one to look at."""
_WINDOW = 4096
"""Long polls that are remembered."""
_UNSURE = int(PollFlag.START_UNKNOWN | PollFlag.END_UNKNOWN | PollFlag.UNWOUND | PollFlag.INFERRED_END)
"""Of such a poll's length nobody knows more than a bound."""


class LongPolls:
    """The long polls of late, and by function what they took; memory grows with the functions only."""

    def __init__(self, is_task: Sequence[bool]) -> None:
        self._is_task = np.array([*is_task] or [False])
        self.recent = np.empty(0, POLL)
        self.workers: set[int] = set()
        self._bins = np.zeros(BINS, np.int64)
        self._longest = 0
        self._lengths: dict[int, Integers] = {}
        self._worst: dict[int, np.void] = {}

    def add(self, polls: Array) -> None:
        """dtype POLL, in the order of their ends."""
        if not len(polls):
            return
        length = polls["end"] - polls["start"]
        roots = self._is_task[polls["function"]]
        self.workers |= set(np.unique(polls["tid"][roots]).tolist())
        self._bins += np.bincount(bins_of(length[roots]), minlength=BINS)
        self._longest = max(self._longest, int(length[roots].max(initial=0)))
        long = pick(polls, (length >= _SHARE * LEAST) & ((polls["flags"] & _UNSURE) == 0))
        if not len(long):
            return
        self.recent = join([self.recent, long], POLL)[-_WINDOW:]
        is_root = self._is_task[long["function"]] | (long["depth"] == 0)
        for outer in pick(long, is_root & (long["end"] - long["start"] >= LEAST)):
            self._count(outer)

    def _count(self, outer: np.void) -> None:
        inner = self.innermost(outer)
        if inner["task"] != 0 and not self._is_task[outer["function"]]:
            return  # a task that was polled inside: that is counted by itself
        function, length = int(inner["function"]), int(inner["end"] - inner["start"])
        bins = self._lengths.setdefault(function, np.zeros(BINS, np.int64))
        bins += np.bincount(bins_of(np.array([length])), minlength=BINS)
        worst = self._worst.get(function)
        if worst is None or length > int(worst["end"] - worst["start"]):
            self._worst[function] = inner.copy()

    def roots(self) -> npt.NDArray[np.bool_]:
        """Which of the remembered polls are of tasks."""
        roots: npt.NDArray[np.bool_] = self._is_task[self.recent["function"]]
        return roots

    def innermost(self, outer: np.void) -> np.void:
        """The deepest of the remembered polls inside this one that took most of its time; it itself where none did."""
        recent = self.recent
        inside = recent[within(recent, outer)]
        inside = inside[inside["end"] - inside["start"] >= _SHARE * (outer["end"] - outer["start"])]
        return inside[np.argmax(inside["depth"])] if len(inside) else outer

    def limit(self, rule: Rule) -> int:
        """From how many ns on a poll is long, by this run's own median."""
        usual = rule.limits["times_median"] * percentile(self._bins, 0.5, self._longest)
        return int(max(rule.limits["least_ns"], min(usual, rule.limits["always_ns"])))

    def beyond(self, function: int, limit: int) -> int:
        """How many innermost long polls of this function there were that took as long, within half a bin."""
        return int(self._lengths[function][int(bins_of(np.array([limit]))[0]) :].sum())

    def worst(self) -> Iterator[tuple[int, np.void]]:
        """(function, its longest poll that kept a worker)."""
        yield from ((index, poll) for index, poll in self._worst.items() if int(poll["tid"]) in self.workers)

    def usual(self) -> tuple[int, int]:
        """(median, 99th percentile) of the tasks' polls, ns."""
        return round(percentile(self._bins, 0.5, self._longest)), round(percentile(self._bins, 0.99, self._longest))


def within(polls: Array, outer: np.void) -> npt.NDArray[np.bool_]:
    """Which of these polls were inside that one."""
    inside: npt.NDArray[np.bool_] = polls["tid"] == outer["tid"]
    inside &= (polls["start"] >= outer["start"]) & (polls["end"] <= outer["end"])
    return inside


def long_polls(rule: Rule, evidence: LongPolls, run: Run) -> Iterator[Finding]:
    """One finding a function: its longest poll, and how many there were."""
    limit = evidence.limit(rule)
    median, p99 = evidence.usual()
    for function, poll in evidence.worst():
        length = int(poll["end"] - poll["start"])
        count = evidence.beyond(function, limit)
        # A single one can be the scheduler's doing.
        if length < limit or (count < rule.limits["polls"] and length < rule.limits["sure_ns"]):
            continue
        one = run.function(function)
        often = f", and {count - 1:,} more times for long" if count > 1 else ""
        yield Finding(
            rule.id,
            Severity.CRITICAL if length >= rule.limits["sure_ns"] else Severity.WARNING,
            f"{run.short(function)} kept {run.thread(int(poll['tid']))} for {duration_words(length)}{often}",
            {"longest_ns": length, "polls": count, "limit_ns": limit, "run_median_ns": median, "run_p99_ns": p99},
            one.name,
            one.location,
            int(poll["start"]),
            length,
            int(poll["tid"]),
            int(poll["task"]) or int(poll["instance"]) or None,
            rule.advice,
        )
