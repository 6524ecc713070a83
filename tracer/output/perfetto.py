"""A capture as a Perfetto trace: threads with their polls, futures with their polls and waits, what was missed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tracer.assemble.lookup import locate
from tracer.model import (
    OFF_CPU,
    POLL,
    TASK,
    WAIT,
    Array,
    CaptureEnd,
    Finding,
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
from tracer.output.histogram import Integers
from tracer.output.instance_tracks import InstanceTracks
from tracer.output.lanes import NO_TRACK
from tracer.output.live_tasks import LiveTasks
from tracer.output.merged_rows import MergedRows
from tracer.output.notes import Notes
from tracer.output.records import join, pick
from tracer.output.scheduled import blocked_until
from tracer.output.scheduling_rows import SchedulingRows, blocked_in_polls
from tracer.output.slices import BEGIN, INSTANT, SliceRows
from tracer.output.spawn_rows import SpawnRows
from tracer.output.tables import some
from tracer.output.thinning import Budget, everything, select
from tracer.output.thread_rows import ThreadRows, with_merged
from tracer.output.thread_tracks import ThreadTracks
from tracer.output.trace import WrittenTrace
from tracer.output.undrawn import Undrawn, sorts_of
from tracer.output.wait_rows import WaitRows
from tracer.output.wake_rows import WakeRows, split

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
            self._wait_rows = WaitRows(self._descriptors, recording.plan, self._rows)
            self._spawns = SpawnRows(self._descriptors, recording.plan, self._rows, self._threads.words)
            self._callstacks = Callstacks(self._descriptors, recording.stacks)
            self._wakes = WakeRows(self._descriptors, recording.plan, self._rows, self._wait_rows, self._threads.words)
            self._scheduling = SchedulingRows(self._descriptors, self._rows, self._threads.words)
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
        budget = self._budget.of(arrived)
        chosen = select(polls, waits, budget, self._sorts) if arrived else everything(polls, waits)
        before = self._drawn
        own = pick(polls, chosen.polls & (polls["instance"] != 0))
        self._write_instances(own, pick(waits, chosen.waits & (waits["instance"] != 0)), begun, ended)
        self._write_spawns(begun)
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
        return self._slices + self._thread_rows.slices

    def _write_outcomes(self, over: Array) -> None:
        """Where a task with a row of its own did not simply return."""
        for task in over[np.isin(over["outcome"], list(_UNUSUAL))]:
            track = self._instances.of_tasks.get(int(task["task"]))
            if track is not None:
                outcome = Outcome(int(task["outcome"]))
                self._descriptors.instant(
                    int(task["last"]), track, outcome.name.lower(), {"outcome": _UNUSUAL[outcome]}
                )
                self._slices += 1

    def _write_instances(self, polls: Array, waits: Array, begun: Array, ended: npt.NDArray[np.uint64]) -> None:
        """Polls and waits on the instances' own tracks, where nothing nests but what is inlined: ENDs before BEGINs,
        and outer ones before inner ones, will do.

        A task gets its track when it begins, before its futures do, and is ready there from its spawn on.
        """
        since = np.where(begun["spawned"] != 0, begun["spawned"], begun["first"])
        tids = np.concatenate([polls["tid"], waits["tid"], begun["tid"]])
        of_tasks = np.concatenate([polls["task"], waits["task"], begun["task"]])
        tracks = self._instances.lanes.assign(
            np.concatenate([polls["instance"], waits["instance"], begun["task"]]),
            self._processes(tids, of_tasks),
            np.concatenate([polls["function"], waits["function"], begun["function"]]).astype(np.int64),
            np.concatenate([polls["task"], waits["task"], np.zeros(len(begun), np.uint64)]),
            np.concatenate([polls["start"], waits["start"], since]),
            np.concatenate([polls["end"], waits["end"], begun["first"]]),
            ended,
        )
        poll_tracks, wait_tracks, new_tracks = np.split(tracks, [len(polls), len(polls) + len(waits)])
        polls, poll_tracks = pick(polls, poll_tracks != NO_TRACK), poll_tracks[poll_tracks != NO_TRACK]
        waits, wait_tracks = pick(waits, wait_tracks != NO_TRACK), wait_tracks[wait_tracks != NO_TRACK]
        is_new = (new_tracks != NO_TRACK) & (begun["spawned"] != 0)
        new, new_tracks = pick(begun, is_new), new_tracks[is_new]
        (waits, wait_tracks), (ready, ready_tracks) = split(waits, wait_tracks)
        self._write_wakes(ready)
        self._descriptors.flush()
        long_poll, long_wait = polls["end"] > polls["start"], waits["end"] > waits["start"]
        long_ready, long_new = ready["end"] > ready["start"], new["first"] > new["spawned"]
        long_waits, long_tracks = pick(waits, long_wait), wait_tracks[long_wait]
        inlined = self._wait_rows.inlined(long_waits)
        below = np.count_nonzero(inlined, axis=1)
        self._file.write(
            self._rows.ends(
                np.concatenate(
                    [
                        polls["end"][long_poll],
                        np.repeat(long_waits["end"], 1 + below),
                        ready["end"][long_ready],
                        new["first"][long_new],
                    ]
                ),
                np.concatenate(
                    [
                        poll_tracks[long_poll],
                        np.repeat(long_tracks, 1 + below),
                        ready_tracks[long_ready],
                        new_tracks[long_new],
                    ]
                ),
            )
        )
        for kind, which, which_waits, which_ready, which_new in (
            (INSTANT, ~long_poll, ~long_wait, ~long_ready, ~long_new),
            (BEGIN, long_poll, long_wait, long_ready, long_new),
        ):
            stints = list(self._stints(pick(polls, which), poll_tracks[which], kind))
            wait_rows = list(self._wait_rows.waits(pick(waits, which_waits), wait_tracks[which_waits], kind))
            wait_rows += self._wakes.ready(pick(ready, which_ready), ready_tracks[which_ready], kind)
            wait_rows += self._spawns.ready(pick(new, which_new), new_tracks[which_new], kind)
            self._descriptors.flush()
            for rows in (*stints, *wait_rows):
                self._file.write(rows)
        nested = list(self._wait_rows.of_inlined(long_waits, inlined, long_tracks))
        self._descriptors.flush()
        for rows in nested:
            self._file.write(rows)
        self._slices += len(polls) + len(waits) + len(ready) + len(new) + int(below.sum())

    def _processes(self, tids: npt.NDArray[np.uint32], tasks: npt.NDArray[np.uint64]) -> Integers:
        """The process track of each of these threads, else of these live tasks; 0 when neither is known.

        Only memory told of a task that nobody polled: no thread did anything to it.
        """
        tracks = self._threads.processes(tids)
        open_ = np.flatnonzero(tracks == 0)
        at, known = locate(self._tasks.rows["task"], tasks[open_])
        tracks[open_[known]] = self._threads.numbered(self._tasks.rows["process"][at[known]])
        return tracks

    def _write_wakes(self, ready: Array) -> None:
        """The wakes of what became ready (dtype WAIT), on the threads' tracks."""
        ready = pick(ready, ready["woken_on"] != 0)  # else it was ready from before: nobody saw the wake
        if not len(ready):
            return
        rows = self._wakes.marks(ready, self._threads.tracks(ready["woken_on"]))
        self._descriptors.flush()
        self._file.write(rows)
        self._slices += len(ready)

    def _stints(self, polls: Array, tracks: Integers, kind: int) -> Iterator[npt.NDArray[np.uint8]]:
        """Polls on the instances' own tracks; the first one of a task tells where that was spawned, others by which
        wakes they came.
        """
        at, is_first = locate(self._tasks.rows["task"], polls["instance"])
        if len(self._tasks.rows):
            is_first &= (self._tasks.rows["first"][at] == polls["start"]) & (self._tasks.rows["spawned"][at] != 0)
        flows = self._wakes.flows(polls)
        is_woken = (flows["flow"] != 0) & ~is_first
        is_plain = ~is_first & ~is_woken
        yield self._rows.stints(pick(polls, is_plain), tracks[is_plain], kind)
        if is_woken.any():
            yield self._wakes.woken(pick(polls, is_woken), flows[is_woken], tracks[is_woken], kind)
        if is_first.any():
            tasks = self._tasks.rows.take(at[is_first])
            yield from self._spawns.first(pick(polls, is_first), tasks, tracks[is_first], kind)

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
