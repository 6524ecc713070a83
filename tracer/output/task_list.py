"""`ps`: a line a task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from tracer.model import Array, Binary, FunctionKind, Process, SourceLocation, Standstill
from tracer.output.finished import kept_words
from tracer.output.frames import FutureFrame, Parked, frame_json, future_frames, innermost_own, parked, task_frames
from tracer.output.halts import standstill_words
from tracer.output.labels import short_name_of
from tracer.output.running_polls import called_by_own, poll_json, poll_place, poll_words
from tracer.output.tables import Column, table_lines
from tracer.output.task_links import LinkWords
from tracer.stacks import RunningJob, RunningPoll, Snapshot, TaskFlag, TaskLinks, TaskState, UnderWay
from tracer.terminal import printable


class SortKey(StrEnum):
    """What tasks can be sorted by."""

    ID = "id"
    STATE = "state"
    FUTURE = "future"
    PLACE = "place"


@dataclass(frozen=True)
class TaskView:
    """A snapshot with its stacks in words.  threads: names by tid.  links: None: they were not read.

    under_way: polls and jobs.  standstill: what keeps the whole process from running; None: nothing is known to.
    """

    process: Process
    binary: Binary
    snapshot: Snapshot
    threads: dict[int, str] = field(default_factory=dict)
    frames: tuple[tuple[FutureFrame, ...], ...] = ()
    parked: tuple[Parked, ...] = ()
    links: LinkWords | None = None
    under_way: UnderWay = field(default_factory=UnderWay)
    standstill: Standstill | None = None

    @classmethod
    def of(
        cls,
        process: Process,
        binary: Binary,
        snapshot: Snapshot,
        threads: dict[int, str],
        links: TaskLinks | None = None,
        under_way: UnderWay | None = None,
        standstill: Standstill | None = None,
    ) -> TaskView:
        """Put the stacks into words.  links: None: not asked for."""
        frames = _named_frames(binary, snapshot)
        at = tuple(parked(one) for one in frames)
        words = None
        if links is not None:
            names = [short_name_of(one.name, FunctionKind.TASK).removeprefix("task ") for one in binary.functions]
            words = LinkWords(binary, snapshot, links, names, partial(_doing, snapshot, at))
        return cls(process, binary, snapshot, threads, frames, at, words, under_way or UnderWay(), standstill)

    def future(self, function: int) -> str:
        """The name of the future of a task whose poll this is."""
        return self.binary.functions[function].name.removeprefix("task ")

    def state(self, task: Any) -> str:
        """What a task does, in words."""
        words = TaskState(int(task["state"])).name.lower()
        if task["tid"]:
            thread = self.threads.get(int(task["tid"]))
            words += f" on {int(task['tid'])}" + (f" ({thread})" if thread else "")
        if task["flags"] & TaskFlag.ABORTED:
            words += ", aborted"
        if task["state"] == TaskState.COMPLETE and task["flags"] & TaskFlag.JOINED:
            words += ", handle kept"
        if task["flags"] & TaskFlag.SHIFTED and task["state"] != TaskState.RUNNING:
            words += ", on the move"
        return words

    def job_names(self, job: RunningJob) -> list[str]:
        """What it runs: one of these, whose code is the same."""
        return [self.binary.functions[function].name for function in job.functions]

    def index(self, task: Any) -> int:
        """Of a task in Snapshot.tasks."""
        return int(np.searchsorted(self.snapshot.tasks["header"], task["header"]))

    def indexes(self, tasks: Array) -> frozenset[int]:
        """The same of many."""
        return frozenset(np.searchsorted(self.snapshot.tasks["header"], tasks["header"]).tolist())

    def parked_at(self, task: Any) -> Parked:
        """Where a task waits."""
        stack = int(task["stack"])
        return self.parked[stack] if stack >= 0 else _UNKNOWN

    def waiting_at(self, task: Any, frame: int) -> tuple[str, SourceLocation | None]:
        """The innermost future of the user's own that waits by this frame of the task's stack, and its line; where none
        is known, the task's own."""
        own = innermost_own(self.frames[int(task["stack"])], frame) if task["stack"] >= 0 else None
        if own is not None:
            return own.name, own.location or own.begins
        function = int(task["function"])
        return self.future(function), self.parked_at(task).location or self.binary.functions[function].location

    def doing(self, index: int) -> str:
        """`waits for sleep at src/main.rs:7`: what a task of the snapshot, by its index, does; "": not known."""
        return _doing(self.snapshot, self.parked, index)

    def poll_of(self, task: Any) -> RunningPoll | None:
        """Where the poll of a running task stands; None: not known, or it does not run."""
        return self.under_way.polls.get(int(task["header"]))


