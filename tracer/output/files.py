"""An output file that appears under its name whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from tracer.errors import OutputFailed
from tracer.ownership import create_private, give_to_caller

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


class OutputFile:
    """Bytes go to `NAME.partial`, private to its owner; `commit` makes it NAME, readable, the caller's under sudo.

    Raises OutputFailed for every failure of the file system; nothing stays behind then.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._partial = path.with_name(path.name + ".partial")
        if path.is_dir():
            raise OutputFailed(f"cannot write {path}", why="it is a folder", fix="name a file: -o FILE")
        if path.exists() and not path.is_file():
            # Taking its name away would break it for everybody, and a trace cannot be streamed into it.
            raise OutputFailed(f"cannot write {path}", why="it is a device, pipe or socket", fix="name a file: -o FILE")
        try:
            # A leftover of a run that was killed.  Only the name goes: O_EXCL then makes the file anew.
            self._partial.unlink(missing_ok=True)
            self._fd: int | None = create_private(self._partial)
        except OSError as error:
            raise _failure(path, error) from None

    def write(self, data: bytes | memoryview | npt.NDArray[np.uint8]) -> None:
        """Append."""
        if self._fd is None:
            raise ValueError("the file is closed")
        view = np.ascontiguousarray(data).reshape(-1).data if isinstance(data, np.ndarray) else memoryview(data)
        try:
            while view:
                done = os.write(self._fd, view)
                self.size += done
                view = view[done:]
        except OSError as error:
            self.abort()
            raise _failure(self.path, error) from None

    def commit(self) -> None:
        """Give the file its name, replacing an older one of that name."""
        if self._fd is None:
            raise ValueError("the file is closed")
        try:
            give_to_caller(self._fd)
            os.fchmod(self._fd, 0o644)
            # A network file system may report a full disk only here; so the name comes after.
            fd, self._fd = self._fd, None
            os.close(fd)
            self._partial.replace(self.path)
        except OSError as error:
            self.abort()
            self._partial.unlink(missing_ok=True)
            raise _failure(self.path, error) from None

    def abort(self) -> None:
        """Remove the partial file.  No effect after commit."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            self._partial.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()


def _failure(path: Path, error: OSError) -> OutputFailed:
    why, fix = _WHY.get(error.errno or 0, (error.strerror or "", "write elsewhere: -o FOLDER/FILE"))
    return OutputFailed(f"cannot write {path}", why=why, fix=fix)
