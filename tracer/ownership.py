"""Files made by root for somebody else: private while they are written, the caller's afterwards."""

from __future__ import annotations

import os
from pathlib import Path


def create_private(path: Path) -> int:
    """A new file that only its owner can read, open for reading and writing.  Raises OSError.

    It is always a new one: an existing file, or a link that somebody planted in a shared folder,
    is refused (FileExistsError).
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def caller() -> tuple[int, int] | None:
    """The user and group who typed sudo, or None when nobody did (or we are not root)."""
    if os.geteuid() != 0:
        return None
    user, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if not (user.isdecimal() and group.isdecimal()) or int(user) == 0:
        return None
    return int(user), int(group)


def give_to_caller(fd: int) -> None:
    """Make an open file the property of whoever typed sudo.  No effect without sudo.  Raises OSError."""
    owner = caller()
    if owner is not None:
        os.fchown(fd, *owner)
