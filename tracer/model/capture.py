"""What a capture tells besides events."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

import numpy as np

from tracer.model.events import Array
from tracer.model.functions import SourceLocation
from tracer.model.plan import Group, Plan
from tracer.model.process import ClockReading, HaltKind, Process
from tracer.model.stacks import Stacks


@dataclass(frozen=True, slots=True)
class PlanChange:
    """From `time` on only `active` groups are attached; `reason` is a sentence for people.

    unprobed: functions (indexes into Plan.functions) that are not probed although Group.FUTURES is.
    entries_only: others of that group of which the exits are not probed, only the rest.
    """

    time: int
    active: frozenset[Group]
    reason: str
    unprobed: frozenset[int] = frozenset()
    entries_only: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Loss:
    """`count` events of one CPU were lost between two times (None: unknown).  cpu -1: of which is not known."""

    cpu: int
    count: int
    after: int | None
    before: int | None


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    """The process was seen to have ended (or to run another program).  time: ns, when it was last seen before that."""

    time: int
    pid: int
    reason: str


PARKED = np.dtype(
    [
        ("self", "<u8"),  # of the future, or a task's header
        ("id", "<u8"),  # the runtime's own id of the task that it is in; 0: unknown
        ("places", "<u8"),  # where it waits, as WAIT has it; 0: not known.  Of a task that is being polled, the thread
        ("function", "<u4"),  # index into Plan.functions
        ("process", "<u2"),  # index into Recording.processes
        ("state", "u1"),  # of a coroutine; else 0
        ("task", "u1"),  # TaskAtRest
    ]
)
"""A task, or a future of one that was not being polled, when memory was read; 32 bytes."""


class TaskAtRest(IntEnum):
    """What a task did when memory was read."""

    READY = 0  # it had been woken, or was new: it waited for a thread
    WAITING = 1  # ... for a wake
    RUNNING = 2  # it was being polled; nothing is told of the futures in it


class StuckKind(StrEnum):
    """Why tasks will not go on, or what keeps others from it."""

    DEADLOCK = "deadlock"  # each waits for the next one, the last for the first
    FUTURELOCK = "futurelock"  # for what it has given to a future that it keeps, but does not poll
    UNWAKEABLE = "unwakeable"  # nothing has a waker of it
    HELD = "held"  # it keeps a lock that others wait for, and waits itself
    IN_LINE = "in line"  # the same of a permit, or of what is received from a channel that is full
    LENT_OUT = "lent out"  # it waits for a permit, and no task is known that has one


@dataclass(frozen=True, slots=True)
class Stuck:
    """Tasks that will not go on, or in whose way others are, as far as memory tells.

    tasks: their headers.  is_certain: they will not (of `held` and `in line`: they do have what others wait for); else
    something may be otherwise than it seems.  words: a sentence for people.  function: the future of the first of them.
    location: where in the user's own source that one waits, or where its own is.  behind: the headers of tasks that
    wait for what these have.  Of `lent out` there are none but those behind, and the first of them is meant.
    """

    kind: StuckKind
    tasks: tuple[int, ...]
    is_certain: bool
    words: str
    function: str
    location: SourceLocation | None = None
    behind: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class KeptTasks:
    """Finished tasks of one kind that are in memory because somebody has their handles.

    function: index into Plan.functions.  count: how many.  by: the future of the kind of task that has the most of
    those handles; "": none is known.  of_these: how many it has.  is_asked: it waits for what its handles lead to.
    location: where it waits, in the user's own source.  keeper: the header of one of that kind; 0: none is known.
    """

    function: int
    count: int
    by: str = ""
    of_these: int = 0
    is_asked: bool = False
    location: SourceLocation | None = None
    keeper: int = 0


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel in which messages waited at the end of a recording, as memory told in its time.

    times: ns, ascending, of at least two looks at it; messages: how many waited in it then.  received: how many were
    taken out of it from the first to the last look.  capacity: how many may wait; None: as many as there is memory for.
    receiver: the header of the task that has the receiver; 0: not known.  is_certain: it surely has.  words: what that
    one did at the end; "": not known.  function: its future; "": not known.  location: where in the user's own source
    it waits, or where its own is.
    """

    times: tuple[int, ...]
    messages: tuple[int, ...]
    received: int
    capacity: int | None
    receiver: int
    is_certain: bool
    words: str
    function: str
    location: SourceLocation | None = None


