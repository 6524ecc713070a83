"""A snapshot in the terms of a recording: which of the plan's polls are of the futures in it, and at which places.

A recording tells where a future waits by numbers of places (Plan.places), which the kernel side finds by walking the
same layouts; what is parked when the recording ends, or was all the time, is walked here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from tracer.model import PARKED, Array, FunctionKind, LayoutKind, Plan, TaskAtRest
from tracer.stacks import Frame, Snapshot, Stack, TaskState

_AT_REST = {
    TaskState.WAITING: TaskAtRest.WAITING,
    TaskState.READY: TaskAtRest.READY,
    TaskState.RUNNING: TaskAtRest.RUNNING,
}
_NOT_PLANNED = np.iinfo(np.uint32).max
_BRANCHES, _BITS = 4, 16
_NO_STATE = 0


def parked_futures(snapshot: Snapshot, plan: Plan, process: int, binary: int) -> Array:
    """The tasks, and of those that are not being polled the futures in them that have polls of their own: dtype PARKED.

    process, binary: indexes into Recording.processes and Plan.binaries.
    """
    mapping = _Mapping(plan, binary)
    tasks = snapshot.tasks[np.isin(snapshot.tasks["state"], list(_AT_REST))]
    own = np.zeros(len(tasks), PARKED)
    own["self"], own["id"], own["process"] = tasks["header"], tasks["id"], process
    for task_state, at_rest in _AT_REST.items():
        own["task"][tasks["state"] == task_state] = at_rest
    own["function"] = [mapping.task.get(function, _NOT_PLANNED) for function in tasks["function"].tolist()]
    is_still = own["task"] != TaskAtRest.RUNNING
    own["places"] = np.where(is_still, 0, tasks["tid"])
    parts = [own]
    for number, stack in enumerate(snapshot.stacks):
        rows = np.flatnonzero(is_still & (tasks["stack"] == number))
        for function in np.unique(tasks["function"][rows]).tolist():
            chosen = rows[tasks["function"][rows] == function]
            addresses = snapshot.addresses[number][tasks["row"][chosen]]
            own["places"][chosen] = mapping.places_of_task(stack, function)
            for frame, planned, state, places in mapping.futures(stack):
                part = own[chosen]
                part["self"], part["function"], part["state"] = addresses[:, frame], planned, state
                part["places"] = places
                parts.append(part)
    parts[0] = own[own["function"] != _NOT_PLANNED]
    return np.concatenate(parts)


def planned_tasks(plan: Plan, binary: int) -> dict[int, int]:
    """By index of a task's poll in the functions of a binary (index into Plan.binaries) that in Plan.functions."""
    addresses = [function.address for function in plan.binaries[binary].functions]
    return {
        addresses.index(function.address): index
        for index, function in enumerate(plan.functions)
        if plan.function_binary[index] == binary and function.kind is FunctionKind.TASK
    }


class _Mapping:
    """From one binary's functions and layouts to the plan's.  task: of a task's poll, by its index in the binary."""

    def __init__(self, plan: Plan, binary: int) -> None:
        self._plan = plan
        self._first_layout = sum(len(one.layouts) for one in plan.binaries[:binary])
        self.task = planned_tasks(plan, binary)
        self._polled: defaultdict[int, list[int]] = defaultdict(list)
        for index, function in enumerate(plan.functions):
            is_future = plan.function_binary[index] == binary and function.kind is not FunctionKind.TASK
            if is_future and function.layout is not None:
                self._polled[function.layout].append(index)
        self._below: defaultdict[int, list[int]] = defaultdict(list)
        self._roots: dict[int, int] = {}
        for number, place in enumerate(plan.places, 1):
            self._below[place.parent].append(number)
            if not place.parent:
                self._roots[place.function] = number

    def places_of_task(self, stack: Stack, task: int) -> int:
        """Where a task of this function waits."""
        below = _below(stack)
        if task not in self.task or not below[-1]:
            return 0
        return self._places(self.task[task], stack, below, below[-1][0])

    def futures(self, stack: Stack) -> Iterator[tuple[int, int, int, int]]:
        """(frame, function of the plan, state, places) of the futures in a task."""
        below = _below(stack)
        for number, frame in enumerate(stack.frames):
            layout = self._layout(frame)
            if layout is None or not frame.is_whole or frame.more:
                continue
            is_coroutine = self._plan.layouts[layout].kind is LayoutKind.COROUTINE
            state = frame.state if is_coroutine and frame.state is not None and frame.state < 256 else _NO_STATE
            for function in self._polled[layout]:
                yield number, function, state, self._places(function, stack, below, number)

    def _layout(self, frame: Frame) -> int | None:
        return None if frame.layout is None else self._first_layout + frame.layout

    def _places(self, function: int, stack: Stack, below: dict[int, list[int]], frame: int) -> int:
        """Where the walk from this frame ends, packed as WAIT has it; 0: it says nothing."""
        root = self._roots.get(function)
        if root is None or self._plan.places[root - 1].layout != self._layout(stack.frames[frame]):
            return 0
        ends = list(self._ends(root, stack, below, frame))
        if ends == [root]:
            return 0
        return sum(number << _BITS * place for place, number in enumerate(ends[:_BRANCHES]))

    def _ends(self, place: int, stack: Stack, below: dict[int, list[int]], frame: int) -> Iterator[int]:
        state = stack.frames[frame].state
        found = False
        taken: defaultdict[int | None, int] = defaultdict(int)
        for child in below.get(frame, ()):
            layout = self._layout(stack.frames[child])
            ways = [one for one in self._ways(place, state) if self._plan.places[one - 1].layout == layout]
            if taken[layout] < len(ways):
                found = True
                yield from self._ends(ways[taken[layout]], stack, below, child)
            taken[layout] += 1
        if not found:
            yield place

    def _ways(self, place: int, state: int | None) -> Sequence[int]:
        """The places below one in this state, past pointers."""
        ways: list[int] = []
        own = [one for one in self._below[place] if self._plan.places[one - 1].state == state]
        always = [one for one in self._below[place] if self._plan.places[one - 1].state is None]
        for one in own or always:
            is_pointer = self._plan.places[one - 1].layout is None
            ways += self._below[one] if is_pointer else [one]
        return ways


def _below(stack: Stack) -> defaultdict[int, list[int]]:
    """The frames of a stack by the one that they are in; -1: in none."""
    below: defaultdict[int, list[int]] = defaultdict(list)
    for number, frame in enumerate(stack.frames):
        below[frame.parent].append(number)
    return below
