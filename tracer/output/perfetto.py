"""A capture as a Perfetto trace: threads with their polls, futures with their polls and waits, what was missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tracer.model import (
    OFF_CPU,
    POLL,
    TASK,
    WAIT,
    Array,
    CaptureEnd,
    Finding,
    Halt,
    Loss,
    MemoryReading,
    Outcome,
    PlanChange,
    PollFlag,
    ProcessEnd,
    Recording,
    Spans,
    Tally,
    Thread,
)
from tracer.output import carried
from tracer.output.callstacks import Callstacks
from tracer.output.counters import Counters
from tracer.output.descriptors import Descriptors
from tracer.output.files import OutputFile
from tracer.output.findings.marks import mark
from tracer.output.instance_rows import InstanceRows
from tracer.output.instance_tracks import InstanceTracks
from tracer.output.live_tasks import LiveTasks
from tracer.output.merged_rows import MergedRows
from tracer.output.notes import Notes
from tracer.output.records import join, pick
from tracer.output.scheduled import blocked_until
from tracer.output.scheduling_rows import SchedulingRows, blocked_in_polls
from tracer.output.slices import SliceRows
from tracer.output.spawn_rows import SpawnRows
from tracer.output.tables import some
from tracer.output.thinning import Budget, all_slices, select
from tracer.output.thread_rows import ThreadRows, with_merged
from tracer.output.thread_tracks import ThreadTracks
from tracer.output.trace import WrittenTrace
from tracer.output.undrawn import Undrawn, sorts_of
from tracer.output.wait_rows import WaitRows
from tracer.output.wake_rows import WakeRows

_BLOCK = 1 << 15
"""Polls that are written together, at the least: enough that numpy's calls cost nothing, 3 MB."""
_UNUSUAL = {
    Outcome.PANICKED: "its future panicked",
    Outcome.CANCELLED: "its future was dropped before it returned: aborted, or the runtime shut down",
    Outcome.ENDED: "it has ended, but how was not seen",
}
"""Outcomes that are drawn at the end of a task's row."""
_LEAST_BLOCKED = 1_000
"""Slices of blocked polls that there is room for in any block."""


