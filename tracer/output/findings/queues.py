"""Tasks that wait in line: for a permit of a semaphore, or for room in a channel that is full."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from tracer.model import Array, Finding, Layout, Plan, Severity, SourceLocation, WaitFlag, is_foreign
from tracer.output.chains import Chains
from tracer.output.findings.places import TaskWaits, Union, inside, is_cut, length_of, length_words, numbers_of
from tracer.output.findings.run import Need, Rule, Run
from tracer.output.labels import duration_words

LONG_QUEUE = Rule(
    "long-queue",
    frozenset({Need.TASKS, Need.LINKS}),
    {"least_ns": 10_000_000, "waits": 10, "share_of_run": 0.8},
    "Where it is not meant to be the limit: shorten what is done with a permit, or per message, or allow more at once.",
)

_LEAST = int(LONG_QUEUE.limits["least_ns"])

_PERMIT = re.compile(r"(?:tokio::sync|async_lock)::semaphore::")
_ROOM = re.compile(r"tokio::sync::mpsc::bounded::Sender<T>::(?:send|reserve)|async_channel::Send\b")
"""tokio 1.25 to 1.54, async-lock 2.8 to 3.5, async-channel 1.8 to 2.5.  What a semaphore
is for that a crate uses inside of something else is not known."""

_Line = tuple[int, SourceLocation | None]
"""A future that waits, by function, and where."""

_Place = tuple[bool, _Line, _Line]
"""Whether it is for a permit; who waits in line; the innermost one in the user's own source that waits for that one."""


@dataclass(slots=True)
class _Queue:
    """The waits of one kind of task at one place.  longest: dtype WAIT.  givers: who ended them, by function.

    cut: those of which the recording did not see both ends.  any: ns in which at least one of them was going on.
    """

    longest: np.void
    waits: int = 0
    cut: int = 0
    total: int = 0
    givers: Counter[int] = field(default_factory=Counter)
    any: Union = field(default_factory=Union)

    def add(self, wait: np.void, giver: int | None) -> None:
        """dtype WAIT."""
        self.waits += 1
        self.cut += is_cut(wait)
        self.total += length_of(wait)
        self.any.add(int(wait["start"]), int(wait["end"]))
        if giver is not None:
            self.givers[giver] += 1
        if length_of(wait) > length_of(self.longest):
            self.longest = wait.copy()


def _together(queues: Sequence[_Queue]) -> _Queue:
    """Those at one place in the source as one."""
    whole = _Queue(max((one.longest for one in queues), key=length_of))
    for one in queues:
        whole.waits += one.waits
        whole.cut += one.cut
        whole.total += one.total
        whole.givers += one.givers
    whole.any = Union.of(one.any for one in queues)
    return whole


