"""The control groups that a process is in (cgroups(7)), of one controller, as far as they are mounted here.

Files of /proc tell: of the process, in which groups it is; of ourselves, what of the hierarchies is mounted where.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

NEWER, OLDER = "cgroup2", "cgroup"
"""Types of the file system: one hierarchy of all controllers, and one for each of them."""
Mounts = dict[str, list[tuple[str, Path]]]


def mounts_of(controller: str, proc: Path = Path("/proc")) -> Mounts:
    """By the type of the file system: what of the hierarchy is mounted, and where."""
    found: Mounts = {}
    for line in _lines(proc / "self" / "mountinfo"):
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        root, folder = map(_unescaped, before.split()[3:5])
        if kind == NEWER or (kind == OLDER and controller in options.split(",")):
            found.setdefault(kind, []).append((root, Path(folder)))
    return found


def cgroups_of(pid: int, controller: str, mounts: Mounts, proc: Path = Path("/proc")) -> Iterator[tuple[str, Path]]:
    """The type of the file system and the folder, of each group that the process is in, the outer ones too.  None where
    the process is gone."""
    for line in _lines(proc / str(pid) / "cgroup"):
        number, controllers, path = line.split(":", 2)
        kind = NEWER if number == "0" else OLDER
        if kind == OLDER and controller not in controllers.split(","):
            continue
        for root, folder in mounts.get(kind, ()):
            below = path.removeprefix(root.rstrip("/"))
            if not path.startswith(root) or not f"{below}/".startswith("/") or ".." in below.split("/"):
                continue  # it is outside of what is mounted here, or of our cgroup namespace
            inner = folder / below.lstrip("/")
            yield from ((kind, one) for one in (inner, *inner.parents) if one.is_relative_to(folder))
            break


def _lines(path: Path) -> list[str]:
    """None where it cannot be read.  A group may have any bytes but these in its name."""
    try:
        return os.fsdecode(path.read_bytes()).split("\n")[:-1]
    except OSError:
        return []


def _unescaped(word: str) -> str:
    """As mountinfo has them (proc_pid_mountinfo(5)): a blank is `\\040`."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), word)
