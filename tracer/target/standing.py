"""Where a thread is that waits in the kernel, and whether it is the same wait that it was in before: without a probe.

/proc/PID/task/TID/syscall tells the system call with its arguments, the stack pointer and where the thread goes on;
its status counts how often it left its CPU (proc(5)).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tracer.errors import RatError
from tracer.target.call_frames import REGISTERS, RETURN_ADDRESS, STACK_POINTER
from tracer.target.memory import LiveMemory
from tracer.target.process import TargetProcess
from tracer.target.unwinding import StackCopy

_WAITS = "SD"
"""States of a thread that is neither running, nor stopped, nor over."""
LEFT = "voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"
"""In its status: how often a thread has left its CPU, of its own and otherwise."""


@dataclass(frozen=True, slots=True)
class Standing:
    """call: the number of the system call and its arguments.  stack_pointer, at: addresses.  left: how often the thread
    has left its CPU.

    Two that are equal are of one wait: between them the thread did not run.
    """

    call: tuple[str, ...]
    stack_pointer: int
    at: int
    left: tuple[int, ...]


def standing(process: TargetProcess, tid: int) -> Standing | None:
    """Of a thread that waits; None: it does not, or that cannot be read."""
    folder = Path(f"/proc/{process.pid}/task/{tid}")
    try:
        *call, stack_pointer, at = (folder / "syscall").read_text("ascii").split()
        # Later than the call: who went on from there and waits again has left its CPU once more.
        status = status_of(folder)
        if status["State"][:1] not in _WAITS:
            return None
        left = tuple(int(status[name]) for name in LEFT)
        return Standing(tuple(call), int(stack_pointer, 16), int(at, 16), left)
    except (OSError, ValueError, KeyError):  # ValueError: it runs, which is one word, or has ended
        return None


def standing_of(process: TargetProcess, tids: Iterable[int]) -> dict[int, Standing]:
    """By tid, of those of these threads that wait."""
    return {tid: there for tid in tids if (there := standing(process, tid)) is not None}


def waits_of(process: TargetProcess, tid: int) -> int | None:
    """How often a thread has left its CPU of its own; None: it has ended, or that cannot be read."""
    try:
        return int(status_of(Path(f"/proc/{process.pid}/task/{tid}"))[LEFT[0]])
    except (OSError, ValueError, KeyError):
        return None


def status_of(folder: Path) -> dict[str, str]:
    """The status of a process or thread, by the folder that it has in /proc.  Raises OSError."""
    lines = (line.partition(":\t") for line in (folder / "status").read_text("utf-8", "replace").split("\n"))
    return {name: value for name, _, value in lines}


def copies_of_stacks(process: TargetProcess, there: Mapping[int, Standing], most: int) -> dict[int, StackCopy]:
    """By tid the stacks, at most so many bytes of each, of the threads that still stand there; there is a moment at
    which all of them did.  Those that went on, or cannot be read, are left out."""
    try:
        mappings = process.maps()
        starts = [one.start for one in mappings]
        ends = {}
        for tid, one in there.items():
            mapping = mappings[max(bisect_right(starts, one.stack_pointer) - 1, 0)]
            if mapping.start <= one.stack_pointer < mapping.end:
                ends[tid] = mapping.end
        begins = np.array([there[tid].stack_pointer for tid in ends], np.uint64)
        sizes = np.array([min(end - there[tid].stack_pointer, most) for tid, end in ends.items()], np.uint64)
        content, is_whole = LiveMemory(process).fill(begins, sizes)
    except (RatError, OSError, IndexError):  # IndexError: it has no memory any more
        return {}
    found = {}
    for (tid, end), begin, size, known in zip(
        ends.items(), (np.cumsum(sizes) - sizes).tolist(), sizes.tolist(), is_whole, strict=True
    ):
        if not known or standing(process, tid) != there[tid]:
            continue
        registers: list[int | None] = [None] * REGISTERS  # others than these are not told
        registers[STACK_POINTER], registers[RETURN_ADDRESS] = there[tid].stack_pointer, there[tid].at
        found[tid] = StackCopy(tuple(registers), content[begin : begin + size].tobytes(), end)
    return found
