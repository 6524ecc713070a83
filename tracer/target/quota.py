"""How much CPU time processes may use: the quotas of their control groups.

The newer hierarchy has them in cpu.max ("quota period", or "max period"; Documentation/admin-guide/cgroup-v2.rst of
Linux 6.12), the older one in cpu.cfs_quota_us (-1: none) and cpu.cfs_period_us (Documentation/scheduler/sched-bwc.rst).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tracer.target.cgroups import NEWER, cgroups_of, mounts_of

CONTROLLER = "cpu"


def cpu_quota(pids: Iterable[int], proc: Path = Path("/proc")) -> float | None:
    """Processors that the one of these processes may use that may use the least; None: none of them has a limit, or it
    cannot be read."""
    mounts = mounts_of(CONTROLLER, proc)
    groups = {group for pid in pids for group in cgroups_of(pid, CONTROLLER, mounts, proc)}
    return min((quota for kind, folder in groups if (quota := _quota(kind, folder)) is not None), default=None)


def _quota(kind: str, folder: Path) -> float | None:
    try:
        if kind == NEWER:
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if quota != "max" and int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # the root has none
        return None
