"""The values that the stages exchange.

Standard library and numpy only; no room of the project is imported here.  Times are kernel
nanoseconds of CLOCK_MONOTONIC, integers.  An unknown value is None (or a cleared flag in a
numpy record), never a guess.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import IntEnum, IntFlag, StrEnum

import numpy as np
import numpy.typing as npt

# ---------------------------------------------------------------- what the kernel sends

EVENT = np.dtype(
    [
        ("time", "<u8"),  # bpf_ktime_get_ns(), CLOCK_MONOTONIC
        ("sp", "<u8"),  # stack pointer as it was at the function's entry
        ("self", "<u8"),  # the future's address (Pin<&mut Self>), or a task poll's header pointer
        ("tid", "<u4"),  # thread, in the tracer's pid namespace
        ("sequence", "<u4"),  # per CPU, taken before the transport is asked: a gap is a loss
        ("probe", "<u4"),  # index into Plan.probes
        ("cpu", "<u2"),
        ("state", "u1"),  # the coroutine's state byte, as read at this moment
        ("flags", "u1"),  # EventFlag
    ]
)
"""One hit of one probe, 40 bytes; the same layout as `struct event` in bpf/events.h."""


class EventFlag(IntFlag):
    """Which of an event's fields were really read."""

    SELF = 1  # `self` is known
    STATE = 2  # `state` was read without a fault
    RESULT = 4  # the return value is known
    PENDING = 8  # ... and it is Poll::Pending (else Poll::Ready)
    TASK_ID = 16  # entry of a task poll: the runtime's id of the task was read
    NEW_TASK_ID = 32  # ... and is not the one last told for this header: the record before tells it
    FROM_TIMER = 4  # of a wake: it comes from inside of a function of the timers
    FROM_IO = 8  # ... of the IO driver


TASK_ID_RECORD = 0xFFFF_FFFF
"""EVENT.probe of a record that is no hit: it has the time, thread and CPU of the task poll's entry that follows
it, the task's header in `self` and the runtime's id of the task in `sp`."""


CHAIN_RECORD = 0xFFFF_FFFE
"""EVENT.probe of a record that is no hit: it has the time, thread, CPU and `self` of the poll's entry that follows
it, and in `sp` up to four numbers of places, 16 bits each, the lowest first: where the walk from `self` ended."""

SPAWN_RECORD = 0xFFFF_FFFD
"""EVENT.probe of a record that is no hit: it has the time, thread, CPU and `self` of the hit that follows it, where a
task was made, and in `sp` by which spawn: 1 + index into Plan.spawns in the upper 16 bits, and in the lower 48, as a
signed number, how far the CallSite that was handed over lies from that point's address."""

SWITCH_OUT_RECORD = 0xFFFF_FFFC
"""EVENT.probe of a record that is no hit: the thread left its CPU.  `state` has the low bits of the task's state, 0
when it would have run on; `sp` the number of the system call that it was in, or one of NO_SYSCALL and UNKNOWN_SYSCALL
as a signed number."""

SWITCH_IN_RECORD = 0xFFFF_FFFB
"""EVENT.probe of a record that is no hit: the thread got a CPU, `cpu`."""

WAKING_RECORD = 0xFFFF_FFFA
"""EVENT.probe of a record that is no hit: the thread is woken.  `state` has the WakingContext, `self` (SELF set) the
thread that does it.  It comes before the SWITCH_IN_RECORD; before the SWITCH_OUT_RECORD where the thread was about to
wait."""


