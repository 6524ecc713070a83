"""What a recording says, on one screen or as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tracer.model import (
    CaptureEnd,
    Finding,
    FunctionKind,
    Group,
    Halt,
    Loss,
    MemoryReading,
    PlanChange,
    PollFunction,
    ProcessEnd,
    Recording,
    Source,
    Spans,
    SpawnStep,
    Tally,
    Thread,
)
from tracer.output.accounts import Accounts
from tracer.output.blockers import Blockers
from tracer.output.chains import Chains
from tracer.output.delays import Delays, is_answered
from tracer.output.findings.gather import Evidence, Unjudged, missing
from tracer.output.findings.run import Run, is_own
from tracer.output.halts import Halts
from tracer.output.jobs import Jobs
from tracer.output.kinds import TaskKinds
from tracer.output.probed import GroupTime, ProbedTime
from tracer.output.records import pick
from tracer.output.scheduled import Scheduled

if TYPE_CHECKING:
    from rich.console import Console


class Summary:
    """Adds up a recording as its spans come; the methods are those of a TraceWriter."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.accounts = Accounts([one.kind is FunctionKind.TASK for one in recording.plan.functions])
        self.chains = Chains(recording.plan)
        self.kinds = TaskKinds(len(recording.plan.functions))
        self.delays = Delays(recording.plan.functions)
        self.jobs = Jobs(recording.plan.functions)
        self._group_time = {group: GroupTime(group, recording.plan, recording.start) for group in Group}
        wakes, scheduling = (self._group_time[group] for group in (Group.WAKES, Group.SCHEDULING))
        self.halts = Halts(recording)
        self._evidence = Evidence(recording, self.accounts, self.jobs, self.halts, wakes, scheduling)
        self.blockers = Blockers(recording.stacks, recording.plan.own_folders)
        self.scheduled = Scheduled(len(recording.plan.functions))
        self.names: dict[int, str] = {}
        self._pids: dict[int, int] = {}
        self.changes: list[PlanChange] = []
        self.probed_time = ProbedTime(recording.plan, recording.start)
        self.ends: list[ProcessEnd] = []
        self.readings: list[MemoryReading] = []
        self.lost = 0
        self.tally = Tally()
        self.end: CaptureEnd | None = None
        self.findings: list[Finding] = []
        self.run = self._whole_run()

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
        self.kinds.begin(spans.begun)
        self.kinds.add(spans.over)
        self.scheduled.add(spans.polls, spans.off_cpu)
        answered = pick(spans.waits, is_answered(spans.waits))
        self.delays.add(answered, spans.begun)
        self._evidence.spans(spans, answered)
        self.blockers.add(spans.looks)

    def plan_change(self, change: PlanChange) -> None:
        """Other probes from its time on."""
        self.changes.append(change)
        self.probed_time.change(change)
        for one in self._group_time.values():
            one.change(change)

    def loss(self, loss: Loss) -> None:
        """Events are missing."""
        self.lost += loss.count

    def process_end(self, end: ProcessEnd) -> None:
        """A process is gone."""
        self.ends.append(end)

    def memory_reading(self, reading: MemoryReading) -> None:
        """The tasks were read from a process' memory."""
        self.readings.append(reading)
        self.kinds.memory_reading(reading)
        self._evidence.memory_reading(reading)

    def halt(self, halt: Halt) -> None:
        """A process was kept from running."""
        self.halts.add(halt)

    def close(self, tally: Tally, end: CaptureEnd | None) -> None:
        """What assembly counted, and how the recording ended (None: the capture is torn)."""
        self.tally, self.end = tally, end
        if end is not None:
            self.lost = max(self.lost, end.lost)
        self.run = self._whole_run()
        self.findings = self._evidence.findings(self.run)

    def unjudged(self) -> Sequence[Unjudged]:
        """The rules that could not be judged."""
        return self._evidence.unjudged(self.run)

    def spawns_probed(self) -> bool:
        """Whether it is seen when tasks are made."""
        return any(one.point.step is SpawnStep.MADE for one in self.recording.plan.spawns)

    def _whole_run(self) -> Run:
        plan, start = self.recording.plan, self.recording.start
        shares = {group: self.share_probed(group) for group in plan.groups}
        until, own = start + int(self.seconds * 1e9), 0.0
        if Group.FUTURES in shares:
            shares[Group.FUTURES] = self.probed_time.least_share(until)
            of_user = np.array([is_own(one, plan) for one in plan.functions], np.bool_)
            own = self.probed_time.least_share(until, of_user)
        lacks = missing(
            shares,
            own_futures=own,
            has_types=any(one.source is not Source.CODE for one in plan.layouts),
            is_whole=not self.lost and self.end is not None,
            spawns=self.spawns_probed(),
            knows_stuck=any(reading.stuck is not None for reading in self.readings),
            knows_kept=not {False, True}.difference(one.is_last for one in self.readings if one.kept is not None),
            knows_channels=any(reading.channels is not None for reading in self.readings),
        )
        end = max(start, self.end.time if self.end else self.accounts.latest)
        return Run(plan, self.chains, self.accounts, start, end, self.names, self._pids, lacks, self._used())

    def _used(self) -> float | None:
        """Processors that the program used on average, without the probes."""
        if self.end is None or not self.end.overhead or self.end.of_processor is None:
            return None
        return max(0.0, self.end.of_processor / self.end.overhead - self.end.of_processor)

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
        length = int(self.seconds * 1e9)
        return self._group_time[group].until(self.recording.start + length) / max(1, length)

    def functions(self) -> list[tuple[int, PollFunction]]:
        """The functions that were polled or waited, the most polling time first: without the tasks inside."""
        busy, polls, waits = self.accounts.busy - self.accounts.in_tasks, self.accounts.polls, self.accounts.waits
        seen = [(i, one) for i, one in enumerate(self.recording.plan.functions) if polls[i] or waits[i]]
        return sorted(seen, key=lambda item: (-int(busy[item[0]]), item[1].name))

    def tasks(self) -> int:
        """The tasks seen."""
        return int(self.kinds.tasks.sum())

    def refusals(self) -> list[tuple[str, int]]:
        """Why functions are not probed: (reason, how many), the most first."""
        return Counter(one.reason for one in self.recording.plan.unseen).most_common()

    def print(self, console: Console | None = None) -> None:
        """One screen, on the standard output unless told otherwise."""
        from tracer.output.printed_summary import print_summary
        from tracer.output.tables import make_console

        print_summary(self.as_json(), console or make_console())

    def as_json(self) -> dict[str, Any]:
        """The same as plain values, as docs/summary.schema.json describes them: all that `print` says, and more."""
        from tracer.output.summary_document import document_of

        return document_of(self)
