"""Tasks that wake themselves again and again, and do next to nothing each time they are polled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tracer.model import Array, Finding, FunctionKind, LayoutKind, Plan, Severity, Source, WakeOrigin
from tracer.output.findings.between_polls import time_between
from tracer.output.findings.run import Need, Rule, Run
from tracer.output.labels import duration_words
from tracer.output.probe_time import MAY_TAKE_MORE, ProbeTime
from tracer.output.probed import ALL_THE_TIME, GroupTime
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
        "critical_processors": 0.5,
        "critical_filled": 0.9,
    },
    "Wait for what it looks for (a Notify, a channel, a timer) instead of waking the task until it is there.",
)

_MOST_TASKS = 1 << 16
_MOST_OF = 0.9
"""Of the time in which wakes were probed, that in which scheduling has to be, to know what threads used."""
_AT_ONCE = 20_000
"""ns from the end of a poll in which a runtime wakes a task that put its wake off; with all probes it takes 5,000."""


@dataclass(slots=True)
class _Loop:
    """Of one task.  answered: its waits of which the wake was seen; own: those that it ended itself, unsure: perhaps.

    first, last: ns, of its own wakes.  wait: dtype WAIT, the first of them.  polling: ns of its polls meanwhile.
    between: ns from its polls to those after them that it had woken itself for, in which its thread polled no task and
    did not block: it took a CPU, if it got one.  probes: ns of both that the probes took, about.
    """

    own: int
    unsure: int
    answered: int
    first: int
    last: int
    wait: np.void
    polling: int = 0
    between: int = 0
    probes: int = 0


@dataclass(frozen=True, slots=True)
class _Worst:
    """Of one function: the task with the most own wakes, dtype TASK; loops: how many such tasks there were.

    rate: of its own wakes, a second in which wakes were probed.  used: processors that it
    took then, or would have had it got them, without what the probes took: of_probes, about.  filled: with it, by the
    clock.
    """

    task: np.void
    loop: _Loop
    rate: float
    used: float
    of_probes: float
    filled: float
    loops: int


class BusyLoops:
    """By task, of those alive that wake themselves; by function, of those that are over.  unsure: of those that perhaps
    do not wake themselves.

    probed, scheduled: when wakes were, and the scheduling was recorded.
    """

    def __init__(self, plan: Plan, probed: GroupTime, scheduled: GroupTime, probe_time: ProbeTime) -> None:
        self._probe_time = probe_time
        self._probed = probed
        self._scheduled = scheduled
        self._is_task = np.array([one.kind is FunctionKind.TASK for one in plan.functions] or [False])
        self._yields = np.array(_yields(plan), np.uint64)
        self._is_untyped = all(one.source is Source.CODE for one in plan.layouts)
        self._loops: dict[int, _Loop] = {}
        self.polls = 0
        self.worst: dict[int, _Worst] = {}
        self.unsure: dict[int, _Worst] = {}

    def add(self, woken: Array, over: Array, polls: Array, off_cpu: Array) -> None:
        """Answered waits (dtype WAIT), and dtypes TASK, POLL and OFF_CPU."""
        is_own = (woken["woken_by"] == woken["instance"]) | np.isin(woken["places"], self._yields)
        is_perhaps = ~is_own & _is_put_off(woken) if self._is_untyped else np.zeros(len(woken), np.bool_)
        own = pick(woken, is_own | is_perhaps)
        if len(own):
            tasks, first = np.unique(own["instance"], return_index=True)
            last = np.zeros(len(tasks), np.int64)
            np.maximum.at(last, np.searchsorted(tasks, own["instance"]), own["end"])
            of_loops = woken["instance"][np.isin(woken["instance"], tasks)]
            answered = np.bincount(np.searchsorted(tasks, of_loops), minlength=len(tasks))
            polls = pick(polls, self._is_task[polls["function"]])
            polling, between, probes = (np.zeros(len(tasks), np.int64) for _ in range(3))
            mine = pick(polls, np.isin(polls["instance"], tasks))
            mine = pick(mine, (mine["start"] >= own["start"].min()) & (mine["end"] <= own["end"].max()))
            at = np.searchsorted(tasks, mine["instance"])
            np.add.at(polling, at, mine["end"] - mine["start"])
            np.add.at(probes, at, self._probe_time.inside(mine))
            np.add.at(probes, np.searchsorted(tasks, own["instance"]), round(self._probe_time.wake))
            np.add.at(between, np.searchsorted(tasks, own["instance"]), time_between(own, polls, off_cpu))
            counts, unsure = (
                np.bincount(np.searchsorted(tasks, woken["instance"][which]), minlength=len(tasks))
                for which in (is_own, is_perhaps)
            )
            columns = (one.tolist() for one in (tasks, first, counts, unsure, answered, last, polling, between, probes))
            for task, at, count, perhaps, all_, until, *times in zip(*columns, strict=True):
                loop = self._loop(task, own[at])
                if loop is not None:
                    loop.own, loop.unsure = loop.own + count, loop.unsure + perhaps
                    loop.answered, loop.last = loop.answered + all_, until
                    loop.polling, loop.between = loop.polling + times[0], loop.between + times[1]
                    loop.probes += times[2]
        self.polls += int(over["polls"].sum())
        for task in over[np.isin(over["task"], np.fromiter(self._loops, np.uint64, len(self._loops)))]:
            self._end(task)

    def _loop(self, task: int, wait: np.void) -> _Loop | None:
        """That of this task, which may begin with this wait; None: there are too many."""
        if task not in self._loops and len(self._loops) < _MOST_TASKS:
            self._loops[task] = _Loop(0, 0, 0, int(wait["start"]), 0, wait.copy())
        return self._loops.get(task)

    def _end(self, task: np.void) -> None:
        loop = self._loops.pop(int(task["task"]))
        if not self._count(self.worst, loop, task):
            self._count(self.unsure, replace(loop, own=loop.own + loop.unsure), task)

    def _count(self, worst: dict[int, _Worst], loop: _Loop, task: np.void) -> bool:
        """Whether it is one of these."""
        rate = loop.own * 1e9 / max(1, self._probed.between(loop.first, loop.last))
        if not self._is_busy(BUSY_LOOP, loop, task, rate):
            return False
        function = int(task["function"])
        before = worst.get(function)
        loops = before.loops + 1 if before else 1
        if before is None or loop.own > before.loop.own:
            worst[function] = _Worst(task.copy(), loop, rate, *self._used(loop), loops)
        else:
            worst[function] = replace(before, loops=loops)
        return True

    def _used(self, loop: _Loop) -> tuple[float, float, float]:
        """Processors: by its polls and, where the scheduling tells it, between them; by the probes; and by both."""
        probed, scheduled = (one.between(loop.first, loop.last) for one in (self._probed, self._scheduled))
        used = loop.polling + (loop.between if scheduled >= _MOST_OF * probed else 0)
        whole = max(1, probed)
        return max(0, used - loop.probes) / whole, loop.probes / whole, used / whole

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


def _is_put_off(woken: Array) -> npt.NDArray[np.bool_]:
    """Of which of these (WAIT) its thread's runtime woke the task as soon as its poll had ended.

    So `yield_now` ends; and so does what a task has to stop for when its budget is used up, however much it got done.
    What timers and the IO driver wake has another origin.
    """
    is_soon: npt.NDArray[np.bool_] = woken["woken"] - woken["start"] < _AT_ONCE
    is_soon &= (woken["woken_from"] == WakeOrigin.RUNTIME) & (woken["woken_on"] == woken["tid"])
    return is_soon & (woken["woken"] >= woken["start"])


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


def _is_idle(rule: Rule, function: int, one: _Worst, evidence: BusyLoops, run: Run) -> bool:
    """Whether it gets next to nothing done, in a good part of all polls."""
    of_run = own_polls(one.loop, one.task, evidence.share_probed(one.task))
    median = round(run.accounts.percentile(function, 0.5))
    return of_run >= rule.limits["share_of_run"] * evidence.polls and median <= rule.limits["median_poll_ns"]


def unsure_loops(rule: Rule, evidence: BusyLoops, run: Run) -> str | None:
    """Why it cannot be said whether there is such a loop; None: there is nothing like one."""
    rates = {
        function: one.rate
        for function, one in evidence.unsure.items()
        if function not in evidence.worst and _is_idle(rule, function, one, evidence, run)
    }
    if not rates:
        return None
    function = max(rates, key=lambda function: rates[function])
    return (
        f"a task {run.short(function)} was woken {round(rates[function]):,} times a second when its poll was over: "
        "if it yields for nothing or its budget is used up is not known without types: debug = 2, or --symbols TWIN"
    )


def busy_loops(rule: Rule, evidence: BusyLoops, run: Run) -> Iterator[Finding]:
    """One finding a kind of task."""
    for function, one in evidence.worst.items():
        if not _is_idle(rule, function, one, evidence, run):
            continue
        loop, task = one.loop, one.task
        polls, median = int(task["polls"]), round(run.accounts.percentile(function, 0.5))
        took, rate = max(1, loop.last - loop.first), round(one.rate)
        about = run.function(function)
        place = run.chains.waiting(function, None, int(loop.wait["places"])).location
        who = run.short(function) + (f" (id {int(task['id'])})" if task["id"] else "")
        is_critical = one.used - MAY_TAKE_MORE * one.of_probes >= rule.limits["critical_processors"]
        # What never sleeps takes a whole processor, whatever part of it the probes take: if that much was used at all.
        never_sleeps = one.filled >= rule.limits["critical_filled"]
        is_critical |= never_sleeps and (run.used or 0.0) >= rule.limits["critical_processors"]
        more = f", as did {one.loops - 1:,} more" if one.loops > 1 else ""
        yield Finding(
            rule.id,
            Severity.CRITICAL if is_critical else Severity.WARNING,
            f"a task {who} woke itself {rate:,} times a second while it was probed, for {duration_words(took)}{more}"
            + _words_on_probes(one, rule),
            {
                "own_wakes": loop.own,
                "own_wakes_per_second": rate,
                "processors": round(one.used, 2),
                "processors_of_probes": round(one.of_probes, 2),
                "processors_of_both": round(one.filled, 2),
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


def _words_on_probes(one: _Worst, rule: Rule) -> str:
    if one.filled >= rule.limits["critical_filled"]:
        return ", without a pause"
    return " (the probes took more of that time than the program)" if one.of_probes > one.used else ""
