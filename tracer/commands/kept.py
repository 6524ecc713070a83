"""Finished tasks that memory still has because somebody keeps their handles, for a recording."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from tracer.model import Array, KeptTasks, LinkKind, LinkRole, Plan
from tracer.snapshot.places import planned_tasks
from tracer.stacks import Snapshot, with_handles

if TYPE_CHECKING:
    from tracer.output.task_list import TaskView


def kept_tasks(snapshot: Snapshot, plan: Plan, binary: int, view: TaskView | None) -> tuple[KeptTasks, ...]:
    """By kind.  binary: index into Plan.binaries.  view: of the snapshot, with its links; None: who keeps them is not
    looked for."""
    return tuple(_kinds(snapshot, planned_tasks(plan, binary), view))


def _kinds(snapshot: Snapshot, planned: dict[int, int], view: TaskView | None) -> Iterator[KeptTasks]:
    kept = with_handles(snapshot.tasks)
    for function, count in sorted(Counter(kept["function"].tolist()).items()):
        if function in planned:
            one = KeptTasks(planned[function], count)
            yield one if view is None else _with_keeper(one, view, kept[kept["function"] == function])


def _with_keeper(one: KeptTasks, view: TaskView, tasks: Array) -> KeptTasks:
    """With the kind of task that has the most of the handles of these."""
    keepers = view.links.keepers_of(view.indexes(tasks)) if view.links is not None else tasks[:0]
    if not len(keepers):
        return one
    functions = view.snapshot.tasks["function"][keepers["task"]]
    ((function, count),) = Counter(functions.tolist()).most_common(1)
    mine = keepers[functions == function]
    keeper = view.snapshot.tasks[int(mine["task"][0])]
    by, where = view.waiting_at(keeper, int(mine["frame"][0]))
    is_asked = any(_asks(view, task) for task in dict.fromkeys(mine["task"].tolist()))
    header = int(keeper["header"])
    return replace(one, by=by, of_these=count, is_asked=is_asked, location=where, keeper=header)


def _asks(view: TaskView, task: int) -> bool:
    """Whether a task waits for the end of another one, as who takes results does."""
    stack = int(view.snapshot.tasks["stack"][task])
    frames = view.snapshot.stacks[stack].frames if stack >= 0 else ()
    return any(
        link.kind is LinkKind.TASK and link.role is LinkRole.WAITS
        for frame in frames
        if frame.layout is not None
        for link in view.binary.layouts[frame.layout].links
    )
