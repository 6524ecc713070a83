"""Listens to a recording that is still going on, for what a trigger waits for.

One hit a trigger, then none until so much time is over as a written trace has before its hit: the next trace is of
another time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracer.model import (
    Array,
    FunctionKind,
    Hit,
    Plan,
    PollFlag,
    SourceLocation,
    Spans,
    Thread,
    Trigger,
    TriggerKind,
    WaitFlag,
)
from tracer.output.chains import Chains
from tracer.output.delays import is_answered, ready_times
from tracer.output.labels import duration_words, short_name
from tracer.output.probe_time import ProbeTime, at_most

_AT_LEAST = int(PollFlag.START_UNKNOWN | PollFlag.UNWOUND | PollFlag.INFERRED_END)
_UNSURE = int(WaitFlag.AMBIGUOUS | WaitFlag.END_UNKNOWN | WaitFlag.REPLACED)

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Fired:
    """A trigger, by its place among all, and what it saw."""

    trigger: int
    hit: Hit


class TriggerWatch:
    """pause: ns after a hit in which its trigger is still; what it would have fired on is counted in `suppressed`, by
    trigger: of polls inside each other the nest.  hit_costs: as Recording has it; what the probes may have taken of a
    poll does not count.
    """

    def __init__(self, plan: Plan, triggers: Sequence[Trigger], pause: int, hit_costs: Sequence[float] = ()) -> None:
        self._probe_time = ProbeTime(plan, hit_costs)
        self._plan, self._triggers, self._pause = plan, tuple(triggers), pause
        self._is_task = np.array([*(one.kind is FunctionKind.TASK for one in plan.functions), False])
        exits = {probe.leaves for probe in plan.probes}
        self._has_exit = np.array([*(number in exits for number in range(len(plan.functions))), False])
        self._is_job = np.array([*(one.is_job for one in plan.functions), False])
        self._chosen = [_matching(plan, one.pattern) for one in triggers]
        self._chains = Chains(plan)
        self._executors: set[int] = set()
        self._quiet = [np.iinfo(np.int64).min] * len(self._triggers)
        self.suppressed = [0] * len(self._triggers)
        self._fired_until: list[dict[int, int]] = [{} for _ in self._triggers]  # by tid, ns
        self._counted_until: list[dict[int, int]] = [{} for _ in self._triggers]
        self._names: dict[int, str] = {}

    def threads(self, threads: Sequence[Thread]) -> None:
        """Their names."""
        self._names |= {thread.tid: thread.name for thread in threads}

    def forget(self, alive: frozenset[int]) -> None:
        """Of threads that are no more nothing is kept."""
        self._names = {tid: name for tid, name in self._names.items() if tid in alive}
        self._executors &= alive
        for until in (*self._fired_until, *self._counted_until):
            for tid in until.keys() - alive:
                del until[tid]

    def spans(self, spans: Spans) -> Iterator[Fired]:
        """What came to an end."""
        self._probe_time.add(spans.polls)
        tasks = self._is_task[spans.polls["function"]]
        self._executors |= set(np.unique(spans.polls["tid"][tasks & (spans.polls["depth"] > 0)]).tolist())
        for number, trigger in enumerate(self._triggers):
            if trigger.kind is TriggerKind.POLL:
                yield from self._polls(number, trigger, spans.polls)
            elif trigger.kind is TriggerKind.WAIT:
                yield from self._waits(number, trigger, spans.waits)
            elif trigger.kind is TriggerKind.READY:
                yield from self._ready(number, trigger, spans.waits)
                yield from self._first(number, trigger, spans.begun)

    def under_way(self, frames: Array, now: int, lost_until: int) -> Iterator[Fired]:
        """Polls that have not come to an end.  frames: with the fields of a POLL but `end`; now: ns.

        lost_until: events from before may be missing, ns: what began before then may have ended.
        """
        frames = frames[self._has_exit[frames["function"]] & (frames["start"] >= lost_until)]
        taken = at_most(self._probe_time.inside(frames, now))
        for number, trigger in enumerate(self._triggers):
            if trigger.kind is TriggerKind.POLL and now > self._quiet[number]:
                long = now - frames["start"] - taken >= (trigger.least or 0)
                long &= self._concerned(number, frames) & ~self._is_of_fired(number, frames)
                if long.any():
                    innermost = frames[np.flatnonzero(long)[np.argmax(frames["depth"][long])]]
                    yield self._poll(number, innermost, now, "has been polled")

    def quiet(self, number: int, end: int) -> None:
        """A trigger fired on what ended then, ns."""
        self._quiet[number] = end + self._pause

    def _beyond(self, number: int, ends: npt.NDArray[np.int64], wanted: Flags) -> int | None:
        """The first of the wanted ones, in the order of their ends, that is not of the pause."""
        is_new = wanted & (ends > self._quiet[number])
        return int(np.argmax(is_new)) if is_new.any() else None

    def _count(self, number: int, found: int, first: int | None) -> None:
        """So many were there; first: the one that fires."""
        self.suppressed[number] += found - (first is not None)

    def _is_of_fired(self, number: int, polls: Array) -> Flags:
        """Which are around, or are, what fired on their thread."""
        fired = self._fired_until[number]
        if not fired:
            return np.zeros(len(polls), np.bool_)
        until = np.array([fired.get(tid, 0) for tid in polls["tid"].tolist()], np.int64)
        of_fired: Flags = polls["start"] < until
        return of_fired

    def _nests(self, number: int, polls: Array) -> int:
        """How many nests these are of which none was counted yet.  One on a thread goes on as long as polls overlap."""
        counted, count = self._counted_until[number], 0
        for tid in np.unique(polls["tid"]).tolist():
            here = polls[polls["tid"] == tid]
            here = here[np.argsort(here["start"], kind="stable")]
            until = np.maximum.accumulate(np.concatenate([[counted.get(tid, 0)], here["end"]]))
            count += int(np.count_nonzero(here["start"] >= until[:-1]))
            counted[tid] = int(until[-1])
        return count

    def _concerned(self, number: int, polls: Array) -> Flags:
        """Without a pattern: what tasks poll, and roots of their own; but not what polls tasks as its work."""
        function = polls["function"]
        if self._triggers[number].pattern is not None:
            chosen: Flags = self._chosen[number][function]
            return chosen
        in_task = self._is_task[function] | (polls["task"] != 0)
        is_root = polls["depth"] == 0
        if self._executors:
            is_root &= ~np.isin(polls["tid"], np.array(sorted(self._executors), np.uint32))
        concerned: Flags = (in_task | is_root) & ~self._is_job[function]
        return concerned

    def _polls(self, number: int, trigger: Trigger, polls: Array) -> Iterator[Fired]:
        long = polls["end"] - polls["start"] > (trigger.least or 0)
        long &= (polls["flags"] & PollFlag.END_UNKNOWN) == 0
        if not long.any():
            return
        rows = np.flatnonzero(long)
        found = polls[rows[self._concerned(number, polls[rows])]]
        taken = at_most(self._probe_time.inside(found))
        found = found[found["end"] - found["start"] - taken > (trigger.least or 0)]
        if not len(found):
            return
        found = found[~self._is_of_fired(number, found)]
        first = self._beyond(number, found["end"], np.ones(len(found), np.bool_))
        self._count(number, self._nests(number, found), first)
        if first is not None:
            yield self._poll(number, found[first], int(found["end"][first]), "was polled")

    def _poll(self, number: int, poll: np.void, end: int, verb: str) -> Fired:
        function = self._plan.functions[int(poll["function"])]
        length, tid = end - int(poll["start"]), int(poll["tid"])
        self._fired_until[number][tid] = end
        least = "at least " if poll["flags"] & _AT_LEAST else ""
        words = f"{short_name(function)} {verb} for {least}{duration_words(length)} on {self._thread(tid)}"
        return self._fired(number, words, int(poll["start"]), length, function.name, function.location, tid)

    def _waits(self, number: int, trigger: Trigger, waits: Array) -> Iterator[Fired]:
        wanted = (waits["end"] - waits["start"] > (trigger.least or 0)) & ((waits["flags"] & _UNSURE) == 0)
        wanted &= self._of_tasks(number, waits["function"])
        first = self._beyond(number, waits["end"], wanted)
        self._count(number, int(np.count_nonzero(wanted)), first)
        if first is not None:
            wait = waits[first]
            yield self._wait(number, wait, int(wait["start"]), "waited")

    def _ready(self, number: int, trigger: Trigger, waits: Array) -> Iterator[Fired]:
        wanted = is_answered(waits) & (ready_times(waits) > (trigger.least or 0))
        wanted &= ((waits["flags"] & _UNSURE) == 0) & self._of_tasks(number, waits["function"])
        first = self._beyond(number, waits["end"], wanted)
        self._count(number, int(np.count_nonzero(wanted)), first)
        if first is not None:
            wait = waits[first]
            yield self._wait(number, wait, max(int(wait["woken"]), int(wait["start"])), "was woken and not polled")

    def _first(self, number: int, trigger: Trigger, begun: Array) -> Iterator[Fired]:
        wanted = (begun["spawned"] != 0) & (begun["first"] - begun["spawned"] > (trigger.least or 0))
        wanted &= self._of_tasks(number, begun["function"])
        first = self._beyond(number, begun["first"], wanted)
        self._count(number, int(np.count_nonzero(wanted)), first)
        if first is not None:
            task = begun[first]
            function = self._plan.functions[int(task["function"])]
            length = int(task["first"] - task["spawned"])
            name = short_name(function).removeprefix("task ")
            words = f"a task {name} was made and not polled for {duration_words(length)}"
            tid = int(task["tid"])
            yield self._fired(number, words, int(task["spawned"]), length, function.name, function.location, tid)

    def _wait(self, number: int, wait: np.void, since: int, verb: str) -> Fired:
        index, length = int(wait["function"]), int(wait["end"]) - since
        function = self._plan.functions[index]
        known = self._chains.waiting(
            index, int(wait["state"]) if wait["flags"] & WaitFlag.STATE else None, int(wait["places"])
        )
        name = short_name(function).removeprefix("task ")
        what = f"a task {name}" if self._is_task[index] else name
        words = f"{what} {verb} for {duration_words(length)}"
        where, tid = known.location or function.location, int(wait["tid"])
        return self._fired(number, words, since, length, function.name, where, tid)

    def _of_tasks(self, number: int, function: npt.NDArray[np.uint32]) -> Flags:
        """Without a pattern: tasks only, for what they await waits as long as they do."""
        named = self._triggers[number].pattern is not None
        of_tasks: Flags = (self._chosen[number] if named else self._is_task)[function] & ~self._is_job[function]
        return of_tasks

    def _thread(self, tid: int) -> str:
        name = self._names.get(tid)
        return f"thread {name} ({tid})" if name else f"thread {tid}"

    def _fired(
        self, number: int, words: str, time: int, length: int, function: str, where: SourceLocation | None, tid: int
    ) -> Fired:
        trigger = self._triggers[number]
        self.quiet(number, time + length)
        return Fired(
            number, Hit(trigger.text, trigger.kind, words, time, length, trigger.least, function, where, tid or None)
        )


def unable_words(plan: Plan, trigger: Trigger) -> str | None:
    """Why a trigger cannot fire on any function that is probed, for people; None: it can."""
    if trigger.pattern is None:
        return None
    matching = np.flatnonzero(_matching(plan, trigger.pattern)).tolist()
    if not matching:
        return "no function that is probed has a name with a match"
    if trigger.kind is TriggerKind.POLL and {probe.leaves for probe in plan.probes}.isdisjoint(matching):
        name = short_name(plan.functions[matching[0]])
        return f"how long {name} is polled is not known: with --exits {plan.exit_mode} its exits are not probed"
    return None


def _matching(plan: Plan, pattern: str | None) -> Flags:
    """Of which functions the name has a match."""
    found = [pattern is None or re.search(pattern, one.name) is not None for one in plan.functions]
    return np.array([*found, False])
