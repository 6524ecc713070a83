"""Work that is thrown away: tasks and futures that are dropped before they are done."""

from __future__ import annotations

from collections.abc import Iterator

from tracer.model import Finding, Severity
from tracer.output.findings.lives import Lives
from tracer.output.findings.run import Need, Rule, Run

CANCEL_STORM = Rule(
    "cancel-storm",
    frozenset({Need.TASKS, Need.WHOLE}),
    {"cancelled": 50, "share": 0.5, "per_second": 50, "share_thrown": 0.5},
    "Find out why nobody waits for them to the end: a time limit that is too short, retries, or callers that give up.",
)
SELECT_CANCELLED = Rule(
    "select-cancelled",
    frozenset({Need.TASKS, Need.OWN_FUTURES, Need.WHOLE}),
    {"cancelled": 20, "rounds_a_task": 5, "share_thrown": 0.5, "share_finished": 0.02},
    "Keep it across rounds (pin it outside of the loop, poll &mut), give it the time it needs, or a task of its own.",
)


def cancel_storms(rule: Rule, lives: Lives, run: Run) -> Iterator[Finding]:
    """One finding a function, of what was dropped while the program went on: at its end all is."""
    for function in range(len(run.plan.functions)):
        cancelled = lives.cancelled.before(function, lives.last_begun)
        ended = lives.ended.before(function, lives.last_begun)
        if cancelled < rule.limits["cancelled"] or cancelled < rule.limits["share"] * ended:
            continue
        finished = lives.ends(function)[1]
        is_task = bool(lives.is_task[function])
        if not is_task and Need.OWN_FUTURES in run.missing:
            continue
        if not is_task and (not finished or not run.is_own(function) or not _is_thrown(rule, lives, function)):
            continue  # what never finishes is no work that is repeated, and what had not begun is no loss
        if _goes_round(SELECT_CANCELLED, lives, function, run):
            continue  # it is told there
        most, begin, end = lives.cancelled.peak(function, lives.last_begun)
        rate = most * 1e9 / max(end - begin, 1_000_000_000)
        if rate < rule.limits["per_second"]:
            continue
        one, where = run.function(function), (lives.dropped if is_task else lives.sample)[function]
        yield Finding(
            rule.id,
            Severity.WARNING if finished else Severity.INFO,
            f"{cancelled:,} {'tasks' if is_task else 'futures'} {run.short(function)} were cancelled, up to "
            f"{round(rate):,} a second; {finished:,} finished",
            {
                "cancelled": cancelled,
                "finished": finished,
                "cancelled_per_second": round(rate, 1),
                "share_cancelled": round(cancelled / max(1, ended), 4),
            },
            one.name,
            one.location,
            begin,
            end - begin,
            int(where["tid"]) or None,
            int(where["task"]) or None,
            rule.advice,
        )


def always_cancelled(rule: Rule, lives: Lives, run: Run) -> Iterator[Finding]:
    """One finding a function that gets somewhere again and again, and never to its end."""
    for function, wait in lives.sample.items():
        if not _goes_round(rule, lives, function, run):
            continue
        cancelled, finished = lives.ends(function)
        one, state = run.function(function), int(wait["state"])
        place = run.chains.waiting(function, state, int(wait["places"])).location
        busy = int(run.accounts.busy[function])
        yield Finding(
            rule.id,
            Severity.WARNING,
            f"{run.short(function)} began {cancelled + finished:,} times and was dropped "
            f"{f'{cancelled:,} times' if finished else 'each time'} before its end",
            {
                "cancelled": cancelled,
                "finished": finished,
                "past_an_await": int(lives.thrown[function]),
                "tasks": len(lives.tasks[function]),
                "busy_ns": busy,
                **({"dropped_at": str(place)} if place else {}),
            },
            one.name,
            one.location,
            int(wait["start"]),
            int(wait["end"] - wait["start"]),
            int(wait["tid"]) or None,
            int(wait["task"]) or None,
            rule.advice,
        )


def _goes_round(rule: Rule, lives: Lives, function: int, run: Run) -> bool:
    """Whether the same tasks begin it again and again, and it all but never comes to its end."""
    cancelled, finished = lives.ends(function)
    if cancelled < rule.limits["cancelled"] or finished > rule.limits["share_finished"] * cancelled:
        return False
    if cancelled < rule.limits["rounds_a_task"] * len(lives.tasks.get(function, ())) or lives.is_task[function]:
        return False
    return run.is_own(function) and _is_thrown(rule, lives, function)


def _is_thrown(rule: Rule, lives: Lives, function: int) -> bool:
    """Whether most of those that were dropped had got somewhere: a wait alone that is begun anew loses nothing."""
    cancelled, _ = lives.ends(function)
    return int(lives.thrown[function]) >= rule.limits["share_thrown"] * cancelled
