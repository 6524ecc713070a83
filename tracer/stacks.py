"""The values of a snapshot: the tasks of a process at one moment, and the futures that each of them is in.

Like `model`, no room of the project is imported here but the model itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

import numpy as np

from tracer.model import LENT, Array, LinkKind, LinkRole
from tracer.model import Stack as CallStack


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


def with_handles(tasks: Array) -> Array:
    """Those (dtype SNAPSHOT_TASK) that are complete, and whose handle somebody has."""
    is_kept = (tasks["state"] == TaskState.COMPLETE) & ((tasks["flags"] & np.uint8(TaskFlag.JOINED)) != 0)
    kept: Array = tasks[is_kept]
    return kept


@dataclass(frozen=True, slots=True)
class Frame:
    """One future of a stack.

    parent: index of the frame that polls it; -1: it is the task's own future.  layout: index into
    Binary.layouts; None: only `function` is known.  function: index into Binary.functions of its poll; known
    only behind a trait object.  state: its discriminant (of a coroutine: at which await it is); None: it has none.
    is_whole: False where its memory does not make sense, so that nothing is said of what is below it.
    more: not 0: it stands for so many futures of a container that are not told one by one.
    """

    parent: int
    layout: int | None
    function: int | None
    state: int | None
    is_whole: bool = True
    more: int = 0


@dataclass(frozen=True, slots=True)
class Stack:
    """The futures that a task is in, each after the one that polls it; several of one parent are its branches."""

    frames: tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The tasks of one process.

    time: ns of CLOCK_MONOTONIC, when reading began; 0: of a core dump.  duration: ns.  tasks: dtype SNAPSHOT_TASK, by
    header.  stacks: each once.  addresses: of each stack <u8, shape (its tasks, its frames): where those futures are.
    bytes_read: of the process' memory.  missed: tasks that were listed, and gone before they were read, or while others
    were.
    """

    time: int
    duration: int
    tasks: Array
    stacks: tuple[Stack, ...]
    addresses: tuple[np.ndarray[tuple[int, int], np.dtype[np.uint64]], ...] = field(default=())
    bytes_read: int = 0
    missed: int = 0


