"""A capture as a Perfetto trace: threads with their polls, futures with their polls and waits, what was missed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tracer.assemble.lookup import distinct, locate
from tracer.model import (
    OFF_CPU,
    POLL,
    TASK,
    WAIT,
    Array,
    CaptureEnd,
    Finding,
    FunctionKind,
    Loss,
    MemoryReading,
    Outcome,
    PlanChange,
    PollFlag,
    PollFunction,
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
from tracer.output.labels import kind_words, short_name, without_kind
from tracer.output.lanes import NO_TRACK, Group, Lanes
from tracer.output.notes import Notes
from tracer.output.order import Due, Holder, tied, tied_events
from tracer.output.records import join, pick
from tracer.output.scheduled import blocked_until
from tracer.output.scheduling_rows import SchedulingRows, blocked_in_polls
from tracer.output.slices import BEGIN, END, INSTANT, Integers, SliceRows
from tracer.output.spawn_rows import SpawnRows
from tracer.output.spawn_words import spawn_words
from tracer.output.thinning import Budget, Selection, everything, select
from tracer.output.trace import WrittenTrace
from tracer.output.wake_rows import WakeRows, split

_BLOCK = 1 << 15
"""Polls that are written together, at the least: enough that numpy's calls cost nothing, 3 MB."""
_MAX_OWN, _MAX_OWN_SHARE, _MAX_TRACKS, _MAX_KNOWN = 5_000, 500, 20_000, 1 << 17
"""Own tracks of instances in all and of one function, tracks with shared lanes, instances remembered."""
_UNUSUAL = {
    Outcome.PANICKED: "its future panicked",
    Outcome.CANCELLED: "its future was dropped before it returned: aborted, or the runtime shut down",
    Outcome.ENDED: "it has ended, but how was not seen",
}
"""Outcomes that are drawn at the end of a task's row."""
_TASKS = (
    "Async tasks",
    50,
    "One row for each task, by its future: when it ran and when it waited; below it its futures.",
)
_JOBS = "Blocking jobs", 60, "One row for each job, by its function: when it was in the queue and when it ran."
_FUTURES = "Futures", 100, "One row for each future outside of those tasks, by function: its polls and waits."
"""Folders of rows: name, rank, description."""
_LEAST_BLOCKED = 1_000
"""Slices of blocked polls that there is room for in any block."""
_KIND_RANK = {
    FunctionKind.TASK: 0,
    FunctionKind.COROUTINE: 1_000_000,
    FunctionKind.FUTURE: 2_000_000,
    FunctionKind.IN_PLACE: 2_000_000,
}
"""Tasks come first, then async fns and blocks, then hand-written futures; within a kind by first appearance."""


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
        self._recording = recording
        self._sites = recording.plan.sites
        self._min_ns = int(min_us * 1000)
        self._min_us = min_us
        self._budget = Budget(max_slices, total_events)
        self._file = OutputFile(path)
        self._polls: list[Array] = []
        self._waits: list[Array] = []
        self._begun: list[Array] = []
        self._over: list[Array] = []
        self._off_cpu: list[Array] = []
        self._alive = np.empty(0, TASK)
        self._over_but_held = np.empty(0, np.uint64)
        self._counters = Counters(recording.start, [one.is_job for one in recording.plan.functions])
        self._buffered = 0
        self._latest = recording.start
        self._summary: Mapping[str, Any] | None = None
        self._findings: Sequence[Finding] = ()
        self._slices = self._merged = self._represented = self._omitted = self._too_short = 0
        self._thread_tracks: dict[int, int] = {}
        self._threads: dict[int, Thread] = {}
        self._named: set[int] = set()
        self._folders: dict[tuple[int, str], int] = {}
        self._task_tracks: dict[int, int] = {}
        self._tracks_of_tasks: set[int] = set()
        self._function_tracks: dict[tuple[int, int], int] = {}
        self._holder = Holder(recording.start)
        self._lanes = Lanes(
            self._instance_track,
            self._place,
            max_own=_MAX_OWN,
            max_own_share=_MAX_OWN_SHARE,
            max_tracks=_MAX_TRACKS,
            max_known=_MAX_KNOWN,
        )
        try:
            self._descriptors = Descriptors(self._file.write, recording.clock)
            self._notes = Notes(self._descriptors, recording)
            self._processes = {
                one.pid: self._descriptors.process(one.pid, one.name, one.command or (one.executable,))
                for one in recording.processes
            }
            self._only = self._processes[recording.processes[0].pid] if len(recording.processes) == 1 else None
            self._rows = SliceRows(self._descriptors, recording.plan, recording.stacks)
            self._spawns = SpawnRows(self._descriptors, recording.plan, self._rows, self._thread_words)
            self._callstacks = Callstacks(self._descriptors, recording.stacks)
            self._wakes = WakeRows(self._descriptors, recording.plan, self._rows, self._thread_words)
            self._scheduling = SchedulingRows(self._descriptors, self._rows, self._thread_words)
        except BaseException:
            self._file.abort()
            raise

    # ---- tracks

    def threads(self, threads: Sequence[Thread]) -> None:
        """Threads are told early, so that their tracks have a process and a name."""
        for thread in threads:
            self._threads[thread.tid] = thread
            self._descriptors.thread(thread, self._thread_track(thread.tid))
            self._named.add(thread.tid)

    def _thread_track(self, tid: int) -> int:
        track = self._thread_tracks.get(tid)
        if track is None:
            track = self._thread_tracks[tid] = self._descriptors.new_track()
        return track

    def _thread_words(self, tids: npt.NDArray[np.uint32]) -> Integers:
        """The intern ids of what threads are called."""
        found, inverse = distinct(tids)
        threads = [(tid, self._threads.get(tid)) for tid in found.tolist()]
        words = [f"thread {one.name} ({tid})" if one is not None else f"thread {tid}" for tid, one in threads]
        return np.array([self._descriptors.string(one) for one in words], np.int64)[inverse]

    def _tracks_of_threads(self, tids: npt.NDArray[np.uint32]) -> Integers:
        found, inverse = distinct(tids)
        return np.array([self._thread_track(tid) for tid in found.tolist()], np.int64)[inverse]

    def _processes_of_threads(self, tids: npt.NDArray[np.uint32]) -> Integers:
        """The process track of each thread; 0 when it is not known (several processes, a thread never named)."""
        if self._only is not None:
            return np.full(len(tids), self._only)
        found, inverse = distinct(tids)
        known = [self._threads.get(tid) for tid in found.tolist()]
        return np.array([self._processes.get(one.pid, 0) if one else 0 for one in known], np.int64)[inverse]

    def _pid_of(self, tid: int) -> int | None:
        thread = self._threads.get(tid)
        if thread is not None:
            return thread.pid
        return self._recording.processes[0].pid if self._only is not None else None

    def _place(self, process: int, function: int, task: int) -> tuple[Group, bool]:
        """A future of a task that has a track goes below it, where futures of one function share lanes."""
        track = self._task_tracks.get(task)
        return ((process, function), False) if track is None else ((track, function), True)

    def _instance_track(self, group: Group, number: int, is_lane: bool, instance: int) -> int:
        parent, index = group
        function = self._recording.plan.functions[index]
        name = short_name(function)
        if parent in self._tracks_of_tasks:
            name = name if number == 1 else f"{name} ({number})"
            description = f"{function.name}, {function.location or 'place unknown'}: those of this task, one by one"
            return self._descriptors.track(name, parent, rank=self._lanes.tracks, description=description)
        folder = self._folder(group, function)
        rank = number + (_MAX_OWN if is_lane else 0)
        if is_lane:
            what = "Several of them, one after another: there are too many for a row each."
            return self._descriptors.track(f"{name} lane {number}", folder, rank=rank, description=what)
        if function.kind is not FunctionKind.TASK:
            return self._descriptors.track(f"{name} #{number}", folder, rank=rank, description=function.name)
        track = self._descriptors.track(
            self._task_name(function, instance), folder, rank=rank, description=self._task_words(function, instance)
        )
        self._task_tracks[instance] = track
        self._tracks_of_tasks.add(track)
        return track

    def _task_name(self, function: PollFunction, task: int) -> str:
        """`task 17 conn::handle`; #17 when that is only our own number."""
        known = self._task(task)
        number = int(known["id"]) if known is not None else 0
        return f"{'job' if function.is_job else 'task'} {number or f'#{task}'} {without_kind(short_name(function))}"

    def _task_words(self, function: PollFunction, task: int) -> str:
        """What its row says of itself."""
        known = self._task(task)
        words = spawn_words(self._recording.plan.functions, self._sites, known) if known is not None else None
        return f"{function.name}; {words}" if words else function.name

    def _task(self, number: int) -> np.void | None:
        """dtype TASK, of one that is alive."""
        at = int(np.searchsorted(self._alive["task"], np.uint64(number)))
        known = at < len(self._alive) and int(self._alive["task"][at]) == number
        return self._alive[at] if known else None

    def _folder(self, group: Group, function: PollFunction) -> int:
        """The track of a function, under `Async tasks`, `Blocking jobs` or `Futures` of its process."""
        process = group[0]
        name, rank, what = _JOBS if function.is_job else _TASKS if function.kind is FunctionKind.TASK else _FUTURES
        if (process, name) not in self._folders:
            self._folders[process, name] = self._descriptors.track(name, process or None, rank=rank, description=what)
        if group not in self._function_tracks:
            self._function_tracks[group] = self._descriptors.track(
                without_kind(short_name(function)),
                self._folders[process, name],
                rank=len(self._function_tracks) + _KIND_RANK[function.kind],
                description=f"{function.name}, {function.location or 'place unknown'}, {kind_words(function)}",
            )
        return self._function_tracks[group]

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
            self._callstacks.add(spans.looks, self._pid_of)
        self._buffered += len(spans.polls) + (len(spans.waits) + len(spans.off_cpu)) // 2
        if self._buffered >= _BLOCK:
            self._write_block()

    def _write_block(self) -> None:
        polls, waits = join(self._polls, POLL), join(self._waits, WAIT)
        begun, over = join(self._begun, TASK), join(self._over, TASK)
        self._polls, self._waits, self._begun, self._over, self._buffered = [], [], [], [], 0
        self._alive = join([self._alive, begun], TASK) if len(begun) else self._alive
        self._counters.add(polls, over)
        arrived, everyone = len(polls), polls
        if len(polls):
            self._latest = max(self._latest, int(polls["end"].max()))
        if len(waits):
            self._latest = max(self._latest, int(waits["end"].max()))
        ended = np.concatenate([_ended(polls), over["task"]])
        if self._min_ns:
            fixed = int(PollFlag.START_UNKNOWN | PollFlag.END_UNKNOWN)
            long_enough = (polls["end"] - polls["start"] >= self._min_ns) | ((polls["flags"] & fixed) != 0)
            self._too_short += int(np.count_nonzero(~long_enough))
            polls = pick(polls, long_enough)
        budget = self._budget.of(arrived)
        chosen = select(polls, waits, budget) if arrived else everything(polls, waits)
        before = self._slices
        own = pick(polls, chosen.polls & (polls["instance"] != 0))
        self._write_instances(own, pick(waits, chosen.waits & (waits["instance"] != 0)), begun, ended)
        self._write_spawns(begun)
        self._write_scheduling(join(self._off_cpu, OFF_CPU), max(budget // 4, _LEAST_BLOCKED))
        self._off_cpu = []
        self._write_threads(self._holder.due(_with_merged(polls, chosen)))
        self._write_outcomes(over)
        self._forget(over["task"])
        self._wakes.forget(everyone, over["task"])
        self._merged += len(chosen.merged)
        self._represented += chosen.represented
        drawn = int(np.count_nonzero(chosen.polls | chosen.singles)) + chosen.represented
        self._omitted += len(polls) - drawn + int(np.count_nonzero(~chosen.waits))
        self._budget.spend(arrived, self._slices - before)

    def _write_outcomes(self, over: Array) -> None:
        """Where a task with a row of its own did not simply return."""
        for task in over[np.isin(over["outcome"], list(_UNUSUAL))]:
            track = self._task_tracks.get(int(task["task"]))
            if track is not None:
                outcome = Outcome(int(task["outcome"]))
                self._descriptors.instant(
                    int(task["last"]), track, outcome.name.lower(), {"outcome": _UNUSUAL[outcome]}
                )
                self._slices += 1

    def _forget(self, over: npt.NDArray[np.uint64]) -> None:
        """Tasks that are over are needed while a poll of them, or in them, is held back."""
        if not len(over) and not len(self._over_but_held):
            return
        over = np.concatenate([self._over_but_held, over])
        held = self._holder.held
        needed = np.isin(over, np.concatenate([held["task"], held["instance"]]))
        self._over_but_held = over[needed]
        self._alive = pick(self._alive, ~np.isin(self._alive["task"], over[~needed]))

    def _write_instances(self, polls: Array, waits: Array, begun: Array, ended: npt.NDArray[np.uint64]) -> None:
        """Polls and waits on the instances' own tracks, where nothing nests but what is inlined: ENDs before BEGINs,
        and outer ones before inner ones, will do.

        A task gets its track when it begins, before its futures do, and is ready there from its spawn on.
        """
        since = np.where(begun["spawned"] != 0, begun["spawned"], begun["first"])
        tids = np.concatenate([polls["tid"], waits["tid"], begun["tid"]])
        tracks = self._lanes.assign(
            np.concatenate([polls["instance"], waits["instance"], begun["task"]]),
            self._processes_of_threads(tids),
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
        below = self._rows.inlined_below(long_waits)
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
            wait_rows = list(self._rows.waits(pick(waits, which_waits), wait_tracks[which_waits], kind))
            wait_rows += self._wakes.ready(pick(ready, which_ready), ready_tracks[which_ready], kind)
            wait_rows += self._spawns.ready(pick(new, which_new), new_tracks[which_new], kind)
            self._descriptors.flush()
            for rows in (*stints, *wait_rows):
                self._file.write(rows)
        nested = list(self._rows.inlined(long_waits, long_tracks))
        self._descriptors.flush()
        for rows in nested:
            self._file.write(rows)
        self._slices += len(polls) + len(waits) + len(ready) + len(new) + int(below.sum())

    def _write_wakes(self, ready: Array) -> None:
        """The wakes of what became ready (dtype WAIT), on the threads' tracks."""
        if not len(ready):
            return
        rows = self._wakes.marks(ready, self._tracks_of_threads(ready["woken_on"]))
        self._descriptors.flush()
        self._file.write(rows)
        self._slices += len(ready)

    def _stints(self, polls: Array, tracks: Integers, kind: int) -> Iterator[npt.NDArray[np.uint8]]:
        """Polls on the instances' own tracks; the first one of a task tells where that was spawned, others by which
        wakes they came.
        """
        at, is_first = locate(self._alive["task"], polls["instance"])
        if len(self._alive):
            is_first &= (self._alive["first"][at] == polls["start"]) & (self._alive["spawned"][at] != 0)
        flows = self._wakes.flows(polls)
        is_woken = (flows["flow"] != 0) & ~is_first
        is_plain = ~is_first & ~is_woken
        yield self._rows.stints(pick(polls, is_plain), tracks[is_plain], kind)
        if is_woken.any():
            yield self._wakes.woken(pick(polls, is_woken), flows[is_woken], tracks[is_woken], kind)
        if is_first.any():
            tasks = self._alive.take(at[is_first])
            yield from self._spawns.first(pick(polls, is_first), tasks, tracks[is_first], kind)

    def _write_spawns(self, begun: Array) -> None:
        """Where tasks were spawned, on the threads' tracks."""
        spawned = pick(begun, begun["spawned"] != 0)
        if not len(spawned):
            return
        marks = list(self._spawns.marks(spawned, self._tracks_of_threads(spawned["spawned_on"])))
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
        blocked = blocked_in_polls(off, self._min_ns, most)
        tracks = self._tracks_of_threads(blocked["tid"])
        rows = self._scheduling.blocked(blocked, tracks)
        self._descriptors.flush()
        self._file.write(self._scheduling.states(off))
        self._file.write(rows)
        self._file.write(self._rows.ends(blocked_until(blocked), tracks))
        self._slices += len(blocked)

    def _write_threads(self, due: Due) -> None:
        """Polls (merged ones too) on their threads' tracks, nested."""
        if not len(due.polls):
            return
        tracks = self._tracks_of_threads(due.polls["tid"])
        exact = tied(due.polls)
        if exact.any():
            self._write_tied(due, tracks, np.flatnonzero(exact))
        empty = due.polls["start"] == due.polls["end"]
        ends = due.ends & ~exact
        self._file.write(self._rows.ends(due.polls["end"][ends], tracks[ends]))
        for kind, which in ((INSTANT, empty), (BEGIN, ~empty)):
            which = which & due.begins & ~exact
            for _, rows in self._begins(pick(due.polls, which), tracks[which], kind):
                self._file.write(rows)
        self._slices += int(np.count_nonzero(due.begins))

    def _write_tied(self, due: Due, tracks: Integers, which: Integers) -> None:
        """The few polls for which the order of equal times matters, event by event."""
        begin: dict[int, bytes] = {}
        empty = due.polls["start"] == due.polls["end"]
        for kind, sort in ((INSTANT, empty), (BEGIN, ~empty)):
            places = which[sort[which]]
            for chosen, rows in self._begins(due.polls.take(places), tracks[places], kind):
                begin |= {place: row.tobytes() for place, row in zip(places[chosen].tolist(), rows, strict=True)}
        rows = self._rows.ends(due.polls["end"][which], tracks[which])
        end = {place: row.tobytes() for place, row in zip(which.tolist(), rows, strict=True)}
        self._file.write(b"".join((end if kind == END else begin)[index] for index, kind in tied_events(due, which)))

    def _begins(self, polls: Array, tracks: Integers, kind: int) -> list[tuple[Integers, npt.NDArray[np.uint8]]]:
        """The beginnings of polls and of merged slices, with the interned strings they need already written."""
        merged = (polls["flags"] & int(PollFlag.MERGED)) != 0
        plain, runs = np.flatnonzero(~merged), np.flatnonzero(merged)
        plain_rows = self._rows.polls(pick(polls, ~merged), tracks[plain], kind, self._alive)
        rows = [(plain[chosen], encoded) for chosen, encoded in plain_rows]
        if len(runs):
            some = polls.take(runs)
            counts, busy = some["instance"].astype(np.int64), some["parent"].astype(np.int64)
            rows.append(
                (runs, self._rows.merged(some["start"], tracks[runs], counts, busy, some["end"] - some["start"]))
            )
        self._descriptors.flush()
        return rows

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
            process = int(self._processes_of_threads(np.array([tid], np.uint32))[0])
            if process not in tracks:
                what = "What is wrong with the program, as far as this recording shows; arrows lead to the places."
                tracks[process] = self._descriptors.track("Findings", process or None, rank=-5, description=what)
            places = [self._thread_track(tid)] if tid else []
            places += [self._task_tracks[finding.task]] if finding.task in self._task_tracks else []
            self._slices += mark(self._descriptors, number, finding, tracks[process], places)

    def close(self, tally: Tally, end: CaptureEnd | None) -> WrittenTrace:
        """Write what is left, say what is missing, and give the file its name."""
        try:
            self._write_block()
            self._write_threads(self._holder.rest())
            self._write_findings()
            for tid, track in self._thread_tracks.items():
                self._describe_unnamed(tid, track)
            remarks = self._remarks()
            latest = max(self._latest, end.time if end else 0)
            self._counters.write(self._descriptors, self._only, latest)
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
            slices=self._slices + self._notes.slices,
            merged=self._represented,
            omitted=self._omitted + self._too_short,
            remarks=remarks,
        )

    def _describe_unnamed(self, tid: int, track: int) -> None:
        """A thread that was never told: its process is certain only if there is one."""
        if tid in self._named:
            return
        if self._only is not None:
            self._descriptors.thread(Thread(tid, self._recording.processes[0].pid, ""), track)
        else:
            self._descriptors.track(f"thread {tid} (of an unknown process)", uuid=track)

    def _remarks(self) -> tuple[str, ...]:
        remarks = []
        if self._merged:
            remarks.append(
                f"{self._represented:,} short polls are drawn as {self._merged:,} merged slices,"
                " to keep the trace openable (--max-slices)"
            )
        if self._omitted:
            remarks.append(
                f"{self._omitted:,} short polls and waits are not drawn, to keep the trace openable (--max-slices)"
            )
        if self._too_short:
            remarks.append(f"{self._too_short:,} polls shorter than {self._min_us:g} µs are not drawn (--min-us)")
        if self._lanes.sharing:
            remarks.append(
                f"{self._lanes.sharing:,} tasks and futures share {self._lanes.lanes:,} lanes:"
                " there are too many for a row each"
            )
        if self._lanes.without:
            remarks.append(
                f"{self._lanes.without:,} tasks and futures have no row of their own:"
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


def _with_merged(polls: Array, chosen: Selection) -> Array:
    """The thread's slices in order of arrival: polls that are drawn, and merged ones at their last poll's place."""
    drawn = np.flatnonzero(chosen.polls | chosen.singles)
    if not len(chosen.merged):
        return pick(polls, chosen.polls | chosen.singles)
    places = np.concatenate([drawn, chosen.position])
    return join([polls.take(drawn), chosen.merged], POLL).take(np.argsort(places, kind="stable"))
