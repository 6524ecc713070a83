"""Files that we keep for ourselves between runs: whoever runs the tracer, perhaps root, believes only those that nobody
else can write."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

MAX_FILE = 16 << 20
"""Bytes."""
_MAX_ENTRIES = 64


def default_cache() -> Path:
    """/var/cache/rat-ebpf for root, the user's own cache folder for others."""
    if os.geteuid() == 0:
        return Path("/var/cache/rat-ebpf")
    configured = os.environ.get("XDG_CACHE_HOME", "")
    if configured.startswith("/"):
        return Path(configured) / "rat-ebpf"
    try:
        return Path.home() / ".cache" / "rat-ebpf"
    except RuntimeError:  # a user that nothing is known of
        return Path("/nonexistent/rat-ebpf")


class OwnFiles:
    """A folder's files of one ending, of which the 64 that were used last are kept.  Names: 64 hexadecimal digits."""

    def __init__(self, folder: Path, ending: str) -> None:
        self._folder = folder
        self._ending = ending
        self._pattern = re.compile(rf"^[0-9a-f]{{64}}{re.escape(ending)}(\.\d+\.tmp)?$")

    def read(self, name: str) -> bytes:
        """The content of NAME + ending.  Raises OSError (there is none, somebody else could have written it) or
        ValueError."""
        with self._open(create=False) as folder:
            descriptor = os.open(
                name + self._ending, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder
            )
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(file.fileno())
                _check_owner(status)
                if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE:
                    raise ValueError("not one of our files")
                with contextlib.suppress(OSError):
                    os.utime(file.fileno())  # recently used ones are kept
                return file.read()

    def write(self, name: str, content: bytes) -> None:
        """Keep it, as a whole or not at all; too much is not kept.  Raises OSError."""
        if len(content) > MAX_FILE:
            return
        with self._open(create=True) as folder:
            temporary = f"{name}{self._ending}.{os.getpid()}.tmp"
            descriptor = os.open(
                temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder
            )
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                os.replace(temporary, name + self._ending, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                os.unlink(temporary, dir_fd=folder)
                raise
            self._prune(folder)

    @contextlib.contextmanager
    def _open(self, *, create: bool) -> Iterator[int]:
        if create:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _check_owner(os.fstat(folder))
            yield folder
        finally:
            os.close(folder)

    def _prune(self, folder: int) -> None:
        """Removes the least recently used files, and what crashed runs left behind."""
        entries = []
        for entry in os.scandir(folder):
            if self._pattern.match(entry.name):
                with contextlib.suppress(OSError):
                    entries.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
        entries.sort(reverse=True)
        for _, name in entries[_MAX_ENTRIES:]:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=folder)


def _check_owner(status: os.stat_result) -> None:
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError("somebody else can write it")
