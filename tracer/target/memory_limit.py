"""What the memory limits of its cgroups leave a process.

Where code is probed, a page of the process' own takes the place of the file's, and is charged to its cgroup.  Where the
cgroup has no room for it, the kernel makes some: it kills a process of that cgroup, be it the one to be traced.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tracer.errors import NoRoom
from tracer.target.cgroups import Mounts, cgroups_of, mounts_of

CONTROLLER = "memory"
_SPARE = 1 << 20
"""Bytes beside the pages, for what goes with them and for what the process takes meanwhile."""
_UNLIMITED = 1 << 62


@dataclass(frozen=True, slots=True)
class _Names:
    """Files of a cgroup with its limit and use, in bytes; lines of its memory.stat about files: inactive, active,
    mapped, and two of what is still to be written."""

    limit: str
    used: str
    files: tuple[str, str, str, str, str]


_NAMES = {
    "cgroup2": _Names(
        "memory.max",
        "memory.current",
        ("inactive_file", "active_file", "file_mapped", "file_dirty", "file_writeback"),
    ),
    "cgroup": _Names(
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        ("total_inactive_file", "total_active_file", "total_mapped_file", "total_dirty", "total_writeback"),
    ),
}
"""By the type of the file system: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of Linux 6.12."""


def require_room(needs: Iterable[tuple[int, str, int]], proc: Path = Path("/proc")) -> None:
    """needs: (pid, name, pages) of each process.  Raises NoRoom when a cgroup might not have so many to give."""
    needed: dict[Path, int] = {}
    mounts = mounts_of(CONTROLLER, proc)
    for pid, name, pages in needs:
        for folder, room in rooms_of(pid, mounts, proc).items():
            needed[folder] = needed.get(folder, 0) + pages * mmap.PAGESIZE
            if room >= needed[folder] + _SPARE:
                continue
            free = max(room, 0)
            raise NoRoom(
                f"The memory limit of process {pid} ({name}) leaves no room for probes.",
                why=f"they take {needed[folder] >> 10:,} KiB, {_SPARE >> 10:,} KiB more are to stay free, and"
                f" {free >> 10:,} KiB are: the kernel kills what goes over its limit",
                fix=f"rat-ebpf sample {pid} reads its tasks without any probe; or probe fewer functions: --exits task",
            )


def rooms_of(pid: int, mounts: Mounts, proc: Path = Path("/proc")) -> dict[Path, int]:
    """By cgroup with a limit, the bytes that may still be taken before it is reached; those that can be seen."""
    rooms: dict[Path, int] = {}
    for kind, folder in cgroups_of(pid, CONTROLLER, mounts, proc):
        with suppress(OSError, ValueError, KeyError):  # the root has no limit
            room = _room(folder, _NAMES[kind])
            if room is not None:
                rooms[folder] = room
    return rooms


def _room(folder: Path, names: _Names) -> int | None:
    limit = (folder / names.limit).read_text().strip()
    if limit == "max" or int(limit) >= _UNLIMITED:
        return None
    used = int((folder / names.used).read_text())
    lines = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
    amounts = {name: int(amount) for name, amount in lines}
    inactive, active, mapped, *busy = (amounts[name] for name in names.files)
    # What the kernel can drop of files: what nobody maps, and what nobody has used for long.
    files = max(inactive + active - mapped, inactive) - sum(busy)
    return int(limit) - used + max(files, 0) // 2  # half of it, for it need not succeed