@dataclass(frozen=True, slots=True)
class RunningPoll:
    """Where a poll that is under way stands.

    syscall: number of the system call in which its thread waits, or NO_SYSCALL; None: it waits in none, it computes.
    stack: the functions that the thread is in, up to the task's poll.
    """

    syscall: int | None
    stack: CallStack


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A blocking job of tokio's that a thread of its pool runs; they are in no list of tasks.

    functions: what it runs, as indexes into Binary.functions: one of these, which are the same code.
    """

    tid: int
    functions: tuple[int, ...]
    poll: RunningPoll


@dataclass(frozen=True, slots=True)
class UnderWay:
    """What a process' threads do.  polls: of tasks, by the task's header, as far as that is known.  jobs: by tid."""

    polls: Mapping[int, RunningPoll] = field(default_factory=dict)
    jobs: tuple[RunningJob, ...] = ()


# ---------------------------------------------------------------- what tasks have to do with each other

LINK_KINDS = tuple(LinkKind)
LINK_ROLES = tuple(LinkRole)
LENT_KINDS = tuple(number for number, kind in enumerate(LINK_KINDS) if kind in LENT)
"""Indexes into LINK_KINDS."""


class LinkFlag(IntFlag):
    """What else is known of a link."""

    CERTAIN = 1  # it surely is there; else it may be: the variable that has it may have been moved away or dropped
    KEPT = 2  # a future has it that the task keeps, but does not poll now
    GRANTED = 4  # of a wait: it has been given what it waited for, and will have it once it is polled
    GUESS = 8  # while it is read: it is there only if somebody waits for what it leads to
    SHARED = 16  # of a rwlock: for one who reads, beside others


MANY_DROPS = 0xFF  # more than there is room for

LINK = np.dtype(
    [
        ("address", "<u8"),  # of what it leads to
        (
            "number",
            "<i8",
        ),  # of a timer: its deadline, ns of CLOCK_MONOTONIC; of io: the descriptor; else, or unknown: -1
        ("task", "<i4"),  # index into Snapshot.tasks
        ("target", "<i4"),  # of a task's handle: the task, index into Snapshot.tasks; -1: none that is there
        ("frame", "<i4"),  # of the task's stack: the future that has it; with KEPT the one that keeps that future
        ("future", "<i4"),  # with KEPT: the layout of the future that is kept; else -1
        ("size", "<u4"),  # bytes of what is at `address`
        ("kind", "u1"),  # index into LINK_KINDS
        ("role", "u1"),  # index into LINK_ROLES
        ("flags", "u1"),  # LinkFlag
        (
            "drops",
            "u1",
        ),  # the drop flags where the variable is that has it, a bit each; or MANY_DROPS
        ("place", "<u8"),  # of a wait in a queue: its place, an address; 0: in none, or not known
        ("before", "<u8"),  # the place before that, which is served earlier; 0: it is the first
        ("messages", "<i8"),  # of a channel: so many wait in it; else, or unknown: -1
        ("capacity", "<i8"),  # so many may; -1: as many as there is memory for, or unknown
    ]
)
"""What one task waits for or holds, 72 bytes."""

LINK_CHANGES = ("before", "messages", "capacity")
"""What of it, at its end, may change while the task stays where it is."""

KEEPER = np.dtype(
    [
        ("finished", "<i4"),  # a task that is complete: index into Snapshot.tasks
        ("task", "<i4"),  # the same of the one that has its handle
        ("frame", "<i4"),  # ... of the stack of which: the future that has it
    ]
)
"""That a task has the handle of one that is complete, 12 bytes."""

CHANNEL = np.dtype(
    [
        ("address", "<u8"),
        ("sent", "<u8"),  # where it counts these, see Backlog of the model: addresses
        ("received", "<u8"),
        ("senders", "<u8"),
        ("messages", "<i8"),  # so many wait in it
        ("capacity", "<i8"),  # so many may; -1: as many as there is memory for
        ("task", "<i4"),  # index into Snapshot.tasks
        ("frame", "<i4"),  # as LINK has it
        ("role", "u1"),  # what that has to do with it: index into LINK_ROLES
        ("flags", "u1"),  # LinkFlag
        ("_pad", "u1", 6),
    ]
)
"""A channel that one task has an end of, or waits for, 64 bytes."""

BLOCK = np.dtype(
    [
        ("link", "<i4"),  # of the wait: index into TaskLinks.links
        # Of what the other task holds, the same, or of its wait, if it is before this one in a queue; -1: it is the
        # other task itself that is waited for.
        ("by", "<i4"),
        ("task", "<i4"),  # who waits
        ("other", "<i4"),  # for whom
        ("is_certain", "?"),
        ("is_only", "?"),  # no other task could end the wait
        ("_pad", "u1", 2),
    ]
)
"""That one task waits for another, 20 bytes."""


class CycleKind(IntEnum):
    DEADLOCK = 0  # each task waits for the next one, the last for the first
    FUTURELOCK = 1  # a task waits for what it has given to a future that it keeps, but does not poll


@dataclass(frozen=True, slots=True)
class Cycle:
    """Tasks that wait for each other for good.  blocks: index into TaskLinks.blocks, each from a task to the next.

    is_certain: they do; else they may: a lock may be another's, or a task has other branches that go on.  others: index
    into TaskLinks.links, what those wait for.
    """

    kind: CycleKind
    blocks: tuple[int, ...]
    is_certain: bool
    others: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskLinks:
    """links: dtype LINK, by task and frame.  blocks: dtype BLOCK, by task.  cycles: the worst that they tell.

    is_known: of each task, whether its links could be read while it stayed where its stack says that it is.
    time: when they were so, ns of CLOCK_MONOTONIC, later than the snapshot; 0 for a core dump.
    keepers: dtype KEEPER, by `finished`, also of tasks that went on meanwhile.  channels: dtype CHANNEL.
    """

    links: Array
    blocks: Array
    cycles: tuple[Cycle, ...]
    is_known: np.ndarray[tuple[int], np.dtype[np.bool_]]
    time: int
    keepers: Array = field(default_factory=lambda: np.empty(0, KEEPER))
    channels: Array = field(default_factory=lambda: np.empty(0, CHANNEL))


# ---------------------------------------------------------------- what is looked at again and again

SAMPLE = np.dtype(
    [
        ("since", "<u8"),  # ns since its place was looked at before: what the sample stands for
        ("task", "<u4"),  # by first appearance; index into what Sampler.tasks gives
        ("function", "<u4"),  # its poll: index into Binary.functions
        ("stack", "<i4"),  # index into what Sampler.stacks gives; -1: not known
        ("state", "u1"),  # TaskState
        ("_pad", "u1", 3),
    ]
)
"""What one task did at one moment, 24 bytes."""

SAMPLED_TASK = np.dtype(
    [
        ("header", "<u8"),  # the runtime's own pointer to the task
        ("id", "<u8"),  # the runtime's own id; 0: unknown
        ("function", "<u4"),  # its poll: index into Binary.functions
        ("_pad", "u1", 4),
    ]
)
"""A task that was met, 24 bytes."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A part of all tasks at one moment.

    time: ns of CLOCK_MONOTONIC.  round: all tasks are looked at once in each.  samples: dtype SAMPLE.  share: how
    large a part of all places it was.
    """

    time: int
    round: int
    samples: Array
    share: float


@dataclass(slots=True)
class SampleCounts:
    """What looking at tasks did.  ticks: how often a part of them was looked at.  bytes_read: of the process' memory.

    searched, met: tasks that searches found but the first, and those of them that had been met already.

    unreadable: samples that could not be taken.  walked: those that took the long way, through containers.
    """

    ticks: int = 0
    samples: int = 0
    searches: int = 0
    searched: int = 0
    met: int = 0
    unreadable: int = 0
    walked: int = 0
    bytes_read: int = 0