class PerfettoWriter:
    """Writes a trace in blocks, in bounded memory.  Opens in Perfetto v52 and later.

    max_slices: beyond it short polls are merged, long ones stay.  total_events: of the whole capture, which
    is what the budget is divided by.  min_us: shorter polls are left out.  Raises OutputFailed.
    """

    def __init__(
        self,
        path: Path,
        recording: Recording,
        *,
        max_slices: int = 2_000_000,
        total_events: int,
        min_us: float = 0,
    ) -> None:
        sorts = sorts_of(recording.plan.functions)
        self._sorts = sorts
        self._undrawn = Undrawn(sorts, min_us)
        self._budget = Budget(max_slices, total_events)
        self._file = OutputFile(path)
        self._polls: list[Array] = []
        self._waits: list[Array] = []
        self._begun: list[Array] = []
        self._over: list[Array] = []
        self._off_cpu: list[Array] = []
        self._tasks = LiveTasks()
        self._counters = Counters(recording.start, [one.is_job for one in recording.plan.functions])
        self._buffered = 0
        self._latest = recording.start
        self._summary: Mapping[str, Any] | None = None
        self._findings: Sequence[Finding] = ()
        self._slices = 0
        try:
            self._descriptors = Descriptors(self._file.write, recording.clock)
            self._notes = Notes(self._descriptors, recording)
            self._threads = ThreadTracks(self._descriptors, recording)
            self._instances = InstanceTracks(self._descriptors, recording.plan, self._tasks)
            self._rows = SliceRows(self._descriptors, recording.plan, recording.stacks)
            waits = WaitRows(self._descriptors, recording.plan, self._rows)
            self._spawns = SpawnRows(self._descriptors, recording.plan, self._rows, self._threads.words)
            self._callstacks = Callstacks(self._descriptors, recording.stacks)
            self._wakes = WakeRows(self._descriptors, recording.plan, self._rows, waits, self._threads.words)
            self._scheduling = SchedulingRows(self._descriptors, self._rows, self._threads.words)
            self._instance_rows = InstanceRows(
                self._file.write,
                self._descriptors,
                self._rows,
                waits,
                self._spawns,
                self._wakes,
                self._threads,
                self._instances,
                self._tasks,
            )
            merged = MergedRows(self._descriptors, self._rows, sorts)
            self._thread_rows = ThreadRows(
                self._file.write, self._descriptors, self._rows, merged, self._threads, self._tasks, recording.start
            )
        except BaseException:
            self._file.abort()
            raise

    def threads(self, threads: Sequence[Thread]) -> None:
        """Threads are told early, so that their tracks have a process and a name."""
        self._threads.tell(threads)

    # ---- polls and waits

    def spans(self, spans: Spans) -> None:
        """Polls and waits; written when there are enough of them."""
        if len(spans.polls):
            self._polls.append(spans.polls)
        if len(spans.waits):
            self._waits.append(spans.waits)
        if len(spans.begun):
            self._begun.append(spans.begun)
        if len(spans.over):
            self._over.append(spans.over)
        if len(spans.off_cpu):
            self._off_cpu.append(spans.off_cpu)
        if len(spans.looks):
            self._rows.stacks.add(spans.looks)
            self._callstacks.add(spans.looks, self._threads.pid_of)
        self._buffered += len(spans.polls) + (len(spans.waits) + len(spans.off_cpu)) // 2
        if self._buffered >= _BLOCK:
            self._write_block()

    def _write_block(self) -> None:
        polls, waits = join(self._polls, POLL), join(self._waits, WAIT)
        begun, over = join(self._begun, TASK), join(self._over, TASK)
        self._polls, self._waits, self._begun, self._over, self._buffered = [], [], [], [], 0
        self._tasks.begin(begun)
        self._counters.add(polls, over)
        arrived, everyone = len(polls), polls
        if len(polls):
            self._latest = max(self._latest, int(polls["end"].max()))
        if len(waits):
            self._latest = max(self._latest, int(waits["end"].max()))
        ended = np.concatenate([_ended(polls), over["task"]])
        polls = self._undrawn.long_enough(polls)
        budget = self._budget.of(arrived, all_slices(polls, waits))
        chosen = select(polls, waits, budget, self._sorts)
        before = self._drawn
        own = pick(polls, chosen.polls & (polls["instance"] != 0))
        self._write_spawns(begun)  # before what they lead to, which may be at that very time
        self._instance_rows.write(own, pick(waits, chosen.waits & (waits["instance"] != 0)), begun, ended)
        self._write_scheduling(join(self._off_cpu, OFF_CPU), max(budget // 4, _LEAST_BLOCKED))
        self._off_cpu = []
        self._thread_rows.write(with_merged(polls, chosen))
        self._write_outcomes(over)
        self._tasks.forget(over["task"], self._thread_rows.held)
        self._wakes.forget(everyone, over["task"])
        self._undrawn.add(polls, chosen)
        self._budget.spend(arrived, self._drawn - before)

    @property
    def _drawn(self) -> int:
        """Slices that were written."""
        return self._slices + self._instance_rows.slices + self._thread_rows.slices

    def _write_outcomes(self, over: Array) -> None:
        """Where a task with a row of its own did not simply return."""
        for task in over[np.isin(over["outcome"], list(_UNUSUAL))]:
            track = self._instances.of_tasks.get(int(task["task"]))
            if track is not None:
                outcome = Outcome(int(task["outcome"]))
                self._descriptors.instant(
                    int(task["until"]), track, outcome.name.lower(), {"outcome": _UNUSUAL[outcome]}
                )
                self._slices += 1

    def _write_spawns(self, begun: Array) -> None:
        """Where tasks were spawned, on the threads' tracks."""
        spawned = pick(begun, begun["spawned"] != 0)
        if not len(spawned):
            return
        marks = list(self._spawns.marks(spawned, self._threads.tracks(spawned["spawned_on"])))
        self._descriptors.flush()
        for rows in marks:
            self._file.write(rows)
        self._slices += len(spawned)

    def _write_scheduling(self, off: Array, most: int) -> None:
        """What threads did besides running; at most so many slices of polls that were blocked.

        They precede the polls that they lie in: those may end at the same time.
        """
        if not len(off):
            return
        blocked = blocked_in_polls(off, self._undrawn.min_ns, most)
        tracks = self._threads.tracks(blocked["tid"])
        rows = self._scheduling.blocked(blocked, tracks)
        self._descriptors.flush()
        self._file.write(self._scheduling.states(off))
        self._file.write(rows)
        self._file.write(self._rows.ends(blocked_until(blocked), tracks))
        self._slices += len(blocked)

    # ---- what else happened

    def plan_change(self, change: PlanChange) -> None:
        """Other probes from now on."""
        self._notes.plan_change(change)

    def loss(self, loss: Loss) -> None:
        """Events are missing."""
        self._notes.loss(loss, self._latest)

    def process_end(self, end: ProcessEnd) -> None:
        """A process is gone."""
        self._notes.process_end(end)

    def memory_reading(self, reading: MemoryReading) -> None:
        """The tasks were read from a process' memory."""
        self._notes.memory_reading(reading)

    def halt(self, halt: Halt) -> None:
        """A process was kept from running."""
        self._notes.halt(halt)

    # ---- the end

    def carry(self, summary: Mapping[str, Any]) -> None:
        """Let the trace contain this document, to be read by carried.read_summary.  To be told before `close`."""
        self._summary = summary

    def mark(self, findings: Sequence[Finding]) -> None:
        """Draw these where they are to be seen.  To be told after all spans, before `close`."""
        self._findings = findings

    def _write_findings(self) -> None:
        tracks: dict[int, int] = {}
        for number, finding in enumerate(self._findings):
            tid = finding.tid if finding.tid is not None else 0
            process = int(self._threads.processes(np.array([tid], np.uint32))[0])
            if not process and finding.task is not None:
                process = self._instances.processes.get(finding.task, 0)
            if process not in tracks:
                what = "What is wrong with the program, as far as this recording shows; arrows lead to the places."
                tracks[process] = self._descriptors.track("Findings", process or None, rank=-5, description=what)
            places = [self._threads.track(tid)] if tid else []
            places += [self._instances.of_tasks[finding.task]] if finding.task in self._instances.of_tasks else []
            self._slices += mark(self._descriptors, number, finding, tracks[process], places)

    def close(self, tally: Tally, end: CaptureEnd | None) -> WrittenTrace:
        """Write what is left, say what is missing, and give the file its name."""
        try:
            self._write_block()
            self._thread_rows.close()
            self._write_findings()
            self._threads.close()
            remarks = self._remarks()
            latest = max(self._latest, end.time if end else 0)
            self._counters.write(self._descriptors, self._threads.only, latest)
            self._callstacks.close()
            self._notes.close(latest, tally, end, remarks)
            if self._summary is not None:
                self._notes.carry(latest, carried.text_of(self._summary))
            self._file.commit()
        except BaseException:
            self.abort()
            raise
        return WrittenTrace(
            path=self._file.path,
            bytes=self._file.size,
            slices=self._drawn + self._notes.slices,
            merged=self._undrawn.merged,
            omitted=self._undrawn.omitted,
            remarks=remarks,
        )

    def _remarks(self) -> tuple[str, ...]:
        remarks, lanes = self._undrawn.remarks(), self._instances.lanes
        if lanes.sharing > lanes.lanes:
            remarks.append(
                f"{lanes.sharing:,} tasks and futures share {some(lanes.lanes, 'lane')}:"
                " their functions have too many for a row each"
            )
        if lanes.without:
            remarks.append(
                f"{lanes.without:,} tasks and futures have no row of their own:"
                " their polls are on the threads' rows only"
            )
        if self._notes.undrawn_losses():
            remarks.append(f"{self._notes.undrawn_losses():,} further losses are not drawn one by one")
        return tuple(remarks)

    def abort(self) -> None:
        """Remove what was written."""
        self._file.abort()


def _ended(polls: Array) -> npt.NDArray[np.uint64]:
    """The instances that ended with one of these polls: Ready, or unwound."""
    known = int(PollFlag.RESULT | PollFlag.PENDING)
    flags = polls["flags"]
    over = ((flags & known) == int(PollFlag.RESULT)) | ((flags & int(PollFlag.UNWOUND)) != 0)
    return np.asarray(polls["instance"][over])
