"""Tasks that were ready for long before a thread polled them, and the poll that was in their way meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tracer.model import WAIT, Array, Finding, Severity
from tracer.output.delays import ready_times
from tracer.output.findings.deeds import perhaps_words, whose
from tracer.output.findings.long_polls import LEAST, LongPolls, limit_of
from tracer.output.findings.poll_lengths import own_length
from tracer.output.findings.run import Need, Rule, Run
from tracer.output.histogram import BINS, NO_LEAST, Integers, at_least, bins_of, percentile
from tracer.output.labels import duration_words
from tracer.output.probe_time import at_most, taken_words
from tracer.output.records import join, pick

STARVED = Rule(
    "starved-tasks",
    frozenset({Need.TASKS, Need.WAKES}),
    {
        "least_ns": 10_000_000,
        "times_median": 10,
        "always_ns": 100_000_000,
        "covered": 0.5,
        "tasks_or_times": 2,
        "often": 10,
        "often_share": 0.1,
        "very_long_ns": 20_000_000,
        "very_long_share": 0.01,
    },
    "Shorten the poll that was in the way: spawn_blocking, the async variant of what it calls, or a yield in between.",
)

_MOST_HELD = 1024
"""Of those whose poll in the way may not be over yet."""


@dataclass(slots=True)
class _Starved:
    """By one function's polls.  worst: dtype WAIT.  poll: dtype POLL, that was in its way.  probes: ns of that time
    that they took, about.  perhaps_in: see LongPolls.perhaps_in().

    lengths: of how long tasks were ready, without what probes may have taken, in bins.  behind_long: of those whose
    poll in the way was long by itself.
    """

    worst: np.void
    poll: np.void
    probes: int
    perhaps_in: int | None
    lengths: Integers = field(default_factory=lambda: np.zeros(BINS, np.int64))
    behind_long: Integers = field(default_factory=lambda: np.zeros(BINS, np.int64))


class Starved:
    """By function of the poll in the way; memory grows with those only."""

    def __init__(self, polls: LongPolls) -> None:
        self.polls = polls
        self._bins = np.zeros(BINS, np.int64)
        self._least, self._longest = NO_LEAST, 0
        self._held = np.empty(0, WAIT)
        self.by_poll: dict[int, _Starved] = {}

    def add(self, woken: Array) -> None:
        """Answered waits, and those of new tasks (dtype WAIT), after the polls that ended by the same time."""
        self._explain()
        if len(woken):
            self._add(woken)

    def _add(self, woken: Array) -> None:
        delay = ready_times(woken)
        self._bins += np.bincount(bins_of(delay), minlength=BINS)
        self._least, self._longest = min(self._least, int(delay.min())), max(self._longest, int(delay.max()))
        long = pick(woken, delay >= LEAST)
        if len(long):
            held = join([self._held, long], WAIT)
            self._held = held[np.argsort(-ready_times(held), kind="stable")[:_MOST_HELD]]

    def close(self, run: Run) -> None:
        """No more come: whether such polls are told though they are usual in this run."""
        self._explain()
        self.polls.starve = self._is_often(run)

    def _is_often(self, run: Run) -> bool:
        """Whether tasks were ready for long behind long polls in a good part of all cases.

        Where all polls are long the median makes a habit of it; but what is kept from its processor is no less so.
        """
        limits, total = STARVED.limits, int(self._bins.sum())
        long = self.polls.judged(run, int(limits["least_ns"]))
        in_the_way = [one.behind_long for function, one in self.by_poll.items() if function in long]
        return any(
            sum(at_least(lengths, limits[least]) for lengths in in_the_way)
            >= max(limits["often"], limits[share] * total)
            for least, share in (("least_ns", "often_share"), ("very_long_ns", "very_long_share"))
        )

    def limit(self) -> int:
        """From how many ns on a delay is long; after `close`."""
        return int(STARVED.limits["least_ns"]) if self.polls.starve else limit_of(STARVED, self.usual()[0])

    def _explain(self) -> None:
        """Whose polls were in the way of those that the step before told; by now these are over."""
        held, self._held = self._held, self._held[:0]
        polls = self.polls.recent[self.polls.roots()]
        for wait in held:
            since, until = max(int(wait["woken"]), int(wait["start"])), int(wait["end"])
            overlap = np.minimum(polls["end"], until) - np.maximum(polls["start"], since)
            overlap[polls["instance"] == wait["instance"]] = 0  # it was woken while it was polled itself
            here = (polls["tid"] == wait["tid"]) | (polls["tid"] == wait["woken_on"])
            overlap = overlap + here  # of two alike, the one on its thread
            if not len(polls) or int(overlap.max()) < STARVED.limits["covered"] * (until - since):
                continue
            outer = polls[int(np.argmax(overlap))]
            meanwhile = outer.copy()
            meanwhile["start"], meanwhile["end"] = max(int(outer["start"]), since), min(int(outer["end"]), until)
            self._count(wait, self.polls.innermost(outer), self.polls.probe_time.inside_one(meanwhile))

    def _count(self, wait: np.void, poll: np.void, probes: int) -> None:
        function, perhaps_in = int(poll["function"]), self.polls.perhaps_in(poll)
        one = self.by_poll.setdefault(function, _Starved(wait, poll, probes, perhaps_in))
        delay = _delay(wait, probes)
        at = bins_of(np.array([delay]))
        one.lengths[at] += 1
        length = own_length(poll) - at_most(self.polls.probe_time.inside_one(poll))
        one.behind_long[at] += length >= STARVED.limits["least_ns"]
        if delay > _delay(one.worst, one.probes):
            one.worst, one.poll, one.probes, one.perhaps_in = wait, poll, probes, perhaps_in

    def usual(self) -> tuple[int, int]:
        """(median, 99th percentile) of how long tasks were ready, ns."""
        p50, p99 = (percentile(self._bins, share, self._least, self._longest) for share in (0.5, 0.99))
        return round(p50), round(p99)


def _delay(wait: np.void, probes: int) -> int:
    """ns, without what the probes may have taken."""
    waited: int = ready_times(wait.reshape(1))[0]
    return max(0, int(waited) - at_most(probes))


def starved_tasks(rule: Rule, evidence: Starved, run: Run) -> Iterator[Finding]:
    """One finding a function whose polls were in the way."""
    median, p99 = evidence.usual()
    limit = evidence.limit()
    is_long = evidence.polls.judged(run, evidence.polls.limit(run))
    for function, one in evidence.by_poll.items():
        if function not in is_long:
            continue
        delay, poll, wait, waited = _delay(one.worst, one.probes), one.poll, one.worst, _delay(one.worst, 0)
        count = at_least(one.lengths, limit)
        if delay < limit or count < rule.limits["tasks_or_times"]:
            continue
        about = run.function(function)
        who, place = whose(function, is_long[function].blockers, run)
        perhaps, about_perhaps = perhaps_words(one.perhaps_in, run)
        length = duration_words(waited) + taken_words(one.probes, waited)
        took = int(poll["end"] - poll["start"])
        yield Finding(
            rule.id,
            Severity.CRITICAL if delay >= rule.limits["always_ns"] else Severity.WARNING,
            f"ready tasks waited up to {length} for a poll of {who}{perhaps}, {count:,} times",
            {
                "longest_ns": waited,
                "probes_ns": one.probes,
                "times": count,
                "limit_ns": limit,
                "run_median_ns": median,
                "run_p99_ns": p99,
                "poll_ns": took,
                "starved": run.function(int(wait["function"])).name,
                "starved_task": int(wait["instance"]),
                **about_perhaps,
            },
            about.name,
            place,
            int(poll["start"]),
            took,
            int(poll["tid"]),
            int(poll["task"]) or int(poll["instance"]) or None,
            rule.advice,
        )
