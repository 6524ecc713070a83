"""What a recording says, on one screen or as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tracer.model import (
    CaptureEnd,
    Finding,
    FunctionKind,
    Group,
    Loss,
    MemoryReading,
    Outcome,
    PlanChange,
    PollFlag,
    PollFunction,
    ProcessEnd,
    Recording,
    Spans,
    SpawnStep,
    Tally,
    Thread,
)
from tracer.output.accounts import Accounts
from tracer.output.awaits import layout_remarks, short_place, where_words
from tracer.output.blockers import Blocker, Blockers, stack_of, stack_words
from tracer.output.chains import Chains, Whereabouts
from tracer.output.delays import Delays, Lengths, is_answered
from tracer.output.findings.gather import Evidence, missing, unjudged
from tracer.output.findings.run import Run
from tracer.output.flight import flight_of
from tracer.output.jobs import Jobs
from tracer.output.kinds import Spawn, TaskKinds
from tracer.output.labels import probed_words, state_words
from tracer.output.probed import ProbedTime
from tracer.output.records import pick
from tracer.output.scheduled import Scheduled, Split, StolenTime
from tracer.output.syscalls import syscall_words
from tracer.output.waiting import AwaitFigures

if TYPE_CHECKING:
    from rich.console import Console

_MOST_BLOCKERS = 20

SCHEMA = 1
"""Of the JSON document.  A key more leaves it as it is; a key gone, or of another meaning, raises it."""


class Summary:
    """Adds up a recording as its spans come; the methods are those of a TraceWriter."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.accounts = Accounts([one.kind is FunctionKind.TASK for one in recording.plan.functions])
        self._chains = Chains(recording.plan)
        self.kinds = TaskKinds(len(recording.plan.functions))
        self.delays = Delays(recording.plan.functions)
        self.jobs = Jobs(recording.plan.functions)
        self._evidence = Evidence(recording, self.accounts, self.jobs)
        self.blockers = Blockers(recording.stacks)
        self.scheduled = Scheduled(len(recording.plan.functions))
        self._sites = recording.plan.sites
        self.names: dict[int, str] = {}
        self._pids: dict[int, int] = {}
        self.changes: list[PlanChange] = []
        self._probed_time = ProbedTime(recording.plan, recording.start)
        self.ends: list[ProcessEnd] = []
        self.readings: list[MemoryReading] = []
        self.lost = 0
        self.tally = Tally()
        self.end: CaptureEnd | None = None
        self.findings: list[Finding] = []
        self._run = self._whole_run()

    def _await(self, row: AwaitFigures) -> dict[str, Any]:
        known = self._chains.waiting(row.function, row.state, row.places)
        return _await(self.recording.plan.functions[row.function], row, known)

    def _spawn(self, spawn: Spawn, tasks: int) -> dict[str, Any]:
        plan = self.recording.plan
        site = self._sites[spawn.at - 1] if spawn.at else None
        return {
            "file": site.file if site else None,
            "line": site.line if site else None,
            "column": site.column or None if site else None,
            "by": plan.functions[spawn.by].name if spawn.by is not None else None,
            "tasks": tasks,
        }

    def _delays(self, function: int) -> dict[str, dict[str, Any] | None]:
        figures = {"delay": self.delays.of(function), "first_delay": self.delays.first_of(function)}
        return {key: _or_none(one) for key, one in figures.items()}

    def _scheduling(self) -> dict[str, Any] | None:
        if Group.SCHEDULING not in self.recording.plan.groups:
            return None
        return {
            "probed": self.share_probed(Group.SCHEDULING),
            "switches": self.tally.switches,
            "unpaired": self.tally.unpaired_switches,
            "stolen": _or_none(self.scheduled.stolen()),
            "blocked_in_polls": [
                {**asdict(one), "name": syscall_words(one.syscall)} for one in self.scheduled.by_syscall()
            ],
        }

    def _finding(self, one: Finding) -> dict[str, Any]:
        return {
            "rule": one.rule,
            "severity": one.severity.name.lower(),
            "title": one.title,
            "evidence": dict(one.evidence),
            "function": one.function,
            "file": one.where.file if one.where else None,
            "line": one.where.line if one.where else None,
            "time": one.time,
            "seconds": self.since_start(one.time),
            "duration": one.duration,
            "tid": one.tid,
            "thread": self.names.get(one.tid) if one.tid is not None else None,
            "task": one.task,
            "advice": one.advice,
        }

    def _blocker(self, one: Blocker) -> dict[str, Any]:
        functions, frame = self.recording.plan.functions, one.frame
        place = frame.location if frame is not None else None
        stack = stack_of(self.recording.stacks, one.stacks.most_common(1)[0][0])
        return {
            "kind": one.kind.name.lower(),
            "function": frame.function if frame is not None else None,
            "file": place.file if place is not None else None,
            "line": place.line if place is not None else None,
            "stacks": one.count,
            "polls": one.polls,
            "time": one.time,
            "longest": one.longest,
            "task_kinds": [functions[index].name for index, _ in one.functions.most_common()],
            "stack": stack_words(stack) if stack is not None else None,
        }

    def _job(self, function: int) -> dict[str, Any]:
        one = self.recording.plan.functions[function]
        return {
            **_whereabouts(one),
            "runtime": one.runtime,
            **{name: int(getattr(self.jobs, name)[function]) for name in ("jobs", "panicked", "cancelled")},
            "queued": _or_none(self.jobs.queued(function)),
            "ran": _or_none(self.jobs.ran(function)),
            "spawned": [self._spawn(spawn, count) for spawn, count in self.jobs.spawns.of(function)],
        }

    def _wakes(self) -> dict[str, int] | None:
        if Group.WAKES not in self.recording.plan.groups:
            return None
        tally = self.tally
        return {
            "all": tally.wakes,
            "without_effect": tally.idle_wakes,
            "own": tally.self_wakes,
            "unanswered": tally.unanswered_wakes,
        }

    def threads(self, threads: Sequence[Thread]) -> None:
        """Names of threads."""
        self.names |= {thread.tid: thread.name for thread in threads}
        self._pids |= {thread.tid: thread.pid for thread in threads}

    def spans(self, spans: Spans) -> None:
        """Polls and waits; of jobs and what is done in them there are other figures than of tasks."""
        spans, calls = self.jobs.apart(spans)
        self._evidence.calls_in_place(calls)
        self.accounts.by_await.begin(spans.begun)
        self.accounts.add(spans.polls, spans.waits)
        self.accounts.by_await.forget(spans.over)
        self.kinds.add(spans.over)
        self.scheduled.add(spans.polls, spans.off_cpu)
        answered = pick(spans.waits, is_answered(spans.waits))
        self.delays.add(answered, spans.begun)
        self._evidence.spans(spans, answered)
        self.blockers.add(spans.looks)

    def plan_change(self, change: PlanChange) -> None:
        """Other probes from its time on."""
        self.changes.append(change)
        self._probed_time.change(change)

    def loss(self, loss: Loss) -> None:
        """Events are missing."""
        self.lost += loss.count

    def process_end(self, end: ProcessEnd) -> None:
        """A process is gone."""
        self.ends.append(end)

    def memory_reading(self, reading: MemoryReading) -> None:
        """The tasks were read from a process' memory."""
        self.readings.append(reading)
        self._evidence.memory_reading(reading)

    def close(self, tally: Tally, end: CaptureEnd | None) -> None:
        """What assembly counted, and how the recording ended (None: the capture is torn)."""
        self.tally, self.end = tally, end
        if end is not None:
            self.lost = max(self.lost, end.lost)
        self._run = self._whole_run()
        self.findings = self._evidence.findings(self._run)

    def _spawns_probed(self) -> bool:
        return any(one.point.step is SpawnStep.MADE for one in self.recording.plan.spawns)

    def _whole_run(self) -> Run:
        plan, start = self.recording.plan, self.recording.start
        shares = {group: self.share_probed(group) for group in plan.groups}
        if Group.FUTURES in shares:
            shares[Group.FUTURES] = self._probed_time.least_share(start + int(self.seconds * 1e9))
        lacks = missing(
            shares,
            is_whole=not self.lost and self.end is not None,
            spawns=self._spawns_probed(),
            knows_stuck=any(reading.stuck is not None for reading in self.readings),
        )
        end = max(start, self.end.time if self.end else self.accounts.latest)
        return Run(plan, self._chains, self.accounts, start, end, self.names, self._pids, lacks)

    # ---- figures

    @property
    def seconds(self) -> float:
        """How long was recorded."""
        end = self.end.time if self.end else self.accounts.latest
        return max(0, end - self.recording.start) / 1e9

    def since_start(self, time: int) -> float:
        """A time in seconds since the recording's start."""
        return (time - self.recording.start) / 1e9

    def share_probed(self, group: Group) -> float:
        """The share of the recording in which a group was attached."""
        groups = self.recording.plan.groups
        since, active, total = self.recording.start, group in groups, 0
        for change in self.changes:
            total += change.time - since if active else 0
            since, active = change.time, group in change.active
        total += self.recording.start + int(self.seconds * 1e9) - since if active else 0
        return total / max(1.0, self.seconds * 1e9)

    def functions(self) -> list[tuple[int, PollFunction]]:
        """The functions that were polled or waited, the most polling time first."""
        busy, polls, waits = self.accounts.busy, self.accounts.polls, self.accounts.waits
        seen = [(i, one) for i, one in enumerate(self.recording.plan.functions) if polls[i] or waits[i]]
        return sorted(seen, key=lambda item: (-int(busy[item[0]]), item[1].name))

    def tasks(self) -> int:
        """The tasks seen."""
        return int(self.kinds.tasks.sum())

    def refusals(self) -> list[tuple[str, int]]:
        """Why functions are not probed: (reason, how many), the most first."""
        return Counter(one.reason for one in self.recording.plan.refusals).most_common()

    def print(self, console: Console | None = None) -> None:
        """One screen, on the standard output unless told otherwise."""
        from tracer.output.printed_summary import print_summary
        from tracer.output.tables import make_console

        print_summary(self.as_json(), console or make_console())

    def as_json(self) -> dict[str, Any]:
        """The same as plain values, as docs/summary.schema.json describes them: all that `print` says, and more."""
        recording, accounts, tally = self.recording, self.accounts, self.tally
        functions, groups = recording.plan.functions, recording.plan.groups
        return {
            "schema": SCHEMA,
            "version": recording.version,
            "kernel": recording.kernel,
            "transport": recording.transport,
            "exits": str(recording.plan.exit_mode),
            "options": dict(recording.options),
            "processes": [
                {"pid": one.pid, "name": one.name, "command": list(one.command), "executable": one.executable}
                for one in recording.processes
            ],
            "seconds": self.seconds,
            "polls": tally.polls - self.jobs.polls,
            "waits": tally.waits - self.jobs.waits,
            "instances": tally.instances,
            "tasks": self.tasks(),
            "events": tally.events,
            "lost": self.lost,
            "unmatched_exits": tally.unmatched_exits,
            "unwound": tally.unwound,
            "open_at_start": tally.open_at_start,
            "open_at_end": tally.open_at_end,
            "overhead": self.end.overhead if self.end else None,
            "max_overhead": recording.max_overhead,
            "complete": self.end is not None,
            "ended": self.end.reason if self.end else None,
            "flight": flight_of(recording, max(recording.start, self.end.time if self.end else accounts.latest)),
            "tasks_probed": self.share_probed(Group.TASKS),
            "futures_probed": self.share_probed(Group.FUTURES),
            "wakes_probed": self.share_probed(Group.WAKES),
            "wakes": self._wakes(),
            "scheduling": self._scheduling(),
            "no_scheduling": recording.plan.no_scheduling,
            "functions": [
                {
                    **_whereabouts(one),
                    "crate": one.crate,
                    "polls": int(accounts.polls[index]),
                    "instances": int(accounts.instances[index]),
                    "busy": int(accounts.busy[index]),
                    "mean": int(accounts.busy[index]) // max(1, int(accounts.polls[index])),
                    "p50": round(accounts.percentile(index, 0.5)),
                    "p99": round(accounts.percentile(index, 0.99)),
                    "longest": int(accounts.longest_poll[index]),
                    "waits": int(accounts.waits[index]),
                    "waiting": int(accounts.waiting[index]),
                    "unwound": int(accounts.unwound[index]),
                    "scheduled": _or_none(self.scheduled.of(index)),
                }
                for index, one in self.functions()
            ],
            "task_kinds": [
                {
                    **_whereabouts(functions[index]),
                    "runtime": functions[index].runtime,
                    **{
                        name: int(getattr(self.kinds, name)[index])
                        for name in ("tasks", "polls", "busy", "longest", "waiting", "unidentified")
                    },
                    "spawned": [self._spawn(spawn, count) for spawn, count in self.kinds.spawns.of(index)],
                    **self._delays(index),
                    "scheduled": _or_none(self.scheduled.of(index)),
                    "outcomes": {one.name.lower(): int(self.kinds.outcomes[index][one]) for one in Outcome},
                    "waits_by_await": [self._await(row) for row in accounts.by_await.of_kind(index)],
                }
                for index in self.kinds.seen()
            ],
            "jobs": [self._job(index) for index in self.jobs.seen()],
            "in_place": _or_none(self.jobs.in_place()),
            "waits_by_await": [
                {
                    **self._await(row),
                    "task_kinds": list(dict.fromkeys(functions[kind].name for kind in row.kinds)),
                }
                for row in accounts.by_await.by_await()
            ],
            "blockers": [self._blocker(one) for one in self.blockers.most()[:_MOST_BLOCKERS]],
            "stacks": asdict(recording.stacks.census) if recording.stacks is not None else None,
            "uncertain_waits": accounts.uncertain_waits,
            "longest_polls": [
                {
                    "seconds": self.since_start(int(poll["start"])),
                    "duration": int(poll["end"] - poll["start"]),
                    **_whereabouts(functions[int(poll["function"])]),
                    "thread": self.names.get(int(poll["tid"])),
                    "tid": int(poll["tid"]),
                    "instance": int(poll["instance"]) or None,
                    "note": bound_words(int(poll["flags"])) or None,
                }
                for poll in accounts.longest_apart(20)
            ],
            "plan_changes": [
                {
                    "seconds": self.since_start(one.time),
                    "probed": probed_words(one, groups),
                    "reason": one.reason,
                }
                for one in self.changes
            ],
            "not_always_probed": [
                {**_whereabouts(functions[index]), "not_probed": length}
                for index, length in self._probed_time.not_probed(recording.start + int(self.seconds * 1e9))
            ],
            "exits_not_always_probed": [
                {**_whereabouts(functions[index]), "entries_only": length}
                for index, length in self._probed_time.entries_only(recording.start + int(self.seconds * 1e9))
            ],
            "memory_readings": [
                {
                    "seconds": self.since_start(one.time),
                    "last": one.is_last,
                    "tasks": one.tasks,
                    "duration": one.duration,
                }
                for one in self.readings
            ],
            "findings": [self._finding(one) for one in self.findings],
            "rules_not_judged": [asdict(one) for one in unjudged(self._run.missing)],
            "process_ends": [
                {"seconds": self.since_start(one.time), "pid": one.pid, "reason": one.reason} for one in self.ends
            ],
            "spawns_probed": self._spawns_probed(),
            "layouts": layout_remarks(recording.plan),
            "probed": len(functions),
            "not_probed": [{"reason": reason, "functions": count} for reason, count in self.refusals()],
        }


