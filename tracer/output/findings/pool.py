"""Blocking jobs that waited for a thread of the pool."""

from __future__ import annotations

from collections.abc import Iterator

from tracer.model import Finding, Severity, SourceLocation
from tracer.output.findings.run import Need, Rule, Run
from tracer.output.jobs import Jobs
from tracer.output.labels import duration_words

POOL = Rule(
    "blocking-pool",
    frozenset({Need.SPAWNS}),
    {"least_ns": 10_000_000, "jobs": 10, "share": 0.5, "times_run": 1.0},
    "Spawn fewer at once (a semaphore), allow more threads, or give long jobs threads of their own.",
)


def queued_jobs(rule: Rule, jobs: Jobs, run: Run) -> Iterator[Finding]:
    """One finding a function whose jobs were longer in the queue than they ran."""
    sites = run.plan.sites
    for function, worst in jobs.longest_queued.items():
        queued, ran = jobs.queued(function), jobs.ran(function)
        late = jobs.queued_for(function, rule.limits["least_ns"])
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
