"""What a summary says as plain values: the document that docs/summary.schema.json describes."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from tracer.model import Finding, Group, Outcome, Plan, PollFlag, PollFunction
from tracer.output.accounts import Accounts
from tracer.output.awaits import layout_remarks, short_place, where_words
from tracer.output.blockers import Blocker, stack_of, stack_words
from tracer.output.delays import Lengths
from tracer.output.flight import flight_of
from tracer.output.jobs import PartialJobs
from tracer.output.kinds import Spawn
from tracer.output.labels import MAYBE_DONE, probed_words, state_words
from tracer.output.poll_ends import is_end_known
from tracer.output.probed import ProbedTime
from tracer.output.scheduled import Split, StolenTime
from tracer.output.syscalls import syscall_words
from tracer.output.waiting import AwaitFigures

if TYPE_CHECKING:
    from tracer.output.summary import Summary

_MOST_BLOCKERS = 20

SCHEMA = 1
"""Of the JSON document.  A key more leaves it as it is; a key gone, or of another meaning, raises it."""


def document_of(summary: Summary) -> dict[str, Any]:
    """All that its `print` says, and more."""
    recording, accounts, tally = summary.recording, summary.accounts, summary.tally
    functions, groups = recording.plan.functions, recording.plan.groups
    uncountable = {index for index, one in enumerate(functions) if MAYBE_DONE.match(one.name)}
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
        "seconds": summary.seconds,
        "polls": tally.polls - summary.jobs.polls,
        "waits": tally.waits - summary.jobs.waits,
        "polls_in_jobs": summary.jobs.inside,
        "instances": sum(int(count) for at, count in enumerate(accounts.instances) if at not in uncountable),
        "tasks": summary.tasks(),
        "events": tally.events,
        "lost": summary.lost,
        "unmatched_exits": tally.unmatched_exits,
        "unwound": tally.unwound,
        "open_at_start": tally.open_at_start,
        "open_at_end": tally.open_at_end,
        "overhead": summary.end.overhead if summary.end else None,
        "overhead_of_processor": summary.end.of_processor if summary.end else None,
        "max_overhead": recording.max_overhead,
        "cpu_quota": recording.cpu_quota,
        "complete": summary.end is not None,
        "ended": summary.end.reason if summary.end else None,
        "flight": flight_of(recording, max(recording.start, summary.end.time if summary.end else accounts.latest)),
        "tasks_probed": summary.share_probed(Group.TASKS),
        "futures_probed": summary.share_probed(Group.FUTURES),
        "wakes_probed": summary.share_probed(Group.WAKES),
        "wakes": _wakes(summary),
        "scheduling": _scheduling(summary),
        "no_scheduling": recording.plan.no_scheduling,
        "functions": [
            {
                **_whereabouts(one),
                "crate": one.crate,
                "polls": int(accounts.polls[index]),
                "instances": None if index in uncountable else int(accounts.instances[index]),
                "more_instances": None if index in uncountable else int(accounts.more_instances[index]),
                **_lengths(accounts, index),
                "waits": int(accounts.waits[index]),
                "waiting": int(accounts.waiting[index]),
                "unwound": int(accounts.unwound[index]),
                "scheduled": _or_none(summary.scheduled.of(index)),
            }
            for index, one in summary.functions()
        ],
        "task_kinds": [
            {
                **_whereabouts(functions[index]),
                "runtime": functions[index].runtime,
                **{
                    name: int(getattr(summary.kinds, name)[index])
                    for name in ("tasks", "polls", "busy", "longest", "waiting", "unidentified")
                },
                "timed": int(accounts.timed[index]),
                "spawned": [_spawn(summary, spawn, count) for spawn, count in summary.kinds.spawns.of(index)],
                "unseen_spawns": summary.kinds.unseen_spawns(index),
                **_delays(summary, index),
                "scheduled": _or_none(summary.scheduled.of(index)),
                "outcomes": {one.name.lower(): int(summary.kinds.outcomes[index][one]) for one in Outcome},
                "waits_by_await": [_await(summary, row) for row in accounts.by_await.of_kind(index)],
            }
            for index in summary.kinds.seen()
        ],
        "jobs": [_job(summary, index) for index in summary.jobs.seen()],
        "in_place": _or_none(summary.jobs.in_place()),
        "waits_by_await": [
            {
                **_await(summary, row),
                "task_kinds": list(dict.fromkeys(functions[kind].name for kind in row.kinds)),
            }
            for row in accounts.by_await.by_await()
        ],
        "blockers": [_blocker(summary, one) for one in summary.blockers.most()[:_MOST_BLOCKERS]],
        "stacks": asdict(recording.stacks.census) if recording.stacks is not None else None,
        "uncertain_waits": accounts.uncertain_waits,
        "longest_polls": [
            {
                "seconds": summary.since_start(int(poll["start"])),
                "duration": int(poll["end"] - poll["start"]),
                "in_tasks": in_tasks,
                **_whereabouts(functions[int(poll["function"])]),
                "thread": summary.names.get(int(poll["tid"])),
                "tid": int(poll["tid"]),
                "instance": int(poll["instance"]) or None,
                "note": _bound_words(poll) or None,
            }
            for poll, in_tasks in accounts.longest_apart(20)
        ],
        "plan_changes": [
            {
                "seconds": summary.since_start(one.time),
                "probed": probed_words(one, groups),
                "reason": one.reason,
            }
            for one in summary.changes
        ],
        **not_always_probed(recording.plan, summary.probed_time, recording.start + int(summary.seconds * 1e9)),
        "memory_readings": [
            {
                "seconds": summary.since_start(one.time),
                "pid": recording.processes[one.process].pid,
                "last": one.is_last,
                "tasks": one.tasks,
                "duration": one.duration,
                "missed": one.missed,
            }
            for one in summary.readings
        ],
        "halts": [
            {
                "pid": summary.halts.pid(one),
                "kind": one.first.kind.value,
                "by": one.first.by or None,
                "seconds": summary.since_start(one.first.time),
                "times": one.times,
                "total": one.total,
                "longest": one.longest,
                "quota": one.latest.quota,
                "periods": one.periods,
                "throttled": one.throttled,
                "lost": one.lost,
            }
            for one in summary.halts.sums()
        ],
        "findings": [_finding(summary, one) for one in summary.findings],
        "rules_not_judged": [asdict(one) for one in summary.unjudged()],
        "process_ends": [
            {"seconds": summary.since_start(one.time), "pid": one.pid, "reason": one.reason} for one in summary.ends
        ],
        "spawns_probed": summary.spawns_probed(),
        "layouts": layout_remarks(recording.plan),
        "probed": len(functions),
        "not_probed": [{"reason": reason, "functions": count} for reason, count in summary.refusals()],
        "seen_in_part": [one.name for one in recording.plan.seen_in_part],
    }


def _spawn(summary: Summary, spawn: Spawn, tasks: int) -> dict[str, Any]:
    plan = summary.recording.plan
    site = plan.sites[spawn.at - 1] if spawn.at else None
    return {
        "file": site.file if site else None,
        "line": site.line if site else None,
        "column": site.column or None if site else None,
        "by": plan.functions[spawn.by].name if spawn.by is not None else None,
        "tasks": tasks,
    }


def _delays(summary: Summary, function: int) -> dict[str, dict[str, Any] | None]:
    figures = {"delay": summary.delays.of(function), "first_delay": summary.delays.first_of(function)}
    return {key: _or_none(one) for key, one in figures.items()}


def _scheduling(summary: Summary) -> dict[str, Any] | None:
    if Group.SCHEDULING not in summary.recording.plan.groups:
        return None
    return {
        "probed": summary.share_probed(Group.SCHEDULING),
        "switches": summary.tally.switches,
        "unpaired": summary.tally.unpaired_switches,
        "stolen": _or_none(summary.scheduled.stolen()),
        "blocked_in_polls": [
            {**asdict(one), "name": syscall_words(one.syscall)} for one in summary.scheduled.by_syscall()
        ],
    }


def _finding(summary: Summary, one: Finding) -> dict[str, Any]:
    return {
        "rule": one.rule,
        "severity": one.severity.name.lower(),
        "title": one.title,
        "evidence": dict(one.evidence),
        "function": one.function,
        "file": one.where.file if one.where else None,
        "line": one.where.line if one.where else None,
        "time": one.time,
        "seconds": summary.since_start(one.time),
        "duration": one.duration,
        "tid": one.tid,
        "thread": summary.names.get(one.tid) if one.tid is not None else None,
        "task": one.task,
        "advice": one.advice,
    }


def _blocker(summary: Summary, one: Blocker) -> dict[str, Any]:
    functions, frame = summary.recording.plan.functions, one.frame
    place = frame.location if frame is not None else None
    stack = stack_of(summary.recording.stacks, one.stacks.most_common(1)[0][0])
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


def _job(summary: Summary, function: int) -> dict[str, Any]:
    one = summary.recording.plan.functions[function]
    return {
        **_whereabouts(one),
        "runtime": one.runtime,
        **{name: int(getattr(summary.jobs, name)[function]) for name in ("jobs", "panicked", "cancelled")},
        "queued": _or_none(summary.jobs.queued(function)),
        "ran": _or_none(summary.jobs.ran(function)),
        "partial": _or_none(summary.jobs.partial(function)),
        "spawned": [_spawn(summary, spawn, count) for spawn, count in summary.jobs.spawns.of(function)],
    }


def _wakes(summary: Summary) -> dict[str, int] | None:
    if Group.WAKES not in summary.recording.plan.groups:
        return None
    tally = summary.tally
    return {
        "all": tally.wakes,
        "without_effect": tally.idle_wakes,
        "own": tally.self_wakes,
        "unanswered": tally.unanswered_wakes,
    }


def _lengths(accounts: Accounts, function: int) -> dict[str, int | None]:
    """How long the polls of one function took, as far as that is known."""
    timed, cut, polls = (int(one[function]) for one in (accounts.timed, accounts.cut, accounts.polls))
    is_told, is_timed = timed + cut > 0 or not polls, timed > 0 or not polls
    return {
        "timed": timed,
        "cut": cut,
        "busy": int(accounts.busy[function]) if is_told else None,
        "in_tasks": int(accounts.in_tasks[function]) if is_told else None,
        "mean": int(accounts.timed_busy[function]) // max(1, timed) if is_timed else None,
        "p50": round(accounts.percentile(function, 0.5)) if is_timed else None,
        "p99": round(accounts.percentile(function, 0.99)) if is_timed else None,
        "longest": int(accounts.longest_poll[function]) if is_told else None,
    }


def _bound_words(poll: np.void) -> str:
    """Why the length of a poll (dtype POLL) is only a bound, or ""."""
    start = poll["flags"] & PollFlag.START_UNKNOWN
    end = not is_end_known(poll)
    if start and end:
        return "neither end seen"
    return "began before" if start else "end not seen" if end else ""


def _await(summary: Summary, row: AwaitFigures) -> dict[str, Any]:
    function = summary.recording.plan.functions[row.function]
    known = summary.chains.waiting(row.function, row.state, row.places)
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
        "cut": row.cut,
        "longest_is_cut": row.longest_is_cut,
    }


def _or_none(figures: Lengths | PartialJobs | Split | StolenTime | None) -> dict[str, Any] | None:
    return asdict(figures) if figures is not None else None


def not_always_probed(plan: Plan, probed_time: ProbedTime, end: int) -> dict[str, Any]:
    """Which functions, and which functions' exits, were not probed until `end` (ns), and for how long."""
    return {
        "not_always_probed": [
            {**_whereabouts(plan.functions[index]), "not_probed": length}
            for index, length in probed_time.not_probed(end)
        ],
        "exits_not_always_probed": [
            {**_whereabouts(plan.functions[index]), "entries_only": length}
            for index, length in probed_time.entries_only(end)
        ],
    }


def _whereabouts(function: PollFunction) -> dict[str, Any]:
    location = function.location
    return {
        "function": function.name,
        "kind": str(function.kind),
        "file": location.file if location else None,
        "line": location.line if location else None,
    }
