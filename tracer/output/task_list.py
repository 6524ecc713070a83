"""`ps`: a line a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from rich.console import Console, Group, RenderableType

from tracer.model import Array, Binary, FunctionKind, Process
from tracer.output.frames import FutureFrame, Parked, frame_json, future_frames, parked
from tracer.output.labels import short_name_of
from tracer.output.tables import Column, make_table, plain_text
from tracer.stacks import Snapshot, TaskFlag, TaskState


class SortKey(StrEnum):
    """What tasks can be sorted by."""

    ID = "id"
    STATE = "state"
    FUTURE = "future"
    PLACE = "place"


@dataclass(frozen=True)
class TaskView:
    """A snapshot with its stacks in words.  threads: names by tid."""

    process: Process
    binary: Binary
    snapshot: Snapshot
    threads: dict[int, str] = field(default_factory=dict)
    frames: tuple[tuple[FutureFrame, ...], ...] = ()
    parked: tuple[Parked, ...] = ()

    @classmethod
    def of(cls, process: Process, binary: Binary, snapshot: Snapshot, threads: dict[int, str]) -> TaskView:
        """Put the stacks into words."""
        frames = tuple(future_frames(stack, binary) for stack in snapshot.stacks)
        return cls(process, binary, snapshot, threads, frames, tuple(parked(one) for one in frames))

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
        if task["flags"] & TaskFlag.SHIFTED and task["state"] != TaskState.RUNNING:
            words += ", on the move"
        return words


def chosen_tasks(view: TaskView, matches: Callable[[str], bool], states: frozenset[TaskState], by: SortKey) -> Array:
    """The tasks whose future's name matches, in some states, sorted."""
    tasks = view.snapshot.tasks
    names = {int(one): matches(view.future(int(one))) for one in set(tasks["function"].tolist())}
    rows = [
        row
        for row, (function, state) in enumerate(zip(tasks["function"].tolist(), tasks["state"].tolist(), strict=True))
        if names[function] and (not states or state in states)
    ]
    ids = tasks["id"].tolist()
    keys: dict[SortKey, Callable[[int], Any]] = {
        SortKey.ID: lambda row: (ids[row] == 0, ids[row]),
        SortKey.STATE: lambda row: (-int(tasks["state"][row]), ids[row]),
        SortKey.FUTURE: lambda row: (view.future(int(tasks["function"][row])), ids[row]),
        SortKey.PLACE: lambda row: (_parked(view, tasks[row]).place or "\uffff", ids[row]),
    }
    chosen: Array = tasks[sorted(rows, key=keys[by])]
    return chosen


def task_list(view: TaskView, tasks: Array, console: Console) -> RenderableType:
    """The table, and the counts below it."""
    has_ids = bool(tasks["id"].any())
    rows = []
    for task in tasks:
        at = _parked(view, task)
        rows.append(
            (
                str(task["id"]) if task["id"] else f"0x{int(task['header']):x}",
                view.state(task),
                short_name_of(view.future(int(task["function"])), FunctionKind.TASK),
                at.awaited,
                at.leaf if at.leaf != at.awaited else "",
                at.place,
            )
        )
    columns = {"id" if has_ids else "task": Column.FIGURE, "state": Column.WORD, "future": Column.NAME}
    columns |= {"awaiting": Column.NAME, "in the end": Column.NAME, "at": Column.PLACE}
    table = make_table(columns, rows, console.width, ("in the end",))
    return Group(table, plain_text(""), plain_text(counts_words(view, tasks)))


def counts_words(view: TaskView, tasks: Array) -> str:
    """How many tasks do what, and what reading them took."""
    states = ", ".join(
        f"{count:,} {TaskState(state).name.lower()}"
        for state in TaskState
        if (count := int((tasks["state"] == state).sum()))
    )
    one = view.snapshot
    took = f"read in {one.duration / 1e6:,.0f} ms" if one.time else "from a core dump"
    total = len(one.tasks)
    of_all = "" if len(tasks) == total else f" of {total:,}"
    plural = "" if total == 1 else "s"
    return f"{len(tasks):,}{of_all} task{plural}{': ' if states else ''}{states} · {took}"


def _parked(view: TaskView, task: Any) -> Parked:
    stack = int(task["stack"])
    return view.parked[stack] if stack >= 0 else Parked("", None, "", "")


def tasks_json(view: TaskView, tasks: Array) -> dict[str, Any]:
    """As docs/snapshot.schema.json has it."""
    used = sorted({int(one) for one in tasks["stack"] if one >= 0})
    place = {stack: number for number, stack in enumerate(used)}
    return {
        "schema": 1,
        "process": {"pid": view.process.pid, "name": view.process.name, "executable": view.process.executable},
        "time": view.snapshot.time or None,
        "duration": view.snapshot.duration,
        "tasks": [_task_json(view, task, place) for task in tasks],
        "stacks": [[frame_json(frame) for frame in view.frames[stack]] for stack in used],
    }


def _task_json(view: TaskView, task: Any, place: dict[int, int]) -> dict[str, Any]:
    function = view.binary.functions[int(task["function"])]
    stack = int(task["stack"])
    at = _parked(view, task)
    return {
        "id": int(task["id"]) or None,
        "header": f"0x{int(task['header']):x}",
        "runtime": function.runtime,
        "future": view.future(int(task["function"])),
        "state": TaskState(int(task["state"])).name.lower(),
        "aborted": bool(task["flags"] & TaskFlag.ABORTED),
        "thread": int(task["tid"]) or None,
        "stack": place[stack] if stack >= 0 else None,
        "at": str(at.location) if at.location else None,
        "awaiting": at.awaited or None,
        "leaf": at.leaf or None,
    }


def group_alike(tasks: Array) -> Sequence[Array]:
    """Tasks that are in the same stack and state, the largest group first."""
    groups: dict[tuple[int, int, int, int], list[int]] = {}
    for row, task in enumerate(tasks):
        key = int(task["function"]), int(task["state"]), int(task["stack"]), int(task["tid"])
        groups.setdefault(key, []).append(row)
    return [tasks[rows] for rows in sorted(groups.values(), key=len, reverse=True)]
