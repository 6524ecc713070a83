"""The tracks of tasks and futures: a folder for each kind, a row for each function, below it one for each instance.

A future of a task that has a row of its own goes below that.
"""

from __future__ import annotations

from tracer.model import FunctionKind, Plan, PollFunction
from tracer.output.descriptors import Descriptors
from tracer.output.labels import kind_words, short_name, without_kind
from tracer.output.lanes import Group, Lanes
from tracer.output.live_tasks import LiveTasks
from tracer.output.spawn_words import spawn_words

_MAX_OWN, _MAX_OWN_SHARE, _MAX_TRACKS, _MAX_KNOWN = 5_000, 500, 20_000, 1 << 17
"""Own tracks of instances in all and of one function, tracks with shared lanes, instances remembered."""
_TASKS = (
    "Async tasks",
    50,
    "One row for each task, by its future: when it ran and when it waited; below it its futures.",
)
_JOBS = "Blocking jobs", 60, "One row for each job, by its function: when it was in the queue and when it ran."
_FUTURES = "Futures", 100, "One row for each future outside of those tasks, by function: its polls and waits."
"""Folders of rows: name, rank, description."""
_KIND_RANK = {
    FunctionKind.TASK: 0,
    FunctionKind.COROUTINE: 1_000_000,
    FunctionKind.FUTURE: 2_000_000,
    FunctionKind.IN_PLACE: 2_000_000,
}
"""Tasks come first, then async fns and blocks, then hand-written futures; within a kind by first appearance."""


class InstanceTracks:
    """of_tasks: the tracks of tasks that have one of their own, by the task's number; processes: those of these tasks,
    0 where it is not known.  lanes: who shares them."""

    def __init__(self, descriptors: Descriptors, plan: Plan, tasks: LiveTasks) -> None:
        self._descriptors = descriptors
        self._plan = plan
        self._sites = plan.sites
        self._tasks = tasks
        self.of_tasks: dict[int, int] = {}
        self.processes: dict[int, int] = {}
        self._that_are_tasks: set[int] = set()
        self._folders: dict[tuple[int, str], int] = {}
        self._functions: dict[tuple[int, int], int] = {}
        self.lanes = Lanes(
            self._make,
            self._place,
            max_own=_MAX_OWN,
            max_own_share=_MAX_OWN_SHARE,
            max_tracks=_MAX_TRACKS,
            max_known=_MAX_KNOWN,
        )

    def _place(self, process: int, function: int, task: int) -> tuple[Group, bool]:
        """A future of a task that has a track goes below it, where futures of one function share lanes."""
        track = self.of_tasks.get(task)
        return ((process, function), False) if track is None else ((track, function), True)

    def _make(self, group: Group, number: int, is_lane: bool, instance: int) -> int:
        parent, index = group
        function = self._plan.functions[index]
        name = short_name(function)
        if parent in self._that_are_tasks:
            name = name if number == 1 else f"{name} ({number})"
            description = f"{function.name}, {function.location or 'place unknown'}: those of this task, one by one"
            return self._descriptors.track(name, parent, rank=self.lanes.tracks, description=description)
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
        self.of_tasks[instance], self.processes[instance] = track, parent
        self._that_are_tasks.add(track)
        return track

    def _task_name(self, function: PollFunction, task: int) -> str:
        """`task 17 conn::handle`; #17 when that is only our own number."""
        known = self._tasks.row(task)
        number = int(known["id"]) if known is not None else 0
        return f"{'job' if function.is_job else 'task'} {number or f'#{task}'} {without_kind(short_name(function))}"

    def _task_words(self, function: PollFunction, task: int) -> str:
        """What its row says of itself."""
        known = self._tasks.row(task)
        words = spawn_words(self._plan.functions, self._sites, known) if known is not None else None
        return f"{function.name}; {words}" if words else function.name

    def _folder(self, group: Group, function: PollFunction) -> int:
        """The track of a function, under `Async tasks`, `Blocking jobs` or `Futures` of its process."""
        process = group[0]
        name, rank, what = _JOBS if function.is_job else _TASKS if function.kind is FunctionKind.TASK else _FUTURES
        if (process, name) not in self._folders:
            self._folders[process, name] = self._descriptors.track(name, process or None, rank=rank, description=what)
        if group not in self._functions:
            self._functions[group] = self._descriptors.track(
                without_kind(short_name(function)),
                self._folders[process, name],
                rank=len(self._functions) + _KIND_RANK[function.kind],
                description=f"{function.name}, {function.location or 'place unknown'}, {kind_words(function)}",
            )
        return self._functions[group]
