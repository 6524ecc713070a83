"""Where a thread is that waits in the kernel, and whether it is the same wait that it was in before: without a probe.

/proc/PID/task/TID/syscall tells the system call with its arguments, the stack pointer and where the thread goes on;
its status counts how often it left its CPU (proc(5)).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tracer.errors import RatError
from tracer.target.call_frames import REGISTERS, RETURN_ADDRESS, STACK_POINTER
from tracer.target.memory import LiveMemory
from tracer.target.process import TargetProcess
from tracer.target.unwinding import StackCopy

_WAITS = b"SD"
"""States of a thread that is neither running, nor stopped, nor over."""
_LEFT = b"voluntary_ctxt_switches", b"nonvoluntary_ctxt_switches"


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
        lines = (line.partition(b":\t") for line in (folder / "status").read_bytes().splitlines())
        status = {name: value for name, _, value in lines}
        if status[b"State"][:1] not in _WAITS:
            return None
        left = tuple(int(status[name]) for name in _LEFT)
        return Standing(tuple(call), int(stack_pointer, 16), int(at, 16), left)
    except (OSError, ValueError, KeyError):  # ValueError: it runs, which is one word, or has ended
        return None


def copy_of_stack(process: TargetProcess, tid: int, there: Standing, most: int) -> StackCopy | None:
    """The stack of a thread that still stands there, at most so many bytes; None: it went on, or cannot be read."""
    try:
        mappings = process.maps()
        end = next((one.end for one in mappings if one.start <= there.stack_pointer < one.end), there.stack_pointer)
        size = min(end - there.stack_pointer, most)
        start = np.array([there.stack_pointer], np.uint64)
        content, is_whole = LiveMemory(process).fill(start, np.array([size], np.uint64))
    except (RatError, OSError):
        return None
    if not size or not is_whole[0] or standing(process, tid) != there:
        return None
    registers: list[int | None] = [None] * REGISTERS  # others than these are not told
    registers[STACK_POINTER], registers[RETURN_ADDRESS] = there.stack_pointer, there.at
    return StackCopy(tuple(registers), content.tobytes(), end)
