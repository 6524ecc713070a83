"""The values of a snapshot: the tasks of a process at one moment, and the futures that each of them is in.

Like `model`, no room of the project is imported here but the model itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

import numpy as np

from tracer.model import Array


class TaskState(IntEnum):
    """What a task was doing, by the runtime's own state word."""

    UNREADABLE = 0  # its memory changed at each reading, or makes no sense
    WAITING = 1  # for a wake
    READY = 2  # woken, or new: it waits for a thread
    RUNNING = 3  # it is being polled
    COMPLETE = 4  # its future is gone; somebody still holds the task


class TaskFlag(IntFlag):
    """What else the state word tells."""

    ABORTED = 1  # its future will be dropped, not polled
    JOINED = 2  # somebody holds its JoinHandle (async-task: its Task)
    SHIFTED = 4  # it was polled while it was read: its stack is none it was ever seen in twice


SNAPSHOT_TASK = np.dtype(
    [
        ("header", "<u8"),  # the runtime's own pointer to the task
        ("id", "<u8"),  # the runtime's own id; 0: unknown
        ("function", "<u4"),  # its poll: index into Binary.functions
        ("stack", "<i4"),  # index into Snapshot.stacks; -1: not known
        ("row", "<u4"),  # of the stack's addresses
        ("tid", "<u4"),  # the thread that polls it; 0: none, or not known
        ("state", "u1"),  # TaskState
        ("flags", "u1"),  # TaskFlag
        ("_pad", "u1", 6),
    ]
)
"""One task, 40 bytes."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One future of a stack.

    parent: index of the frame that polls it; -1: it is the task's own future.  layout: index into
    Binary.layouts; None: only `function` is known.  function: index into Binary.functions of its poll; known
    only behind a trait object.  state: its discriminant (of a coroutine: at which await it is); None: it has none.
    is_whole: False where its memory does not make sense, so that nothing is said of what is below it.
    """

    parent: int
    layout: int | None
    function: int | None
    state: int | None
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class Stack:
    """The futures that a task is in, each after the one that polls it; several of one parent are its branches."""

    frames: tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The tasks of one process.

    time: ns of CLOCK_MONOTONIC, when reading began; 0: of a core dump.  duration: ns.  tasks: dtype SNAPSHOT_TASK, by
    header.  stacks: each once.  addresses: of each stack <u8, shape (its tasks, its frames): where those futures are.
    bytes_read: of the process' memory.
    """

    time: int
    duration: int
    tasks: Array
    stacks: tuple[Stack, ...]
    addresses: tuple[np.ndarray[tuple[int, int], np.dtype[np.uint64]], ...] = field(default=())
    bytes_read: int = 0
