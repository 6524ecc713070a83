"""An output file that appears under its name whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from tracer.errors import OutputFailed
from tracer.ownership import OutputFolder, give_to_caller, is_no_plain_file

_WHY = {
    errno.ENOSPC: ("the disk is full", "free some space, or write elsewhere: -o OTHER_FOLDER/FILE"),
    errno.EDQUOT: ("your disk quota is used up", "free some space, or write elsewhere: -o OTHER_FOLDER/FILE"),
    errno.EFBIG: ("the file would be larger than this system allows", "record for a shorter time: -d SECONDS"),
    errno.EACCES: ("you may not write there", "write elsewhere: -o FOLDER/FILE"),
    errno.EPERM: ("you may not write there", "write elsewhere: -o FOLDER/FILE"),
    errno.EROFS: ("the file system is read-only", "write elsewhere: -o FOLDER/FILE"),
    errno.ENOENT: ("the folder does not exist", "create it first, or write elsewhere: -o FOLDER/FILE"),
    errno.ENOTDIR: ("a part of the path is not a folder", "write elsewhere: -o FOLDER/FILE"),
    errno.EISDIR: ("there is a folder of that name", "choose another name: -o FILE"),
}


_SMALL = 1 << 16
"""Bytes: less than that is written together with what comes after it, for a trace has a packet for each row."""


class OutputFile:
    """Bytes go to `NAME.partial`, private to its owner; `commit` makes it NAME, readable, the caller's under sudo.

    Raises OutputFailed for every failure of the file system; nothing stays behind then.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._small = bytearray()
        self._partial = path.name + ".partial"
        self._fd: int | None = None
        try:
            if path.is_dir():
                raise OutputFailed(f"cannot write {path}", why="it is a folder", fix="name a file: -o FILE")
            if is_no_plain_file(path):
                # Taking its name away would break it for everybody, and a trace cannot be streamed into it.
                why = "it is a device, pipe or socket"
                raise OutputFailed(f"cannot write {path}", why=why, fix="name a file: -o FILE")
            self._folder = OutputFolder(path.parent)
        except OSError as error:
            raise _failure(path, error) from None
        try:
            self._fd = self._create()
        except OSError as error:
            self._folder.close()
            raise _failure(path, error) from None

    def _create(self) -> int:
        try:
            # A leftover of a run that was killed.  Only the name goes: the file is made anew.
            self._folder.remove(self._partial)
            return self._folder.create(self._partial)
        except (FileExistsError, PermissionError):
            # Somebody else's, who in a folder like /tmp cannot be made to let go of it.
            self._partial = f"{self.path.name}.{secrets.token_hex(8)}.partial"
            return self._folder.create(self._partial)

    def write(self, data: bytes | memoryview | npt.NDArray[np.uint8]) -> None:
        """Append."""
        if self._fd is None:
            raise ValueError("the file is closed")
        view = np.ascontiguousarray(data).reshape(-1).data if isinstance(data, np.ndarray) else memoryview(data)
        self.size += len(view)
        is_small = len(view) < _SMALL
        if is_small:
            self._small += view
            if len(self._small) < _SMALL:
                return
        try:
            self._flush(self._fd)
            if not is_small:
                write_all(self._fd, view)
        except OSError as error:
            self.abort()
            raise _failure(self.path, error) from None

    def _flush(self, fd: int) -> None:
        small, self._small = self._small, bytearray()
        write_all(fd, memoryview(small))

    def commit(self) -> None:
        """Give the file its name, replacing an older one of that name."""
        if self._fd is None:
            raise ValueError("the file is closed")
        try:
            self._flush(self._fd)
            os.fchmod(self._fd, 0o644)  # of what is still ours
            give_to_caller(self._fd)
            # A network file system may report a full disk only here; so the name comes after.
            fd, self._fd = self._fd, None
            os.close(fd)
            self._folder.rename(self._partial, self.path.name)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._folder.remove(self._partial)
            raise _failure(self.path, error) from None
        finally:
            self.abort()
            self._folder.close()

    def abort(self) -> None:
        """Remove the partial file.  No effect after commit."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            with contextlib.suppress(OSError):
                self._folder.remove(self._partial)
            self._folder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()


def write_all(fd: int, view: memoryview) -> None:
    """Write it to its end, however little goes at once.  Raises OSError."""
    while view:
        view = view[os.write(fd, view) :]


def _failure(path: Path, error: OSError) -> OutputFailed:
    why, fix = _WHY.get(error.errno or 0, (error.strerror or "", "write elsewhere: -o FOLDER/FILE"))
    return OutputFailed(f"cannot write {path}", why=why, fix=fix)
