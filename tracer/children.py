"""Forked children of this process."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import warnings
from collections.abc import Callable, Iterable
from typing import NoReturn

from tracer.errors import OutOfProcesses

_PR_SET_PDEATHSIG = 1


def fork() -> int:
    """As os.fork, beside other threads: those are numpy's, which wait for work and are told of it.

    What the child runs takes no lock that one of them may hold.  Raises OutOfProcesses.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12 on
        try:
            return os.fork()
        except BlockingIOError as error:
            raise OutOfProcesses from error


def begin(run: Callable[[Iterable[int]], object]) -> int:
    """A forked child that runs this, given the signals that were blocked before, and ends: never a return into the code
    of this process.  In the child all signals are blocked until it says otherwise.  Raises OutOfProcesses."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        child = fork()
        if not child:
            _run(run, blocked)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return child


def _run(run: Callable[[Iterable[int]], object], blocked: Iterable[int]) -> NoReturn:
    try:
        run(blocked)
    finally:
        os._exit(0)


def end_with_parent() -> None:
    """From here on this process is killed when the thread that forked it ends; until it becomes another user."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def close_all_but(*kept: int) -> None:
    """All other files of this process.  What is mapped stays so."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            with contextlib.suppress(OSError):  # the one that listed them
                os.close(int(name))
