"""What a run of samples found, in words: which stacks, by which names, at which places."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tracer.assemble.shares import Kind, Shares
from tracer.model import Array, Binary, ClockReading, FunctionKind, Process
from tracer.output.frames import FutureFrame, Parked, parked, task_frames
from tracer.output.labels import short_name_of
from tracer.stacks import SampleCounts, Stack, TaskState


@dataclass(frozen=True, slots=True)
class Pace:
    """asked, rate: looks a second that were wanted, and that there were.  parts: looks for all tasks once, at the end.
    cpu: share of one core that it all took."""

    asked: float
    rate: float
    parts: int
    cpu: float


@dataclass(frozen=True)
class SampledRun:
    """began, ended: ns of CLOCK_MONOTONIC.  reason: why it ended.  counts, pace: what sampling did.

    tasks: dtype SAMPLED_TASK.  stretches: dtype STRETCH, by task and start.  not_drawn: tasks without stretches.
    is_cut: stretches lack an end.
    """

    process: Process
    binary: Binary
    clock: ClockReading
    began: int
    ended: int
    reason: str
    counts: SampleCounts
    pace: Pace
    shares: Shares
    stacks: tuple[Stack, ...]
    tasks: Array
    stretches: Array
    not_drawn: int
    is_cut: bool

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.ended - self.began) / 1e9

    @cached_property
    def words(self) -> StackWords:
        """The names of all stacks."""
        return StackWords(self.binary, self.stacks)


class StackWords:
    """Names stacks, each once."""

    def __init__(self, binary: Binary, stacks: tuple[Stack, ...]) -> None:
        self._binary = binary
        self._stacks = stacks
        self._frames: dict[tuple[int, int], tuple[FutureFrame, ...]] = {}
        self._parked: dict[tuple[int, int], Parked] = {}
        self._tasks: dict[int, str] = {}

    def task(self, function: int) -> str:
        """The future of a task whose poll this is, in short."""
        if function not in self._tasks:
            name = short_name_of(self._binary.functions[function].name, FunctionKind.TASK)
            self._tasks[function] = name.removeprefix("task ")
        return self._tasks[function]

    def frames(self, function: int, stack: int) -> tuple[FutureFrame, ...]:
        """The futures of a stack; the task's own by the name that its poll tells where its type does not."""
        if stack < 0:
            return ()
        key = function, stack
        if key not in self._frames:
            self._frames[key] = task_frames(self._stacks[stack], self._binary, function)
        return self._frames[key]

    def parked(self, function: int, stack: int) -> Parked:
        """Where a stack waits."""
        key = function, stack
        if key not in self._parked:
            self._parked[key] = parked(self.frames(function, stack))
        return self._parked[key]

    def state(self, kind: Kind) -> str:
        """`running`, `ready`, or `waiting: PLACE`."""
        if kind.state != TaskState.WAITING:
            return kind.state.name.lower()
        at = self.parked(kind.function, kind.stack)
        return f"waiting: {at.place or at.leaf or 'not known where'}"

    def chain(self, function: int, stack: int) -> list[str]:
        """From the task's future to what it waits for; those that are polled side by side are one line."""
        lines = []
        level = self.frames(function, stack)
        while len(level) == 1:
            lines.append(_line(level[0]))
            level = level[0].children
        if level:
            lines.append(" | ".join(dict.fromkeys(_branch(one) for one in level)))
        return lines


def _line(frame: FutureFrame) -> str:
    return f"{frame.short} ({frame.place})" if frame.place else frame.short


def _branch(frame: FutureFrame) -> str:
    names = [frame.short]
    while len(frame.children) == 1:
        frame = frame.children[0]
        names.append(frame.short)
    return " > ".join(names)
