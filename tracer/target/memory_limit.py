"""What the memory limits of its cgroups leave a process.

Where code is probed, a page of the process' own takes the place of the file's, and is charged to its cgroup.  Where the
cgroup has no room for it, the kernel makes some: it kills a process of that cgroup, be it the one to be traced.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tracer.errors import NoRoom

_SPARE = 1 << 20
"""Bytes beside the pages, for what goes with them and for what the process takes meanwhile."""
_UNLIMITED = 1 << 62


@dataclass(frozen=True, slots=True)
class _Names:
    """Files of a cgroup with its limit and use, in bytes; lines of its memory.stat: pages of files, and those of them
    that are not dropped at once."""

    limit: str
    used: str
    files: tuple[str, ...]
    kept: tuple[str, ...]


_NAMES = {
    "cgroup2": _Names(
        "memory.max",
        "memory.current",
        ("inactive_file", "active_file"),
        ("file_mapped", "file_dirty", "file_writeback"),
    ),
    "cgroup": _Names(
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        ("total_inactive_file", "total_active_file"),
        ("total_mapped_file", "total_dirty", "total_writeback"),
    ),
}
"""By the type of the file system: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of Linux 6.12."""


def require_room(pid: int, name: str, pages: int, proc: Path = Path("/proc")) -> None:
    """Raises NoRoom when a cgroup of the process might not have so many pages to give."""
    room = memory_room(pid, proc)
    needed = pages * mmap.PAGESIZE
    if room is not None and room < needed + _SPARE:
        free = max(room, 0)
        raise NoRoom(
            f"The memory limit of process {pid} ({name}) leaves no room for probes.",
            why=f"they take {needed >> 10:,} KiB, {_SPARE >> 10:,} KiB more are to stay free, and {free >> 10:,}"
            " KiB are: the kernel kills what goes over its limit",
            fix=f"rat-ebpf sample {pid} reads its tasks without any probe; or probe fewer functions: --exits task",
        )


def memory_room(pid: int, proc: Path = Path("/proc")) -> int | None:
    """Bytes that the process may still take before a limit is reached; None: there is none, or it is not known."""
    rooms = []
    with suppress(OSError):
        for kind, folder in _cgroups(pid, proc):
            with suppress(OSError, ValueError, KeyError):  # the root has no limit
                room = _room(folder, _NAMES[kind])
                if room is not None:
                    rooms.append(room)
    return min(rooms, default=None)


def _room(folder: Path, names: _Names) -> int | None:
    limit = (folder / names.limit).read_text().strip()
    if limit == "max" or int(limit) >= _UNLIMITED:
        return None
    used = int((folder / names.used).read_text())
    lines = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
    amounts = {name: int(amount) for name, amount in lines}
    files = sum(amounts[name] for name in names.files) - sum(amounts[name] for name in names.kept)
    return int(limit) - used + max(files, 0) // 2  # half of what it may drop, for it need not succeed


def _cgroups(pid: int, proc: Path) -> Iterator[tuple[str, Path]]:
    """The type of the file system and the folder, of each memory cgroup that the process is in, the outer ones too."""
    mounts = _mounts(proc)
    for line in (proc / str(pid) / "cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        kind = "cgroup2" if number == "0" else "cgroup"
        if kind == "cgroup" and "memory" not in controllers.split(","):
            continue
        for root, folder in mounts.get(kind, ()):
            if path != root and not path.startswith(root.rstrip("/") + "/"):
                continue  # it is outside of what is mounted here
            inner = folder / path.removeprefix(root.rstrip("/")).lstrip("/")
            yield from ((kind, one) for one in (inner, *inner.parents) if one.is_relative_to(folder))
            break


def _mounts(proc: Path) -> dict[str, list[tuple[str, Path]]]:
    """By the type of the file system: what of the hierarchy is mounted, and where."""
    found: dict[str, list[tuple[str, Path]]] = {}
    for line in (proc / "self" / "mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        root, folder = before.split()[3:5]
        if kind == "cgroup2" or (kind == "cgroup" and "memory" in options.split(",")):
            found.setdefault(kind, []).append((root, Path(folder)))
    return found
