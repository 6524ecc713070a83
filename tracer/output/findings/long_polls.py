"""Polls that kept their thread for long: while one lasts no other task runs there."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tracer.model import POLL, Array, Finding, PollFlag, Severity, StackKind, Stacks
from tracer.output.blockers import Blockers, period_of, times_of
from tracer.output.findings.deeds import doing, perhaps_words, whose
from tracer.output.findings.poll_lengths import SCHEDULED, SHARE, innermost_of, own_length, own_lengths, within
from tracer.output.findings.run import Need, Rule, Run
from tracer.output.findings.stolen import Stolen
from tracer.output.histogram import BINS, Integers, at_least, bins_of
from tracer.output.labels import duration_words, more_times
from tracer.output.poll_ends import is_end_known, longest_possible
from tracer.output.probe_time import ProbeTime, at_most, taken_words
from tracer.output.records import join, pick

LONG_POLL = Rule(
    "long-poll",
    frozenset({Need.TASKS}),
    {
        "least_ns": 10_000_000,
        "times_median": 10,
        "always_ns": 100_000_000,
        "polls": 2,
        "share": 0.5,
        "sure_ns": 250_000_000,
    },
    "Move what blocks or computes to spawn_blocking (or a thread), use the async variant, or yield in between.",
)

LEAST = 5_000_000
"""ns; no poll that is shorter is of interest to any rule."""
_UNSURE_LOOKS = 2
"""Of those at one poll, so many say nothing of its length."""
_LEAST_LOOKS, _MOST_UNSEEN = 2, 2
"""So often at least it was seen to run, and for no more than so many times as long as that accounts for, where the
scheduler is believed to say for how long: a machine that stands still is looked at once, as it goes on."""
_WINDOW = 4096
"""Long polls that are remembered."""
_UNSURE = int(PollFlag.START_UNKNOWN | PollFlag.END_UNKNOWN | PollFlag.UNWOUND | PollFlag.INFERRED_END)
"""Of such a poll's length nobody knows more than a bound."""


@dataclass(frozen=True, slots=True)
class Worst:
    """Of several polls.  poll: dtype POLL.  length: ns of it, without what was done in place, and what probes may have
    taken: see at_most(), of `probes`, which is estimated.

    own: ns of that which are known to be no wait for a processor: of what was not scheduled only what was seen.
    perhaps_in: the function of a poll inside it that may have taken most of it, see LongPolls.perhaps_in().
    """

    poll: np.void
    length: int
    own: int
    probes: int = 0
    perhaps_in: int | None = None


@dataclass(slots=True)
class Long:
    """The long polls of one function, each the innermost of its nest.  lengths: in bins.

    sure: the same, of the time that the thread surely used or blocked in them: not of what it waited for a processor.
    blockers: what was seen on its stack.  scheduled, other: the worst of those of which the scheduler told, and not.
    """

    blockers: Blockers
    scheduled: Worst | None = None
    other: Worst | None = None
    lengths: Integers = field(default_factory=lambda: np.zeros(BINS, np.int64))
    sure: Integers = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, one: Worst) -> None:
        """It may be the worst."""
        if one.poll["flags"] & SCHEDULED:
            self.scheduled = max(self.scheduled or one, one, key=_badness)
        else:
            self.other = max(self.other or one, one, key=_badness)

    def worst(self, limit: int) -> Worst | None:
        """Of those that took so many ns; that which is surely the longest: the others may just have had no CPU."""
        known = (one for one in (self.scheduled, self.other) if one is not None and one.length >= limit)
        return max(known, key=_badness, default=None)

    def is_critical(self, worst: Worst) -> bool:
        """Whether one of them is: beyond doubt as well."""
        limits, least = LONG_POLL.limits, worst.own
        if self.scheduled is None and worst.length >= limits["sure_ns"]:
            least = worst.length
        return least >= limits["always_ns"]

    def beyond(self, limit: int) -> int:
        """How many took at least so many ns, within half a bin."""
        return at_least(self.lengths, limit)

    def surely_beyond(self, limit: int) -> int:
        """The same, of the time that is surely their own."""
        return at_least(self.sure, limit)


@dataclass(frozen=True, slots=True)
class _Unsettled:
    """A poll (POLL) of which it is not known yet how long its thread ran.

    used: ns that it seems to have run at most.  seen: ns of that which looks account for.  count: of those looks.
    """

    long: Long
    poll: np.void
    used: int
    seen: int
    count: int


