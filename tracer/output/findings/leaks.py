"""Tasks and futures that become more and more: they begin all the time and do not end."""

from __future__ import annotations

from collections.abc import Iterator

from tracer.model import Finding, Plan, Severity, SourceLocation, is_foreign
from tracer.output.findings.lives import Lives
from tracer.output.findings.run import Need, Rule, Run
from tracer.output.labels import short_awaitee

_LIMITS = {"growth": 20, "share_ended": 0.1, "share_a_quarter": 0.1, "run_ns": 1_000_000_000}

TASK_LEAK = Rule(
    "task-leak",
    frozenset({Need.TASKS, Need.WHOLE}),
    _LIMITS,
    "See what each waits for and who was to end it: a closed channel, a time limit or an abort when its peer is gone.",
)
FUTURE_LEAK = Rule(
    "future-leak",
    frozenset({Need.TASKS, Need.FUTURES, Need.WHOLE}),
    _LIMITS | {"share_known": 0.9, "share_in_a_task": 0.5},
    "Bound the collection that keeps them, and drop or time out those that nobody answers.",
)


def growth(rule: Rule, lives: Lives, function: int, run: Run) -> int:
    """How many more there were in the end, where they grew all the time; else 0."""
    if run.duration < rule.limits["run_ns"]:
        return 0
    begun, ended = (one.quarters(function, run.end) for one in (lives.begun, lives.ended))
    more = [came - went for came, went in zip(begun, ended, strict=True)]
    total = sum(more)
    grew = all(one >= rule.limits["share_a_quarter"] * total for one in more[1:])
    few_ended = sum(ended[1:]) <= rule.limits["share_ended"] * sum(begun[1:])
    return total if total >= rule.limits["growth"] and grew and few_ended else 0


def task_leaks(rule: Rule, lives: Lives, run: Run) -> Iterator[Finding]:
    """One finding a kind of task."""
    sites = run.plan.sites
    for function in lives.is_task.nonzero()[0].tolist():
        more = growth(rule, lives, function, run)
        if not more:
            continue
        at = int(lives.spawned_at[function])
        evidence: dict[str, int | float | str] = {"spawned_at": str(sites[at - 1])} if at else {}
        yield _finding(rule, lives, function, run, more, "task", evidence)


def future_leaks(rule: Rule, lives: Lives, run: Run) -> Iterator[Finding]:
    """One finding a function, where one task has most of them: else it is the tasks that leak.

    Of futures inside each other the user's own are told, where there are such.
    """
    known = lives.known >= rule.limits["share_known"] * run.accounts.polls
    found = {}
    for function in ((~lives.is_task) & known & (run.accounts.polls > 0)).nonzero()[0].tolist():
        more = growth(rule, lives, function, run)
        if more and lives.open.most(function) >= rule.limits["share_in_a_task"] * more:
            found[function] = more
    own = [function for function in found if run.is_own(function)]
    for function in own or found:
        more = found[function]
        yield _finding(rule, lives, function, run, more, "future", {"in_one_task": lives.open.most(function)})


def _finding(
    rule: Rule, lives: Lives, function: int, run: Run, more: int, what: str, evidence: dict[str, int | float | str]
) -> Finding:
    one, wait = run.function(function), lives.waiting.get(function)
    begun, ended = (sum(line.quarters(function, run.end)) for line in (lives.begun, lives.ended))
    place = None
    if wait is not None:
        place = run.chains.waiting(function, int(wait["state"]) or None, int(wait["places"])).location
        evidence = evidence | ({"waiting_at": str(place)} if place else {})
    awaited = _awaited_by(run.plan, function) if not run.is_own(function) else None
    by = f", awaited by {short_awaitee(awaited[0])}," if awaited else ""
    within = lives.within.get(function)
    where = f" in a task {run.short(within)}" if within is not None and what == "future" else ""
    return Finding(
        rule.id,
        Severity.WARNING,
        f"{more:,} {what}s {run.short(function)}{by} came and did not end{where}: they became more all the time",
        {
            "begun": begun,
            "ended": ended,
            "growth": more,
            "growth_per_second": round(more * 1e9 / run.duration, 2),
            **evidence,
            **({"awaited_by": awaited[0]} if awaited else {}),
        },
        one.name,
        awaited[1] if awaited else (one.location if run.is_own(function) else None) or place or one.location,
        int(wait["start"]) if wait is not None else run.start,
        int(wait["end"] - wait["start"]) if wait is not None else run.duration,
        int(wait["tid"]) or None if wait is not None else None,
        int(wait["task"] or wait["instance"]) or None if wait is not None else None,
        rule.advice,
    )


def _awaited_by(plan: Plan, function: int) -> tuple[str, SourceLocation] | None:
    """(future, line) of the user's own await at which a library's future is waited for, where there is only one."""
    known = {
        (above.name, point.location)
        for above in plan.layouts
        for edge in above.edges
        if edge.child is not None and edge.child == plan.functions[function].layout
        for point in above.awaits
        if point.state == edge.value and point.location and not is_foreign(point.location.file, plan.own_folders)
    }
    return known.pop() if len(known) == 1 else None
