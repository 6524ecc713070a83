"""Captures of any length, made without a target: what a busy server's events look like, streamed to disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tests.captures import function, plan_of, recording_of
from tracer.capture import CaptureWriter
from tracer.model import (
    EVENT,
    SWITCH_IN_RECORD,
    SWITCH_OUT_RECORD,
    WAKING_RECORD,
    Array,
    CaptureEnd,
    EventFlag,
    FunctionKind,
    Group,
    HeaderTest,
    Plan,
    PlannedWake,
    Probe,
    Site,
    Thread,
    WakePoint,
)

_BATCH = 1 << 16
_TOP, _FRAME = 0x7F00_0000_0000, 0x200
_STEP = 250
"""Nanoseconds between two events of one thread, on the average."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What one poll of a task looks like, and of how many tasks, by how many functions, on how many threads.

    nested: futures polled in each, one inside the other.  wakes: each poll was woken, by the one before it on its
    thread.  scheduling: every 16th poll's thread leaves its CPU within it.
    """

    tasks: int = 1_000
    functions: int = 100
    threads: int = 4
    nested: int = 0
    wakes: bool = False
    scheduling: bool = False

    def plan(self) -> Plan:
        """Half of the functions are tasks' where futures are nested."""
        kinds = [FunctionKind.TASK] * self.functions
        if self.nested:
            kinds[self.functions // 2 :] = [FunctionKind.COROUTINE] * (self.functions - self.functions // 2)
        functions = [
            replace(function(f"{'task ' if kind is FunctionKind.TASK else ''}app::f{i}", kind), address=4096 + 64 * i)
            for i, kind in enumerate(kinds)
        ]
        probes: list[Probe] = []
        for i, kind in enumerate(kinds):
            group = Group.TASKS if kind is FunctionKind.TASK else Group.FUTURES
            probes.append(Probe(2 * i, 0, 4096 + 64 * i, Site.ENTRY, group, i, None))
            probes.append(Probe(2 * i + 1, 0, 4128 + 64 * i, Site.EXIT, group, None, i))
        plan = plan_of(functions, probes)
        if self.wakes:
            point = WakePoint(0x90_0000, 0x90_0000, "wake_by_val", HeaderTest(0, 0, 0))
            probes.append(Probe(len(probes), 0, point.offset, Site.WAKE, Group.WAKES, None, None, wakes=0))
            binary = replace(plan.binaries[0], wakes=(point,))
            plan = replace(plan, binaries=(binary,), probes=tuple(probes), wakes=(PlannedWake(0, point),))
        return replace(plan, scheduling=self.scheduling)


def write_capture(path: Path, shape: Shape, events: int) -> int:
    """Streams about so many events to a new file; returns how many they are."""
    recording = recording_of(shape.plan())
    polls = _Polls(shape)
    with CaptureWriter(path, recording, 1 << 40) as writer:
        writer.threads([Thread(100 + i, recording.processes[0].pid, f"worker-{i}") for i in range(shape.threads)])
        while writer.event_count + _BATCH <= events:
            writer.events(polls.batch(_BATCH))
        rest = events - writer.event_count
        writer.events(polls.batch(rest)[:rest])
        writer.flush()
        writer.end(CaptureEnd(polls.now + 1, "the duration is over", writer.event_count, 0))
        return writer.event_count


class _Polls:
    """Polls by turns on the threads, of the tasks in a fixed but scattered order; each is the same few events."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._poll = 0
        self.now = 2_000
        self._sequence = 0
        self._random = np.random.default_rng(5)
        self._tasks = self._random.permutation(shape.tasks).astype(np.int64)
        self._left = np.empty(0, EVENT)

    def batch(self, most: int) -> Array:
        """The next so many events (dtype EVENT)."""
        made = [self._left]
        while sum(map(len, made)) < most:
            made.append(self._some(max(most // 4, 64)))
        events = np.concatenate(made)
        self._left = events[most:]
        return events[:most]

    def _some(self, count: int) -> Array:
        """The events of so many polls, all threads' in the order of time."""
        shape = self._shape
        count -= count % shape.threads
        count = max(count, shape.threads)
        number = np.arange(self._poll, self._poll + count)
        self._poll += count
        thread = number % shape.threads
        task = self._tasks[number % shape.tasks]
        columns: list[Array] = []
        depth = 1 + shape.nested
        for level in range(depth):
            columns.append(self._event(number, thread, task, level, is_exit=False))
        if shape.scheduling:
            columns += self._off_cpu(number, thread)
        if shape.wakes:
            following = self._tasks[(number + shape.threads) % shape.tasks]
            wake = self._base(number, thread)
            wake["probe"] = 2 * shape.functions
            wake["self"] = _header(following)
            wake["flags"] = int(EventFlag.SELF | EventFlag.STATE)
            columns.append(wake)
        for level in reversed(range(depth)):
            columns.append(self._event(number, thread, task, level, is_exit=True))
        per_poll = len(columns)
        events = np.stack(columns, axis=1)
        # Each thread's own events one after the other, at intervals of all lengths.
        steps = 20 + self._random.exponential(_STEP, (count // shape.threads, shape.threads, per_poll)).astype(np.int64)
        by_thread = np.cumsum(steps.transpose(1, 0, 2).reshape(shape.threads, -1), axis=1)
        times = by_thread.reshape(shape.threads, -1, per_poll).transpose(1, 0, 2).reshape(count, per_poll)
        events["time"] = self.now + times
        self.now = int(events["time"].max()) + _STEP
        flat: Array = events.reshape(-1)
        flat = flat[flat["probe"] != 0x7FFF_FFFF]
        flat = flat[np.argsort(flat["time"], kind="stable")]
        flat["sequence"] = (self._sequence + np.arange(len(flat))).astype(np.uint32)
        self._sequence += len(flat)
        return flat

    def _base(self, number: np.ndarray, thread: np.ndarray) -> Array:
        event = np.zeros(len(number), EVENT)
        event["tid"], event["cpu"] = 100 + thread, thread % 2
        event["sp"] = _TOP + thread * 0x100_0000
        return event

    def _event(self, number: np.ndarray, thread: np.ndarray, task: np.ndarray, level: int, *, is_exit: bool) -> Array:
        shape = self._shape
        event = self._base(number, thread)
        event["sp"] -= level * _FRAME
        half = shape.functions // 2
        if level == 0:
            function = task % (half if shape.nested else shape.functions)
        else:
            function = half + (task + level) % (shape.functions - half)
        event["probe"] = 2 * function + is_exit
        event["self"] = _header(task) + (64 + 64 * level if level else 0)
        flags = EventFlag.SELF | EventFlag.STATE if level else EventFlag.SELF
        event["flags"] = int(flags | (EventFlag.RESULT | EventFlag.PENDING if is_exit else 0))
        event["state"] = 3 if level else 0
        return event

    def _off_cpu(self, number: np.ndarray, thread: np.ndarray) -> list[Array]:
        records = []
        for probe in (SWITCH_OUT_RECORD, WAKING_RECORD, SWITCH_IN_RECORD):
            one = self._base(number, thread)
            one["sp"] = 2**64 - 1 if probe == SWITCH_OUT_RECORD else 0
            one["state"] = 1 if probe == SWITCH_OUT_RECORD else 0
            one["self"] = 100 if probe == WAKING_RECORD else 0
            one["flags"] = int(EventFlag.SELF) if probe == WAKING_RECORD else 0
            one["probe"] = np.where(number // self._shape.threads % 16 == 0, probe, 0x7FFF_FFFF)
            records.append(one)
        return records


def _header(task: np.ndarray) -> np.ndarray:
    return (0x7E00_0000_0000 + task * 0x480).astype(np.uint64)
