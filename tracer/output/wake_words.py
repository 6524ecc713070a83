"""By whom tasks were woken, for people."""

from __future__ import annotations

OWN = "itself, while it was polled"

NO_TASK = "no task, as far as was seen"
"""Of a wake outside of any task's poll: by a timer, the IO driver, or a thread that polls none."""
