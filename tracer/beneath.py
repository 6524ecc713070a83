"""Opening a path whose parts others may have made: symbolic links in it lead nowhere that was not meant.

openat2(2), Linux 5.6.  An older kernel has none: OSError with ENOSYS.
"""

from __future__ import annotations

import ctypes
import os
import struct
from enum import IntFlag
from functools import cache

_OPENAT2 = 437
_AT_FDCWD = -100


class Resolve(IntFlag):
    """RESOLVE_… of include/uapi/linux/openat2.h."""

    NO_MAGIC_LINKS = 0x02
    NO_SYMLINKS = 0x04
    IN_ROOT = 0x10


def open_resolved(path: str | os.PathLike[str], flags: int, resolve: Resolve, dir_fd: int = _AT_FDCWD) -> int:
    """A descriptor, closed on exec.  Raises OSError: ELOOP or EXDEV for a link that `resolve` forbids.

    Resolve.IN_ROOT: `dir_fd` is the root folder, for `..` and absolute links too.
    """
    how = struct.pack("<QQQ", flags | os.O_CLOEXEC, 0, resolve)  # struct open_how
    while True:
        done = int(_syscall()(_OPENAT2, dir_fd, os.fsencode(path), how, len(how)))
        if done >= 0:
            return done
        error = ctypes.get_errno()
        if error != 11:  # EAGAIN: something was renamed meanwhile, and a `..` might have led out
            raise OSError(error, os.strerror(error), os.fspath(path))


@cache
def _syscall() -> ctypes._NamedFuncPointer:
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    call.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t]
    return call