class Queues:
    """By the place in the source at which it waits, the user's own where there is one on the way; memory grows with
    those, and with the tasks that do."""

    def __init__(self, plan: Plan) -> None:
        self._own_folders = plan.own_folders
        self._chains = Chains(plan)
        self._is_permit = inside(plan, _is_permit)
        self._is_wanted = self._is_permit | inside(plan, _is_room)
        self._of_tasks = TaskWaits(plan)
        self.by_place: dict[_Place, _Queue] = {}
        self.longest_over = 0
        """ns, of those that did end."""

    def add(self, waits: Array, over: Array) -> None:
        """Waits (dtype WAIT) in the order of their ends, then the tasks (dtype TASK) of which no more come."""
        if not self._is_wanted.any():
            return
        rows = np.flatnonzero(waits["end"] - waits["start"] >= _LEAST)
        rows = rows[np.any(self._is_wanted[numbers_of(waits.take(rows))], axis=1)]
        tasks = self._of_tasks.tasks(waits.take(rows))
        rows, tasks = rows[tasks != 0], tasks[tasks != 0]
        owns, around = self._of_tasks.own(waits, rows), self._of_tasks.around(waits, rows)
        for row, task, own, outer in zip(rows.tolist(), tasks.tolist(), owns.tolist(), around, strict=True):
            wait = waits[row]
            if self._of_tasks.is_first(task, int(wait["start"]), int(wait["end"])):
                giver = int(waits[own]["woken_by_function"]) if own >= 0 and waits[own]["woken_by"] != 0 else None
                place = self._is_for_permit(wait), *self._lines(waits, (row, *outer))
                self.by_place.setdefault(place, _Queue(wait.copy())).add(wait, giver)
                if not wait["flags"] & int(WaitFlag.END_UNKNOWN):
                    self.longest_over = max(self.longest_over, length_of(wait))
        self._of_tasks.forget(over["task"].tolist())

    def _is_for_permit(self, wait: np.void) -> bool:
        """Else it (dtype WAIT) is for room."""
        return bool(self._is_permit[numbers_of(wait.reshape(1))].any())

    def own_line(self, place: _Place) -> _Line:
        """Of an open wait it is not always known where the futures around stand: then that of the others counts which
        wait at the same place, if they have one."""
        if self._is_own(place[2]):
            return place[2]
        others = {other[2] for other in self.by_place if other[:2] == place[:2] and self._is_own(other[2])}
        return others.pop() if len(others) == 1 else place[2]

    def _lines(self, waits: Array, rows: Iterable[int]) -> tuple[_Line, _Line]:
        """Of the first of these, and of the first of them in the user's own source; where none is, the same again."""
        told = [self._line(waits[row]) for row in rows]
        return told[0], next(filter(self._is_own, told), told[0])

    def _is_own(self, line: _Line) -> bool:
        return line[1] is not None and not is_foreign(line[1].file, self._own_folders)

    def _line(self, wait: np.void) -> _Line:
        function, places = int(wait["function"]), int(wait["places"])
        state = int(wait["state"]) if wait["flags"] & int(WaitFlag.STATE) else None
        return function, self._chains.waiting(function, state, places).location


def _is_permit(layout: Layout) -> bool:
    return _PERMIT.match(layout.name) is not None


def _is_room(layout: Layout) -> bool:
    return _ROOM.match(layout.name) is not None


def long_queues(rule: Rule, evidence: Queues, told: Collection[int], run: Run) -> Iterator[Finding]:
    """One finding a place in the source at which tasks wait in line.  told: tasks of which memory told what they wait
    for, by instance."""
    queues: dict[tuple[bool, SourceLocation | None], list[tuple[int, _Queue]]] = {}
    for place, one in evidence.by_place.items():
        function, where = evidence.own_line(place)
        queues.setdefault((place[0], where), []).append((function, one))
    for (is_for_permit, where), several in queues.items():
        one = _together([queue for _, queue in several])
        if one.waits < rule.limits["waits"] or one.any.total < rule.limits["share_of_run"] * run.duration:
            continue
        longest = one.longest
        if (int(longest["task"]) or int(longest["instance"])) in told:
            continue
        what = "a permit of a semaphore" if is_for_permit else "room in a channel"
        about = run.function(max(several, key=lambda each: length_of(each[1].longest))[0])
        giver = next((giver for giver, times in one.givers.most_common(1) if 2 * times > one.waits), None)
        yield Finding(
            rule.id,
            Severity.INFO,
            f"{one.waits:,} waits for {what}, up to {length_words(longest)}, "
            f"{duration_words(one.total)} in all{f', mostly ended by {run.short(giver)}' if giver is not None else ''}",
            {
                "waits": one.waits,
                "waited_ns": one.total,
                "longest_ns": length_of(longest),
                **({"waits_cut": one.cut} if one.cut else {}),
                "ended_by_tasks": one.givers.total(),
                **({"ended_mostly_by": run.function(giver).name} if giver is not None else {}),
            },
            about.name,
            where or about.location,
            int(longest["start"]),
            length_of(longest),
            int(longest["tid"]) or None,
            int(longest["task"]) or int(longest["instance"]),
            rule.advice,
        )
