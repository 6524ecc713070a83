"""What the kernel side sends, one record of 40 bytes each."""

from __future__ import annotations

from enum import IntEnum, IntFlag

import numpy as np
import numpy.typing as npt

EVENT = np.dtype(
    [
        ("time", "<u8"),  # bpf_ktime_get_ns(), CLOCK_MONOTONIC
        ("sp", "<u8"),  # stack pointer as it was at the function's entry
        ("self", "<u8"),  # the future's address (Pin<&mut Self>), or a task poll's header pointer
        ("tid", "<u4"),  # thread, in the tracer's pid namespace
        ("sequence", "<u4"),  # per CPU, taken before the transport is asked: a gap is a loss
        ("probe", "<u4"),  # index into Plan.probes
        ("cpu", "<u2"),
        ("state", "u1"),  # the coroutine's state byte, as read at this moment
        ("flags", "u1"),  # EventFlag
    ]
)
"""One hit of one probe, 40 bytes; the same layout as `struct event` in bpf/events.h."""


class EventFlag(IntFlag):
    """Which of an event's fields were really read."""

    SELF = 1  # `self` is known
    STATE = 2  # `state` was read without a fault
    RESULT = 4  # the return value is known
    PENDING = 8  # ... and it is Poll::Pending (else Poll::Ready)
    TASK_ID = 16  # entry of a task poll: the runtime's id of the task was read
    NEW_TASK_ID = 32  # ... and is not the one last told for this header: the record before tells it
    FROM_TIMER = 4  # of a wake: it comes from inside of a function of the timers
    FROM_IO = 8  # ... of the IO driver


TASK_ID_RECORD = 0xFFFF_FFFF
"""EVENT.probe of a record that is no hit: it has the time, thread and CPU of the task poll's entry that follows
it, the task's header in `self` and the runtime's id of the task in `sp`."""


CHAIN_RECORD = 0xFFFF_FFFE
"""EVENT.probe of a record that is no hit: it has the time, thread, CPU and `self` of the poll's entry that follows
it, and in `sp` up to four numbers of places, 16 bits each, the lowest first: where the walk from `self` ended."""


SPAWN_RECORD = 0xFFFF_FFFD
"""EVENT.probe of a record that is no hit: it has the time, thread, CPU and `self` of the hit that follows it, where a
task was made, and in `sp` by which spawn: 1 + index into Plan.spawns in the upper 16 bits, and in the lower 48, as a
signed number, how far the CallSite that was handed over lies from that point's address."""


SWITCH_OUT_RECORD = 0xFFFF_FFFC
"""EVENT.probe of a record that is no hit: the thread left its CPU.  `state` has the low bits of the task's state, 0
when it would have run on; `sp` the number of the system call that it was in, or one of NO_SYSCALL and UNKNOWN_SYSCALL
as a signed number; `self` (SELF set) for how many ns the thread has run so far.  By the scheduler's account time that a
host took away from its virtual machine is none of these, where it tells of that at all."""


SWITCH_IN_RECORD = 0xFFFF_FFFB
"""EVENT.probe of a record that is no hit: the thread got a CPU, `cpu`.  `self` as in the record above."""


WAKING_RECORD = 0xFFFF_FFFA
"""EVENT.probe of a record that is no hit: the thread is woken.  `state` has the WakingContext, `self` (SELF set) the
thread that does it.  It comes before the SWITCH_IN_RECORD; before the SWITCH_OUT_RECORD where the thread was about to
wait."""


def is_scheduling(probes: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
    """Which of these EVENT.probe are one of the three records above."""
    return (probes >= WAKING_RECORD) & (probes <= SWITCH_OUT_RECORD)


class WakingContext(IntEnum):
    """Who wakes a thread."""

    THREAD = 0
    INTERRUPT = 1  # of a timer, of a device: no thread's doing
    UNKNOWN = 2


NO_SYSCALL, UNKNOWN_SYSCALL = -1, -2


THREAD_OVER = 0x80
"""State of a thread that leaves its CPU for good: TASK_DEAD of linux/sched.h."""


UNRESUMED, RETURNED, PANICKED, FIRST_SUSPEND = 0, 1, 2, 3
"""Coroutine states of rustc 1.63 to 1.97: not yet polled, done, panicked, first await."""


Array = npt.NDArray[np.void]
"""A structured array; the docstring of the function says of which dtype."""
