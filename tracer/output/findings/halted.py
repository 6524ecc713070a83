"""Processes that were kept from running: stopped, traced, frozen, or beyond a CPU limit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from tracer.model import Finding, HaltKind, Severity
from tracer.output.findings.long_polls import LONG_POLL
from tracer.output.findings.run import Rule
from tracer.output.findings.starved import STARVED
from tracer.output.findings.stuck import UNPOLLED
from tracer.output.halts import Halts, HaltSum, advice_on, halt_words
from tracer.output.labels import duration_words

HALTED = Rule(
    "halted",
    frozenset(),
    {"least_ns": 100_000_000, "critical_ns": 1_000_000_000},
    "Let it go on: {how}.",
)
THROTTLED = Rule(
    "cpu-throttled",
    frozenset(),
    {"periods": 5, "share": 0.1, "critical_share": 0.5},
    "Raise the CPU limit of its container (Kubernetes: resources.limits.cpu), or let fewer threads work at once, "
    "so that the time lasts for the whole period.",
)


_OF_TIMES = frozenset({LONG_POLL.id, STARVED.id, UNPOLLED.id})
"""Rules of what takes longer than it should: to a thread that is stopped everything does."""


def halted(rule: Rule, halts: Halts) -> Iterator[Finding]:
    """One finding a process and what stopped it."""
    for one in halts.sums():
        if one.first.kind is HaltKind.THROTTLED or one.total < rule.limits["least_ns"]:
            continue
        how_often = f" in {one.times} parts" if one.times > 1 else ""
        severity = Severity.CRITICAL if one.total >= rule.limits["critical_ns"] else Severity.WARNING
        words = f"nothing of process {halts.pid(one)} ran for {duration_words(one.total)}{how_often}"
        evidence: dict[str, int | float | str] = {
            "total_ns": one.total,
            "longest_ns": one.longest,
            "times": one.times,
            "kind": one.first.kind.value,
        }
        advice = rule.advice.format(how=advice_on(one.first.kind, halts.pid(one)))
        yield _finding(rule.id, severity, f"{words}: {halt_words(one.first.kind, one.first.by)}", evidence, one, advice)


def throttled(rule: Rule, halts: Halts) -> Iterator[Finding]:
    """One finding a process whose control group's CPU limit keeps it from running again and again."""
    for one in halts.sums():
        if one.first.kind is not HaltKind.THROTTLED or one.throttled < rule.limits["periods"]:
            continue
        periods = max(one.periods, one.throttled)
        if one.throttled < rule.limits["share"] * periods:
            continue
        critical = one.throttled >= rule.limits["critical_share"] * periods
        limit = f" of {one.first.quota:.3g} processors" if one.first.quota is not None else ""
        evidence: dict[str, int | float | str] = {
            "periods": periods,
            "throttled_periods": one.throttled,
            "lost_ns": one.lost,
            **({"quota_processors": one.first.quota} if one.first.quota is not None else {}),
        }
        title = (
            f"the CPU limit{limit} kept process {halts.pid(one)} from running in {one.throttled:,} of {periods:,} "
            f"periods, for {duration_words(one.lost)} added up over processors"
        )
        yield _finding(rule.id, Severity.CRITICAL if critical else Severity.WARNING, title, evidence, one, rule.advice)


def without_stops(findings: Iterable[Finding], halts: Halts) -> Iterator[Finding]:
    """The same; of what took its time because the process stood still for half of it or more, that is said."""
    for one in findings:
        still = halts.stood_still(one.time, one.time + one.duration) if one.rule in _OF_TIMES else 0
        if 2 * still < max(one.duration, 1):
            yield one
            continue
        title = f"{one.title}; for {duration_words(still)} of that nothing of the process ran, see {HALTED.id}"
        evidence = one.evidence | {"stood_still_ns": still}
        yield replace(one, severity=Severity.INFO, title=title, evidence=evidence)


def _finding(
    rule: str, severity: Severity, title: str, evidence: dict[str, int | float | str], one: HaltSum, advice: str
) -> Finding:
    time, duration = one.first.time, one.first.until - one.first.time
    return Finding(rule, severity, title, evidence, None, None, time, duration, None, None, advice)
