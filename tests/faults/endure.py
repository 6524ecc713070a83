"""The program that the faults are tried on: it knows how much it has done, whether rightly, and when."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults.place import Place
from tests.running import Running, Targets, children_of
from tracer.model import Array


@dataclass(frozen=True, slots=True)
class Work:
    """What it says that it has done: chunks in all, how many of them wrong, the number that each gives; what a loaded
    library gave; the forked child that works, or 0."""

    chunks: int
    wrong: int
    checksum: int
    loaded: int
    child: int


class Endure:
    """Running; see tests/targets/endure for its lines.  polls: of each function in one chunk, once it has answered.

    times: when each chunk that it told of began and ended: rows of two, ns of CLOCK_MONOTONIC.  clock_offset: ns by
    which its own is ahead.
    """

    def __init__(self, running: Running) -> None:
        self.running = running
        self.pid = _program(running.pid)
        self.clock_offset = 0
        self.polls: dict[str, int] = {}
        self.times: Array = np.empty((0, 2), np.int64)
        assert running.process.stdout is not None
        self._answers = os.fdopen(os.dup(running.process.stdout.fileno()), "rb")

    def send(self, line: str) -> None:
        assert self.running.process.stdin is not None
        self.running.process.stdin.write(line.encode() + b"\n")

    def ask(self, line: str) -> Work:
        """Sends a line that is answered."""
        self.send(line)
        answer: dict[str, Any] = json.loads(self._answers.readline())
        times = np.array(answer.pop("times"), np.int64).reshape(-1, 2)
        self.times = np.concatenate([self.times, times - self.clock_offset])
        self.polls = answer.pop("chunk")
        return Work(**answer)

    def wait_until_ready(self) -> None:
        """Again, after it has executed itself: what it says of its work begins anew."""
        assert self._answers.readline().startswith(b"ready ")

    def close(self) -> None:
        self._answers.close()


def _program(pid: int) -> int:
    """The program itself where others run it, in a namespace: their child."""
    while Path(f"/proc/{pid}/comm").read_text() != "endure\n":
        (pid,) = children_of(pid)
    return pid


@contextmanager
def endure(targets: Targets, *arguments: str, place: Place | None = None) -> Iterator[Endure]:
    """Started and ready."""
    place = place or Place()
    path = place.executable or targets.path("endure", "release")
    command = [*place.command, str(path), *arguments]
    with targets.start(Path(command[0]), *command[1:], cwd=place.cwd) as running:
        enduring = Endure(running)
        enduring.clock_offset = place.clock_offset
        try:
            yield enduring
        finally:
            enduring.close()


def untraced(targets: Targets, *arguments: str) -> Work:
    """What one chunk of a program that nobody traces gives."""
    with endure(targets, *arguments) as alone:
        return alone.ask("1")