class LongPolls:
    """The long polls of late, and by function what they took; memory grows with the functions only."""

    def __init__(
        self,
        is_task: Sequence[bool],
        stacks: Stacks | None,
        probe_time: ProbeTime,
        own_folders: Collection[str] = (),
    ) -> None:
        self._is_task = np.array([*is_task] or [False])
        self.probe_time = probe_time
        self._stacks = stacks
        self._own_folders = own_folders
        self.recent = np.empty(0, POLL)
        self._untimed = np.empty(0, POLL)  # those that may have been long
        self._in_place = np.empty(0, POLL)
        self._workers: set[int] = set()
        self._executors: set[int] = set()  # threads on which a future polls tasks; how long it does so is no matter
        self._by_function: dict[int, Long] = {}
        self._stolen = Stolen()
        self._unsettled: deque[_Unsettled] = deque(maxlen=_WINDOW)
        self.starve = False  # tasks wait for them so often that their being usual excuses nothing

    def add_in_place(self, calls: Array) -> None:
        """Calls of block_in_place (dtype POLL), before the polls that they are in: others take the tasks over."""
        self._in_place = join([self._in_place, calls], POLL)[-_WINDOW:]

    def add(self, polls: Array, looks: Array, off_cpu: Array) -> None:
        """dtype POLL, in the order of their ends; LOOK, those in these polls; OFF_CPU."""
        self._stolen.add(off_cpu)
        if len(polls):
            self._add_polls(polls, looks)
        self._settle()

    def _add_polls(self, polls: Array, looks: Array) -> None:
        tasks = self._is_task[polls["function"]]
        self._workers |= set(np.unique(polls["tid"][tasks]).tolist())
        self._executors |= set(np.unique(polls["tid"][tasks & (polls["depth"] > 0)]).tolist())
        has_ended = (polls["flags"] & int(PollFlag.END_UNKNOWN)) == 0
        untimed = pick(polls, has_ended & ~is_end_known(polls) & (longest_possible(polls) >= SHARE * LEAST))
        self._untimed = join([self._untimed, untimed], POLL)[-_WINDOW:]
        length = own_lengths(polls)
        long = pick(polls, (length >= SHARE * LEAST) & ((polls["flags"] & _UNSURE) == 0))
        if not len(long):
            return
        self.recent = join([self.recent, long], POLL)[-_WINDOW:]
        is_root = self._is_task[long["function"]] | (long["depth"] == 0)
        for outer in pick(long, is_root & (own_lengths(long) >= LEAST)):
            self._count(outer, looks_in(looks, outer))

    def _count(self, outer: np.void, looks: Array) -> None:
        if not self._is_task[outer["function"]] and int(outer["tid"]) in self._executors:
            return
        inner = self.innermost(outer)
        probes = self.probe_time.inside_one(inner)
        function, length = int(inner["function"]), own_length(inner) - self.in_place(outer) - at_most(probes)
        if length < LEAST:
            return
        one = self._by_function.setdefault(function, Long(Blockers(self._stacks, self._own_folders)))
        one.blockers.add(looks)
        is_scheduled = bool(inner["flags"] & SCHEDULED)
        own = length if is_scheduled else min(length, self._seen(looks))
        one.add(Worst(inner.copy(), length, own, probes, self.perhaps_in(inner)))
        one.lengths[_bin(length)] += 1
        one.sure[_bin(min(length, self._sure(one, inner, length, looks)))] += 1

    def in_place(self, outer: np.void) -> int:
        """ns of this poll that were in block_in_place."""
        return int(own_lengths(self._in_place[within(self._in_place, outer)]).sum())

    def _seen(self, looks: Array) -> int:
        """ns that looks at one poll (LOOK) surely account for."""
        blocked = pick(looks, looks["kind"] == StackKind.BLOCKED)
        return sum(times_of(blocked, self._stacks)) + self._ran(len(looks) - len(blocked))

    def _ran(self, count: int) -> int:
        """ns that so many looks at what ran in one poll surely account for."""
        return max(0, count - _UNSURE_LOOKS) * period_of(self._stacks)

    def _sure(self, one: Long, poll: np.void, length: int, looks: Array) -> int:
        """ns that the thread used or blocked, as far as it is known now.

        Looks at what runs come by chance, so that they tell rather less.  Where the kernel's scheduler tells more,
        `_settle` believes that later on.
        """
        if not poll["flags"] & SCHEDULED:
            if length >= LONG_POLL.limits["sure_ns"]:
                return length
            return self._seen(looks)
        blocked = int(poll["blocked"])
        used = length - blocked
        count = int(np.count_nonzero(looks["kind"] != StackKind.BLOCKED))
        seen = min(self._ran(count), used)
        self._unsettled.append(_Unsettled(one, poll.copy(), used, seen, count))
        return blocked + seen

    def _settle(self) -> None:
        """Of polls whose threads have left their CPUs since, it is known how long they ran.

        A virtual machine that its host stops for a while says that its threads ran all that time.  What the
        scheduler knows to have been such is taken off; the rest is believed if there were about as many looks as it
        would take, for no host tells of all.
        """
        period, before = period_of(self._stacks), self._unsettled
        self._unsettled = deque(maxlen=_WINDOW)
        for one in before:
            if not self._stolen.is_known(one.poll):
                self._unsettled.append(one)
                continue
            used, blocked = one.used - self._stolen.at_most(one.poll), int(one.poll["blocked"])
            is_seen = one.count >= _LEAST_LOOKS and used - LEAST <= _MOST_UNSEEN * (one.count + 1) * period
            if used > one.seen and (is_seen or not period):
                one.long.sure[_bin(blocked + one.seen)] -= 1
                one.long.sure[_bin(blocked + used)] += 1

    def roots(self) -> npt.NDArray[np.bool_]:
        """Which of the remembered polls are of tasks."""
        roots: npt.NDArray[np.bool_] = self._is_task[self.recent["function"]]
        return roots

    def innermost(self, outer: np.void) -> np.void:
        """The deepest of the remembered polls inside this one that took most of its time; it itself where none did."""
        return innermost_of(self.recent, outer)

    def perhaps_in(self, poll: np.void) -> int | None:
        """The function of the deepest poll inside this one that may have taken most of it, for its end was not seen;
        None: there is none."""
        inside = self._untimed[within(self._untimed, poll)]
        inside = inside[longest_possible(inside) >= SHARE * (poll["end"] - poll["start"])]
        return int(inside["function"][np.argmax(inside["depth"])]) if len(inside) else None

    def limit(self, run: Run) -> int:
        """From how many ns on they are long."""
        if self.starve:
            return int(LONG_POLL.limits["least_ns"])
        return limit_of(LONG_POLL, run.accounts.percentile_of_tasks(0.5))

    def judged(self, run: Run, limit: int) -> dict[int, Long]:
        """By function, those whose polls are long beyond doubt: so many ns or more."""
        limits, found = LONG_POLL.limits, {}
        for function, one in self._by_function.items():
            worst, count = one.worst(limit), one.beyond(limit)
            # A few of many, not very long, can be the scheduler's doing: the thread had to wait for a processor.
            is_usual = count >= limits["polls"] and count >= limits["share"] * run.accounts.polls[function]
            if worst is None or int(worst.poll["tid"]) not in self._workers:
                continue
            if is_usual or one.surely_beyond(limit) > 0:
                found[function] = one
        return found


