"""How much CPU time processes may use: the quotas of their control groups, and how often those kept them from running.

The newer hierarchy has them in cpu.max ("quota period", or "max period"; Documentation/admin-guide/cgroup-v2.rst of
Linux 6.12), the older one in cpu.cfs_quota_us (-1: none) and cpu.cfs_period_us (Documentation/scheduler/sched-bwc.rst).
Both count in cpu.stat.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tracer.target.cgroups import NEWER, cgroups_of, mounts_of

CONTROLLER = "cpu"


def cpu_quota(pids: Iterable[int], proc: Path = Path("/proc")) -> float | None:
    """Processors that the one of these processes may use that may use the least; None: none of them has a limit, or it
    cannot be read."""
    mounts = mounts_of(CONTROLLER, proc)
    groups = {group for pid in pids for group in cgroups_of(pid, CONTROLLER, mounts, proc)}
    return min((quota for kind, folder in groups if (quota := _quota(kind, folder)) is not None), default=None)


@dataclass(frozen=True, slots=True)
class Throttled:
    """Of one control group, since it was made.  quota: processors.  periods: in which threads of it wanted to run;
    throttled: in which they were kept from it.  lost: ns, added up over processors."""

    quota: float
    periods: int
    throttled: int
    lost: int

    def since(self, before: Throttled) -> Throttled:
        """What came in between."""
        return Throttled(
            self.quota, self.periods - before.periods, self.throttled - before.throttled, self.lost - before.lost
        )


class ThrottleWatch:
    """The control groups with a limit around one process, which are looked up once."""

    def __init__(self, pid: int, proc: Path = Path("/proc")) -> None:
        groups = cgroups_of(pid, CONTROLLER, mounts_of(CONTROLLER, proc), proc)
        self._groups = [(kind, folder) for kind, folder in groups if (folder / "cpu.stat").exists()]
        self._before = self._look()

    def since_last(self) -> Throttled | None:
        """Of the group that was kept from running longest since the last call; None: none was."""
        now = self._look()
        came = [one.since(self._before[at]) for at, one in now.items() if at in self._before]
        self._before = now
        held_back = [one for one in came if one.throttled > 0 or one.lost > 0]
        return max(held_back, key=lambda one: one.lost, default=None)

    def _look(self) -> dict[Path, Throttled]:
        found = {}
        for kind, folder in self._groups:
            quota = _quota(kind, folder)
            if quota is not None and (counted := _counts(folder, quota)) is not None:
                found[folder] = counted
        return found


def _counts(folder: Path, quota: float) -> Throttled | None:
    try:
        lines = (line.split() for line in (folder / "cpu.stat").read_text().splitlines())
        counts = {name: int(value) for name, value in lines}
        lost = counts["throttled_usec"] * 1000 if "throttled_usec" in counts else counts["throttled_time"]
        return Throttled(quota, counts["nr_periods"], counts["nr_throttled"], lost)
    except (OSError, ValueError, KeyError):
        return None


def _quota(kind: str, folder: Path) -> float | None:
    try:
        if kind == NEWER:
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if quota != "max" and int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # the root has none
        return None
