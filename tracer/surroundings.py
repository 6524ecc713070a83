"""What this process was started with, and what it needs instead.  A program that it starts gets the former."""

from __future__ import annotations

import os
import resource
import signal
import sys
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path

_LIMIT = resource.RLIMIT_NOFILE
_files_before = resource.getrlimit(_LIMIT)
_BLAS_THREADS = "OPENBLAS_NUM_THREADS"
_ADDED = (_BLAS_THREADS, "LC_CTYPE")
"""Variables that this process sets, and those that Python does where the locale is C (PEP 538)."""
_OOM = Path("/proc/self/oom_score_adj")
_oom_before = _OOM.read_text() if _OOM.exists() else ""
_children_were_ignored = signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN


def settle() -> None:
    """Standard files that are open, children that can be waited for, as many files as are allowed, no threads but our
    own, and to be the first that the kernel ends when memory is short, not the program beside it.  Before numpy is
    loaded."""
    _open_standard_files()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    most = _files_before[1]
    with suppress(OSError, ValueError):
        resource.setrlimit(_LIMIT, (most, most))
    os.environ.setdefault(_BLAS_THREADS, "1")  # numpy's linear algebra begins one a CPU, for nothing
    with suppress(OSError):
        _OOM.write_text("1000")


def environment_before() -> dict[str, str]:
    """This process', as it was given."""
    given = set(os.environ)
    with suppress(OSError):  # it is root's where this process has its rights from its file
        block = Path("/proc/self/environ").read_bytes()
        given = {one.partition(b"=")[0].decode(errors="replace") for one in block.split(b"\0")}
    return {name: value for name, value in os.environ.items() if name not in _ADDED or name in given}


def _open_standard_files() -> None:
    """A file opened later must not be taken for one of them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it is the lowest that is free
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what its encoding has no character for; as stderr does


def hand_on() -> None:
    """In a child that becomes another program."""
    if _children_were_ignored:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    resource.setrlimit(_LIMIT, _files_before)
    stay_as_others()


def stay_as_others() -> None:
    """Of this process, too, the kernel is to think as it did before, when memory is short."""
    with suppress(OSError):
        _OOM.write_text(_oom_before)
