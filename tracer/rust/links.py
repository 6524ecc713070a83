"""What futures wait for and hold, by the types of the crates that make it.

Each rule names a type by its own name, and by the path of what a pointer in it leads to: no other type has both.
A type of another version that has them not is not known, and so has no link.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from tracer.model import Backlog, Link, LinkKind, LinkRole, Route, WordTest
from tracer.rust.future_names import base_name
from tracer.rust.routes import Place, Routes, pointed
from tracer.rust.types import Type

_ALL = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class _Rule:
    """owner: a type's name.  target: path of what it points to.  part: type of the target's member that is meant.

    busy: (member of what is meant, mask, value) while somebody holds it.  is_shared: of a rwlock: for those who read.
    """

    owner: str
    target: str
    kind: LinkKind
    role: LinkRole
    part: str | None = None
    busy: tuple[str, int, int] | None = None
    is_shared: bool = False


_NO_PERMITS = ("permits", _ALL ^ 1, 0)
"""tokio 1.25 to 1.54, sync/batch_semaphore.rs: the lowest bit says that it is closed, the others count permits."""

_TOKIO_SEMAPHORE = "tokio::sync::batch_semaphore::Semaphore"
_TOKIO_MUTEX = "tokio::sync::mutex::Mutex"
_TOKIO_RWLOCK = "tokio::sync::rwlock::RwLock"
_TOKIO_PERMITS = "tokio::sync::semaphore::Semaphore"
_SENDER = "tokio::sync::mpsc::bounded::Sender"
_CHANNEL = "tokio::sync::mpsc::chan::Chan"
_RECORD = "tokio::runtime::io::scheduled_io::ScheduledIo"
_EVENTED = "PollEvented"
_W, _H, _S, _R = LinkRole.WAITS, LinkRole.HOLDS, LinkRole.SENDS, LinkRole.RECEIVES

_RULES = (
    # tokio 1.25 to 1.54: runtime/task/join.rs, raw.rs
    _Rule("JoinHandle", "tokio::runtime::task::core::Header", LinkKind.TASK, _W),
    _Rule("JoinHandle", "tokio::runtime::task::core::Header", LinkKind.TASK, _H),
    # sync/batch_semaphore.rs, mutex.rs
    _Rule("Acquire", _TOKIO_SEMAPHORE, LinkKind.SEMAPHORE, _W),
    _Rule("MutexGuard", _TOKIO_MUTEX, LinkKind.MUTEX, _H, "Semaphore", _NO_PERMITS),
    _Rule("OwnedMutexGuard", _TOKIO_MUTEX, LinkKind.MUTEX, _H, "Semaphore", _NO_PERMITS),
    _Rule("MappedMutexGuard", _TOKIO_SEMAPHORE, LinkKind.MUTEX, _H, None, _NO_PERMITS),
    _Rule("OwnedMappedMutexGuard", _TOKIO_MUTEX, LinkKind.MUTEX, _H, "Semaphore", _NO_PERMITS),
    # sync/rwlock.rs, rwlock/*.rs
    _Rule("RwLockReadGuard", _TOKIO_SEMAPHORE, LinkKind.RWLOCK, _H, is_shared=True),
    _Rule("RwLockWriteGuard", _TOKIO_SEMAPHORE, LinkKind.RWLOCK, _H, None, _NO_PERMITS),
    _Rule("RwLockMappedWriteGuard", _TOKIO_SEMAPHORE, LinkKind.RWLOCK, _H, None, _NO_PERMITS),
    _Rule("OwnedRwLockReadGuard", _TOKIO_RWLOCK, LinkKind.RWLOCK, _H, "Semaphore", is_shared=True),
    _Rule("OwnedRwLockWriteGuard", _TOKIO_RWLOCK, LinkKind.RWLOCK, _H, "Semaphore", _NO_PERMITS),
    _Rule("OwnedRwLockMappedWriteGuard", _TOKIO_RWLOCK, LinkKind.RWLOCK, _H, "Semaphore", _NO_PERMITS),
    # sync/semaphore.rs
    _Rule("SemaphorePermit", _TOKIO_PERMITS, LinkKind.SEMAPHORE, _H, "Semaphore"),
    _Rule("OwnedSemaphorePermit", _TOKIO_PERMITS, LinkKind.SEMAPHORE, _H, "Semaphore"),
    # sync/oneshot.rs
    _Rule("Receiver", "tokio::sync::oneshot::Inner", LinkKind.ONESHOT, _W),
    _Rule("Receiver", "tokio::sync::oneshot::Inner", LinkKind.ONESHOT, _R),
    _Rule("Sender", "tokio::sync::oneshot::Inner", LinkKind.ONESHOT, _S),
    # sync/mpsc/{chan,bounded,unbounded}.rs; what waits is a closure of recv()
    _Rule("PollFn", _CHANNEL, LinkKind.MPSC, _W),
    _Rule("Receiver", _CHANNEL, LinkKind.MPSC, _R),
    _Rule("UnboundedReceiver", _CHANNEL, LinkKind.MPSC, _R),
    _Rule("Sender", _CHANNEL, LinkKind.MPSC, _S),
    _Rule("UnboundedSender", _CHANNEL, LinkKind.MPSC, _S),
    # sync/watch.rs; what waits is a Notified of what is shared
    _Rule("Receiver", "tokio::sync::watch::Shared", LinkKind.WATCH, _R),
    _Rule("Sender", "tokio::sync::watch::Shared", LinkKind.WATCH, _S),
    # sync/broadcast.rs
    _Rule("Recv", "tokio::sync::broadcast::Shared", LinkKind.BROADCAST, _W),
    _Rule("Receiver", "tokio::sync::broadcast::Shared", LinkKind.BROADCAST, _R),
    _Rule("Sender", "tokio::sync::broadcast::Shared", LinkKind.BROADCAST, _S),
    # sync/notify.rs
    _Rule("Notified", "tokio::sync::notify::Notify", LinkKind.NOTIFY, _W),
    _Rule("OwnedNotified", "tokio::sync::notify::Notify", LinkKind.NOTIFY, _W),
    # runtime/io/scheduled_io.rs
    _Rule("Readiness", _RECORD, LinkKind.IO, _W),
    # futures-channel 0.3, oneshot.rs
    _Rule("Receiver", "futures_channel::oneshot::Inner", LinkKind.ONESHOT, _W),
    _Rule("Receiver", "futures_channel::oneshot::Inner", LinkKind.ONESHOT, _R),
    _Rule("Sender", "futures_channel::oneshot::Inner", LinkKind.ONESHOT, _S),
    # futures-channel 0.3, mpsc/mod.rs
    _Rule("Receiver", "futures_channel::mpsc::BoundedInner", LinkKind.MPSC, _R),
    _Rule("Sender", "futures_channel::mpsc::BoundedInner", LinkKind.MPSC, _S),
    _Rule("UnboundedReceiver", "futures_channel::mpsc::UnboundedInner", LinkKind.MPSC, _R),
    _Rule("UnboundedSender", "futures_channel::mpsc::UnboundedInner", LinkKind.MPSC, _S),
    # futures-util 0.3, lock/mutex.rs: the lowest bit of the state is IS_LOCKED
    _Rule("MutexLockFuture", "futures_util::lock::mutex::Mutex", LinkKind.MUTEX, _W),
    _Rule("OwnedMutexLockFuture", "futures_util::lock::mutex::Mutex", LinkKind.MUTEX, _W),
    _Rule("MutexGuard", "futures_util::lock::mutex::Mutex", LinkKind.MUTEX, _H, None, ("state", 1, 1)),
    _Rule("OwnedMutexGuard", "futures_util::lock::mutex::Mutex", LinkKind.MUTEX, _H, None, ("state", 1, 1)),
    # async-lock 2.8 to 3.5, mutex.rs: the lowest bit of the state is that it is locked
    _Rule("Lock", "async_lock::mutex::Mutex", LinkKind.MUTEX, _W),
    _Rule("LockArc", "async_lock::mutex::Mutex", LinkKind.MUTEX, _W),
    _Rule("MutexGuard", "async_lock::mutex::Mutex", LinkKind.MUTEX, _H, None, ("state", 1, 1)),
    _Rule("MutexGuardArc", "async_lock::mutex::Mutex", LinkKind.MUTEX, _H, None, ("state", 1, 1)),
    # async-lock 3.0 to 3.5, rwlock/{raw,futures}.rs
    _Rule("Read", "async_lock::rwlock::raw::RawRwLock", LinkKind.RWLOCK, _W, is_shared=True),
    _Rule("Write", "async_lock::rwlock::raw::RawRwLock", LinkKind.RWLOCK, _W),
    _Rule("UpgradableRead", "async_lock::rwlock::raw::RawRwLock", LinkKind.RWLOCK, _W, is_shared=True),
    _Rule("RwLockReadGuard", "async_lock::rwlock::raw::RawRwLock", LinkKind.RWLOCK, _H, is_shared=True),
    _Rule("RwLockUpgradableReadGuard", "async_lock::rwlock::raw::RawRwLock", LinkKind.RWLOCK, _H, is_shared=True),
    _Rule("RwLockWriteGuard", "async_lock::rwlock::raw::RawRwLock", LinkKind.RWLOCK, _H),
    # async-lock 2.8 to 3.5, semaphore.rs
    _Rule("Acquire", "async_lock::semaphore::Semaphore", LinkKind.SEMAPHORE, _W),
    _Rule("AcquireArc", "async_lock::semaphore::Semaphore", LinkKind.SEMAPHORE, _W),
    _Rule("SemaphoreGuard", "async_lock::semaphore::Semaphore", LinkKind.SEMAPHORE, _H),
    _Rule("SemaphoreGuardArc", "async_lock::semaphore::Semaphore", LinkKind.SEMAPHORE, _H),
    # async-channel 1.8 to 2.5, lib.rs
    _Rule("Recv", "async_channel::Channel", LinkKind.MPSC, _W),
    _Rule("Send", "async_channel::Channel", LinkKind.MPSC, _W, "Event"),  # the first: of those that wait for room
    _Rule("Receiver", "async_channel::Channel", LinkKind.MPSC, _R),
    _Rule("Sender", "async_channel::Channel", LinkKind.MPSC, _S),
    # event-listener 5.3 to 5.4, lib.rs
    _Rule("EventListener", "event_listener::Inner", LinkKind.EVENT, _W),
)

_TASKS = frozenset({"Task", "FallibleTask", "JoinHandle"})
"""async-task 4.0 to 4.7, task.rs: a pointer to the header, which has no type there; async-std has one in its own."""

_SLEEPS = frozenset({"Sleep", "Timeout", "PollFn"})
"""tokio 1.25 to 1.54, time/{sleep,timeout,interval}.rs: futures with a Sleep in them, or behind a pointer."""

_STRATEGY, _INNER = "FutureWrapper", re.compile(r"Inn(?:er|ards)$")
"""event-listener-strategy 0.5, lib.rs: what async-lock 3 and async-channel 2 wait by; `Lock` has a `LockInner`."""

_COUNTING = {"tail_position": "Tx<", "index": "Rx<", "bound": "Semaphore"}
"""Of what is in a channel of tokio's, the members that count, and what has them."""

