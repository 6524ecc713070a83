"""What every rule may ask about the run, besides its own evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tracer.model import Plan, PollFunction, is_foreign
from tracer.output.accounts import Accounts
from tracer.output.chains import Chains
from tracer.output.labels import short_name, without_kind


class Need(StrEnum):
    """What a rule cannot do without."""

    TASKS = "tasks"  # polls of tasks
    FUTURES = "futures"  # polls of futures, all the time
    OWN_FUTURES = "own futures"  # the same of those that are the user's own
    WAKES = "wakes"  # wakes of tasks, for a part of the time
    ALL_WAKES = "all wakes"  # the same all the time
    SPAWNS = "spawns"  # where tasks and jobs are made
    WHOLE = "whole"  # polls of tasks all the time, and that no event is missing
    STUCK = "stuck"  # what memory at the end tells of tasks that will not go on
    KEPT = "kept"  # which finished tasks memory still has, at both ends
    CHANNELS = "channels"  # how many messages waited in channels all the time
    LINKS = "links"  # what of that needs types: who holds what somebody waits for


@dataclass(frozen=True, slots=True)
class Rule:
    """The data of a rule.  id: stable, for programs.  needs: without these it is not judged.

    limits: its thresholds, by names with their units.  advice: what usually helps, a sentence.
    """

    id: str
    needs: frozenset[Need]
    limits: Mapping[str, float]
    advice: str


def is_own(function: PollFunction, plan: Plan) -> bool:
    """Whether it is not known to be of a library."""
    return function.location is None or not is_foreign(function.location.file, plan.own_folders)


@dataclass(frozen=True, slots=True)
class Run:
    """A recording that is over.  chains, accounts: of its plan and its polls.  start, end: ns.

    names, pids: of threads, by tid.  missing: why a need is not met.  used: processors that the program used on
    average, without the probes; None: not known.
    """

    plan: Plan
    chains: Chains
    accounts: Accounts
    start: int
    end: int
    names: Mapping[int, str]
    pids: Mapping[int, int]
    missing: Mapping[Need, str]
    used: float | None = None

    @property
    def duration(self) -> int:
        """ns, at least 1."""
        return max(1, self.end - self.start)

    def function(self, index: int) -> PollFunction:
        """By its place in the plan."""
        return self.plan.functions[index]

    def short(self, index: int) -> str:
        """The name of the same, as a sentence has room for it."""
        return without_kind(short_name(self.plan.functions[index]))

    def is_own(self, index: int) -> bool:
        """Whether a function is not known to be of a library."""
        return is_own(self.plan.functions[index], self.plan)

    def thread(self, tid: int) -> str:
        """`thread tokio-rt-worker (17)`."""
        name = self.names.get(tid)
        return f"thread {name} ({tid})" if name else f"thread {tid}"
