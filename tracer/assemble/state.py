"""What assembly carries from one block to the next: open frames, latest polls, threads.

All of it is bounded by what is alive in the traced process, never by the length of the capture.
A state is never changed: every step makes a new one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tracer.assemble.arrays import Flags, Indexes, Numbers, Small, Unsigned
from tracer.assemble.lookup import locate
from tracer.assemble.roles import GROUP_INDEX, Roles, roles_of
from tracer.assemble.schedule import NEVER, Schedule, first_schedule
from tracer.model import (
    EVENT,
    PARKED,
    POLL,
    STACK_SAMPLE,
    TASK,
    WAIT,
    Array,
    Group,
    Recording,
    Spans,
    Tally,
)

FRAME = np.dtype(
    [
        ("start", "<i8"),
        ("cap", "<i8"),  # the poll ended no later than this, because the next one of its instance began
        ("self", "<u8"),
        ("instance", "<u8"),
        ("task", "<u8"),
        ("parent", "<u8"),
        ("sp", "<u8"),
        ("order", "<u8"),  # number of its entry among all rows of the capture
        ("id", "<u8"),  # of a task poll: the runtime's id of the task; 0: unknown
        ("places", "<u8"),  # where it had been waiting, as tracer.assemble.chains packs it
        ("since", "<i8"),  # from when on it is certainly the same future, see tracer.assemble.continuity
        ("function", "<u4"),
        ("tid", "<u4"),
        ("process", "<u2"),
        ("depth", "<u2"),
        ("flags", "<u2"),  # PollFlag
        ("state", "u1"),
        ("state_after", "u1"),  # of a frame that left by a tail jump
        ("runnable", "<i8"),  # its thread's clock when it began, see tracer.assemble.scheduling
        ("blocked", "<i8"),
        ("known", "?"),  # `self` is known
        ("handing", "u1"),  # Handing
        ("telling", "u1"),  # Telling
        ("blind", "?"),  # its exit may come, or may have come, while those of its function are not probed
        ("inside", "?"),  # it lies in the memory of the task around it
        ("leaving", "?"),  # its function is not probed any more: it is taken to end with what is open in it
    ],
    align=True,
)
"""One open poll.  In State.frames the frames of one thread stand in the order of its stack."""

MAYBE_OVER = -2
"""In the place of the index of a frame that may have ended unseen."""

NOT_HANDED, HANDING, HANDED_ON = 0, 1, 2
"""FRAME.handing: no tail jump yet; the next frame (or event) runs in its place; something unseen runs in its place."""

NOT_READ, SAME, TOLD, LOST = 0, 1, 2, 3
"""FRAME.telling, what the entry of a task poll says of the runtime's id: nothing; the one last told for that
header; this one; a new one, which is not known."""

LATEST = np.dtype(
    [
        ("end", "<i8"),
        ("self", "<u8"),
        ("instance", "<u8"),
        ("task", "<u8"),
        ("parent", "<u8"),
        ("order", "<u8"),
        ("id", "<u8"),
        ("function", "<u4"),
        ("tid", "<u4"),
        ("process", "<u2"),
        ("result", "u1"),  # Result
        ("state_after", "u1"),
        ("gap", "?"),  # its function was not traced for a while since
        ("blind", "?"),  # as FRAME has it
        ("inside", "?"),
        ("start", "<i8"),
    ],
    align=True,
)
"""The latest poll of an instance that may be polled again, when it is over."""

_DONE_TO_TASK = [
    ("self", "<u8"),  # the task's header
    ("order", "<u8"),  # number of its row among all rows of the capture
    ("time", "<i8"),
    ("by", "<u8"),  # the task that was being polled there, as TASK.spawned_by and WAIT.woken_by have it, and so on
    ("by_id", "<u8"),
    ("by_function", "<u4"),
    ("on", "<u4"),
    ("process", "<u2"),
]

BIRTH = np.dtype([*_DONE_TO_TASK, ("at", "<u4"), ("is_queued", "?")], align=True)
"""A task that was made and is not known to have been polled.  at: as TASK.spawned_at.  is_queued: that was seen only
when it was handed to a pool."""

WAKE = np.dtype([*_DONE_TO_TASK, ("origin", "u1")], align=True)
"""An effective wake of a task that is not known to have been polled since.  origin: as WAIT.woken_from."""

DROPPED = np.dtype([*((name, PARKED[name]) for name in PARKED.names or ()), ("time", "<i8"), ("tid", "<u4")])
"""A task of State.resting that was dropped, and when and by which thread."""

POLLER = np.dtype([("tid", "<u4"), ("order", "<u8")], align=True)
"""A thread that has polled tasks.  order: number of the row in which it first did, among all rows of the capture."""


def done_to_tasks(dtype: np.dtype[np.void], events: Array, order: npt.ArrayLike, process: npt.ArrayLike) -> Array:
    """One row of BIRTH or WAKE for each event, by whom is still missing.  order, process: of each."""
    rows = np.zeros(len(events), dtype)
    rows["self"], rows["on"] = events["self"], events["tid"]
    rows["time"] = np.minimum(events["time"], np.uint64(NO_CAP))
    rows["order"], rows["process"] = order, process
    return rows


UNKNOWN, PENDING, FINISHED = 0, 1, 2
"""LATEST.result."""

NO_CAP = np.iinfo(np.int64).max
UNKNOWN_STATE = 255
UNKNOWN_PROCESS = 0xFFFF

ABOVE_ALL = np.uint64(2**64 - 1)
"""Higher than any stack pointer.  An event that claims to be there is counted as unmatched."""

SHARED_FIELDS = (
    "start",
    "self",
    "instance",
    "task",
    "parent",
    "function",
    "tid",
    "depth",
    "flags",
    "state",
    "state_after",
)
"""What a FRAME and its POLL have in common."""

NO_TASKS = np.empty(0, TASK)
NO_ROW = np.uint64(np.iinfo(np.uint64).max)
NO_SPANS = Spans(np.empty(0, POLL), np.empty(0, WAIT))


@dataclass(frozen=True, slots=True)
class Threads:
    """What is known of each thread seen, in the order of tid.

    last: time of its latest event.  top: per batch of functions (State.batch), the highest stack pointer seen since
    it was attached; a frame above it may be under way since before.  since: per batch, from when on everything is seen
    on this thread.
    """

    tid: npt.NDArray[np.uint32]
    last: Numbers
    top: Unsigned  # shape (batches, threads)
    since: Numbers  # shape (batches, threads)
    process: npt.NDArray[np.uint16]

    def places(self, tids: npt.NDArray[np.uint32]) -> tuple[Indexes, Flags]:
        """(the place of each of these, where it is there; whether it is)."""
        return locate(self.tid, tids)

    def including(self, tids: npt.NDArray[np.uint32], state: State) -> tuple[Threads, Indexes]:
        """These threads and those of `tids` (any order, with repetitions), new ones as `state` has it; and the
        place of each of `tids` among them.
        """
        place, known = self.places(tids)
        if known.all():
            return self, place
        new = np.unique(tids[~known])
        at = np.searchsorted(self.tid, new)
        more = Threads(
            tid=np.insert(self.tid, at, new),
            last=np.insert(self.last, at, np.iinfo(np.int64).min),
            top=np.insert(self.top, at, np.uint64(0), axis=1),
            since=np.insert(self.since, at, np.array(state.since)[:, None], axis=1),
            process=np.insert(self.process, at, 0 if len(state.pids) <= 1 else UNKNOWN_PROCESS),
        )
        return more, more.places(tids)[0]


NO_THREADS = Threads(
    tid=np.empty(0, np.uint32),
    last=np.empty(0, np.int64),
    top=np.empty((len(GROUP_INDEX), 0), np.uint64),
    since=np.empty((len(GROUP_INDEX), 0), np.int64),
    process=np.empty(0, np.uint16),
)


@dataclass(frozen=True, slots=True)
class Tasks:
    """alive: dtype TASK, by number.  leaving: those that are over as soon as their last poll is.
    latest: the start of the latest poll that is over.  told: what told their end.
    """

    alive: Array
    leaving: Flags
    latest: Numbers
    told: Small


NOTHING, ANOTHER, PAST, END, DONE, UNDONE = range(6)
"""Tasks.told: nothing; another task at the header; that it had ended before; an end of the task; that of one whose
future returned, or panicked; ... did neither."""


@dataclass(frozen=True, slots=True)
class State:
    """batch: of each function, a number for those that were attached at one time: its group's, or a higher one.
    probed: which functions are; entries_only: of which of them the exits are not.
    since: per batch, from when on it is attached.  lossy: per batch, events were lost since then; of functions that
    are probed.
    lost_until: events from before this time may be missing.
    losses: those of which no event behind them was seen yet, see tracer.assemble.losses: (behind which time, until when
    events may be missing), by time.
    under_way: per function, the number of the first row by which a poll of it ended that was under way when it was
    attached; NO_ROW: none did.
    records: see tracer.assemble.task_ids.  chains, calls: records of walks and of spawns, see tracer.assemble.records.
    births: dtype BIRTH.  wakes: dtype WAKE, of each task the first one since its latest poll began.
    pollers: dtype POLLER, by tid; jobs are no tasks here.
    schedule: see tracer.assemble.scheduling.
    resting: dtype PARKED, tasks that were there at the begin of which no poll began since; task: perhaps WOKEN;
    rested_at: ns, when memory had been read.
    dropped: dtype DROPPED, those of them that were over then.  inside: dtype PARKED, the suspended coroutines in the
    tasks that were there.  read_at_start, read_at_end: of which processes (index) memory was read at the begin, but
    when the probes were there already; and at the end.
    parked: dtype PARKED, all futures that memory told at the end, and when that was: from parked_at to parked_until.
    samples: dtype
    STACK_SAMPLE, those whose polls are not over, by thread and time.  in_poll: threads (tid) on which a task's poll was
    under way at the begin, as memory told, and none has begun or ended since.
    """

    roles: Roles
    start: int
    pids: tuple[int, ...]
    active: frozenset[Group]
    batch: Indexes
    probed: Flags
    entries_only: Flags
    since: tuple[int, ...]
    lossy: tuple[bool, ...]
    lost_until: int
    under_way: Unsigned
    threads: Threads
    frames: Array
    latest: Array
    tasks: Tasks
    records: Array
    chains: Array
    calls: Array
    births: Array
    wakes: Array
    pollers: Array
    next_instance: int
    next_order: int
    tally: Tally
    schedule: Schedule
    resting: Array = field(default_factory=lambda: np.empty(0, PARKED))
    rested_at: int = 0
    dropped: Array = field(default_factory=lambda: np.empty(0, DROPPED))
    inside: Array = field(default_factory=lambda: np.empty(0, PARKED))
    read_at_start: frozenset[int] = frozenset()
    read_at_end: frozenset[int] = frozenset()
    parked: Array = field(default_factory=lambda: np.empty(0, PARKED))
    parked_at: int = 0
    parked_until: int = 0
    samples: Array = field(default_factory=lambda: np.empty(0, STACK_SAMPLE))
    in_poll: npt.NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    losses: tuple[tuple[int, int], ...] = ()

    @property
    def sees_exit(self) -> Flags:
        """The functions whose exits are seen now."""
        return self.roles.has_exit & self.probed & ~self.entries_only

    @property
    def is_lossy(self) -> bool:
        """Events of functions that are probed were lost since they are."""
        return bool(np.array(self.lossy)[self.batch[self.probed]].any())

    @property
    def may_lack_until(self) -> int:
        """As lost_until, with the losses behind which nothing was seen yet."""
        return max([self.lost_until, *(until for _, until in self.losses)])

    @property
    def now(self) -> int:
        """The latest time seen."""
        return max(self.start, int(self.threads.last.max(initial=self.start)))


def first_state(recording: Recording, settled: Unsigned) -> State:
    """settled: see tracer.assemble.chains."""
    roles = roles_of(recording.plan, settled)
    return State(
        roles=roles,
        start=recording.start,
        pids=tuple(process.pid for process in recording.processes),
        active=frozenset(Group),
        batch=roles.function_group.astype(np.intp),
        probed=np.ones(len(roles.is_task), np.bool_),
        entries_only=np.zeros(len(roles.is_task), np.bool_),
        since=(recording.start,) * len(GROUP_INDEX),
        lossy=(False,) * len(GROUP_INDEX),
        lost_until=np.iinfo(np.int64).min,
        under_way=np.full(len(roles.is_task), NO_ROW),
        threads=NO_THREADS,
        frames=np.empty(0, FRAME),
        latest=np.empty(0, LATEST),
        tasks=Tasks(NO_TASKS, np.zeros(0, np.bool_), np.zeros(0, np.int64), np.zeros(0, np.uint8)),
        records=np.empty(0, EVENT),
        chains=np.empty(0, EVENT),
        calls=np.empty(0, EVENT),
        births=np.empty(0, BIRTH),
        wakes=np.empty(0, WAKE),
        pollers=np.empty(0, POLLER),
        next_instance=1,
        next_order=1,
        tally=Tally(),
        schedule=first_schedule(recording.start if recording.plan.scheduling else NEVER),
    )
