"""Tasks that wait in line: for a permit of a semaphore, or for room in a channel that is full."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tracer.model import Array, Finding, FunctionKind, Layout, Plan, Severity, SourceLocation
from tracer.output.findings.places import inside, numbers_of
from tracer.output.findings.run import Need, Rule, Run
from tracer.output.labels import duration_words
from tracer.output.records import pick

LONG_QUEUE = Rule(
    "long-queue",
    frozenset({Need.TASKS, Need.LINKS}),
    {"least_ns": 10_000_000, "waits": 10, "times_run": 1.0},
    "Where it is not meant to be the limit: shorten what is done with a permit, or per message, or allow more at once.",
)

_LEAST = int(LONG_QUEUE.limits["least_ns"])

_PERMIT = re.compile(r"(?:tokio::sync|async_lock)::semaphore::")
_ROOM = re.compile(r"tokio::sync::mpsc::bounded::Sender<T>::(?:send|reserve)|async_channel::Send\b")
"""tokio 1.25 to 1.54, async-lock 2.8 to 3.5, async-channel 1.8 to 2.5.  What a
semaphore is for that a crate uses inside of something else is not known."""


@dataclass(frozen=True, slots=True)
class _Queue:
    """The waits of one kind of task at one place.  longest: dtype WAIT.  givers: who ended them, by function."""

    waits: int
    total: int
    longest: np.void
    givers: Counter[int]

    def __add__(self, other: _Queue) -> _Queue:
        longest = max(self.longest, other.longest, key=_length)
        return _Queue(self.waits + other.waits, self.total + other.total, longest, self.givers + other.givers)


class Queues:
    """By the function of the task and the places at which it waits; memory grows with those only."""

    def __init__(self, plan: Plan) -> None:
        self._is_permit = inside(plan, _is_permit)
        self._is_wanted = self._is_permit | inside(plan, _is_room)
        self._is_task = np.array([one.kind is FunctionKind.TASK for one in plan.functions] or [False])
        self.by_place: dict[tuple[int, int], _Queue] = {}

    def add(self, waits: Array) -> None:
        """Waits (dtype WAIT)."""
        if not self._is_wanted.any():
            return
        long = pick(waits, self._is_task[waits["function"]] & (waits["end"] - waits["start"] >= _LEAST))
        long = pick(long, np.any(self._is_wanted[numbers_of(long)], axis=1))
        for key in {*zip(long["function"].tolist(), long["places"].tolist(), strict=True)}:
            here = pick(long, (long["function"] == key[0]) & (long["places"] == key[1]))
            lengths = here["end"] - here["start"]
            givers = Counter(here["woken_by_function"][here["woken_by"] != 0].tolist())
            found = _Queue(len(here), int(lengths.sum()), here[int(np.argmax(lengths))].copy(), givers)
            before = self.by_place.get(key)
            self.by_place[key] = found if before is None else before + found

    def is_for_permit(self, wait: np.void) -> bool:
        """Else it (dtype WAIT) is for room."""
        return bool(self._is_permit[numbers_of(wait.reshape(1))].any())


def _length(wait: np.void) -> int:
    """ns."""
    return int(wait["end"] - wait["start"])


def _is_permit(layout: Layout) -> bool:
    return _PERMIT.match(layout.name) is not None


def _is_room(layout: Layout) -> bool:
    return _ROOM.match(layout.name) is not None


def long_queues(rule: Rule, evidence: Queues, run: Run) -> Iterator[Finding]:
    """One finding a place in the source at which tasks wait in line."""
    queues: dict[tuple[bool, SourceLocation | None], _Queue] = {}
    for (function, places), one in evidence.by_place.items():
        where = run.chains.waiting(function, None, places).location
        key = evidence.is_for_permit(one.longest), where
        queues[key] = queues[key] + one if key in queues else one
    for (is_for_permit, where), one in queues.items():
        if one.waits < rule.limits["waits"] or one.total < rule.limits["times_run"] * run.duration:
            continue
        longest = one.longest
        what = "a permit of a semaphore" if is_for_permit else "room in a channel"
        about = run.function(int(longest["function"]))
        giver = next((giver for giver, times in one.givers.most_common(1) if 2 * times > one.waits), None)
        yield Finding(
            rule.id,
            Severity.INFO,
            f"{one.waits:,} waits for {what}, up to {duration_words(_length(longest))}, "
            f"{duration_words(one.total)} in all{f', mostly ended by {run.short(giver)}' if giver is not None else ''}",
            {
                "waits": one.waits,
                "waited_ns": one.total,
                "longest_ns": _length(longest),
                "ended_by_tasks": one.givers.total(),
                **({"ended_mostly_by": run.function(giver).name} if giver is not None else {}),
            },
            about.name,
            where or about.location,
            int(longest["start"]),
            _length(longest),
            int(longest["tid"]) or None,
            int(longest["instance"]),
            rule.advice,
        )
