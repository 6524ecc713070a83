"""Places in a program's code at which something happens to tasks: they end, are spawned, are woken."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from tracer.model.functions import HeaderTest, InstructionCost, Register


class EndKind(StrEnum):
    """What has come to its end where a function begins."""

    COMPLETE = "complete"  # a task: its future is gone, be it finished, panicked or dropped
    CLOSED = "closed"  # the same, but seen only where the compiler left it a function
    SHUTDOWN = "shutdown"  # a task that is not being polled: its future will be dropped
    FREED = "freed"  # a task's memory
    DROPPED = "dropped"  # a future
    CAUGHT = "caught"  # the unwinding of a panic, on this thread


@dataclass(frozen=True, slots=True)
class EndPoint:
    """A function at whose entry a life ends: that of the task whose header, or of the future whose address, is in rdi.

    Where a panic is caught, rdi is of no interest.  A task has panicked if its runtime caught it; others: of the calls
    that are certainly somebody else's, bytes from the probed place to where each goes on.

    address: link-time virtual address.  offset: its place in the file.  futures: addresses of the poll functions
    whose futures end here; empty where tasks do.  Of a task, by the same byte of its header: only_if: it ends only
    when the header passes this; done: then its future returned or panicked; undone: then it did not.
    state_offset: of a future, its coroutine's state byte.
    """

    address: int
    offset: int
    name: str
    kind: EndKind
    futures: tuple[int, ...] = ()
    only_if: HeaderTest | None = None
    done: HeaderTest | None = None
    undone: HeaderTest | None = None
    state_offset: int | None = None
    cost: InstructionCost = InstructionCost.STEPPED
    others: tuple[int, ...] = ()


class SpawnStep(StrEnum):
    """How far the spawning of a task has come at a place in the runtime's code."""

    CALLED = "called"  # a function that spawns begins
    MADE = "made"  # the task is there, not scheduled yet, and the register has its header
    QUEUED = "queued"  # a task is handed to the pool that will poll it, perhaps not for the first time


@dataclass(frozen=True, slots=True)
class SpawnPoint:
    """A place that every spawn of some kind passes: the entry of a function, a place inside of one where the task was
    just made, or (is_return) one of its returns.

    address: link-time virtual address.  offset: its place in the file.  register: of a task that was made, that of its
    header; of a call, that of the address of its CallSite, None: it has no use for one.
    tells_caller: the CallSite is (or, of a task that was made, may be) where the function returns to.
    """

    address: int
    offset: int
    name: str
    step: SpawnStep
    register: Register | None
    is_return: bool = False
    tells_caller: bool = False
    cost: InstructionCost = InstructionCost.STEPPED


@dataclass(frozen=True, slots=True)
class CallSite:
    """A place in the source that the program itself names, a core::panic::Location at this link-time address; or that
    the debug information tells of a call, by the address that it returns to.

    file: as the compiler was given it.  line, column: from 1; column 0: not known.
    """

    address: int
    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.column else f"{self.file}:{self.line}"


class WakeOrigin(IntEnum):
    """What woke a task."""

    UNKNOWN = 0
    TIMER = 1  # the runtime's timers
    IO = 2  # the runtime's IO driver
    TASK = 3  # a task that was being polled there, perhaps itself, or a blocking job
    FUTURE = 4  # a future that was being polled outside of any task
    RUNTIME = 5  # a thread that had polled tasks, while it polled nothing: its runtime, or block_on's own future
    THREAD = 6  # a thread that had polled no task


@dataclass(frozen=True, slots=True)
class WakePoint:
    """A place that each wake of some kind passes once: of the task whose header is in rdi, or (is_indirect) of that to
    which rdi points.

    address: link-time virtual address, of the function's entry or a place in it.  offset: its place in the file.
    effective: only when the header passes this, as it was before, does the wake lead to a poll; else another one will
    already, or none ever.  begins: it is no wake, but the entry of a function whose wakes are of this origin, and
    nothing is sent of it.  state: the register whose lowest byte is the header's first one as it was before; None: that
    is still in memory.
    """

    address: int
    offset: int
    name: str
    effective: HeaderTest
    is_indirect: bool = False
    cost: InstructionCost = InstructionCost.STEPPED
    state: Register | None = None
    begins: WakeOrigin | None = None
