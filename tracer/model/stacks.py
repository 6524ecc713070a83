"""Stacks of threads that blocked, or computed for long, in a poll."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from tracer.model.events import Array
from tracer.model.functions import SourceLocation


class StackKind(IntEnum):
    """When a thread's stack was taken."""

    BLOCKED = 1  # it left its CPU, not to run on
    RUNNING = 2  # it was looked at while it ran


@dataclass(frozen=True, slots=True)
class Frame:
    """A function on a stack, and where in it.

    function: its name; None: not known.  location: None: not known.  is_inlined: the compiler made it a part of the
    function below it.  module: name of the file that its code is in; "": not known.  crate: where that is known.
    """

    function: str | None
    location: SourceLocation | None
    is_inlined: bool
    module: str
    crate: str | None = None


@dataclass(frozen=True, slots=True)
class Stack:
    """frames: the innermost first.  is_whole: the last one is the task poll's; else what called it is not known."""

    frames: tuple[Frame, ...]
    is_whole: bool


STACK_SAMPLE = np.dtype(
    [
        ("time", "<i8"),  # ns, when the stack was so
        ("until", "<i8"),  # ns, when a blocked thread ran on, or was woken where that was seen; 0: neither was
        ("tid", "<u4"),
        ("stack", "<u4"),  # 1 + index into the stacks that the capture tells
        ("kind", "<u4"),  # StackKind
        ("_pad", "<u4"),
    ]
)
"""A thread's stack inside of a task poll, 32 bytes."""


@dataclass(frozen=True, slots=True)
class StackSamples:
    """Some that were taken.  samples: dtype STACK_SAMPLE."""

    samples: Array


@dataclass(frozen=True, slots=True)
class StackCensus:
    """What became of the stacks that were to be taken.

    taken: those with a sample.  lost: no room in the buffer.  crowded: no room to keep it while the thread blocked.
    unread: its memory could not be read.  skipped: there was no time to unwind it, or there were too many.  cut: of
    those taken, how many are deeper than what is copied.  least_blocked, least_polling: ns, of what was worth a stack.
    period: ns of a CPU's time between two looks at what runs.  refused: why none was taken; None: they were.
    """

    taken: int = 0
    lost: int = 0
    crowded: int = 0
    unread: int = 0
    skipped: int = 0
    cut: int = 0
    least_blocked: int = 0
    least_polling: int = 0
    period: int = 0
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Stacks:
    """The stacks that samples have, by number; told at the end of a recording."""

    stacks: tuple[Stack, ...]
    census: StackCensus
