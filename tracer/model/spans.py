"""What assembly makes of events."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

import numpy as np

from tracer.model.events import Array
from tracer.model.stacks import STACK_SAMPLE


class PollFlag(IntFlag):
    """What is unusual about a poll."""

    START_UNKNOWN = 1  # it was under way when the probes were attached
    END_UNKNOWN = 2  # it was under way when they were detached, or events were lost
    UNWOUND = 4  # a panic (or a lost exit) ended it: `end` is when it was last seen, `end_latest` a bound
    INFERRED_END = 8  # its exit was not probed: same meaning of `end` and `end_latest`
    TAIL = 16  # it left by a jump; it ends with its callee
    RESULT = 32  # the result is known
    PENDING = 64  # ... and it is Pending, else Ready
    STATE = 128  # `state` was read at entry
    MERGED = 256  # it stands for several short ones (only made by the output, to keep a trace openable)
    ABORTED = 512  # of a task: it was aborted before, so that this poll drops the future without polling it
    PANICKED = 1024  # of a task: its future panicked
    SCHEDULED = 2048  # `runnable` and `blocked` are known


# Aligned, for numpy reads what is not many times more slowly.
POLL = np.dtype(
    [
        ("start", "<i8"),  # ns; with START_UNKNOWN the recording's start
        ("end", "<i8"),  # ns; with END_UNKNOWN until when it is known to have been under way
        ("end_latest", "<i8"),  # ns; = end unless the end is known only as a range
        ("self", "<u8"),
        ("instance", "<u8"),  # the future instance; 0: unknown (no self)
        ("task", "<u8"),  # the enclosing task: its number, the instance of its polls; 0: none or unknown
        ("parent", "<u8"),  # the instance of the enclosing future poll on the same thread; 0: none
        ("function", "<u4"),  # index into Plan.functions
        ("tid", "<u4"),
        ("depth", "<u2"),  # number of enclosing open polls on the thread
        ("flags", "<u2"),  # PollFlag
        ("state", "u1"),  # coroutine state at entry (STATE set): where it had been waiting
        ("state_after", "u1"),  # ... at exit; 255 unknown
        ("runnable", "<i8"),  # ns in which its thread waited for a CPU; known with SCHEDULED, else 0
        ("blocked", "<i8"),  # ns in which its thread waited for something else; the rest it was on a CPU
    ],
    align=True,
)
"""One poll of one future instance on one thread."""


class OffCpuFlag(IntFlag):
    END_UNKNOWN = 1  # it did not get a CPU again until nothing more was seen
    BY_INTERRUPT = 2  # no thread woke it: a timer or a device did
    IN_POLL = 4  # a poll was under way: `function` is the innermost one's
    MAYBE_IN_POLL = 8  # one was, or had ended unseen: its exit is not probed


OFF_CPU = np.dtype(
    [
        ("start", "<i8"),  # ns
        ("woken", "<i8"),  # ns; when it could run again, of one that would have run on `start`; 0: not known
        ("end", "<i8"),  # ns; it got a CPU
        ("instance", "<u8"),  # of the innermost open poll; 0: outside of polls, or unknown
        ("task", "<u8"),  # the number of the task that is polled; 0: none or unknown
        ("function", "<u4"),  # index into Plan.functions, see IN_POLL
        ("tid", "<u4"),
        ("woken_by", "<u4"),  # the waking thread; 0: none, or unknown
        ("stack", "<u4"),  # 1 + index of a told stack; 0: none
        ("syscall", "<i2"),  # number of the system call, NO_SYSCALL or UNKNOWN_SYSCALL
        ("cpu", "<u2"),  # that it left
        ("state", "u1"),  # the kernel's state of the thread, its low bits; 0: it would have run on
        ("flags", "u1"),  # OffCpuFlag
        ("since", "<i8"),  # ns; from when on it had been on that CPU, as far as that is known
        ("cpu_after", "<u2"),  # that it got at `end`
        ("stolen", "<i8"),  # ns from `since` to `start` that a host took away from its virtual machine; -1: not known
    ],
    align=True,
)
"""A traced thread that had left its CPU, and the poll that it was in."""


class WaitFlag(IntFlag):
    START_UNKNOWN = 1  # the poll before it was not seen
    END_UNKNOWN = 2  # no poll followed until the recording's end
    AMBIGUOUS = 4  # the poll before may have been another future's last one, or one may have followed unseen
    STATE = 8  # `state` is known
    CANCELLED = 16  # it ended because the future, or the task, was dropped: there is no next poll
    REPLACED = 32  # ... which was seen only by another one at its address, at `end`


WAIT = np.dtype(
    [
        ("start", "<i8"),
        ("end", "<i8"),
        ("self", "<u8"),
        ("instance", "<u8"),
        ("task", "<u8"),
        ("function", "<u4"),
        ("tid", "<u4"),  # the thread of the poll that follows, or of the drop (when none is seen, of the poll before)
        ("flags", "<u2"),  # WaitFlag
        ("state", "u1"),  # coroutine state during the wait: which await
        ("_pad", "u1"),
        ("places", "<u8"),  # where it waits: up to four numbers of places, 16 bits each, the lowest first; 0: none
        ("woken", "<i8"),  # ns; of a task: its first effective wake, 0: not known, and nothing of what follows
        ("woken_by", "<u8"),  # the number of the task that was being polled there; 0: none was, as far as was seen
        ("woken_by_id", "<u8"),  # the runtime's own id of that task; 0: unknown
        ("woken_by_function", "<u4"),  # its function
        ("woken_on", "<u4"),  # the thread; 0: it was ready when the recording began
        ("woken_from", "u1"),  # WakeOrigin
    ],
    align=True,
)
"""From one Pending poll of an instance to its next poll, or to its end without one.

