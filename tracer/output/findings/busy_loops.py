"""Tasks that wake themselves again and again, and do next to nothing each time they are polled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tracer.model import Array, Finding, LayoutKind, Plan, Severity
from tracer.output.findings.run import ALL_THE_TIME, Need, Rule, Run
from tracer.output.labels import duration_words
from tracer.output.probed import GroupTime
from tracer.output.records import pick

BUSY_LOOP = Rule(
    "busy-loop",
    frozenset({Need.TASKS, Need.WAKES}),
    {
        "wakes": 1000,
        "wakes_seen": 100,
        "wakes_per_second": 1000,
        "share_of_polls": 0.5,
        "median_poll_ns": 250_000,
        "share_of_run": 0.05,
    },
    "Wait for what it looks for (a Notify, a channel, a timer) instead of waking the task until it is there.",
)

_MOST_TASKS = 1 << 16


@dataclass(slots=True)
class _Loop:
    """Of one task.  answered: its waits of which the wake was seen; own: those that it ended itself.

    first, last: ns, of its own wakes.  wait: dtype WAIT, the last of them.
    """

    own: int
    answered: int
    first: int
    last: int
    wait: np.void


@dataclass(frozen=True, slots=True)
class _Worst:
    """Of one function: the task with the most own wakes, dtype TASK; loops: how many such tasks there were.

    rate: of its own wakes, a second in which wakes were probed.
    """

    task: np.void
    loop: _Loop
    rate: float
    loops: int


class BusyLoops:
    """By task, of those alive that wake themselves; by function, of those that are over.

    probed: when wakes were.
    """

    def __init__(self, plan: Plan, probed: GroupTime) -> None:
        self._probed = probed
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
            of_loops = woken["instance"][np.isin(woken["instance"], tasks)]
            answered = np.bincount(np.searchsorted(tasks, of_loops), minlength=len(tasks))
            columns = (column.tolist() for column in (tasks, first, counts, answered, last))
            for task, at, count, all_, until in zip(*columns, strict=True):
                self._note(task, count, all_, own[at], until)
        self.polls += int(over["polls"].sum())
        for task in over[np.isin(over["task"], np.fromiter(self._loops, np.uint64, len(self._loops)))]:
            self._end(task)

    def _note(self, task: int, own: int, answered: int, wait: np.void, last: int) -> None:
        loop = self._loops.get(task)
        if loop is not None:
            loop.own += own
            loop.answered += answered
            loop.last = last
        elif len(self._loops) < _MOST_TASKS:
            self._loops[task] = _Loop(own, answered, int(wait["start"]), last, wait.copy())

    def _end(self, task: np.void) -> None:
        loop = self._loops.pop(int(task["task"]))
        rate = loop.own * 1e9 / max(1, self._probed.between(loop.first, loop.last))
        if not self._is_busy(BUSY_LOOP, loop, task, rate):
            return
        function = int(task["function"])
        before = self.worst.get(function)
        loops = before.loops + 1 if before else 1
        if before is None or loop.own > before.loop.own:
            self.worst[function] = _Worst(task.copy(), loop, rate, loops)
        else:
            self.worst[function] = _Worst(before.task, before.loop, before.rate, loops)

    def _is_busy(self, rule: Rule, loop: _Loop, task: np.void, rate: float) -> bool:
        share = self.share_probed(task)
        return (
            loop.own >= max(rule.limits["wakes_seen"], share * rule.limits["wakes"])
            and rate >= rule.limits["wakes_per_second"]
            and own_polls(loop, task, share) >= rule.limits["share_of_polls"] * max(1, int(task["polls"]))
        )

    def share_probed(self, task: np.void) -> float:
        """Of the time in which a task (TASK) was polled, that in which wakes were probed."""
        first, last = int(task["first"]), int(task["last"])
        return self._probed.between(first, last) / max(1, last - first)


def own_polls(loop: _Loop, task: np.void, share: float) -> float:
    """How many polls of the task followed its own wakes: where wakes were probed only now and then, as many of all
    as of those whose wake was seen."""
    return loop.own if share > ALL_THE_TIME else int(task["polls"]) * loop.own / loop.answered


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
        share = evidence.share_probed(task)
        of_run = own_polls(loop, task, share)
        if of_run < rule.limits["share_of_run"] * evidence.polls or median > rule.limits["median_poll_ns"]:
            continue
        took, rate = max(1, loop.last - loop.first), round(one.rate)
        about = run.function(function)
        place = run.chains.waiting(function, None, int(loop.wait["places"])).location
        seen = "" if share > ALL_THE_TIME else ", while wakes were probed"
        who = run.short(function) + (f" (id {int(task['id'])})" if task["id"] else "")
        more = f", as did {one.loops - 1:,} more" if one.loops > 1 else ""
        yield Finding(
            rule.id,
            Severity.CRITICAL if one.rate * busy >= 0.5e9 * polls else Severity.WARNING,
            f"a task {who} woke itself {rate:,} times a second for {duration_words(took)}{seen}{more}",
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
