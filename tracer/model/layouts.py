"""Where futures keep the futures that they poll, and what else leads on from them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tracer.model.functions import AwaitPoint, Source, SourceLocation


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


LOCKS = frozenset({LinkKind.MUTEX, LinkKind.RWLOCK})
"""What is meant to be given back soon."""

LENT = LOCKS | {LinkKind.SEMAPHORE}
"""What a task has until it gives it back: locks and permits."""


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
class Backlog:
    """Where a channel counts its messages, in bytes from its begin, 8 bytes each.

    sent, received: so many were until now; how many senders there are: when none is left, one more counts as sent, the
    end.  capacity: so many may wait in it; None: as many as there is memory for.
    """

    sent: int
    received: int
    senders: int
    capacity: int | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """From a future to what it waits for, or holds.

    size: bytes of what is there; another link may lead into it.  flags: offsets of bytes that are all 1 where the
    future surely has it: rustc's drop flags of this state.  is_certain: the flags tell all.  busy: of a lock, from
    its begin: not so when nobody holds it.  granted: of a wait, from the future's begin: all of them are so when
    it has been given what it waited for.  child: index into Binary.layouts, of a future.  number: where one is that
    tells more, see LinkKind.  is_guess: it may be elsewhere in the future: it is there if it leads to what somebody
    waits for.  shared: of a rwlock: who reads, beside others; or the test, from the future's begin, that tells it.
    queue: of a wait, offsets from the future's begin: of its place in the queue, and of the pointer to the place
    before it.  backlog: of a channel.
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
    is_guess: bool = False
    shared: bool | WordTest = False
    queue: tuple[int, int] | None = None
    backlog: Backlog | None = None


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
    there are; empty: not known, or any.  guards: of a coroutine, the states in which it may have
    a lock's guard.
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
    guards: tuple[int, ...] = ()
