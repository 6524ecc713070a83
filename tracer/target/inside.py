"""Files that a process names, looked for and opened as inside its root folder: none of its links leads out of there."""

from __future__ import annotations

import errno
import os
import re
import stat
import weakref
from pathlib import Path, PurePosixPath

from tracer.beneath import Resolve, open_resolved

MAX_FILE = 16 << 30
"""Bytes: a program with its debug information may have some gigabytes; a sparse file may claim anything."""

_OF_A_PROCESS = re.compile(r"(/proc/\d+/root|/proc/self/fd/\d+)/(.+)", re.DOTALL)
_MAX_LINKS = 40  # as the kernel: more symbolic links than this in one path are a loop


def resolve_inside(root: Path, path: PurePosixPath) -> Path | None:
    """The regular file that absolute `path` names for somebody whose root folder is `root`; None if there is none.

    Symbolic links, absolute ones and `..` included, are followed as inside that root, so that a container
    cannot make the tracer read a file of the host by planting one.
    """
    found = _walk(root, path)
    try:
        return found if found is not None and stat.S_ISREG(found.lstat().st_mode) else None
    except OSError:
        return None


def _walk(root: Path, path: PurePosixPath) -> Path | None:
    pending = list(reversed(path.parts[1:]))
    inside: list[str] = []
    links = 0
    while pending:
        part = pending.pop()
        if part == "..":
            del inside[-1:]
            continue
        here = root.joinpath(*inside, part)
        try:
            is_link = stat.S_ISLNK(here.lstat().st_mode)
            target = PurePosixPath(here.readlink()) if is_link else None
        except (OSError, ValueError):  # ValueError: a NUL, or what is no text, in the name
            return None
        if target is None:
            inside.append(part)
            continue
        links += 1
        if links > _MAX_LINKS:
            return None
        if target.is_absolute():
            inside.clear()
        pending.extend(reversed([p for p in target.parts if p != "/"]))
    return root.joinpath(*inside)


def open_file(path: Path) -> int:
    """A descriptor for reading a regular file.  Raises OSError.

    What lies under /proc/PID/root, or a root that is held, is opened as inside it, whatever became of its folders since
    they were looked at.
    Nothing hangs: neither a FIFO nor a terminal in the file's place.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    descriptor = _open_inside(path, flags) if _OF_A_PROCESS.fullmatch(str(path)) else os.open(path, flags)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE:
        os.close(descriptor)
        what = "it is not a file" if not stat.S_ISREG(status.st_mode) else "it is too large"
        raise OSError(errno.EINVAL, what)
    return descriptor


class HeldRoot:
    """A process' root folder, held open: what lies in it is found when the process is gone.  Raises OSError.

    Its mount namespace is held, too, for what is mounted in a container goes with that.
    """

    def __init__(self, pid: int) -> None:
        namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        self._close_namespace = weakref.finalize(self, os.close, namespace)
        descriptor = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._close_root = weakref.finalize(self, os.close, descriptor)
        self.path = Path(f"/proc/self/fd/{descriptor}")

    def close(self) -> None:
        """Let them go."""
        self._close_namespace()
        self._close_root()


def _open_inside(path: Path, flags: int) -> int:
    found = _OF_A_PROCESS.fullmatch(str(path))
    assert found is not None
    root = os.open(found[1], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return open_resolved(found[2], flags, Resolve.IN_ROOT | Resolve.NO_MAGIC_LINKS, root)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
    finally:
        os.close(root)
    # Before Linux 5.6 the path is what resolve_inside made: without links, unless one was planted since.
    return os.open(path, flags | os.O_NOFOLLOW)
