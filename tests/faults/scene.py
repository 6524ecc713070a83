"""One fault: what is put around the program and its tracer, what happens to them, and how the program ends by it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.endure import Endure
from tests.faults.place import Place
from tests.faults.tracer import Tracer
from tests.running import Targets

PROGRAMS = Path(__file__).parent / "programs"


@dataclass(frozen=True, slots=True)
class Moment:
    """While it records.  scratch: a folder for the fault's own things."""

    enduring: Endure
    tracer: Tracer
    scratch: Path


@contextmanager
def anywhere(_targets: Targets, _scratch: Path) -> Iterator[Place]:
    """Nothing special."""
    yield Place()


def nothing(_moment: Moment) -> None:
    """The place is the fault."""


@dataclass(frozen=True, slots=True)
class Fault:
    """name: as the table has it.  happens: while it records.  around: makes the place, and undoes it.

    work: the arguments of the program.  ends: its exit status when it ends by the fault, else None: it goes on.
    loses: events are lost, which must be told.  impossible: why it cannot be tried on this machine, or "".
    """

    name: str
    happens: Callable[[Moment], None] = nothing
    around: Callable[[Targets, Path], AbstractContextManager[Place]] = anywhere
    work: tuple[str, ...] = ("plain",)
    ends: int | None = None
    loses: bool = False
    impossible: Callable[[], str] = lambda: ""


def run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
