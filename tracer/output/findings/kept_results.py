"""Finished tasks that stay in memory with their results, because nobody takes these, and become more and more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from tracer.model import Finding, KeptTasks, MemoryReading, Severity
from tracer.output.findings.lives import Lives
from tracer.output.findings.run import Need, Rule, Run
from tracer.output.findings.stuck import StuckTasks
from tracer.output.labels import short_awaitee

RESULT_LEAK = Rule(
    "result-leak",
    frozenset({Need.TASKS, Need.WHOLE, Need.KEPT}),
    {"growth": 20, "share_kept": 0.5, "share_a_quarter": 0.1, "run_ns": 1_000_000_000},
    "Take what is done as you go (JoinSet::join_next or try_join_next in the loop that spawns), or let the handles go.",
)


class KeptResults:
    """By process and kind of task, what memory had at the begin and at the end."""

    def __init__(self, is_task: Sequence[bool]) -> None:
        self._is_task = is_task
        self._before: dict[int, dict[int, KeptTasks]] = {}
        self._after: dict[int, dict[int, KeptTasks]] = {}

    def memory_reading(self, reading: MemoryReading) -> None:
        """What it says of finished tasks."""
        if reading.kept is not None:
            kinds = {one.function: one for one in reading.kept if self._is_one(one.function)}
            (self._after if reading.is_last else self._before)[reading.process] = kinds

    def _is_one(self, function: int) -> bool:
        return function < len(self._is_task) and self._is_task[function]

    def more(self) -> dict[int, tuple[int, int, KeptTasks]]:
        """By kind how many there were at the begin and at the end, and what the end tells of the most of them."""
        found: defaultdict[int, list[tuple[int, KeptTasks]]] = defaultdict(list)
        for process, kinds in self._after.items():
            before = self._before.get(process)
            for function, one in kinds.items() if before is not None else ():
                assert before is not None
                found[function].append((before[function].count if function in before else 0, one))
        return {
            function: (
                sum(count for count, _ in several),
                sum(one.count for _, one in several),
                max((one for _, one in several), key=lambda one: one.count),
            )
            for function, several in found.items()
        }


def result_leaks(rule: Rule, evidence: KeptResults, lives: Lives, stuck: StuckTasks, run: Run) -> Iterator[Finding]:
    """One finding a kind of task.  stuck: has the waits that were open at the end, also that of who keeps them."""
    if run.duration < rule.limits["run_ns"]:
        return
    for function, (before, after, one) in evidence.more().items():
        more, ended = after - before, int(lives.ended.counts[function].sum())
        begun = lives.begun.quarters(function, run.end)
        goes_on = all(part >= rule.limits["share_a_quarter"] * sum(begun) for part in begun[1:])
        if more < rule.limits["growth"] or more < rule.limits["share_kept"] * ended or not goes_on or one.is_asked:
            continue
        what = run.function(function)
        at = int(lives.spawned_at[function])
        waits = stuck.waits_of([one.keeper] if one.keeper else [])
        keeper = waits[-1] if len(waits) else None
        by = f" by {short_awaitee(one.by)}" if one.by else ""
        yield Finding(
            rule.id,
            Severity.WARNING,
            f"{after:,} finished tasks {run.short(function)} are kept{by} with their results, {more:,} more than at "
            f"the begin; {ended:,} ended meanwhile",
            {
                "kept": after,
                "kept_at_begin": before,
                "growth": more,
                "growth_per_second": round(more * 1e9 / run.duration, 2),
                "ended": ended,
                **({"kept_by": one.by, "of_these": one.of_these} if one.by else {}),
                **({"spawned_at": str(run.plan.sites[at - 1])} if at else {}),
            },
            one.by or what.name,
            one.location or what.location,
            run.start,
            run.duration,
            int(keeper["tid"]) or None if keeper is not None else None,
            int(keeper["instance"]) if keeper is not None else None,
            rule.advice,
        )
