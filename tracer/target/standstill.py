"""Whether a process is kept from running as a whole: stopped by a signal or a debugger, or frozen.  Without a probe.

/proc/PID/status tells the state of the main thread and who traces it (proc(5)); cgroup.events of the newer hierarchy
and freezer.state of the older one tell of the freezer (Documentation/admin-guide/cgroup-v2.rst and
cgroup-v1/freezer-subsystem.rst of Linux 6.12).
"""

from __future__ import annotations

from pathlib import Path

from tracer.model import HaltKind, Standstill
from tracer.target.cgroups import NEWER, cgroups_of, mounts_of
from tracer.target.standing import LEFT, status_of

CONTROLLER = "freezer"


class StandstillWatch:
    """Of one process; where its control group is looked up once."""

    def __init__(self, pid: int, proc: Path = Path("/proc")) -> None:
        self._folder = proc / str(pid)
        self._proc = proc
        self._freezers = [
            folder / ("cgroup.events" if kind == NEWER else "freezer.state")
            for kind, folder in cgroups_of(pid, CONTROLLER, mounts_of(CONTROLLER, proc), proc)
        ]

    def look(self) -> Standstill | None:
        """What keeps it from running now; None: nothing, or that cannot be read, or it is gone."""
        try:
            status = status_of(self._folder)
            state = status["State"][:1]
            left = tuple(status[name] for name in LEFT)
            if state == "T":
                return Standstill(HaltKind.STOPPED, "", left)
            # Whoever follows system calls (strace) stops one thread at a time, for a moment.
            if state == "t" and self._all_stopped():
                return Standstill(HaltKind.TRACED, self._name_of(status.get("TracerPid", "0")), left)
            if any(map(_is_frozen, self._freezers)):
                return Standstill(HaltKind.FROZEN, "", left)
        except (OSError, ValueError, KeyError):
            pass
        return None

    def _all_stopped(self) -> bool:
        return all(status_of(thread)["State"][:1] in "TtXZ" for thread in (self._folder / "task").iterdir())

    def _name_of(self, pid: str) -> str:
        try:
            return f"{(self._proc / str(int(pid)) / 'comm').read_text('utf-8', 'replace').strip()} ({pid})"
        except OSError:
            return ""


def _is_frozen(path: Path) -> bool:
    try:
        text = path.read_text()
    except OSError:  # the root has none
        return False
    return "frozen 1" in text.splitlines() or text.strip() == "FROZEN"
