"""Blocking jobs that waited for a thread of the pool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tracer.model import Array, Finding, PollFunction, Severity, SourceLocation
from tracer.output.findings.run import Need, Rule, Run
from tracer.output.histogram import BINS, Integers, bins_of
from tracer.output.jobs import Jobs
from tracer.output.labels import duration_words
from tracer.output.records import pick

POOL = Rule(
    "blocking-pool",
    frozenset({Need.SPAWNS}),
    {"least_ns": 10_000_000, "jobs": 10, "share": 0.5, "times_run": 1.0},
    "Spawn fewer at once (a semaphore), allow more threads, or give long jobs threads of their own.",
)


class Pool:
    """By function of jobs: how long they were in the queue, and the one that was there longest."""

    def __init__(self, functions: Sequence[PollFunction]) -> None:
        self._is_job = np.array([one.is_job for one in functions] or [False])
        self.queued: dict[int, Integers] = {}
        self.worst: dict[int, np.void] = {}

    def add(self, begun: Array) -> None:
        """dtype TASK, of tasks too."""
        jobs = pick(begun, self._is_job[begun["function"]] & (begun["spawned"] != 0))
        for function in np.unique(jobs["function"]).tolist():
            mine = pick(jobs, jobs["function"] == function)
            queued = mine["first"] - mine["spawned"]
            self.queued[function] = self.queued.get(function, 0) + np.bincount(bins_of(queued), minlength=BINS)
            longest, worst = mine[int(np.argmax(queued))], self.worst.get(function)
            if worst is None or int(queued.max()) > int(worst["first"] - worst["spawned"]):
                self.worst[function] = longest

    def beyond(self, function: int, limit: float) -> int:
        """How many were there for at least so many ns, within half a bin."""
        return int(self.queued[function][int(bins_of(np.array([int(limit)]))[0]) :].sum())


def queued_jobs(rule: Rule, pool: Pool, jobs: Jobs, run: Run) -> Iterator[Finding]:
    """One finding a function whose jobs were longer in the queue than they ran."""
    sites = run.plan.sites
    for function, worst in pool.worst.items():
        queued, ran = jobs.queued(function), jobs.ran(function)
        late = pool.beyond(function, rule.limits["least_ns"])
        if queued is None or late < rule.limits["jobs"] or late < rule.limits["share"] * queued.jobs:
            continue
        if ran is not None and queued.total < rule.limits["times_run"] * ran.total:
            continue
        one, at = run.function(function), int(worst["spawned_at"])
        site = sites[at - 1] if at else None
        yield Finding(
            rule.id,
            Severity.WARNING,
            f"{late:,} of {queued.jobs:,} jobs {run.short(function)} were queued for "
            f"{duration_words(rule.limits['least_ns'])} and more, up to {duration_words(queued.longest)}",
            {
                "jobs": queued.jobs,
                "queued_jobs": late,
                "queued_p50_ns": queued.p50,
                "queued_p99_ns": queued.p99,
                "queued_longest_ns": queued.longest,
                **({"ran_p50_ns": ran.p50, "ran_longest_ns": ran.longest} if ran is not None else {}),
            },
            one.name,
            SourceLocation(site.file, site.line) if site is not None else one.location,
            int(worst["spawned"]),
            int(worst["first"] - worst["spawned"]),
            int(worst["spawned_on"]) or None,
            int(worst["task"]),
            rule.advice,
        )
