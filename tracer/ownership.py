"""Files made by root for somebody else: made with the caller's own rights, private while they are written.

Whoever typed sudo gets no more by our files than they could do themselves: in a folder that others can write too, a
planted link leads where the caller's rights lead, and no further.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import stat
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TypeVar

from tracer.beneath import Resolve, open_resolved

T = TypeVar("T")

_SETGROUPS = 116  # the system call: of this thread only, where the C library's function is of all
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class OutputFolder:
    """The folder of files that are to be made; held by a descriptor, so that nobody puts another in its place.

    It is used with the rights of the caller.  Only where those do not suffice, and it is root's own folder that
    nobody else can write, named without symbolic links, is it used as root: `sudo rat-ebpf -o /root/x`.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._path = path.absolute()
        try:
            with callers_rights():
                self._fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except PermissionError:
            if caller() is None:
                raise
            self._fd = open_resolved(self._path, os.O_PATH | os.O_DIRECTORY, Resolve.NO_SYMLINKS)

    def create(self, name: str) -> int:
        """A new file that only its owner can read, open for reading and writing; the caller's.  Raises OSError.

        It is always a new one: an existing file, or a link that somebody planted, is refused (FileExistsError).
        """
        return self._act(lambda: os.open(name, _NEW, 0o600, dir_fd=self._fd))

    def create_folder(self, name: str) -> int:
        """A new folder that only its owner can use, open for reading; the caller's.  Raises OSError.

        Who puts another one in its place meanwhile gets no more than their own: it is opened, and given away, with the
        rights that made it.
        """
        return self._act(lambda: self._create_folder(name))

    def rename(self, old: str, new: str) -> None:
        """Of a link, the link itself.  Raises OSError."""
        self._act(lambda: os.rename(old, new, src_dir_fd=self._fd, dst_dir_fd=self._fd))

    def remove(self, name: str) -> None:
        """Of a link, the link itself; nothing when there is none.  Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            self._act(lambda: os.unlink(name, dir_fd=self._fd))

    def remove_folder(self, name: str) -> None:
        """One that is empty; nothing when there is none.  Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            self._act(lambda: os.rmdir(name, dir_fd=self._fd))

    def close(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _create_folder(self, name: str) -> int:
        os.mkdir(name, 0o700, dir_fd=self._fd)
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._fd)
        try:
            os.fchmod(fd, 0o700)  # whatever the umask took away
            give_to_caller(fd)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _act(self, action: Callable[[], T]) -> T:
        try:
            with callers_rights():
                return action()
        except PermissionError:
            if caller() is None or not self._is_roots_own():
                raise
        return action()

    def _is_roots_own(self) -> bool:
        """... and what was named, not what a link led to."""
        status = os.fstat(self._fd)
        if status.st_uid != 0 or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return False
        try:
            named = open_resolved(self._path, os.O_PATH | os.O_DIRECTORY, Resolve.NO_SYMLINKS)
        except OSError:
            return False
        try:
            return os.path.samestat(os.fstat(named), status)
        finally:
            os.close(named)


_MOST_LINKS = 40  # as many as the kernel follows (fs/namei.c: MAXSYMLINKS)


def is_no_plain_file(path: Path) -> bool:
    """Whether something has the name that a file would take from everybody: a device, pipe or socket, or a link such as
    /dev/stdout."""
    return _leads_into_proc(path) or (path.exists() and not path.is_file())


def _leads_into_proc(path: Path) -> bool:
    """Whether it is a link to what the kernel makes up."""
    for _ in range(_MOST_LINKS):
        folder = os.path.realpath(path.parent)
        if f"{folder}/".startswith("/proc/"):
            return True
        if not path.is_symlink():
            return False
        path = Path(folder, path.readlink())
    return False


def create_private(path: Path) -> int:
    """OutputFolder.create, for one path.  Raises OSError."""
    with contextlib.closing(OutputFolder(path.parent)) as folder:
        return folder.create(path.name)


def create_private_folder(path: Path) -> int:
    """OutputFolder.create_folder, for one path.  Raises OSError."""
    with contextlib.closing(OutputFolder(path.parent)) as folder:
        return folder.create_folder(path.name)


def remove(path: Path) -> None:
    """OutputFolder.remove, for one path.  Raises OSError."""
    with contextlib.closing(OutputFolder(path.parent)) as folder:
        folder.remove(path.name)


def caller() -> tuple[int, int] | None:
    """The user and group who typed sudo, or None when nobody did (or we are not root)."""
    if os.geteuid() != 0:
        return None
    user, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if not (user.isdecimal() and group.isdecimal()) or int(user) == 0:
        return None
    return int(user), int(group)


def callers_groups() -> list[int]:
    """All groups of the user who typed sudo; none when nobody did."""
    owner = caller()
    if owner is None:
        return []
    try:
        return os.getgrouplist(pwd.getpwuid(owner[0]).pw_name, owner[1])
    except KeyError:  # no entry for that user
        return [owner[1]]


def give_to_caller(fd: int) -> None:
    """Make an open file the property of whoever typed sudo.  No effect without sudo.  Raises OSError."""
    owner = caller()
    if owner is not None:
        os.fchown(fd, *owner)


@contextlib.contextmanager
def callers_rights() -> Iterator[None]:
    """This thread opens, makes and renames files as whoever typed sudo; as itself where nobody did.

    setfsuid(2): the kernel takes the capabilities over files away with it, and leaves those for BPF.
    """
    owner = caller()
    if owner is None:
        yield
        return
    before = os.getgroups()
    _set_groups(callers_groups())
    _c().setfsgid(owner[1])
    _c().setfsuid(owner[0])
    try:
        yield
    finally:
        _c().setfsuid(0)
        _c().setfsgid(os.getegid())
        _set_groups(before)


def _set_groups(groups: list[int]) -> None:
    if _c().syscall(_SETGROUPS, len(groups), (ctypes.c_uint32 * len(groups))(*groups)):
        raise OSError(ctypes.get_errno(), "the groups of the caller cannot be taken on")


@cache
def _c() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