def _named_frames(binary: Binary, snapshot: Snapshot) -> tuple[tuple[FutureFrame, ...], ...]:
    """The frames of each stack."""
    numbers, first = np.unique(snapshot.tasks["stack"], return_index=True)
    functions = dict(zip(numbers.tolist(), snapshot.tasks["function"][first].tolist(), strict=True))
    return tuple(
        task_frames(stack, binary, functions[number]) if number in functions else future_frames(stack, binary)
        for number, stack in enumerate(snapshot.stacks)
    )


def _doing(snapshot: Snapshot, at: Sequence[Parked], index: int) -> str:
    """`waits for sleep at src/main.rs:7`: what a task of the snapshot does.  at: by stack."""
    task = snapshot.tasks[index]
    state = TaskState(int(task["state"]))
    if state in (TaskState.UNREADABLE, TaskState.COMPLETE):
        return ""
    if state is TaskState.RUNNING:
        return "is being polled"
    place = at[int(task["stack"])] if task["stack"] >= 0 else _UNKNOWN
    words = "is ready" if state is TaskState.READY else "waits"
    if state is TaskState.WAITING and (place.awaited or place.leaf):
        words += f" for {place.awaited or place.leaf}"
    return words + (f" at {place.place}" if place.place else "")


_UNKNOWN = Parked("", None, "", "")


def chosen_tasks(view: TaskView, matches: Callable[[str], bool], states: frozenset[TaskState], by: SortKey) -> Array:
    """The tasks whose future's name matches, in some states (none: in any), sorted."""
    tasks = view.snapshot.tasks
    functions, of_task = np.unique(tasks["function"], return_inverse=True)
    names = [view.future(function) for function in functions.tolist()]
    chosen = np.array([matches(name) for name in names], np.bool_)[of_task]
    if states:
        chosen &= np.isin(tasks["state"], sorted(states))
    ids = tasks["id"]
    keys: dict[SortKey, Callable[[], npt.NDArray[Any]]] = {
        SortKey.ID: lambda: ids == 0,
        SortKey.STATE: lambda: -tasks["state"].astype(np.int64),
        SortKey.FUTURE: lambda: _ranks(names)[of_task],
        SortKey.PLACE: lambda: _ranks([*(one.place or _LAST for one in view.parked), _LAST])[tasks["stack"]],
    }
    order = np.lexsort((tasks["header"], ids, keys[by]()))
    found: Array = tasks[order[chosen[order]]]
    return found


_LAST = "\uffff"


def _ranks(words: Sequence[str]) -> npt.NDArray[np.int64]:
    """The place of each word among all in alphabetical order; equal ones have the same."""
    place = {word: number for number, word in enumerate(sorted(set(words)))}
    return np.array([place[word] for word in words], np.int64)


def task_lines(view: TaskView, tasks: Array, width: int, jobs: Sequence[RunningJob] = ()) -> Iterator[str]:
    """The table, one of the blocking jobs, and the counts below them."""
    first, of_task = _kinds(tasks)
    names = [str(id_) if id_ else f"0x{header:x}" for id_, header in tasks[["id", "header"]].tolist()]
    longest = max(names, key=len, default="")
    rows = []
    for task in tasks[first]:
        at = view.parked_at(task)
        future = short_name_of(view.future(int(task["function"])), FunctionKind.TASK)
        leaf = at.leaf if at.leaf != at.awaited else ""
        row = longest, view.state(task), future, at.awaited, leaf, at.place
        poll = view.poll_of(task)
        if poll is not None:
            called = called_by_own(poll, view.binary.own_folders)
            row = *row[:3], poll_words(poll), called, poll_place(poll, view.binary.own_folders)
        rows.append(row)
    columns = {"id" if tasks["id"].any() else "task": Column.FIGURE, "state": Column.WORD, "future": Column.NAME}
    columns |= {"awaiting": Column.NAME, "in the end": Column.NAME, "at": Column.PLACE}
    heading, *lines = table_lines(columns, rows, width, ("in the end",))
    # A hundred thousand tasks differ in little but their ids, which stand first.
    room = max(len(longest), len(next(iter(columns))))
    ends = [line[room:] for line in lines]
    yield heading
    for name, kind in zip(names, of_task.tolist(), strict=True):
        yield name.rjust(room) + ends[kind]
    yield ""
    if jobs:
        yield from _job_lines(view, jobs, width)
        yield ""
    yield from counts_lines(view, tasks)


def _job_lines(view: TaskView, jobs: Sequence[RunningJob], width: int) -> Iterator[str]:
    """Those that stand alike as one."""
    own = view.binary.own_folders
    counts = Counter(
        (job_words(view, job), poll_words(job.poll), called_by_own(job.poll, own), poll_place(job.poll, own))
        for job in jobs
    )
    columns = {"threads": Column.FIGURE, "blocking job": Column.NAME, "awaiting": Column.NAME}
    columns |= {"in the end": Column.NAME, "at": Column.PLACE}
    yield from table_lines(
        columns, [(f"{count:,}", *words) for words, count in counts.most_common()], width, ("in the end",)
    )


