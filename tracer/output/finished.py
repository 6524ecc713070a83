"""Finished tasks that are still in memory, because somebody keeps their handles: how many, and who that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tracer.model import Array, FunctionKind
from tracer.output.awaits import short_place
from tracer.output.labels import short_name_of
from tracer.stacks import TaskFlag, with_handles

if TYPE_CHECKING:
    from tracer.output.task_list import TaskView

_MANY = 20
"""Below as many nothing more is said: each has its state."""

_MOST_KINDS, _MOST_KEEPERS = 3, 3


def kept_words(view: TaskView, tasks: Array) -> Iterator[str]:
    """A sentence on how many they are and of which kinds; none where they are few."""
    kept = with_handles(tasks)
    if len(kept) < _MANY:
        return
    kinds = Counter(kept["function"].tolist()).most_common()
    names = [f"{count:,} {_name(view, function)}" for function, count in kinds[:_MOST_KINDS]]
    more = f", {len(kinds) - _MOST_KINDS} more kinds" if len(kinds) > _MOST_KINDS else ""
    yield f"finished, and kept in memory by their handles: {', '.join(names)}{more}"


def keeper_lines(view: TaskView, alike: Array) -> list[str]:
    """Who keeps these tasks, which are complete: a line for each of the tasks that have most of their handles."""
    if not (alike["flags"][0] & TaskFlag.JOINED):
        return ["nobody has its handle: a waker or an AbortHandle keeps it"]
    if view.links is None:
        return []
    keepers = view.links.keepers_of(view.indexes(alike))
    counts = Counter(keepers[["task", "frame"]].tolist()).most_common()
    lines = []
    for (task, frame), count in counts[:_MOST_KEEPERS]:
        _, where = view.waiting_at(view.snapshot.tasks[task], frame)
        at = f" at {short_place(where)}" if where is not None else ""
        lines.append(f"{_handles(count, len(alike))} kept by {view.links.task(task)}{at}")
    told = sum(count for _, count in counts[:_MOST_KEEPERS])
    others = len(keepers) - told
    unknown = len(alike) - len(keepers)
    if others:
        lines.append(f"{_handles(others, len(alike))} kept by other tasks")
    if unknown:
        lines.append(f"{_handles(unknown, len(alike))} kept where no variable of a task is known to have it")
    return lines


def _handles(count: int, of: int) -> str:
    if of == 1:
        return "its handle is"
    return f"{'all' if count == of else f'{count:,}'} handles are"


def _name(view: TaskView, function: int) -> str:
    return short_name_of(view.future(function), FunctionKind.TASK)
