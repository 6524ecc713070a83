"""By whom tasks were woken, for people."""

from __future__ import annotations

from tracer.model import WakeOrigin

OWN = "itself, while it was polled"

NO_TASK = {
    WakeOrigin.UNKNOWN: "no task, as far as was seen",
    WakeOrigin.TIMER: "a timer",
    WakeOrigin.IO: "the IO driver",
    WakeOrigin.TASK: "no task, as far as was seen",
    WakeOrigin.FUTURE: "a future outside of any task",
    WakeOrigin.RUNTIME: "its runtime between polls: a timer, IO, a deferred wake, or block_on's own future",
    WakeOrigin.THREAD: "a thread that polled no task before",
}
"""Of a wake outside of any task's poll, by what it came from."""
