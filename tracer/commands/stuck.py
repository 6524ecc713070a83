"""What memory at the end of a recording tells of tasks that will not go on, or in whose way others are, in words."""

from __future__ import annotations

from collections.abc import Iterator

from tracer.commands.backlogs import MOST_TASKS
from tracer.commands.blocked import waiting_for_nobody, waiting_for_waiting
from tracer.model import Binary, Process, Stuck, StuckKind
from tracer.output.frames import waits_for_ever
from tracer.output.labels import short_awaitee
from tracer.output.task_list import TaskView
from tracer.snapshot.read import SnapshotReader
from tracer.stacks import Cycle, CycleKind, Snapshot, TaskLinks

_MOST_TOLD = 64
"""Tasks of a group that are told one by one."""


def linked(
    reader: SnapshotReader, binary: Binary, process: Process, snapshot: Snapshot
) -> tuple[TaskView, TaskLinks | None]:
    """A snapshot just taken in words, with its links.  Raises NoSuchProcess, PermissionMissing."""
    links = reader.links(snapshot) if len(snapshot.tasks) <= MOST_TASKS else None
    return TaskView.of(process, binary, snapshot, {}, links), links


def stuck_tasks(reader: SnapshotReader, view: TaskView, links: TaskLinks | None) -> tuple[Stuck, ...]:
    """Of what `linked` gave.  Raises NoSuchProcess, PermissionMissing."""
    found: list[Stuck] = []
    if links is not None and view.links is not None:
        for cycle in links.cycles:
            members = [int(links.blocks["task"][block]) for block in cycle.blocks]
            by = int(links.links["frame"][links.blocks["link"][cycle.blocks[0]]])
            found.append(_stuck(view, _kind(cycle), members, by, view.links.sentence(cycle), cycle.is_certain))
        found += [*waiting_for_waiting(view, links), *waiting_for_nobody(view, links)]
    return (*found, *_unwakeable(view, reader.without_wakers(view.snapshot).tolist()))


def _kind(cycle: Cycle) -> StuckKind:
    return StuckKind.FUTURELOCK if cycle.kind is CycleKind.FUTURELOCK else StuckKind.DEADLOCK


def _unwakeable(view: TaskView, tasks: list[int]) -> Iterator[Stuck]:
    """One for all that are in the same stack."""
    groups: dict[tuple[int, int], list[int]] = {}
    for one in tasks:
        task = view.snapshot.tasks[one]
        groups.setdefault((int(task["function"]), int(task["stack"])), []).append(one)
    for (function, stack), members in groups.items():
        if stack >= 0 and waits_for_ever(view.frames[stack]):
            continue  # as somebody meant it to
        name = short_awaitee(view.future(function))
        which = f"a task {name} waits" if len(members) == 1 else f"{len(members):,} tasks {name} wait"
        leaf = view.parked_at(view.snapshot.tasks[members[0]]).leaf
        what = f" for {leaf}" if leaf else ""
        yield _stuck(view, StuckKind.UNWAKEABLE, members, -1, f"{which}{what}, and nothing has a waker of it", True)


def _stuck(view: TaskView, kind: StuckKind, tasks: list[int], frame: int, words: str, is_certain: bool) -> Stuck:
    """frame: by which the first of them waits; -1: by its whole stack."""
    headers = tuple(int(view.snapshot.tasks["header"][one]) for one in tasks[:_MOST_TOLD])
    function, where = view.waiting_at(view.snapshot.tasks[tasks[0]], frame)
    return Stuck(kind, headers, is_certain, words, function, where)
