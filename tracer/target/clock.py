"""The kernel's own clock: what it stamps events with is CLOCK_MONOTONIC as the machine has it, and a time namespace
(of a container, or of a restored checkpoint) shows its processes another one."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path


def kernel_now() -> int:
    """Nanoseconds of CLOCK_MONOTONIC outside of all time namespaces, as bpf_ktime_get_ns() gives them."""
    return time.monotonic_ns() - clock_offsets()["monotonic"]


@cache
def clock_offsets() -> dict[str, int]:
    """Nanoseconds by which the clocks `monotonic` and `boottime` of this program's time namespace are ahead."""
    offsets = {"monotonic": 0, "boottime": 0}
    own = Path("/proc/self")
    try:
        # What the file tells is of the namespace that children get.
        if (own / "ns/time").samefile(own / "ns/time_for_children"):
            for line in (own / "timens_offsets").read_text(encoding="ascii").splitlines():
                name, seconds, nanoseconds = line.split()
                offsets[name] = int(seconds) * 1_000_000_000 + int(nanoseconds)
    except OSError:
        pass  # a kernel before 5.6, or built without them
    return offsets
