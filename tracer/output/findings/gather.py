"""Listens to a recording and, when it is over, says what it found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tracer.model import WAIT, Array, Finding, FunctionKind, Group, MemoryReading, Recording, Spans
from tracer.output.accounts import Accounts
from tracer.output.delays import first_waits
from tracer.output.findings.backlogs import BACKLOG, Backlogs, backlogs
from tracer.output.findings.blocked import HELD_STILL, LINE_STANDS, blocked, lent_out
from tracer.output.findings.busy_loops import BUSY_LOOP, BusyLoops, busy_loops, unsure_loops
from tracer.output.findings.cancellations import CANCEL_STORM, SELECT_CANCELLED, always_cancelled, cancel_storms
from tracer.output.findings.halted import HALTED, THROTTLED, halted, throttled, without_stops
from tracer.output.findings.held_locks import HELD_LOCK, HeldLocks, held_locks
from tracer.output.findings.inlined_branches import InlinedBranches, unseen_drops
from tracer.output.findings.kept_results import RESULT_LEAK, KeptResults, result_leaks
from tracer.output.findings.leaks import FUTURE_LEAK, TASK_LEAK, future_leaks, task_leaks
from tracer.output.findings.lives import Lives
from tracer.output.findings.long_polls import LONG_POLL, LongPolls, long_polls
from tracer.output.findings.open_polls import OpenPolls, open_polls
from tracer.output.findings.outside_polls import OutsidePolls, outside_polls
from tracer.output.findings.pool import POOL, queued_jobs
from tracer.output.findings.queues import LONG_QUEUE, Queues, long_queues
from tracer.output.findings.run import Need, Rule, Run
from tracer.output.findings.starved import STARVED, Starved, starved_tasks
from tracer.output.findings.stuck import (
    DEADLOCK,
    FUTURELOCK,
    LOST_WAKE,
    UNPOLLED,
    StuckTasks,
    stuck_tasks,
    unpolled_wakes,
)
from tracer.output.findings.workers import IMBALANCE, Workers, imbalances
from tracer.output.halts import Halts
from tracer.output.jobs import Jobs
from tracer.output.probe_time import ProbeTime
from tracer.output.probed import ALL_THE_TIME, GroupTime
from tracer.output.records import join

RULES = (
    *(LONG_POLL, STARVED, BUSY_LOOP),
    *(LOST_WAKE, UNPOLLED, FUTURELOCK, DEADLOCK, HELD_LOCK, LONG_QUEUE, BACKLOG),
    *(TASK_LEAK, FUTURE_LEAK, RESULT_LEAK, CANCEL_STORM, SELECT_CANCELLED),
    *(IMBALANCE, POOL),
    *(HALTED, THROTTLED),
)
"""All that there are."""


@dataclass(frozen=True, slots=True)
class Unjudged:
    """A rule that could not be judged, and why, in a sentence for people."""

    rule: str
    why: str


class Evidence:
    """What the rules need of a recording, in memory that does not grow with its length.

    accounts, jobs, halts, wakes and scheduling (when they were probed): they are told of all before it is.
    """

    def __init__(
        self,
        recording: Recording,
        accounts: Accounts,
        jobs: Jobs,
        halts: Halts,
        wakes: GroupTime,
        scheduling: GroupTime,
    ) -> None:
        plan = recording.plan
        is_task = [one.kind is FunctionKind.TASK for one in plan.functions]
        self._accounts, self._jobs, self._halts = accounts, jobs, halts
        self._probe_time = ProbeTime(plan, recording.hit_costs)
        self._long_polls = LongPolls(is_task, recording.stacks, self._probe_time, plan.own_folders)
        self._open_polls = OpenPolls(is_task, recording.stacks, self._long_polls, plan.own_folders)
        self._outside_polls = OutsidePolls(is_task)
        self._starved = Starved(self._long_polls)
        self._busy_loops = BusyLoops(plan, wakes, scheduling, self._probe_time)
        self._held_locks = HeldLocks(plan, wakes)
        self._queues = Queues(plan)
        self._lives = Lives(recording)
        self._inlined_branches = InlinedBranches(plan)
        self._workers = Workers(is_task)
        self._stuck = StuckTasks(is_task)
        self._kept_results = KeptResults(is_task)
        self._backlogs = Backlogs()

    def spans(self, spans: Spans, answered: Array) -> None:
        """Polls and waits; answered: those of the waits of which the wake is known.

        What is ready from its spawn on waits for a thread like what was woken.
        """
        self._probe_time.add(spans.polls)
        self._long_polls.add(spans.polls, spans.looks, spans.off_cpu)
        self._open_polls.add(spans.polls, spans.looks, spans.over)
        self._outside_polls.add(spans.polls, spans.off_cpu)
        new = first_waits(spans.begun)
        ready = join([one for one in (answered, new) if len(one)], WAIT)
        self._starved.add(ready)
        self._busy_loops.add(answered, spans.over, spans.polls, spans.off_cpu)
        self._held_locks.add(spans.waits, spans.over)
        self._queues.add(spans.waits, spans.over)
        self._lives.add(spans.polls, self._accounts.born, spans.waits, spans.begun, spans.over)
        self._inlined_branches.add(spans.waits)
        self._workers.add(spans.polls, ready)
        self._stuck.add(spans.waits, new)
        self._backlogs.add(spans.over)

    def calls_in_place(self, polls: Array) -> None:
        """Of block_in_place (dtype POLL), which `spans` is not told of; before that."""
        if len(polls):
            self._long_polls.add_in_place(polls)

    def memory_reading(self, reading: MemoryReading) -> None:
        """The tasks were read from a process' memory."""
        self._stuck.memory_reading(reading)
        self._kept_results.memory_reading(reading)
        self._backlogs.memory_reading(reading)

    def unjudged(self, run: Run) -> Sequence[Unjudged]:
        """The rules that cannot be judged: of what this recording lacks, or of what it has."""
        loops = _in_part(BUSY_LOOP, run, partial(unsure_loops, BUSY_LOOP, self._busy_loops))
        drops = _in_part(SELECT_CANCELLED, run, partial(unseen_drops, SELECT_CANCELLED, self._inlined_branches))
        return [*loops, *unjudged(run.missing), *drops]

    def findings(self, run: Run) -> list[Finding]:
        """What was found, the worst first.  To be asked when all spans were told."""
        self._starved.close(run)
        kept = blocked(HELD_STILL, self._stuck, self._held_locks.longest)
        lines = [
            *blocked(LINE_STANDS, self._stuck, self._queues.longest_over),
            *lent_out(LINE_STANDS, self._stuck, self._queues.longest_over),
        ]
        in_line = frozenset[int]().union(*(one.behind for one in lines))
        found = (
            (HALTED, halted(HALTED, self._halts)),
            (THROTTLED, throttled(THROTTLED, self._halts)),
            (LONG_POLL, long_polls(LONG_POLL, self._long_polls, run)),
            (LONG_POLL, open_polls(self._open_polls, run)),
            (LONG_POLL, outside_polls(self._outside_polls, run)),
            (STARVED, starved_tasks(STARVED, self._starved, run)),
            (BUSY_LOOP, busy_loops(BUSY_LOOP, self._busy_loops, run)),
            (HELD_LOCK, held_locks(HELD_LOCK, self._held_locks, run)),
            (HELD_STILL, (one.finding for one in kept)),
            (LONG_QUEUE, long_queues(LONG_QUEUE, self._queues, in_line, run)),
            (LINE_STANDS, (one.finding for one in lines)),
            (BACKLOG, backlogs(BACKLOG, self._backlogs, run)),
            (TASK_LEAK, task_leaks(TASK_LEAK, self._lives, run)),
            (FUTURE_LEAK, future_leaks(FUTURE_LEAK, self._lives, run)),
            (RESULT_LEAK, result_leaks(RESULT_LEAK, self._kept_results, self._lives, self._stuck, run)),
            (CANCEL_STORM, cancel_storms(CANCEL_STORM, self._lives, run)),
            (SELECT_CANCELLED, always_cancelled(SELECT_CANCELLED, self._lives, run)),
            *((rule, stuck_tasks(rule, self._stuck, run)) for rule in (DEADLOCK, FUTURELOCK, LOST_WAKE)),
            (UNPOLLED, unpolled_wakes(UNPOLLED, self._stuck, run)),
            (POOL, queued_jobs(POOL, self._jobs, run)),
            (IMBALANCE, imbalances(IMBALANCE, self._workers, run)),
        )
        told = (one for rule, several in found if not rule.needs & run.missing.keys() for one in several)
        judged = without_stops((_until(one, run.end) for one in told), self._halts)
        return sorted(judged, key=lambda one: (-one.severity, -one.duration, one.rule))