def bound_words(flags: int) -> str:
    """Why a poll's length is only a bound, or ""."""
    start, end = flags & PollFlag.START_UNKNOWN, flags & PollFlag.END_UNKNOWN
    if start and end:
        return "under way all the time"
    return "began before" if start else "still running" if end else ""


def _await(function: PollFunction, row: AwaitFigures, known: Whereabouts) -> dict[str, Any]:
    place, macro = known.location, known.macro
    return {
        "function": function.name,
        "kind": str(function.kind),
        "state": row.state,
        "await": state_words(row.state),
        "file": place.file if place else None,
        "line": place.line if place else None,
        "awaitee": known.awaitee,
        "chain": list(known.chain),
        "chain_is_whole": known.is_whole,
        "macro": {"file": macro.file, "line": macro.line} if macro else None,
        "layout": str(function.layout_source) if function.layout_source is not None else None,
        "verified": known.is_verified if place or macro else None,
        "function_file": function.location.file if function.location else None,
        "function_line": function.location.line if function.location else None,
        "where": (short_place(place) if place else where_words(function, row.state)) or None,
        "waits": row.count,
        "waiting": row.total,
        "p50": row.p50,
        "p99": row.p99,
        "longest": row.longest,
    }


def _or_none(figures: Lengths | Split | StolenTime | None) -> dict[str, Any] | None:
    return asdict(figures) if figures is not None else None


def _whereabouts(function: PollFunction) -> dict[str, Any]:
    location = function.location
    return {
        "function": function.name,
        "kind": str(function.kind),
        "file": location.file if location else None,
        "line": location.line if location else None,
    }