def _badness(one: Worst) -> tuple[int, int]:
    return one.own, one.length


def _bin(length: int) -> Integers:
    return bins_of(np.array([length]))


def limit_of(rule: Rule, median: int) -> int:
    """From how many ns on something is long, by the run's own median."""
    return int(max(rule.limits["least_ns"], min(rule.limits["times_median"] * median, rule.limits["always_ns"])))


def looks_in(looks: Array, outer: np.void) -> Array:
    """Those (LOOK) that were taken in this task poll."""
    return pick(looks, (looks["tid"] == outer["tid"]) & (looks["start"] == outer["start"]))


def long_polls(rule: Rule, evidence: LongPolls, run: Run) -> Iterator[Finding]:
    """One finding a function: its longest poll, how many there were, and what kept the thread in them."""
    median, p99 = run.accounts.percentile_of_tasks(0.5), run.accounts.percentile_of_tasks(0.99)
    limit = evidence.limit(run)
    for function, long in evidence.judged(run, limit).items():
        worst, count = long.worst(limit), long.beyond(limit)
        if worst is None:
            continue
        poll = worst.poll
        verb, where, about = doing(poll, long.blockers)
        if not poll["flags"] & SCHEDULED and 2 * worst.own < worst.length:
            verb = "kept"  # others of them may have blocked for most of their time
        who, place = whose(function, long.blockers, run)
        perhaps, about_perhaps = perhaps_words(worst.perhaps_in, run)
        took = worst.length + at_most(worst.probes)
        often = f", and {more_times(count - 1)} for long" if count > 1 else ""
        unsure = " (perhaps waiting for a CPU)" if verb == "kept" else ""
        length = duration_words(took) + taken_words(worst.probes, took)
        yield Finding(
            rule.id,
            Severity.CRITICAL if long.is_critical(worst) else Severity.WARNING,
            f"{who}{perhaps} {verb} {run.thread(int(poll['tid']))} for {length}{often}{unsure}",
            {
                "longest_ns": took,
                "probes_ns": worst.probes,
                "polls": count,
                "limit_ns": limit,
                "run_median_ns": median,
                "run_p99_ns": p99,
                **about,
                **about_perhaps,
            },
            run.function(function).name,
            where or place,
            int(poll["start"]),
            int(poll["end"] - poll["start"]),
            int(poll["tid"]),
            int(poll["task"]) or int(poll["instance"]) or None,
            rule.advice,
        )
