"""Runs a command and says what it took."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cost:
    """seconds: wall clock.  cpu: seconds, user and system.  memory: peak resident bytes."""

    seconds: float
    cpu: float
    memory: int
    out: str


def measured(*command: object) -> Cost:
    """Run to the end.  Raises CalledProcessError when it fails."""
    began = time.monotonic()
    words = [str(word) for word in command]
    process = subprocess.Popen(words, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        out = process.stdout.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words, out)
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, out)
