"""Tasks that will not go on: what memory told at the end, and wakes that no poll followed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tracer.model import WAIT, Array, Finding, MemoryReading, Severity, Stuck, StuckKind, WaitFlag
from tracer.output.delays import ready_times
from tracer.output.findings.run import Need, Rule, Run
from tracer.output.labels import duration_words
from tracer.output.records import join, pick

_READ = frozenset({Need.STUCK})
_LINKED = frozenset({Need.STUCK, Need.LINKS})

DEADLOCK = Rule(
    "deadlock",
    _LINKED,
    {"perhaps_ns": 1_000_000_000},
    "Take locks in one order everywhere, or hold none across an await; let no two tasks fill each other's channels.",
)
FUTURELOCK = Rule(
    "futurelock",
    _LINKED,
    {},
    "Do not await what a future may hold that is kept but polled no more: drop it before, or spawn it.",
)
LOST_WAKE = Rule(
    "lost-wake",
    _READ,
    {"waiting_ns": 1_000_000_000},
    "A poll that returns Pending must have given its waker to whatever will make it ready.",
)
UNPOLLED = Rule(
    "unpolled-wake",
    frozenset({Need.TASKS, Need.ALL_WAKES, Need.WHOLE}),
    {"ready_ns": 1_000_000_000, "times_longest": 10},
    "See what its worker does (a blocked thread keeps what it was about to run), and whether its runtime is driven.",
)
_KINDS = {DEADLOCK.id: StuckKind.DEADLOCK, FUTURELOCK.id: StuckKind.FUTURELOCK, LOST_WAKE.id: StuckKind.UNWAKEABLE}
_MOST_OPEN = 1 << 16


@dataclass(frozen=True, slots=True)
class _Told:
    """By a reading.  time: ns.  process: index into Recording.processes."""

    stuck: Stuck
    time: int
    process: int


class StuckTasks:
    """What was told at the end, the tasks' waits that were open then, and the longest time from a wake to its poll.

    new: the tasks among those that were spawned and not polled.
    """

    def __init__(self, is_task: Sequence[bool]) -> None:
        self._is_task = np.array([*is_task] or [False])
        self.told: list[_Told] = []
        self.open = np.empty(0, WAIT)
        self.new = np.empty(0, np.uint64)
        self.longest = 0

    def add(self, waits: Array, new: Array) -> None:
        """dtype WAIT.  new: what new tasks were ready, see first_waits()."""
        mine = pick(waits, self._is_task[waits["function"]])
        is_open, is_unpolled = ((one["flags"] & int(WaitFlag.END_UNKNOWN)) != 0 for one in (mine, new))
        self.open = join([self.open, pick(mine, is_open), pick(new, is_unpolled)], WAIT)[-_MOST_OPEN:]
        self.new = np.concatenate([self.new, new["instance"][is_unpolled]])[-_MOST_OPEN:]
        over = pick(mine, ~is_open & (mine["woken"] != 0))
        self.longest = max(self.longest, int(ready_times(over).max(initial=0)))

    def memory_reading(self, reading: MemoryReading) -> None:
        """What it says of tasks that will not go on."""
        for one in reading.stuck or ():
            self.told.append(_Told(one, reading.time, reading.process))

    def waits_of(self, tasks: Sequence[int]) -> Array:
        """The open waits (dtype WAIT) of tasks, by their headers."""
        return pick(self.open, np.isin(self.open["self"], np.array(tasks, np.uint64)))


def stuck_tasks(rule: Rule, evidence: StuckTasks, run: Run) -> Iterator[Finding]:
    """One finding a group of tasks, of the kind that this rule is for."""
    for told in evidence.told:
        stuck = told.stuck
        if _KINDS[rule.id] is not stuck.kind:
            continue
        waits = evidence.waits_of(stuck.tasks)
        wait: np.void | None = next(iter(waits), None)
        since = int(wait["start"]) if wait is not None else run.start
        waiting = max(0, told.time - since)
        if waiting < rule.limits.get("waiting_ns", 0):
            continue
        # Each of them may have gone on since, by another branch.
        if not stuck.is_certain and told.time - int(waits["start"].max(initial=0)) < rule.limits.get("perhaps_ns", 0):
            continue
        yield Finding(
            rule.id,
            Severity.CRITICAL if stuck.is_certain else Severity.WARNING,
            stuck.words.removeprefix(f"{stuck.kind}: "),
            {"tasks": len(stuck.tasks), "waiting_ns": waiting, "certain": int(stuck.is_certain)},
            stuck.function,
            stuck.location,
            since,
            waiting,
            int(wait["tid"]) or None if wait is not None else None,
            int(wait["instance"]) or None if wait is not None else None,
            rule.advice,
        )


def unpolled_wakes(rule: Rule, evidence: StuckTasks, run: Run) -> Iterator[Finding]:
    """One finding a kind of task, of which one was woken and not polled any more."""
    limit = max(rule.limits["ready_ns"], rule.limits["times_longest"] * evidence.longest)
    woken = pick(evidence.open, evidence.open["woken"] != 0)
    ready = ready_times(woken)
    woken, ready = pick(woken, ready >= limit), ready[ready >= limit]
    for function in np.unique(woken["function"]).tolist():
        mine = woken["function"] == function
        at = int(np.argmax(np.where(mine, ready, -1)))
        wait, length = woken[at], int(ready[at])
        one, count = run.function(function), int(np.count_nonzero(mine))
        who = f"a task {run.short(function)} was" if count == 1 else f"{count:,} tasks {run.short(function)} were"
        is_new = np.isin(woken["instance"][mine], evidence.new)
        what = "spawned" if is_new.all() else "spawned or woken" if is_new.any() else "woken"
        up_to = "" if count == 1 else "up to "
        yield Finding(
            rule.id,
            Severity.CRITICAL,
            f"{who} {what} and not polled for {up_to}{duration_words(length)}, until the end",
            {"ready_ns": length, "tasks": count, "run_longest_ns": evidence.longest},
            one.name,
            run.chains.waiting(function, None, int(wait["places"])).location or one.location,
            int(wait["woken"]),
            length,
            int(wait["woken_on"]) or None,
            int(wait["instance"]),
            rule.advice,
        )
