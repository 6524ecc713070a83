"""Folders for users who are not the one that runs the tests."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def open_to_all(folder: Path) -> Iterator[None]:
    """Everybody can enter it meanwhile: pytest's folders are root's alone."""
    closed = [one for one in folder.parents if one.stat().st_uid == 0 and not one.stat().st_mode & 0o001]
    modes = {one: stat.S_IMODE(one.stat().st_mode) for one in closed}
    for one in (*closed, folder):
        one.chmod(0o711)
    yield
    for one, mode in modes.items():
        one.chmod(mode)