def job_words(view: TaskView, job: RunningJob) -> str:
    """What it runs, in short; nothing of one whose code several have."""
    names = {short_name_of(name, FunctionKind.TASK).removeprefix("blocking job ") for name in view.job_names(job)}
    return names.pop() if len(names) == 1 else "one of several"


def _kinds(tasks: Array) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """(the first task of each kind, the kind of each task): those of a kind differ in nothing but who they are."""
    key = np.zeros(len(tasks), np.uint64)
    for name, bits in (("function", 20), ("state", 3), ("flags", 3), ("stack", 17), ("tid", 22)):
        key = key << np.uint64(bits) | (tasks[name].astype(np.uint64) & np.uint64((1 << bits) - 1))
    _, first, of_task = np.unique(key, return_index=True, return_inverse=True)
    return first, of_task


def counts_lines(view: TaskView, tasks: Array) -> Iterator[str]:
    """How many tasks do what, and what reading them took; finished ones that are kept; what keeps the process from
    running."""
    states = ", ".join(
        f"{count:,} {TaskState(state).name.lower()}"
        for state in TaskState
        if (count := int((tasks["state"] == state).sum()))
    )
    one = view.snapshot
    took = f"read in {one.duration / 1e6:,.0f} ms" if one.time else "from a core dump"
    if one.missed:
        took += f" · {one.missed:,} more came or went while it was read"
    total = len(one.tasks)
    of_all = "" if len(tasks) == total else f" of {total:,}"
    plural = "" if total == 1 else "s"
    yield f"{len(tasks):,}{of_all} task{plural}{': ' if states else ''}{states} · {took}"
    yield from kept_words(view, tasks)
    if view.standstill is not None:
        yield standstill_words(view.standstill, view.process.pid)


def tasks_json(view: TaskView, tasks: Array, jobs: Sequence[RunningJob]) -> dict[str, Any]:
    """As docs/snapshot.schema.json has it."""
    used = sorted({int(one) for one in tasks["stack"] if one >= 0})
    place = {stack: number for number, stack in enumerate(used)}
    return {
        "schema": 1,
        "process": {"pid": view.process.pid, "name": view.process.name, "executable": view.process.executable},
        "time": view.snapshot.time or None,
        "duration": view.snapshot.duration,
        "missed": view.snapshot.missed,
        "standstill": {"kind": still.kind.value, "by": still.by or None} if (still := view.standstill) else None,
        "tasks": [_task_json(view, task, place) for task in tasks],
        "jobs": [
            {
                "thread": job.tid,
                "may_be": [printable(name) for name in view.job_names(job)],
                "poll": poll_json(job.poll, view.binary.own_folders),
            }
            for job in jobs
        ],
        "cycles": view.links.cycles_json(view.indexes(tasks)) if view.links is not None else None,
        "stacks": [[frame_json(frame) for frame in view.frames[stack]] for stack in used],
    }


def _task_json(view: TaskView, task: Any, place: dict[int, int]) -> dict[str, Any]:
    links = view.links.as_json(view.index(task)) if view.links is not None else None
    function = view.binary.functions[int(task["function"])]
    stack = int(task["stack"])
    at = view.parked_at(task)
    return {
        "id": int(task["id"]) or None,
        "header": f"0x{int(task['header']):x}",
        "runtime": function.runtime,
        "future": view.future(int(task["function"])),
        "state": TaskState(int(task["state"])).name.lower(),
        "aborted": bool(task["flags"] & TaskFlag.ABORTED),
        "has_handle": bool(task["flags"] & TaskFlag.JOINED),
        "kept_by": view.links.kept_by(view.index(task)) if view.links is not None else None,
        "thread": int(task["tid"]) or None,
        "poll": poll_json(poll, view.binary.own_folders) if (poll := view.poll_of(task)) is not None else None,
        "stack": place[stack] if stack >= 0 else None,
        "at": str(at.location) if at.location else None,
        "awaiting": at.awaited or None,
        "leaf": at.leaf or None,
        "links": links,
    }


def group_alike(view: TaskView, tasks: Array) -> list[Array]:
    """Tasks that are in the same stack and state, and hold alike as far as that was read, the largest group first."""
    _, kinds = _kinds(tasks)
    if view.links is not None:
        holdings = view.links.holdings[np.searchsorted(view.snapshot.tasks["header"], tasks["header"])]
        kinds = kinds * (len(view.snapshot.tasks) + 1) + holdings
    first, of_task = np.unique(kinds, return_inverse=True)
    counts = np.bincount(of_task, minlength=len(first))
    order = np.argsort(of_task, kind="stable")
    groups: list[Array] = np.split(tasks[order], np.cumsum(counts)[:-1]) if len(tasks) else []
    return sorted(groups, key=len, reverse=True)