def _in_part(rule: Rule, run: Run, why: Callable[[Run], str | None]) -> Sequence[Unjudged]:
    """Of a rule that is judged for some of what there is only, why it is not for the others; nothing: it is for all."""
    words = why(run) if not rule.needs & run.missing.keys() else None
    return [Unjudged(rule.id, words)] if words else []


def _until(finding: Finding, end: int) -> Finding:
    """The part of it that lies before `end`, ns: memory and /proc are read when the recording has ended already."""
    time = min(finding.time, end)
    return replace(finding, time=time, duration=min(finding.duration, end - time))


def missing(
    shares: Mapping[Group, float],
    *,
    own_futures: float,
    is_whole: bool,
    spawns: bool,
    knows_stuck: bool,
    knows_kept: bool,
    knows_channels: bool,
    has_types: bool,
) -> dict[Need, str]:
    """What a recording lacks, and why.  shares: of its time, in which each group of probes was attached.

    own_futures: in which the one of the user's own futures was that was least of all.
    is_whole: no event was lost, and its end was written.  spawns: they were probed.
    knows_stuck: memory at the end told what will not go on.  knows_kept: memory at both ends, which finished tasks it
    has.  knows_channels: memory told what waits in channels.  has_types: the layouts of futures are known.
    """
    tasks, wakes, futures = (shares.get(group, 0.0) for group in (Group.TASKS, Group.WAKES, Group.FUTURES))
    parts = {
        Need.TASKS: ("tasks were", tasks, 0.0),
        Need.FUTURES: ("some futures were", futures, ALL_THE_TIME),
        Need.OWN_FUTURES: ("some of its own futures were", own_futures, ALL_THE_TIME),
        Need.WAKES: ("wakes were", wakes, 0.0),
        Need.ALL_WAKES: ("wakes were", wakes, ALL_THE_TIME),
        Need.WHOLE: ("tasks were", tasks, ALL_THE_TIME),
    }
    found: dict[Need, str] = {}
    for need, (what, share, least) in parts.items():
        if not share or share < least:
            found[need] = f"{what} probed in {share:.0%} of the time" if share else f"{what} not probed"
    if not is_whole:
        found[Need.WHOLE] = "events are missing"
    if not spawns:
        found[Need.SPAWNS] = "no place was found where tasks are made"
    if not knows_stuck:
        found[Need.STUCK] = "the tasks' memory was not read at the end"
    if not knows_kept:
        found[Need.KEPT] = "the tasks' memory was not read at both ends"
    if not knows_channels:
        found[Need.CHANNELS] = "it was not read from memory what waits in channels"
    if not has_types:
        found[Need.LINKS] = "what a task holds is not known without types: debug = 2, or --symbols TWIN"
    return found


def unjudged(missing: Mapping[Need, str]) -> Sequence[Unjudged]:
    """The rules that cannot be judged where this is missing."""
    return [
        Unjudged(rule.id, next(missing[need] for need in Need if need in rule.needs and need in missing))
        for rule in RULES
        if rule.needs & missing.keys()
    ]
