"""What the kernel's scheduler did, as rows of TracePacket bytes: states of threads, and what polls were blocked in.

Field numbers are those of perfetto_trace.proto (v52): TracePacket generic_kernel_task_state_event 117;
GenericKernelTaskStateEvent cpu 1, tid 3, state 4.  Of these events trace_processor makes its rows of CPUs
(sched_slice) and of threads (thread_state).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tracer.model import OFF_CPU, Array, OffCpuFlag
from tracer.output.descriptors import NEEDS_STATE, SEQUENCE, Descriptors
from tracer.output.histogram import Integers
from tracer.output.records import join, pick
from tracer.output.rows import RowFormat, Rows, Varint, field, message
from tracer.output.scheduled import blocked_until, is_blocked_in_poll
from tracer.output.slices import BEGIN, SliceRows, event
from tracer.output.syscalls import syscall_words

_RUNNABLE, _RUNNING, _INTERRUPTIBLE, _UNINTERRUPTIBLE, _STOPPED = 2, 3, 4, 5, 6
"""GenericKernelTaskStateEvent.TaskStateEnum."""
_TASK_UNINTERRUPTIBLE, _TASK_STOPPED = 2, 4 | 8
"""Bits of OFF_CPU.state, linux/sched.h; TASK_STOPPED and TASK_TRACED."""


class SchedulingRows:
    """thread_words: of each of some threads, the intern id of the words for it."""

    def __init__(
        self,
        descriptors: Descriptors,
        slices: SliceRows,
        thread_words: Callable[[npt.NDArray[np.uint32]], Integers],
    ) -> None:
        self._descriptors = descriptors
        self._thread_words = thread_words
        self._running: dict[int, int] = {}
        self._names: dict[int, tuple[int, int]] = {}
        string = descriptors.string
        self._nobody, self._by_interrupt = string("unknown"), string("an interrupt: a timer or a device")
        self._state = RowFormat(
            field(8, Varint("time", 9)),
            field(10, SEQUENCE),
            field(13, NEEDS_STATE),
            message(117, field(1, Varint("cpu", 3)), field(3, Varint("tid", 5)), field(4, Varint("state", 1))),
        )
        blocked = (
            field(3, descriptors.category("blocked")),
            field(10, Varint("name", 3)),
            slices.text("syscall", "syscall"),
            slices.text("woken by", "by"),
            slices.number("blocked (ns)", "blocked"),
            slices.number("runnable afterwards (ns)", "runnable"),
        )
        stack = (slices.text("blocker", "blocker"), slices.text("stack", "stack"))
        self._slices = slices
        self._blocked = {False: event(BEGIN, *blocked), True: event(BEGIN, *blocked, *stack)}

    def states(self, off: Array) -> Rows:
        """The states of threads that these rows (OFF_CPU, by end) tell of; call it with all of them, in their order."""
        ends = (off["flags"] & np.uint8(OffCpuFlag.END_UNKNOWN)) == 0
        cpu = self._left(off, ends)
        # Where the row before told that it got a CPU it is running already.
        before = pick(off, (cpu < 0) & (off["since"] < off["start"]))
        cpu = np.where(cpu < 0, off["cpu"], cpu)
        woken = blocked_until(off)
        waits, ready = off["woken"] != off["start"], (off["woken"] != 0) & (woken < off["end"])
        sleeping = np.where(off["state"] & _TASK_STOPPED, _STOPPED, _INTERRUPTIBLE)
        sleeping = np.where(off["state"] & _TASK_UNINTERRUPTIBLE, _UNINTERRUPTIBLE, sleeping)
        waiting, coming = pick(off, waits), pick(off, ends)
        count = [len(before), len(waiting), int(np.count_nonzero(ready)), len(coming)]
        return self._state.encode(
            sum(count),
            time=np.concatenate([before["since"], waiting["start"], woken[ready], coming["end"]]),
            cpu=np.concatenate([before["cpu"], cpu[waits], cpu[ready], coming["cpu_after"]]),
            tid=np.concatenate([before["tid"], waiting["tid"], off["tid"][ready], coming["tid"]]),
            state=np.concatenate(
                [
                    np.full(count[0], _RUNNING),
                    sleeping[waits],
                    np.full(count[2], _RUNNABLE),
                    np.full(count[3], _RUNNING),
                ]
            ),
        )

    def _left(self, off: Array, ends: npt.NDArray[np.bool_]) -> Integers:
        """The CPU on which each thread was said to run before; -1: it was not.

        It left another one only where switches are missing; trace_processor would not know what to make of it.
        """
        order = np.argsort(off["tid"], kind="stable")
        tids, got = off["tid"][order], np.where(ends, off["cpu_after"].astype(np.int64), -1)[order]
        begins = np.flatnonzero(np.append(True, tids[1:] != tids[:-1]))
        before = np.append(-1, got[:-1])
        before[begins] = [self._running.get(tid, -1) for tid in tids[begins].tolist()]
        last = np.append(begins[1:], len(tids)) - 1
        self._running |= dict(zip(tids[last].tolist(), got[last].tolist(), strict=True))
        cpus = np.empty(len(off), np.int64)
        cpus[order] = before
        return cpus

    def blocked(self, off: Array, tracks: Integers) -> bytes:
        """The beginnings of slices for these (OFF_CPU, of blocked_in_polls), on the tracks of their threads."""
        by = np.where(off["woken_by"] != 0, self._thread_words(off["woken_by"]), self._nobody)
        by = np.where(off["flags"] & np.uint8(OffCpuFlag.BY_INTERRUPT), self._by_interrupt, by)
        until = blocked_until(off)
        words = [self._words(number) for number in off["syscall"].tolist()]
        names = np.array(words, np.int64).reshape(-1, 2)
        columns = {
            "time": off["start"],
            "track": tracks,
            "name": names[:, 0],
            "syscall": names[:, 1],
            "by": by,
            "blocked": until - off["start"],
            "runnable": off["end"] - until,
        }
        rows = []
        for has_stack in (False, True):
            some = np.flatnonzero((off["stack"] != 0) == has_stack)
            told = self._slices.stack_columns(off["stack"][some].astype(np.int64)) if has_stack else {}
            kept = {key: column[some] for key, column in columns.items()}
            rows.append(self._blocked[has_stack].encode(len(some), **kept, **told).tobytes())
        return b"".join(rows)

    def _words(self, number: int) -> tuple[int, int]:
        """The intern ids of a slice's name, and of the system call's."""
        if number not in self._names:
            words = syscall_words(number)
            self._names[number] = self._descriptors.name(f"blocked: {words}"), self._descriptors.string(words)
        return self._names[number]


def blocked_in_polls(off: Array, least: int, most: int) -> Array:
    """Those (OFF_CPU) in which a poll was blocked for at least so many ns; no more than `most`, the longest."""
    length = blocked_until(off) - off["start"]
    chosen = is_blocked_in_poll(off) & (length > max(least, 0))
    found = pick(off, chosen)
    if len(found) > most:
        found = found[np.sort(np.argsort(-length[chosen], kind="stable")[:most])]
    return join([found], OFF_CPU)