_NEXT = ("pointers", "inner", "value", "next")
"""tokio 1.25 to 1.54, util/linked_list.rs: of a node, where the next one is."""

_STREAMS = frozenset(
    {
        "Read", "ReadBuf", "ReadExact", "ReadToEnd", "ReadToString", "ReadLine", "ReadUntil", "FillBuf",
        "Write", "WriteBuf", "WriteVectored", "WriteAll", "WriteAllBuf", "Flush", "Shutdown",
    }
)  # fmt: skip
"""tokio 1.25 to 1.54, io/util/*.rs: futures of what is read from or written to."""


class Links:
    """Of one binary."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._waits: dict[str, list[_Rule]] = {}
        self._holds: dict[str, list[_Rule]] = {}
        for rule in _RULES:
            (self._waits if rule.role is LinkRole.WAITS else self._holds).setdefault(rule.owner, []).append(rule)

    def waits(self, type_: Type) -> Iterator[Link]:
        """What a future waits for that polls no other."""
        name, start = base_name(type_.name), Place(type_, (0,))
        inner = self._routes.member(type_, "inner") if name == _STRATEGY else None
        if inner is not None:
            name, start = _INNER.sub("", base_name(inner[1].name)), Place(inner[1], (inner[0],))
        granted, shared, queue = self._granted(type_), self._shared(type_), self._queue(type_)
        for link in self._first(self._waits.get(name, ()), start, granted):
            yield replace(link, shared=link.shared or shared, queue=queue)
        if name in _TASKS:
            yield from self._async_task(start, LinkRole.WAITS)
        if name in _SLEEPS:
            yield from self._deadline(start)
        if name in _STREAMS:
            evented = self._routes.nearest(start, _EVENTED, "tokio::")
            yield from self._descriptor(evented, LinkRole.WAITS) if evented is not None else ()

    def holds(self, place: Place, value: int) -> Iterator[Link]:
        """What a coroutine has in its state `value` with a local variable at this place."""
        for one in self._routes.inside(place, self._is_owner):
            name = base_name(one.type.name)
            found = list(self._first(self._holds.get(name, ()), one, ()))
            if not found and name in _TASKS:
                found = list(self._async_task(one, LinkRole.HOLDS))
            if name == _EVENTED:
                found = list(self._descriptor(one, LinkRole.HOLDS))
            for link in found:
                number = replace(link.number, value=value) if link.number is not None else None
                yield replace(link, route=replace(link.route, value=value), number=number)

    def lent(self, place: Place, value: int) -> Iterator[Link]:
        """The channel whose sender a variable at this place refers to, in a coroutine's state `value`."""
        path = pointed(place.type.name)
        sender = self._routes.behind(place) if path is not None and base_name(path) == _SENDER else None
        rules = (rule for rule in self._holds["Sender"] if rule.target == _CHANNEL)
        for link in self._first(rules, sender, ()) if sender is not None else ():
            yield replace(link, route=replace(link.route, value=value), is_guess=True)

    def _is_owner(self, type_: Type) -> bool:
        return base_name(type_.name) in self._holds

    def _first(self, rules: Iterable[_Rule], start: Place, granted: tuple[WordTest, ...]) -> Iterator[Link]:
        for rule in rules:
            link = self._link(rule, start, granted)
            if link is not None:
                yield link
                return

    def _link(self, rule: _Rule, start: Place, granted: tuple[WordTest, ...]) -> Link | None:
        there = self._routes.to(start, rule.target)
        if there is None:
            return None
        if rule.part is not None:
            parts = (self._routes.at(member, there) for member in there.type.members)
            part = next((part for part in parts if part is not None and part.type.name.startswith(rule.part)), None)
            if part is None or (rule.owner == "Send" and part.steps == there.steps):
                return None
            there = part
        busy = None
        if rule.busy is not None:
            name, mask, value = rule.busy
            member = self._routes.member(there.type, name)
            if member is None or member[1].size != 8:
                return None
            busy = WordTest(member[0], mask, value)
        route = Route(None, there.tests, there.steps)
        link = Link(rule.kind, rule.role, route, there.type.size, busy=busy, granted=granted, shared=rule.is_shared)
        return replace(link, backlog=self._backlog(there.type)) if rule.target == _CHANNEL else link

    def _backlog(self, channel: Type) -> Backlog | None:
        """tokio 1.25 to 1.54, sync/mpsc/{chan,list,bounded}.rs: all senders put to one list, and one receiver
        takes from it; each has its place there.  The end of the last sender has a place, too."""
        counts: dict[str, int] = {}
        senders = self._routes.member(channel, "tx_count")
        for place in self._routes.inside(Place(channel, (0,)), _no):
            for name in ("tail_position", "index", "bound"):
                member = self._routes.member(place.type, name) if place.type.name.startswith(_COUNTING[name]) else None
                if member is not None and member[1].size == 8:
                    counts[name] = place.steps[0] + member[0]
        if senders is None or senders[1].size != 8 or not {"tail_position", "index"} <= counts.keys():
            return None
        return Backlog(counts["tail_position"], counts["index"], senders[0], counts.get("bound"))

    def _shared(self, type_: Type) -> bool | WordTest:
        """tokio 1.25 to 1.54, sync/rwlock.rs: who reads takes one permit, who writes all that there are; these are one,
        too, of a lock that is made for one reader at a time."""
        permits = self._routes.member(type_, "num_permits")
        return WordTest(permits[0], (1 << 8 * permits[1].size) - 1, 1) if permits is not None else False

    def _queue(self, type_: Type) -> tuple[int, int] | None:
        """tokio 1.25 to 1.54, sync/batch_semaphore.rs: new ones are put to its front, and it is served from its end."""
        node, before = self._routes.member(type_, "node"), self._routes.member(type_, "node", *_NEXT)
        return (node[0], before[0]) if node is not None and before is not None and before[1].size == 8 else None

    def _granted(self, type_: Type) -> tuple[WordTest, ...]:
        """tokio 1.25 to 1.54, sync/batch_semaphore.rs: it was queued, and no permit is left to be given to it."""
        queued, left = self._routes.member(type_, "queued"), self._routes.member(type_, "node", "state")
        if queued is None or left is None or queued[1].size != 1 or left[1].size != 8:
            return ()
        return WordTest(queued[0], 0xFF, 1), WordTest(left[0], _ALL, 0)

    def _async_task(self, start: Place, role: LinkRole) -> Iterator[Link]:
        if base_name(start.type.name) == "JoinHandle":  # of async-std 1, task/join_handle.rs
            found = (one for one in self._routes.inside(start, _no) if _is_async_task(one.type))
            start = next(found, start)
        pointer = self._routes.member(start.type, "ptr", "pointer")
        if _is_async_task(start.type) and pointer is not None and pointer[1].size == 8:
            *before, last = start.steps
            steps = (*before, last + pointer[0], 0)
            yield Link(LinkKind.TASK, role, Route(None, start.tests, steps), 8)

    def _descriptor(self, evented: Place, role: LinkRole) -> Iterator[Link]:
        """tokio 1.25 to 1.54, io/poll_evented.rs: a file that mio has, and the runtime's record of it."""
        record = self._routes.to(evented, _RECORD)
        if record is None:
            return
        files = (one for one in self._routes.inside(evented, _no) if one.type.name == "OwnedFd")
        file = next(files, None)
        number = Route(None, file.tests, file.steps) if file is not None and file.type.size == 4 else None
        yield Link(LinkKind.IO, role, Route(None, record.tests, record.steps), record.type.size, number=number)

    def _deadline(self, start: Place) -> Iterator[Link]:
        """Of the first Sleep in it; a closure has it only by a pointer."""
        sleeps = (one for one in self._routes.inside(start, _no, 3) if one.type.name == "Sleep")
        sleep = next(sleeps, None)
        if sleep is None:
            return
        for deadline in self._routes.inside(sleep, _no):
            if deadline.type.name == "Timespec":
                seconds = self._routes.member(deadline.type, "tv_sec")
                nanoseconds = self._routes.member(deadline.type, "tv_nsec")
                if seconds is not None and nanoseconds is not None and (seconds[0], nanoseconds[0]) == (0, 8):
                    route = Route(None, deadline.tests, deadline.steps)
                    yield Link(LinkKind.TIMER, LinkRole.WAITS, route, deadline.type.size, number=route)
                return


def _no(_: Type) -> bool:
    return False


def _is_async_task(type_: Type) -> bool:
    return base_name(type_.name) == "Task" and [one.name for one in type_.members[:2]] == ["ptr", "_marker"]
