"""The poll functions of a binary, and what is known of each."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum


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
    RETURNED = "returned"  # an instruction of a caller, which runs soon after the return


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
_LIBRARY = re.compile(r"^/rustc/|/lib/rustlib/src/|/rustc-\d[^/]*/library/")
"""The standard library's, as Rust's own builds of it have them, rust-src, and those of distributions."""


def is_library(path: str) -> bool:
    """Whether a source file is the standard library's, as far as its path tells."""
    return _LIBRARY.search(path) is not None


def is_foreign(path: str, own_folders: Collection[str] = ()) -> bool:
    """Whether a source file or folder is not the user's own, as far as its path tells.

    own_folders: where the user's own are, wherever that is; see Binary.own_folder.
    """
    for folder in own_folders:
        path = path.removeprefix(folder) if path.startswith(f"{folder}/") else path
    return is_library(path) or any(part in path for part in _FOREIGN)


@dataclass(frozen=True, slots=True)
class ExitSite:
    """One instruction by which a function is left, or (RETURNED) which a caller runs then.

    offset: bytes into the file.  after: of such a one, how many bytes after the latest call.
    """

    offset: int
    kind: ExitKind
    cost: InstructionCost = InstructionCost.STEPPED
    after: int = 0


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
    called: the calls of it, as offsets into the file; cheaper to probe than its first instruction.  Empty where that is
    cheap, too, or not all callers are known.
    returned: instructions of its callers, of which every return passes one: cheaper to probe than `exits`; empty where
    not all callers are known, or one has no such instruction.
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
    called: tuple[int, ...] = ()
    returned: tuple[ExitSite, ...] = ()


INLINED = "inlined into its parent: it has no function of its own"

IN_PART = "in some places inlined into its parent: those polls are not seen"
"""Why of what has a function, which is probed."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A future or function that cannot be probed, and why.  address is None when it has none."""

    name: str
    reason: str
    address: int | None = None
    location: SourceLocation | None = None