@dataclass(frozen=True, slots=True)
class MemoryReading:
    """What the memory of one process told besides the probes.

    time: ns of CLOCK_MONOTONIC, when reading began.  duration: ns.  process: index into Recording.processes.
    is_last: at the end of the recording, else at its begin.  tasks: how many there were.  parked: dtype PARKED.
    stuck: None: that was not looked for.  missed: tasks that were gone before they were read, or while others were;
    None: not known.  kept: None: that was not looked for.  channels: those in which most messages wait; None: they were
    not looked at.
    """

    time: int
    duration: int
    process: int
    is_last: bool
    tasks: int
    parked: Array
    stuck: tuple[Stuck, ...] | None = None
    missed: int | None = None
    kept: tuple[KeptTasks, ...] | None = None
    channels: tuple[Channel, ...] | None = None


@dataclass(frozen=True, slots=True)
class Halt:
    """A time in which a process was kept from running; one that lasts comes in several pieces.

    time, until: ns: in which it was seen to last; of THROTTLED the two looks between which it was.  process: index into
    Recording.processes.  by: who traces it (`gdb (77)`); "": nobody, or that is not known.
    Of THROTTLED: quota: processors that are allowed.  periods: of the limit, in which threads wanted to run; throttled:
    those in which they were kept from it.  lost: ns, added up over processors.
    """

    time: int
    until: int
    process: int
    kind: HaltKind
    by: str = ""
    quota: float | None = None
    periods: int = 0
    throttled: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Hit:
    """What made a recording write its latest time.

    trigger: as it was asked for.  kind: the first word of it.  title: a sentence on what was seen.  time, duration: ns,
    of what was seen.  limit: ns; None: the trigger has none.  function: its name, None: of none.  where: its place in
    the source; None: not known.  tid: the thread to look at.
    """

    trigger: str
    kind: str
    title: str
    time: int
    duration: int
    limit: int | None = None
    function: str | None = None
    where: SourceLocation | None = None
    tid: int | None = None


@dataclass(frozen=True, slots=True)
class Flight:
    """Of a recording that keeps only its latest time.  last: ns that were asked for.  began: when the recording did.

    hit: why this part of it was written; None: because the recording ended.
    """

    last: int
    began: int
    hit: Hit | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """The header of a capture: all that later stages need to know besides the events.

    start: the time from which on every probe was attached; of the latest part of a longer recording (flight), the time
    from which on it is here.  cpu_quota: processors that control groups let the processes use at most; None: no limit
    is known.  options: what the user asked for, for display.
    stacks: which the capture tells at its end; None: it tells none.  hit_costs: ns of the target's CPU time that a hit
    of each of Plan.probes takes, as measured on that machine; none: not known.
    """

    version: str
    clock: ClockReading
    start: int
    processes: tuple[Process, ...]
    plan: Plan
    transport: str
    kernel: str
    max_overhead: float
    options: dict[str, str] = field(default_factory=dict)
    stacks: Stacks | None = None
    flight: Flight | None = None
    cpu_quota: float | None = None
    hit_costs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class CaptureEnd:
    """The trailer of a capture.  received + lost = what the kernel side sent.

    overhead: the estimated share of the CPU time used by the targets that the probes took, or None.
    of_processor: the same as a share of one processor's time.
    """

    time: int
    reason: str
    received: int
    lost: int
    overhead: float | None = None
    of_processor: float | None = None