A task can be woken while it is still being polled: `woken` is then before `start`, and it was ready all the time.
"""


class Outcome(IntEnum):
    """What became of a task."""

    UNKNOWN = 0
    FINISHED = 1  # its future returned Ready
    REPLACED = 2  # another task has its header: it had ended
    RUNNING = 3  # a poll of it was under way when nothing more was seen
    WAITING = 4  # its last poll did not end it
    PANICKED = 5  # its future panicked
    CANCELLED = 6  # its future was dropped before it returned: aborted, or the runtime shut down
    ENDED = 7  # it has ended, but how was not seen


TASK = np.dtype(
    [
        ("task", "<u8"),  # its number: the instance of its polls
        ("id", "<u8"),  # the runtime's own id; 0: unknown
        ("header", "<u8"),
        ("first", "<i8"),  # ns; the start of its first poll seen; if there is none, the begin, or of a new task the end
        ("last", "<i8"),  # ns; the end of its last poll seen
        ("until", "<i8"),  # ns; the same, or that of the wait in which it was cancelled after that
        ("busy", "<i8"),  # ns
        ("longest", "<i8"),  # ns; of one poll
        ("waiting", "<i8"),  # ns
        ("polls", "<u8"),
        ("function", "<u4"),  # index into Plan.functions
        ("tid", "<u4"),  # the thread of its first poll seen
        ("process", "<u2"),  # index into Recording.processes; 65535: unknown
        ("outcome", "u1"),  # Outcome
        ("_pad", "u1"),
        ("spawned", "<i8"),  # ns; when it was made; 0: that was not seen, and nothing of what follows is known
        ("spawned_by", "<u8"),  # the number of the task that was being polled there; 0: none was, as far as was seen
        ("spawned_by_id", "<u8"),  # the runtime's own id of that task; 0: unknown
        ("spawned_by_function", "<u4"),  # its function
        ("spawned_at", "<u4"),  # 1 + index into Plan.sites; 0: unknown
        ("spawned_on", "<u4"),  # the thread
    ],
    align=True,
)
"""One task of a runtime."""


LOOK = np.dtype(
    [
        *((name, STACK_SAMPLE[name]) for name in ("time", "until", "tid", "stack", "kind")),
        ("function", "<u4"),  # index into Plan.functions
        ("start", "<i8"),  # ns, of the poll
        ("task", "<u8"),  # its number: the instance of its polls; 0: unknown
    ]
)
"""A thread's stack and the task poll that it was taken in: the innermost one, if several were under way; 48 bytes.

One of what ran, or that blocked until nothing more was seen, has the end of its poll in `until`."""


@dataclass(frozen=True, slots=True)
class Spans:
    """What one step of assembly yields.  polls: dtype POLL, waits: dtype WAIT; in order of their ends.

    begun, over: dtype TASK, by number: the tasks polled for the first time, before any of their polls (what they
    have done is 0 still), and those of which no more is seen, after all of their polls.  Those of which no poll began
    are told when it is over, in both alike; one of these whose spawn was seen was ready until `first`.  looks: dtype
    LOOK, those taken in these polls.  off_cpu: dtype OFF_CPU, in order of their ends; what lies in a poll comes no
    later than the poll.
    """

    polls: Array
    waits: Array
    begun: Array = field(default_factory=lambda: np.empty(0, TASK))
    over: Array = field(default_factory=lambda: np.empty(0, TASK))
    looks: Array = field(default_factory=lambda: np.empty(0, LOOK))
    off_cpu: Array = field(default_factory=lambda: np.empty(0, OFF_CPU))


@dataclass(frozen=True, slots=True)
class Tally:
    """What assembly counted; every event is in exactly one interval, in `unmatched_exits`, `task_ids`, `chains`,
    `ends`, `spawns`, `spawn_calls`, `wakes` or `switches`."""

    events: int = 0
    polls: int = 0
    waits: int = 0
    instances: int = 0
    unmatched_exits: int = 0
    unwound: int = 0
    open_at_end: int = 0
    open_at_start: int = 0
    task_ids: int = 0  # events that told the id of a task
    chains: int = 0  # events that told where the poll after them had been waiting
    ends: int = 0  # events that told the end of a life
    spawns: int = 0  # events that told that a task was made
    spawn_calls: int = 0  # events that told by which call the task after them was made
    wakes: int = 0  # events that told that a task was woken
    idle_wakes: int = 0  # ... without effect: another wake had done it already, or the task was done
    self_wakes: int = 0  # ... with effect, by the task itself while it was polled
    looks: int = 0  # stacks that were taken in a task poll; those are no events
    unanswered_wakes: int = 0  # ... with effect, followed by no poll before the task's end, or the recording's
    switches: int = 0  # events that told that a thread left its CPU, got one or was woken
    unpaired_switches: int = 0  # ... that it left its CPU, though it was not told that it had got one since last time