def is_scheduling(probes: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
    """Which of these EVENT.probe are one of the three records above."""
    return (probes >= WAKING_RECORD) & (probes <= SWITCH_OUT_RECORD)


class WakingContext(IntEnum):
    """Who wakes a thread."""

    THREAD = 0
    INTERRUPT = 1  # of a timer, of a device: no thread's doing
    UNKNOWN = 2


NO_SYSCALL, UNKNOWN_SYSCALL = -1, -2
THREAD_OVER = 0x80
"""State of a thread that leaves its CPU for good: TASK_DEAD of linux/sched.h."""

UNRESUMED, RETURNED, PANICKED, FIRST_SUSPEND = 0, 1, 2, 3
"""Coroutine states of rustc 1.63 to 1.97: not yet polled, done, panicked, first await."""

Array = npt.NDArray[np.void]
"""A structured array; the docstring of the function says of which dtype."""

# ---------------------------------------------------------------- what can be probed


class FunctionKind(StrEnum):
    COROUTINE = "coroutine"  # compiler-generated: async fn, async block, async closure
    FUTURE = "future"  # a hand-written Future::poll
    TASK = "task"  # a runtime's own poll of one task
    IN_PLACE = "in place"  # no poll: a call of tokio's block_in_place, in which a poll keeps its thread for itself


class Source(StrEnum):
    """Where a fact about a function comes from."""

    DWARF = "dwarf"
    TWIN = "twin"  # the debug information of a twin: the same program built again with it
    SYMBOLS = "symbols"
    CODE = "code"


class Register(StrEnum):
    RDI = "rdi"
    RSI = "rsi"
    RDX = "rdx"
    RCX = "rcx"
    RAX = "rax"


class ExitKind(StrEnum):
    RET = "ret"
    TAIL = "tail"  # a jump out of the function: its callee returns in its place


class InstructionCost(StrEnum):
    """How the kernel runs the probed instruction, which decides what a hit costs."""

    EMULATED = "emulated"
    STEPPED = "stepped"


@dataclass(frozen=True, slots=True)
class SourceLocation:
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


_FOREIGN = ("/rustc/", "/.cargo/", "/registry/src/", "/vendor/")
"""Where the sources of the standard library and of dependencies lie."""


def is_foreign(path: str) -> bool:
    """Whether a source file or folder is not the user's own, as far as its path tells."""
    return any(part in path for part in _FOREIGN)


@dataclass(frozen=True, slots=True)
class ExitSite:
    """One instruction by which a function is left.  offset: bytes into the file."""

    offset: int
    kind: ExitKind
    cost: InstructionCost = InstructionCost.STEPPED


@dataclass(frozen=True, slots=True)
class ResultEncoding:
    """How rax tells Pending from Ready at a return: Pending when (rax & mask) == pending."""

    mask: int
    pending: int


@dataclass(frozen=True, slots=True)
class AwaitPoint:
    """One await of a coroutine: where its future stays while its state byte has this value.

    location: the await, or the begin of its statement; None when unknown or when it is inside a macro.
    awaitee: display name of the type that is awaited.  macro: the place inside the macro (select!, join!)
    that awaits, which is no line of the coroutine's own.  is_verified: False when the lines are a twin's and nothing
    in the running binary shows that they are its own.
    """

    state: int
    location: SourceLocation | None
    awaitee: str | None
    macro: SourceLocation | None = None
    is_verified: bool = True


class LayoutKind(StrEnum):
    COROUTINE = "coroutine"
    FUTURE = "future"  # a hand-written one; where no edge leads on, it is what is waited for
    GLUE = "glue"  # holds futures and says nothing itself: an Option, a tuple, a pinned pointer
    OBJECT = "object"  # a trait object: which future it is shows only when it is polled


@dataclass(frozen=True, slots=True)
class LayoutEdge:
    """From a type to a future in it.

    value: the discriminant with which the future is there; None: with every value that has no edge of its own.
    offset: bytes from the type's begin.  is_pointer: a pointer to the future is there, not itself.
    child: index into Binary.layouts (in a plan, into Plan.layouts); None: with this value there is no future.
    """

    value: int | None
    offset: int
    is_pointer: bool
    child: int | None


class LinkKind(StrEnum):
    """What a future leads to that others may lead to as well."""

    TASK = "task"
    MUTEX = "mutex"
    RWLOCK = "rwlock"
    SEMAPHORE = "semaphore"
    ONESHOT = "oneshot"
    MPSC = "mpsc"
    WATCH = "watch"
    BROADCAST = "broadcast"
    NOTIFY = "notify"
    EVENT = "event"  # of crate event-listener
    TIMER = "timer"  # its number: the deadline, struct timespec of CLOCK_MONOTONIC
    IO = "io"  # a runtime's record of a file descriptor; its number: the descriptor, an int
    FUTURE = "future"  # one that is kept but not polled where it is kept


class LinkRole(StrEnum):
    """What a future has to do with it."""

    WAITS = "waits"
    HOLDS = "holds"  # a guard, a permit, a task's handle
    SENDS = "sends"  # has the sending end
    RECEIVES = "receives"  # has the receiving end
    KEEPS = "keeps"  # a future


@dataclass(frozen=True, slots=True)
class VariantTest:
    """Whether the discriminant at `offset` is one of `values`; not is_one: whether it is none of them."""

    offset: int
    size: int
    values: tuple[int, ...]
    is_one: bool


@dataclass(frozen=True, slots=True)
class WordTest:
    """Whether the 8 bytes at `offset`, as a number, are `value` under `mask`."""

    offset: int
    mask: int
    value: int


@dataclass(frozen=True, slots=True)
class Route:
    """From the begin of a type to something else.

    value: the type's discriminant with which it holds; None: with any.  tests: they must hold too, offsets from the
    type's begin.  steps: add the first; for each further one read the pointer that is there, and add it.
    """

    value: int | None
    tests: tuple[VariantTest, ...]
    steps: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """From a future to what it waits for, or holds.

    size: bytes of what is there; another link may lead into it.  flags: offsets of bytes that are all 1 where the
    future surely has it: rustc's drop flags of this state.  is_certain: the flags tell all.  busy: of a lock, from
    its begin: not so when nobody holds it.  granted: of a wait, from the future's begin: all of them are so when
    it has been given what it waited for.  child: index into Binary.layouts, of a future.  number: where one is that
    tells more, see LinkKind.
    """

    kind: LinkKind
    role: LinkRole
    route: Route
    size: int
    flags: tuple[int, ...] = ()
    is_certain: bool = True
    busy: WordTest | None = None
    granted: tuple[WordTest, ...] = ()
    child: int | None = None
    number: Route | None = None


@dataclass(frozen=True, slots=True)
class Container:
    """Many futures of one type, of which a future polls any that was woken (or, not is_polled, only keeps them).

    route: to the container's begin.  From there, in bytes: pointer: where the address of the first element is;
    length: where their number is, of those that lie one after the other, `stride` bytes apart.  length None: each
    element has at `next` the address of the next one, the last one 0.  item: offset in the element of the child, or
    (is_pointer) of its address.  child: index into Binary.layouts.  flags, is_certain: as Link has them.
    """

    route: Route
    pointer: int
    length: int | None
    stride: int
    next: int
    item: int
    is_pointer: bool
    child: int
    is_polled: bool = True
    flags: tuple[int, ...] = ()
    is_certain: bool = True


@dataclass(frozen=True, slots=True)
class Gate:
    """Where a select! notes which of its branches it polls no more: bit n of the number at the route's end, `size`
    bytes, little endian, is set when the n-th is off."""

    route: Route
    size: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a type keeps the futures that it polls; only types that lead to one have a layout.

    name: for display.  path: as DWARF names the type, which tells it from all others; None when it is not known.
    size: bytes.  discriminant_offset and _size: bytes; None and 0 when all edges hold always.  awaits: of a
    coroutine, by state, ascending.  location: where a coroutine's body begins.  links, containers, gate: what else can
    be read where the process' memory can; recordings do without.  branches: of a tuple, the number in it of what each
    edge leads to; the gate of the future that has the tuple is about these.  values: of an enum all discriminants that
    there are; empty: not known, or any.
    """

    name: str
    kind: LayoutKind
    source: Source
    size: int
    edges: tuple[LayoutEdge, ...] = ()
    discriminant_offset: int | None = None
    discriminant_size: int = 0
    awaits: tuple[AwaitPoint, ...] = ()
    location: SourceLocation | None = None
    path: str | None = None
    links: tuple[Link, ...] = ()
    containers: tuple[Container, ...] = ()
    gate: Gate | None = None
    branches: tuple[int, ...] = ()
    values: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskIdPath:
    """How a task's header leads to the runtime's id of the task; all in bytes.

    header + vtable: a pointer to the vtable; that + offset: a u64, the distance from the header to the id (a u64).
    """

    vtable: int
    offset: int


@dataclass(frozen=True, slots=True)
class HeaderTest:
    """Something that is so of a task when the byte at `offset` of its header has this value: byte & mask == value."""

    offset: int
    mask: int
    value: int


@dataclass(frozen=True, slots=True)
class PollFunction:
    """One poll function of a binary, keyed by its address; one address can have several names.

    address: link-time virtual address.  offset: its place in the file, where probes go.
    state_offset: the coroutine's state byte, in bytes from `self`; None when unknown or no coroutine.
    awaits: by state, ascending; empty where nothing is known of them.  layout: of what `self` points to, index
    into Binary.layouts (in a plan, into Plan.layouts); None when it leads to no future, or is not known.
    layout_source: where state_offset, awaits and layout come from; None when nothing is known of them.
    """

    address: int
    offset: int
    size: int
    name: str
    kind: FunctionKind
    source: Source
    exits: tuple[ExitSite, ...]
    names: tuple[str, ...] = ()
    crate: str | None = None
    location: SourceLocation | None = None
    self_register: Register | None = None
    context_register: Register | None = None
    state_offset: int | None = None
    result: ResultEncoding | None = None
    runtime: str | None = None  # of a task poll: "tokio", "async-task"
    entry_cost: InstructionCost = InstructionCost.STEPPED
    awaits: tuple[AwaitPoint, ...] = ()
    layout: int | None = None
    task_id: TaskIdPath | None = None  # of a task poll; None: the runtime has none, or its layout is not known
    layout_source: Source | None = None
    aborted: HeaderTest | None = None  # of a task poll: passed at its entry, it will drop the future, not poll it
    is_job: bool = False  # of a task poll: what it runs is a blocking job, on a thread of the pool for such


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

    Where a panic is caught, rdi is of no interest.

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


class SpawnStep(StrEnum):
    """How far the spawning of a task has come at a place in the runtime's code."""

    CALLED = "called"  # a function that spawns begins
    MADE = "made"  # the task is there, not scheduled yet, and the register has its header
    QUEUED = "queued"  # a task is handed to the pool that will poll it, perhaps not for the first time


@dataclass(frozen=True, slots=True)
class SpawnPoint:
    """A place that every spawn of some kind passes: the entry of a function, or (is_return) one of its returns.

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


@dataclass(frozen=True, slots=True)
class Refusal:
    """A future or function that cannot be probed, and why.  address is None when it has none."""

    name: str
    reason: str
    address: int | None = None
    location: SourceLocation | None = None


@dataclass(frozen=True, slots=True)
class Binary:
    """What one executable (or shared object) says about itself.

    path: as the user would name it, for display only; files are opened elsewhere.
    can_unwind: False in a panic=abort build.  symbols: "dwarf", "line tables", "symbol table" or "none".
    twin: the file whose debug information was used as that of the same program.  current_task: bytes from a thread's
    pointer (fs) to where tokio keeps the id of the task that the thread polls, a u64, 0 for none; None: not known.
    spawns: where tasks are spawned.  sites: where calls that spawn may stand, by address.  wakes: where tasks are
    woken.
    """

    path: str
    build_id: str | None
    architecture: str
    size: int
    symbols: str
    can_unwind: bool
    functions: tuple[PollFunction, ...]
    refusals: tuple[Refusal, ...] = ()
    rustc: str | None = None
    debug_file: str | None = None
    layouts: tuple[Layout, ...] = ()
    twin: str | None = None
    ends: tuple[EndPoint, ...] = ()
    current_task: int | None = None
    spawns: tuple[SpawnPoint, ...] = ()
    sites: tuple[CallSite, ...] = ()
    wakes: tuple[WakePoint, ...] = ()


def layouts_of(binaries: Iterable[Binary]) -> tuple[Layout, ...]:
    """The layouts of several binaries one after the other, as Plan has them: without links and containers."""
    layouts: list[Layout] = []
    for binary in binaries:
        begin = len(layouts)
        for layout in binary.layouts:
            edges = tuple(
                edge if begin == 0 or edge.child is None else replace(edge, child=begin + edge.child)
                for edge in layout.edges
            )
            layouts.append(replace(layout, edges=edges, links=(), containers=()))
    return tuple(layouts)


# ---------------------------------------------------------------- what is probed


class ExitMode(StrEnum):
    """How the end of a poll is seen."""

    DEFAULT = "default"  # futures by their exit instructions, tokio's task poll by a return probe
    RET = "ret"  # everything by exit instructions
    TASK = "task"  # task polls have exits; futures below get entries only
    URETPROBE = "uretprobe"  # everything by return probes; only where the binary cannot unwind


class Site(StrEnum):
    ENTRY = "entry"
    EXIT = "exit"
    RETURN = "return"
    END = "end"  # where a life ends: the entry of a function that is no poll
    SPAWN = "spawn"  # where a task is spawned: the entry of a function
    SPAWNED = "spawned"  # ... its return
    WAKE = "wake"  # where a task is woken: the entry of a function


class Group(StrEnum):
    """What is attached and detached together."""

    TASKS = "tasks"
    FUTURES = "futures"
    WAKES = "wakes"
    SCHEDULING = "scheduling"  # no probes: tracepoints of the kernel's scheduler


@dataclass(frozen=True, slots=True)
class Probe:
    """One probed place of one binary.  id = its index in Plan.probes, sent in every event.

    enters / leaves: index into Plan.functions of the function that begins / ends here, or None; an
    address can be both (a function whose first instruction is its `ret`: it begins, then ends).
    is_tail: the function is left by a jump, so that a callee runs on in its frame.
    ends: index into Plan.ends, where a life ends here; then nothing enters or leaves.  spawns, wakes: the same of
    Plan.spawns and Plan.wakes.
    """

    id: int
    binary: int
    offset: int
    site: Site
    group: Group
    enters: int | None
    leaves: int | None
    is_tail: bool = False
    cost: InstructionCost = InstructionCost.STEPPED
    ends: int | None = None
    spawns: int | None = None
    wakes: int | None = None


@dataclass(frozen=True, slots=True)
class PlannedSpawn:
    """A SpawnPoint of one binary."""

    binary: int
    point: SpawnPoint


@dataclass(frozen=True, slots=True)
class PlannedWake:
    """A WakePoint of one binary."""

    binary: int
    point: WakePoint


@dataclass(frozen=True, slots=True)
class PlannedEnd:
    """An EndPoint of one binary.  functions: whose futures end here, as indexes into Plan.functions."""

    binary: int
    point: EndPoint
    functions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """One position in the tree of futures that can be below a poll function's own.

    Its number, which the kernel sends, is 1 + its index in Plan.places.  parent: number of the place above;
    0: it is the function's own future.  function: index into Plan.functions, whose tree it is in.  layout: index
    into Plan.layouts; None: a pointer on the way.  state: the discriminant of the place above with which this one
    is there; None: always.  is_polled: polls of it have a probe of their own.
    """

    parent: int
    function: int
    layout: int | None
    state: int | None
    is_polled: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be attached, and what will not, with the reason.

    functions: of all binaries, in one list; function_binary[i] is the index of i's binary.  layouts: of all
    binaries, one after the other.  scheduling: when threads leave and get their CPUs is recorded, too.
    no_scheduling: why it is not, though it was wanted.
    """

    binaries: tuple[Binary, ...]
    functions: tuple[PollFunction, ...]
    function_binary: tuple[int, ...]
    probes: tuple[Probe, ...]
    refusals: tuple[Refusal, ...]
    exit_mode: ExitMode
    layouts: tuple[Layout, ...] = ()
    places: tuple[Place, ...] = ()
    ends: tuple[PlannedEnd, ...] = ()
    spawns: tuple[PlannedSpawn, ...] = ()
    wakes: tuple[PlannedWake, ...] = ()
    scheduling: bool = False
    no_scheduling: str | None = None

    @property
    def groups(self) -> frozenset[Group]:
        """Those of its probes, and SCHEDULING."""
        groups = frozenset(probe.group for probe in self.probes)
        return groups | {Group.SCHEDULING} if self.scheduling else groups

    @property
    def sites(self) -> tuple[CallSite, ...]:
        """Those of all binaries, one after the other."""
        return tuple(site for binary in self.binaries for site in binary.sites)


# ---------------------------------------------------------------- the process


@dataclass(frozen=True, slots=True)
class Mapping:
    start: int
    end: int
    offset: int
    permissions: str
    inode: int
    device: str
    path: str


@dataclass(frozen=True, slots=True)
class Thread:
    tid: int
    pid: int
    name: str


@dataclass(frozen=True, slots=True)
class Process:
    """One traced process.  start_time: clock ticks since boot, guards against pid reuse.

    binary: index into Plan.binaries.  load_bias: run-time address minus link-time address.
    """

    pid: int
    start_time: int
    name: str
    command: tuple[str, ...]
    executable: str
    binary: int
    load_bias: int


@dataclass(frozen=True, slots=True)
class ClockReading:
    """The clocks read together, in nanoseconds."""

    monotonic: int
    boottime: int
    realtime: int


# ---------------------------------------------------------------- stacks


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
        ("until", "<i8"),  # ns, when a blocked thread ran on; 0: that was not seen
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


# ---------------------------------------------------------------- what a capture tells besides events


@dataclass(frozen=True, slots=True)
class PlanChange:
    """From `time` on only `active` groups are attached; `reason` is a sentence for people."""

    time: int
    active: frozenset[Group]
    reason: str


@dataclass(frozen=True, slots=True)
class Loss:
    """`count` events of one CPU were lost between two times (None: unknown).  cpu -1: of which is not known."""

    cpu: int
    count: int
    after: int | None
    before: int | None


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    """The process was seen to end (or to exec another program) at `time`."""

    time: int
    pid: int
    reason: str


PARKED = np.dtype(
    [
        ("self", "<u8"),  # of the future, or a task's header
        ("id", "<u8"),  # the runtime's own id of the task that it is in; 0: unknown
        ("places", "<u8"),  # where it waits, as WAIT has it; 0: not known
        ("function", "<u4"),  # index into Plan.functions
        ("process", "<u2"),  # index into Recording.processes
        ("state", "u1"),  # of a coroutine; else 0
        ("is_waiting", "?"),  # its task waits for a wake; else it has been woken
    ]
)
"""A future that was not being polled when memory was read, 32 bytes."""


class StuckKind(StrEnum):
    """Why tasks will not go on."""

    DEADLOCK = "deadlock"  # each waits for the next one, the last for the first
    FUTURELOCK = "futurelock"  # for what it has given to a future that it keeps, but does not poll
    UNWAKEABLE = "unwakeable"  # nothing has a waker of it


@dataclass(frozen=True, slots=True)
class Stuck:
    """Tasks that will not go on, as far as memory tells.

    tasks: their headers.  is_certain: they will not; else something may be otherwise than it seems.  words: a sentence
    for people.  function: the future of the first of them.  location: where in the user's own source that one waits.
    """

    kind: StuckKind
    tasks: tuple[int, ...]
    is_certain: bool
    words: str
    function: str
    location: SourceLocation | None = None


@dataclass(frozen=True, slots=True)
class MemoryReading:
    """What the memory of one process told besides the probes.

    time: ns of CLOCK_MONOTONIC, when reading began.  duration: ns.  process: index into Recording.processes.
    is_last: at the end of the recording, else at its begin.  tasks: how many there were.  parked: dtype PARKED.
    stuck: None: that was not looked for.
    """

    time: int
    duration: int
    process: int
    is_last: bool
    tasks: int
    parked: Array
    stuck: tuple[Stuck, ...] | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """The header of a capture: all that later stages need to know besides the events.

    start: the time from which on every probe was attached.  options: what the user asked for, for display.  stacks:
    which the capture tells at its end; None: it tells none.
    """

    version: str
    clock: ClockReading
    start: int
    processes: tuple[Process, ...]
    plan: Plan
    transport: str
    kernel: str
    max_overhead: float
    options: dict[str, str] = field(default_factory=dict)
    stacks: Stacks | None = None


@dataclass(frozen=True, slots=True)
class CaptureEnd:
    """The trailer of a capture.  received + lost = what the kernel side sent.

    overhead: the estimated share of the CPU time used by the targets that the probes took, or None.
    """

    time: int
    reason: str
    received: int
    lost: int
    overhead: float | None = None


# ---------------------------------------------------------------- what assembly makes of it


class PollFlag(IntFlag):
    """What is unusual about a poll."""

    START_UNKNOWN = 1  # it was under way when the probes were attached
    END_UNKNOWN = 2  # it was under way when they were detached, or its exit was lost
    UNWOUND = 4  # a panic (or a lost exit) ended it: `end` is when it was last seen, `end_latest` a bound
    INFERRED_END = 8  # its function has no exit probe: same meaning of `end` and `end_latest`
    TAIL = 16  # it left by a jump; it ends with its callee
    RESULT = 32  # the result is known
    PENDING = 64  # ... and it is Pending, else Ready
    STATE = 128  # `state` was read at entry
    MERGED = 256  # it stands for several short ones (only made by the output, to keep a trace openable)
    ABORTED = 512  # of a task: it was aborted before, so that this poll drops the future without polling it
    PANICKED = 1024  # of a task: its future panicked
    SCHEDULED = 2048  # `runnable` and `blocked` are known


POLL = np.dtype(
    [
        ("start", "<i8"),  # ns; with START_UNKNOWN the recording's start
        ("end", "<i8"),  # ns; with END_UNKNOWN the recording's end
        ("end_latest", "<i8"),  # ns; = end unless the end is known only as a range
        ("self", "<u8"),
        ("instance", "<u8"),  # the future instance; 0: unknown (no self)
        ("task", "<u8"),  # the enclosing task: its number, the instance of its polls; 0: none or unknown
        ("parent", "<u8"),  # the instance of the enclosing future poll on the same thread; 0: none
        ("function", "<u4"),  # index into Plan.functions
        ("tid", "<u4"),
        ("depth", "<u2"),  # number of enclosing open polls on the thread
        ("flags", "<u2"),  # PollFlag
        ("state", "u1"),  # coroutine state at entry (STATE set): where it had been waiting
        ("state_after", "u1"),  # ... at exit; 255 unknown
        ("runnable", "<i8"),  # ns in which its thread waited for a CPU; known with SCHEDULED, else 0
        ("blocked", "<i8"),  # ns in which its thread waited for something else; the rest it was on a CPU
    ]
)
"""One poll of one future instance on one thread."""


class OffCpuFlag(IntFlag):
    END_UNKNOWN = 1  # it did not get a CPU again until nothing more was seen
    BY_INTERRUPT = 2  # no thread woke it: a timer or a device did
    IN_POLL = 4  # a poll was under way: `function` is the innermost one's


OFF_CPU = np.dtype(
    [
        ("start", "<i8"),  # ns
        ("woken", "<i8"),  # ns; when it could run again, of one that would have run on `start`; 0: not known
        ("end", "<i8"),  # ns; it got a CPU
        ("instance", "<u8"),  # of the innermost open poll; 0: outside of polls, or unknown
        ("task", "<u8"),  # the number of the task that is polled; 0: none or unknown
        ("function", "<u4"),  # index into Plan.functions, see IN_POLL
        ("tid", "<u4"),
        ("woken_by", "<u4"),  # the waking thread; 0: none, or unknown
        ("syscall", "<i2"),  # number of the system call, NO_SYSCALL or UNKNOWN_SYSCALL
        ("cpu", "<u2"),  # that it left
        ("state", "u1"),  # the kernel's state of the thread, its low bits; 0: it would have run on
        ("flags", "u1"),  # OffCpuFlag
        ("since", "<i8"),  # ns; from when on it had been on that CPU, as far as that is known
        ("cpu_after", "<u2"),  # that it got at `end`
    ]
)
"""A traced thread that had left its CPU, and the poll that it was in."""


class WaitFlag(IntFlag):
    START_UNKNOWN = 1  # the poll before it was not seen
    END_UNKNOWN = 2  # no poll followed until the recording's end
    AMBIGUOUS = 4  # the poll before may have been another future's (its result is unknown), or a poll between was lost
    STATE = 8  # `state` is known
    CANCELLED = 16  # it ended because the future, or the task, was dropped: there is no next poll
    REPLACED = 32  # ... which was seen only by another one at its address, at `end`


WAIT = np.dtype(
    [
        ("start", "<i8"),
        ("end", "<i8"),
        ("self", "<u8"),
        ("instance", "<u8"),
        ("task", "<u8"),
        ("function", "<u4"),
        ("tid", "<u4"),  # the thread of the poll that follows, or of the drop (when none is seen, of the poll before)
        ("flags", "<u2"),  # WaitFlag
        ("state", "u1"),  # coroutine state during the wait: which await
        ("_pad", "u1"),
        ("places", "<u8"),  # where it waits: up to four numbers of places, 16 bits each, the lowest first; 0: none
        ("woken", "<i8"),  # ns; of a task: its first effective wake, 0: not known, and nothing of what follows
        ("woken_by", "<u8"),  # the number of the task that was being polled there; 0: none was, as far as was seen
        ("woken_by_id", "<u8"),  # the runtime's own id of that task; 0: unknown
        ("woken_by_function", "<u4"),  # its function
        ("woken_on", "<u4"),  # the thread
        ("woken_from", "u1"),  # WakeOrigin
    ]
)
"""From one Pending poll of an instance to its next poll, or to its end without one.

A task can be woken while it is still being polled: `woken` is then before `start`, and it was ready all the time.
"""


class Outcome(IntEnum):
    """What became of a task."""

    UNKNOWN = 0
    FINISHED = 1  # its future returned Ready
    REPLACED = 2  # another task has its header: it had ended
    RUNNING = 3  # a poll of it was under way when nothing more was seen
    WAITING = 4  # its last poll did not end it
    PANICKED = 5  # its future panicked
    CANCELLED = 6  # its future was dropped before it returned: aborted, or the runtime shut down
    ENDED = 7  # it has ended, but how was not seen


TASK = np.dtype(
    [
        ("task", "<u8"),  # its number: the instance of its polls
        ("id", "<u8"),  # the runtime's own id; 0: unknown
        ("header", "<u8"),
        ("first", "<i8"),  # ns; the start of its first poll seen
        ("last", "<i8"),  # ns; the end of its last poll seen
        ("busy", "<i8"),  # ns
        ("longest", "<i8"),  # ns; of one poll
        ("waiting", "<i8"),  # ns
        ("polls", "<u8"),
        ("function", "<u4"),  # index into Plan.functions
        ("tid", "<u4"),  # the thread of its first poll seen
        ("process", "<u2"),  # index into Recording.processes; 65535: unknown
        ("outcome", "u1"),  # Outcome
        ("_pad", "u1"),
        ("spawned", "<i8"),  # ns; when it was made; 0: that was not seen, and nothing of what follows is known
        ("spawned_by", "<u8"),  # the number of the task that was being polled there; 0: none was, as far as was seen
        ("spawned_by_id", "<u8"),  # the runtime's own id of that task; 0: unknown
        ("spawned_by_function", "<u4"),  # its function
        ("spawned_at", "<u4"),  # 1 + index into Plan.sites; 0: unknown
        ("spawned_on", "<u4"),  # the thread
    ]
)
"""One task of a runtime."""


LOOK = np.dtype(
    [
        *((name, STACK_SAMPLE[name]) for name in ("time", "until", "tid", "stack", "kind")),
        ("function", "<u4"),  # index into Plan.functions
        ("start", "<i8"),  # ns, of the poll
        ("task", "<u8"),  # its number: the instance of its polls; 0: unknown
    ]
)
"""A thread's stack and the task poll that it was taken in: the innermost one, if several were under way; 48 bytes.

One that blocked until nothing more was seen has the end of its poll in `until`."""


@dataclass(frozen=True, slots=True)
class Spans:
    """What one step of assembly yields.  polls: dtype POLL, waits: dtype WAIT; in order of their ends.

    begun, over: dtype TASK, by number: the tasks polled for the first time, before any of their polls (what they
    have done is 0 still), and those of which no more is seen, after all of their polls.  looks: dtype LOOK, those
    taken in these polls.  off_cpu: dtype OFF_CPU, in order of their ends; what lies in a poll comes no later than the
    poll.
    """

    polls: Array
    waits: Array
    begun: Array = field(default_factory=lambda: np.empty(0, TASK))
    over: Array = field(default_factory=lambda: np.empty(0, TASK))
    looks: Array = field(default_factory=lambda: np.empty(0, LOOK))
    off_cpu: Array = field(default_factory=lambda: np.empty(0, OFF_CPU))


@dataclass(frozen=True, slots=True)
class Tally:
    """What assembly counted; every event is in exactly one interval, in `unmatched_exits`, `task_ids`, `chains`,
    `ends`, `spawns`, `spawn_calls`, `wakes` or `switches`."""

    events: int = 0
    polls: int = 0
    waits: int = 0
    instances: int = 0
    unmatched_exits: int = 0
    unwound: int = 0
    open_at_end: int = 0
    open_at_start: int = 0
    task_ids: int = 0  # events that told the id of a task
    chains: int = 0  # events that told where the poll after them had been waiting
    ends: int = 0  # events that told the end of a life
    spawns: int = 0  # events that told that a task was made
    spawn_calls: int = 0  # events that told by which call the task after them was made
    wakes: int = 0  # events that told that a task was woken
    idle_wakes: int = 0  # ... without effect: another wake had done it already, or the task was done
    self_wakes: int = 0  # ... with effect, by the task itself while it was polled
    looks: int = 0  # stacks that were taken in a task poll; those are no events
    unanswered_wakes: int = 0  # ... with effect, followed by no poll before the task's end, or the recording's
    switches: int = 0  # events that told that a thread left its CPU, got one or was woken
    unpaired_switches: int = 0  # ... that it left its CPU, though it was not told that it had got one since last time


# ---------------------------------------------------------------- what is wrong with the program


class Severity(IntEnum):
    """How bad a finding is, the higher the worse."""

    INFO = 0
    WARNING = 1
    CRITICAL = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in a recording that a person can act on; what each rule means is in docs/findings.md.

    rule: its id.  title, advice: a sentence each.  evidence: numbers, with their units in the keys, and words.
    function: the name of the one that it is about, None: of none.  where: the place in the source of its await, else
    its own; None: not known.  time: where to look in the trace, ns, and for how long (duration, ns).  tid: the thread
    to look at, None: of none; task: the same of the task, its number.
    """

    rule: str
    severity: Severity
    title: str
    evidence: dict[str, int | float | str]
    function: str | None
    where: SourceLocation | None
    time: int
    duration: int
    tid: int | None
    task: int | None
    advice: str
