"""Locks that are kept across an await: those who want them wait for what their holder waits for."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from tracer.model import Array, Finding, Layout, Plan, Severity
from tracer.output.awaits import await_point
from tracer.output.findings.places import TaskWaits, Union, is_cut, length_of, numbers_of
from tracer.output.findings.run import Need, Rule, Run
from tracer.output.labels import duration_words, short_awaitee
from tracer.output.probed import ALL_THE_TIME, GroupTime
from tracer.output.records import pick

HELD_LOCK = Rule(
    "held-lock",
    frozenset({Need.TASKS, Need.WAKES, Need.LINKS}),
    {"least_ns": 10_000_000, "covered": 0.5, "waits": 10, "share_of_run": 0.1},
    "Let the guard go before the await (copy what is needed), or give what it guards to a task of its own.",
)

_LEAST = int(HELD_LOCK.limits["least_ns"])
_SHORT = 1_000_000
"""ns.  What is shorter is not looked at."""

_MOST_WAITED = 16
"""Of such waits of one task, the latest."""

_LOCK = re.compile(r"(?:tokio::sync|async_lock|futures_util::lock)::(?:mutex|rwlock)::")
"""tokio 1.25 to 1.54, async-lock 2.8 to 3.5, futures-util 0.3: all futures in there wait for a lock."""

_OF_WORK = re.compile(r"<(?:\w+::)*\w*(?:Receiver|Listener)\b")
"""What workers take turns with: who has the lock of that waits for work, and the others would do no more."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """Somebody kept a lock from start to end, at one await of a coroutine: (index into the plan's layouts, state).

    holding: dtype WAIT, the longest of those who did one after the other.  time: ns of it in which one of them did.
    """

    start: int
    end: int
    time: int
    at: tuple[int, int | None]
    holding: np.void


@dataclass(slots=True)
class _Waited:
    """One wait of a task.  kept: it had a guard meanwhile.  wants: which lock it was for, see _locks; 0: for none.
    explained: by whom that was kept until it had it.
    """

    start: int
    end: int
    kept: _Kept | None
    wants: int
    explained: Sequence[_Kept] = ()

    def keeps(self, lock: int) -> Sequence[_Kept]:
        """Who may have kept this lock meanwhile.  One that waited for such a lock itself stood in the queue of it, so
        that its guard is another lock's: it is those before it."""
        if self.wants == lock:
            return self.explained
        return (self.kept,) if self.kept is not None else ()


@dataclass(slots=True)
class _Held:
    """What was waited for while a lock was kept at one await.

    total, longest: ns in which somebody waited for the lock, and a holder, at that await, for something else.
    any: ns in which at least one did.  holding, wanting: dtype WAIT, of both in the longest.
    """

    waits: int
    total: int
    longest: int
    holding: np.void
    wanting: np.void
    any: Union = field(default_factory=Union)


class HeldLocks:
    """By the coroutine and its await at which a lock was kept; memory grows with those, and with the tasks that do.

    Who gives a lock back wakes who gets it: that tells who had it.  Whether it was kept while its task waited, the
    types tell.  wakes: when their probes were there.
    """

    def __init__(self, plan: Plan, wakes: GroupTime) -> None:
        self.wakes = wakes
        self._plan = plan
        self._guarded = _guarded(plan)
        self._locks = _locks(plan)
        self._of_tasks = TaskWaits(plan)
        self._waited: dict[int, deque[_Waited]] = {}
        self.by_await: dict[tuple[int, int | None], _Held] = {}

    def add(self, waits: Array, over: Array) -> None:
        """Waits (dtype WAIT) in the order of their ends, then the tasks (dtype TASK) of which no more come."""
        if not self._guarded.any():
            return
        # Its place shows that a future was under way, so that it is none to be begun, whatever the poll before says.
        waits = pick(waits, waits["end"] - waits["start"] >= _SHORT)
        numbers, tasks = numbers_of(waits), self._of_tasks.tasks(waits)
        place, wants = (of_place[numbers].max(axis=1, initial=0) for of_place in (self._guarded, self._locks))
        is_long = waits["end"] - waits["start"] >= _LEAST
        rows = np.flatnonzero((tasks != 0) & ((place > 0) | (is_long & (wants > 0))))
        for row, own in zip(rows.tolist(), self._of_tasks.own(waits, rows).tolist(), strict=True):
            wait, task, lock = waits[row].copy(), int(tasks[row]), int(wants[row])
            kept = _kept(wait, self._await_of(int(place[row]))) if place[row] else None
            explained: Sequence[_Kept] = ()
            if lock and own >= 0 and self._of_tasks.is_first(task, *_times(wait)):
                explained = self._explained(wait, waits[own], lock)
            _remember(
                self._waited.setdefault(task, deque(maxlen=_MOST_WAITED)),
                _Waited(*_times(wait), kept, lock, explained),
            )
        gone = over["task"].tolist()
        self._of_tasks.forget(gone)
        for task in gone:
            self._waited.pop(task, None)

    @property
    def longest(self) -> int:
        """ns, of the waits that did end."""
        return max((one.longest for one in self.by_await.values()), default=0)

    def _explained(self, wait: np.void, own: np.void, lock: int) -> list[_Kept]:
        """By whom the lock was kept meanwhile that this waits for: who gave it back had it last, and had waited itself
        for those before.  Counts it if that is most of the wait.

        own: the wait of its task (dtype WAIT), which tells who gave it back.  lock: see _locks.
        """
        start, until, giver = int(wait["start"]), int(own["woken"]), int(own["woken_by"])
        if not giver or giver == own["instance"] or until <= start:
            return []
        parts = [
            _cut(kept, start, until)
            for waited in self._waited.get(giver, ())
            for kept in waited.keeps(lock)
            if kept.end > start and kept.start < until
        ]
        merged = [_merged([part for part in parts if part.at == at]) for at in dict.fromkeys(part.at for part in parts)]
        whole = [kept for several in merged for kept in several]
        covered = min(until - start, sum(kept.time for kept in whole))
        if covered >= max(_LEAST, HELD_LOCK.limits["covered"] * (until - start)):
            for several in merged:
                self._count(several, wait)
        return whole

    def _count(self, kept: Sequence[_Kept], wait: np.void) -> None:
        """kept: all of one await."""
        total, longest = sum(one.time for one in kept), max(kept, key=lambda one: one.time)
        if total < _LEAST:
            return
        one = self.by_await.setdefault(longest.at, _Held(0, 0, 0, longest.holding, wait))
        one.waits += 1
        one.total += total
        for part in kept:
            one.any.add(part.start, part.end)
        if total > one.longest:
            one.longest, one.holding, one.wanting = total, longest.holding, wait

    def _await_of(self, place: int) -> tuple[int, int | None]:
        """(index into the plan's layouts, state) of who is there with a guard: it is at the place above."""
        one = self._plan.places[place - 1]
        layout = self._plan.places[one.parent - 1].layout
        assert layout is not None  # see _guarded
        return layout, one.state


def _times(wait: np.void) -> tuple[int, int]:
    return int(wait["start"]), int(wait["end"])


def _kept(wait: np.void, at: tuple[int, int | None]) -> _Kept:
    start, end = _times(wait)
    return _Kept(start, end, end - start, at, wait)


def _remember(before: deque[_Waited], one: _Waited) -> None:
    """Of one wait there are rows of the task and of futures in it, which tell different parts: they are one."""
    last = before[-1] if before else None
    if last is None or 2 * (min(last.end, one.end) - max(last.start, one.start)) < max(
        last.end - last.start, one.end - one.start
    ):
        before.append(one)
        return
    last.kept = last.kept or one.kept
    last.wants = last.wants or one.wants
    last.explained = last.explained or one.explained


def _cut(kept: _Kept, start: int, end: int) -> _Kept:
    """What is of it between these times; of several one after the other as much of each."""
    begin, until = max(start, kept.start), min(end, kept.end)
    time = round(kept.time * (until - begin) / max(1, kept.end - kept.start))
    return replace(kept, start=begin, end=until, time=time)


def _merged(several: Sequence[_Kept]) -> list[_Kept]:
    """Those of one await, with what is next to each other as one: of many in a queue each has all before it."""
    merged: list[_Kept] = []
    for one in sorted(several, key=lambda one: one.start):
        before = merged[-1] if merged else None
        if before is None or one.start > before.end + _LEAST:
            merged.append(one)
            continue
        more = _cut(one, before.end, max(one.end, before.end)).time if one.end > before.end else 0
        longer = max(before.holding, one.holding, key=length_of)
        merged[-1] = replace(before, end=max(before.end, one.end), time=before.time + more, holding=longer)
    return merged


def _guarded(plan: Plan) -> npt.NDArray[np.intp]:
    """By number, the innermost place on the way to this one at which a guard is kept; 0: none."""
    kept = [0]
    for number, place in enumerate(plan.places, 1):
        above = plan.places[place.parent - 1].layout if place.parent else None
        is_kept = above is not None and place.state in plan.layouts[above].guards
        kept.append(number if is_kept else kept[place.parent])
    return np.array(kept)


def _locks(plan: Plan) -> npt.NDArray[np.intp]:
    """By number, of the place or one on the way to it, a number for the kind of lock that it waits for: locks of
    different things have different ones; 0: for none."""
    known: dict[tuple[str, str], int] = {}
    wanted = [0]
    for place in plan.places:
        layout = plan.layouts[place.layout] if place.layout is not None else None
        kind = _lock_of(layout) if layout is not None else None
        wanted.append(wanted[place.parent] or (known.setdefault(kind, len(known) + 1) if kind is not None else 0))
    return np.array(wanted)


def _lock_of(layout: Layout) -> tuple[str, str] | None:
    """(the module of the lock, what it guards) of a future that waits for one.  `Mutex<T>::lock<User>`, `Lock<User>`:
    what stands in the last brackets."""
    lock = _LOCK.match(layout.name)
    if lock is None or is_lock_of_work([layout.name]):
        return None
    return lock[0], layout.name[_last_bracket(layout.name) :]


def _last_bracket(name: str) -> int:
    """Where the outermost brackets at the end of a name open; its length: there are none."""
    depth = 0
    for at in range(len(name) - 1, -1, -1):
        depth += (name[at] == ">" and name[at - 1 : at] != "-") - (name[at] == "<")
        if not depth:
            return at if name.endswith(">") else len(name)
    return len(name)


def is_lock_of_work(names: Iterable[str]) -> bool:
    """Whether one of these futures waits for its turn at where work comes from; by names as Layout has them."""
    return any(_LOCK.match(name) is not None and _OF_WORK.search(name) is not None for name in names)


def held_locks(rule: Rule, evidence: HeldLocks, run: Run) -> Iterator[Finding]:
    """One finding an await at which a lock is kept."""
    probed = evidence.wakes.between(run.start, run.end)
    seen = "" if probed > ALL_THE_TIME * run.duration else ", while wakes were probed"
    for (index, state), one in evidence.by_await.items():
        if one.waits < rule.limits["waits"] or one.any.total < rule.limits["share_of_run"] * probed:
            continue
        layout = run.plan.layouts[index]
        point = await_point(layout, state)
        holding, wanting = one.holding, one.wanting
        wanted = run.chains.waiting(int(wanting["function"]), None, int(wanting["places"])).location
        awaited = point.awaitee if point is not None and point.location is not None else None  # else it is a macro's
        who = short_awaitee(layout.name) + (f" waited for {short_awaitee(awaited)}" if awaited else " waited")
        yield Finding(
            rule.id,
            Severity.WARNING,
            f"{who} and kept a lock meanwhile: {one.waits:,} waits for it, up to {duration_words(one.longest)}"
            f"{' or more' if is_cut(wanting) else ''}, "
            f"{duration_words(one.total)} in all{seen}",
            {
                "waits": one.waits,
                "waited_ns": one.total,
                "longest_ns": one.longest,
                **({"kept_for": awaited} if awaited else {}),
                **({"wanted_at": str(wanted)} if wanted else {}),
                "wanted_by": run.function(int(wanting["function"])).name,
            },
            layout.name,
            (point.location if point is not None else None) or layout.location,
            int(holding["start"]),
            length_of(holding),
            int(holding["tid"]) or None,
            int(holding["task"]) or int(holding["instance"]),
            rule.advice,
        )
