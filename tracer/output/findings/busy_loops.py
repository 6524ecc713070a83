"""Tasks that wake themselves again and again, and do next to nothing each time they are polled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tracer.model import Array, Finding, LayoutKind, Plan, Severity
from tracer.output.findings.run import Need, Rule, Run
from tracer.output.labels import duration_words
from tracer.output.records import pick

BUSY_LOOP = Rule(
    "busy-loop",
    frozenset({Need.TASKS, Need.WAKES}),
    {"wakes": 1000, "wakes_per_second": 1000, "share_of_polls": 0.5, "median_poll_ns": 250_000, "share_of_run": 0.05},
    "Wait for what it looks for (a Notify, a channel, a timer) instead of waking the task until it is there.",
)

_MOST_TASKS = 1 << 16


@dataclass(slots=True)
class _Loop:
    """Of one task.  first, last: ns, of its own wakes.  wait: dtype WAIT, the last of them."""

    own: int
    first: int
    last: int
    wait: np.void


@dataclass(frozen=True, slots=True)
class _Worst:
    """Of one function: the task with the most own wakes, dtype TASK; loops: how many such tasks there were."""

    task: np.void
    loop: _Loop
    loops: int


class BusyLoops:
    """By task, of those alive that wake themselves; by function, of those that are over."""

    def __init__(self, plan: Plan) -> None:
        self._yields = np.array(_yields(plan), np.uint64)
        self._loops: dict[int, _Loop] = {}
        self.polls = 0
        self.worst: dict[int, _Worst] = {}

    def add(self, woken: Array, over: Array) -> None:
        """Answered waits (dtype WAIT), and dtype TASK."""
        own = pick(woken, (woken["woken_by"] == woken["instance"]) | np.isin(woken["places"], self._yields))
        if len(own):
            tasks, first, counts = np.unique(own["instance"], return_index=True, return_counts=True)
            last = np.zeros(len(tasks), np.int64)
            np.maximum.at(last, np.searchsorted(tasks, own["instance"]), own["end"])
            for task, at, count, until in zip(*(c.tolist() for c in (tasks, first, counts, last)), strict=True):
                self._note(task, count, own[at], until)
        self.polls += int(over["polls"].sum())
        for task in over[np.isin(over["task"], np.fromiter(self._loops, np.uint64, len(self._loops)))]:
            self._end(task)

    def _note(self, task: int, count: int, wait: np.void, last: int) -> None:
        loop = self._loops.get(task)
        if loop is not None:
            loop.own += count
            loop.last = last
        elif len(self._loops) < _MOST_TASKS:
            self._loops[task] = _Loop(count, int(wait["start"]), last, wait.copy())

    def _end(self, task: np.void) -> None:
        loop = self._loops.pop(int(task["task"]))
        if not _is_busy(BUSY_LOOP, loop, task):
            return
        function = int(task["function"])
        before = self.worst.get(function)
        loops = before.loops + 1 if before else 1
        if before is None or loop.own > before.loop.own:
            self.worst[function] = _Worst(task.copy(), loop, loops)
        else:
            self.worst[function] = _Worst(before.task, before.loop, loops)


def _is_busy(rule: Rule, loop: _Loop, task: np.void) -> bool:
    polls = max(1, int(task["polls"]))
    rate = loop.own * 1e9 / max(1, loop.last - loop.first)
    return (
        loop.own >= rule.limits["wakes"]
        and rate >= rule.limits["wakes_per_second"]
        and loop.own >= rule.limits["share_of_polls"] * polls
    )


def _yields(plan: Plan) -> Sequence[int]:
    """The places at which a future does nothing but to let others run: its wake is its own, whoever passes it on."""
    names = {"yield_now", "YieldNow"}
    return [
        number
        for number, place in enumerate(plan.places, 1)
        if place.layout is not None
        and plan.layouts[place.layout].kind is not LayoutKind.GLUE
        and any(name in plan.layouts[place.layout].name for name in names)
    ]


def busy_loops(rule: Rule, evidence: BusyLoops, run: Run) -> Iterator[Finding]:
    """One finding a kind of task."""
    for function, one in evidence.worst.items():
        loop, task = one.loop, one.task
        polls, busy = int(task["polls"]), int(task["busy"])
        median = round(run.accounts.percentile(function, 0.5))
        if loop.own < rule.limits["share_of_run"] * evidence.polls or median > rule.limits["median_poll_ns"]:
            continue
        took = max(1, loop.last - loop.first)
        rate = round(loop.own * 1e9 / took)
        about = run.function(function)
        place = run.chains.waiting(function, None, int(loop.wait["places"])).location
        more = f" ({one.loops:,} such tasks)" if one.loops > 1 else ""
        yield Finding(
            rule.id,
            Severity.CRITICAL if busy >= took // 2 else Severity.WARNING,
            f"a task {run.short(function)} woke itself {rate:,} times a second for {duration_words(took)}{more}",
            {
                "own_wakes": loop.own,
                "own_wakes_per_second": rate,
                "polls": polls,
                "median_poll_ns": median,
                "share_of_all_polls": round(polls / max(1, evidence.polls), 4),
                "tasks": one.loops,
            },
            about.name,
            place or about.location,
            loop.first,
            took,
            int(loop.wait["tid"]),
            int(task["task"]),
            rule.advice,
        )
