"""Polls of tasks that were under way when the recording began, or ended: how long they took in all nobody saw."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tracer.model import Array, Finding, FunctionKind, Outcome, PollFlag, Severity, Stacks
from tracer.output.blockers import Blockers
from tracer.output.findings.deeds import doing, perhaps_words, whose
from tracer.output.findings.long_polls import LONG_POLL, LongPolls, looks_in
from tracer.output.findings.poll_lengths import innermost_of, own_length, own_lengths
from tracer.output.findings.run import Need, Run
from tracer.output.labels import duration_words
from tracer.output.probe_time import at_most
from tracer.output.records import pick

_END_UNKNOWN, _START_UNKNOWN = int(PollFlag.END_UNKNOWN), int(PollFlag.START_UNKNOWN)
_NO_EXIT_SEEN = int(PollFlag.UNWOUND | PollFlag.INFERRED_END)


@dataclass(slots=True)
class _Open:
    """Of one function.  longest: ns, of the one that began first.  poll: dtype POLL; None: its thread is not known.

    blockers: what was seen on the stacks.  perhaps_in: see LongPolls.perhaps_in().
    """

    longest: int
    poll: np.void | None
    start: int
    task: int
    blockers: Blockers
    perhaps_in: int | None = None
    count: int = 0


class OpenPolls:
    """By function; probes that are taken away in the middle of a poll, and come back, cut it too: in two, or more.

    others: the polls that have ended, and what was done in place.
    """

    def __init__(
        self, is_task: Sequence[bool], stacks: Stacks | None, others: LongPolls, own_folders: Collection[str]
    ) -> None:
        self._is_task = np.array([*is_task] or [False])
        self._stacks = stacks
        self._own_folders = own_folders
        self.others = others
        self.by_function: dict[int, _Open] = {}

    def add(self, polls: Array, looks: Array, over: Array) -> None:
        """dtypes POLL, LOOK (those in these polls), TASK."""
        least = LONG_POLL.limits["always_ns"]
        flags = polls["flags"]
        is_cut = (flags & _END_UNKNOWN) != 0
        is_cut |= ((flags & _START_UNKNOWN) != 0) & ((flags & _NO_EXIT_SEEN) == 0)
        long = pick(polls, is_cut & (own_lengths(polls) >= least))
        for outer in pick(long, self._is_task[long["function"]]):
            probes = at_most(self.others.probe_time.inside_one(outer))
            poll, length = innermost_of(long, outer), own_length(outer) - self.others.in_place(outer)
            if length - probes < least:
                continue
            of = int(poll["function"]), length, poll.copy(), int(poll["start"]), int(outer["instance"])
            self._note(*of, looks_in(looks, outer))
        running = pick(over, (over["outcome"] == Outcome.RUNNING) & (over["tid"] == 0) & (over["longest"] >= least))
        for task in running:
            start = int(task["first"])
            self._note(int(task["function"]), int(task["longest"]), None, start, int(task["task"]), looks[:0])

    def _note(self, function: int, length: int, poll: np.void | None, start: int, task: int, looks: Array) -> None:
        one = self.by_function.get(function)
        if one is None:
            one = self.by_function[function] = _Open(
                length, poll, start, task, Blockers(self._stacks, self._own_folders)
            )
        elif length > one.longest:
            one.longest, one.poll, one.start, one.task = length, poll, start, task
        if one.poll is poll and poll is not None:
            one.perhaps_in = self.others.perhaps_in(poll)
        one.count += 1
        one.blockers.add(looks)


def open_polls(evidence: OpenPolls, run: Run) -> Iterator[Finding]:
    """One finding a function."""
    uses_in_place = any(one.kind is FunctionKind.IN_PLACE for one in run.plan.functions)
    ended = evidence.others.judged(run, evidence.others.limit(run))
    for function, one in evidence.by_function.items():
        if function in ended and ended[function].worst(one.longest) is not None:
            continue  # nothing new
        about, poll = run.function(function), one.poll
        thread, from_before, has_ended = "a thread", True, False
        seen = next(iter(one.blockers.most()), None)
        verb, where, more = doing(poll, one.blockers) if poll is not None else ("kept", None, {})
        if verb != "blocked" and seen is not None and seen.frame is not None:
            where = seen.frame.location  # it may loop there for ever
        if poll is not None:
            thread, from_before = run.thread(int(poll["tid"])), bool(poll["flags"] & _START_UNKNOWN)
            has_ended = not poll["flags"] & _END_UNKNOWN
        in_place = one.blockers.is_in("block_in_place") if from_before and uses_in_place else False
        if in_place:
            continue  # its worker's tasks were handed over
        who, place = whose(function, one.blockers, run)
        perhaps, about_perhaps = perhaps_words(one.perhaps_in, run)
        if in_place is None:
            perhaps, about_perhaps = (
                " (perhaps in block_in_place, where it does no harm)",
                {"perhaps_in": "block_in_place"},
            )
        unseen = "neither its begin nor its end was" if from_before else "its end was not"
        if has_ended:
            unseen = "its begin was not"
        # Where probes were away one poll can be several of these.
        others = f", and {one.count - 1:,} more did" if one.count > 1 and Need.WHOLE not in run.missing else ""
        yield Finding(
            LONG_POLL.id,
            Severity.CRITICAL if in_place is False else Severity.WARNING,
            f"{who}{perhaps} {verb} {thread} for {duration_words(one.longest)} or more ({unseen} seen){others}",
            {
                "longest_ns": one.longest,
                "polls": one.count,
                "limit_ns": int(LONG_POLL.limits["always_ns"]),
                **more,
                **about_perhaps,
            },
            about.name,
            where or place,
            one.start,
            one.longest,
            int(poll["tid"]) if poll is not None else None,
            one.task or None,
            LONG_POLL.advice,
        )
