"""The functions by which the lives of tasks and futures end, by the names in the symbol table.

tokio 1.25 to 1.54 (runtime/task/raw.rs, state.rs, harness.rs): `raw::shutdown<T, S>` and `raw::dealloc<T, S>` are in
every task's vtable; `State::transition_to_complete` is called once in the life of a task, when its future is gone and
its output is stored.  The state is the header's first field.  async-task 4.0 to 4.7 (raw.rs):
`RawTask::drop_future`, once in the life of a task.  A future's own end is its drop glue, where that is a function.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from tracer.model import EndKind, EndPoint, FunctionKind, HeaderTest, PollFunction
from tracer.rust.exits import entry_site
from tracer.rust.named_functions import functions_named
from tracer.rust.naming import future_type_of, is_closure
from tracer.target.elf import ElfImage

_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        rb"transition_to_complete",
        rb"8complete",
        rb"4task3raw7dealloc",
        rb"4task3raw8shutdown",
        rb"drop_future",
        rb"7destroy",
        rb"7cleanup",
        rb"__rust_panic_cleanup",
        rb"drop_in_place\$LT\$",
        rb"13drop_in_place",
        rb"9drop_glue",
    )
)
"""Each begins with a literal, for which `re` has a fast search."""

_RUNNING, _COMPLETE, _CANCELLED = 0b1, 0b10, 0b100_000
"""tokio 1.25 to 1.54, runtime/task/state.rs: bits of the state, which is the header's first field (core.rs)."""

_IDLE = HeaderTest(0, _RUNNING | _COMPLETE, 0)
"""State::transition_to_shutdown does nothing but mark a task that is being polled, or complete."""

TOKIO_ABORTED = HeaderTest(0, _RUNNING | _COMPLETE | _CANCELLED, _CANCELLED)
"""Idle and cancelled at the poll's entry: harness.rs, poll_inner, drops the future (TransitionToRunning::Cancelled)."""

_STATE = 8
"""async-task 4.4 to 4.7, header.rs, as rustc 1.95 lays it out: vtable, state, awaiter."""

_COMPLETED, _CLOSED = 0b100, 0b1000
"""async-task 4.0 to 4.7, state.rs."""

ASYNC_TASK_ABORTED = HeaderTest(_STATE, _CLOSED, _CLOSED)
"""Closed at the poll's entry: raw.rs, run, drops the future."""


_CELL = re.compile(r"^core::ptr::drop_(?:in_place|glue)(?:::)?<tokio::runtime::task::core::Cell<.+>>$")


@dataclass(frozen=True, slots=True)
class _Way:
    """How a life ends at functions of this name; see EndPoint.

    is_substitute: looked at only where nothing of kind COMPLETE is left a function.
    """

    pattern: re.Pattern[str]
    kind: EndKind
    runtime: str
    is_substitute: bool = False
    only_if: HeaderTest | None = None
    done: HeaderTest | None = None
    undone: HeaderTest | None = None


_WAYS = (
    _Way(
        re.compile(r"^<?tokio::runtime::task::state::State>?::transition_to_complete$"),
        EndKind.COMPLETE,
        "tokio",
        # One that was cancelled while it was polled may have returned all the same.
        done=HeaderTest(0, _CANCELLED, 0),
    ),
    _Way(
        # The one caller of that, which begins with it; of each kind of task its own, and perhaps inlined as well.
        re.compile(r"^<?tokio::runtime::task::harness::Harness<.+>::complete$"),
        EndKind.CLOSED,
        "tokio",
        is_substitute=True,
        done=HeaderTest(0, _CANCELLED, 0),
    ),
    _Way(
        re.compile(r"^tokio::runtime::task::raw::shutdown(?:::<|<|$)"),
        EndKind.SHUTDOWN,
        "tokio",
        only_if=_IDLE,
        undone=_IDLE,
    ),
    _Way(
        re.compile(r"^tokio::runtime::task::raw::dealloc(?:::<|<|$)"),
        EndKind.FREED,
        "tokio",
        done=HeaderTest(0, _COMPLETE | _CANCELLED, _COMPLETE),
        undone=HeaderTest(0, _COMPLETE, 0),
    ),
    _Way(
        # What is left of raw::dealloc where it was inlined into the task's poll; the header is the cell's first field.
        _CELL,
        EndKind.FREED,
        "tokio",
        is_substitute=True,
        done=HeaderTest(0, _COMPLETE | _CANCELLED, _COMPLETE),
        undone=HeaderTest(0, _COMPLETE, 0),
    ),
    _Way(
        re.compile(r"^<?async_task::raw::RawTask<.*>::drop_future(?:::<|$)"),
        EndKind.CLOSED,
        "async-task",
        done=HeaderTest(_STATE, _CLOSED, 0),
    ),
    _Way(
        re.compile(r"^<?async_task::raw::RawTask<.*>::destroy(?:::<|$)"),
        EndKind.FREED,
        "async-task",
        done=HeaderTest(_STATE, _COMPLETED, _COMPLETED),
        undone=HeaderTest(_STATE, _COMPLETED, 0),
    ),
)

_CATCHES = (
    re.compile(r"^std::panicking::(?:catch_unwind|try)::cleanup$"),
    re.compile(r"^(?:__rustc::)?__rust_panic_cleanup$"),
)
"""Called once for each panic that is caught (std, panicking.rs), by the catching function; the first that exists."""

_DROP = re.compile(r"^core::ptr::drop_(?:in_place|glue)(?:::)?<(?P<type>.+)>$")


@dataclass(frozen=True, slots=True)
class DropGlue:
    """One address with a destructor that may be a future's.  types: as the symbols name what it drops."""

    address: int
    size: int
    types: tuple[str, ...]


class Ends:
    """Of one binary.  symbols_of: where the symbols are.  image: whose code it is."""

    def __init__(self, symbols_of: ElfImage, image: ElfImage) -> None:
        self._image = image
        self._tasks: dict[int, tuple[str, _Way]] = {}
        self._catches: dict[int, tuple[int, str]] = {}
        self._glue: dict[int, tuple[int, set[str]]] = {}
        for address, size, name in functions_named(symbols_of, _PATTERNS):
            way = next((way for way in _WAYS if way.pattern.match(name)), None)
            drop = _DROP.match(name)
            if way is not None:
                self._tasks[address] = name, way
            elif drop:
                self._glue.setdefault(address, (size, set()))[1].add(drop["type"])
            rank = next((rank for rank, pattern in enumerate(_CATCHES) if pattern.match(name)), None)
            if rank is not None:
                self._catches[address] = min((rank, name), self._catches.get(address, (rank, name)))

    @property
    def catches(self) -> frozenset[int]:
        """The functions that are called where panics are caught."""
        first = min((rank for rank, _ in self._catches.values()), default=0)
        return frozenset(address for address, (rank, _) in self._catches.items() if rank == first)

    def glue_of(self, names: Iterable[str]) -> list[DropGlue]:
        """The drop glue that may be that of the futures whose poll functions have these names."""
        wanted = {_future(name) for name in names} - {None}
        plain = {_plain(one) for one in wanted if one is not None}
        return [
            DropGlue(address, size, tuple(sorted(types)))
            for address, (size, types) in sorted(self._glue.items())
            if any(_plain(one) in plain for one in types)
        ]

    def points(
        self,
        functions: Collection[PollFunction],
        glue: Collection[DropGlue],
        types: Mapping[int, Collection[str]],
        dropped: Mapping[int, Collection[str]],
        foreign: Mapping[int, Collection[int]],
    ) -> tuple[EndPoint, ...]:
        """types: of poll functions, by address, the paths of their futures' types as the debug information has them.

        dropped: the same of the types that drop glue drops.  foreign: see tracer.rust.foreign_catches.
        """
        tasks = [function for function in functions if function.kind is FunctionKind.TASK]
        points: list[EndPoint | None] = []
        if tasks:
            is_seen = any(way.kind is EndKind.COMPLETE for _, way in self._tasks.values())
            points += [
                self._of_task(address, name, way, tasks)
                for address, (name, way) in self._tasks.items()
                if not (is_seen and way.is_substitute)
            ]
        if functions:
            points += [
                self._point(address, self._catches[address][1], EndKind.CAUGHT, others=foreign.get(address, ()))
                for address in self.catches
            ]
        points += self._of_futures(functions, glue, types, dropped)
        return tuple(sorted((point for point in points if point is not None), key=lambda point: point.address))

    def _of_task(self, address: int, name: str, way: _Way, tasks: Collection[PollFunction]) -> EndPoint | None:
        """None also where the end depends on a header whose layout is not known here."""
        if all(task.aborted is None for task in tasks if task.runtime == way.runtime):
            return None if way.only_if is not None else self._point(address, name, way.kind)
        return self._point(address, name, way.kind, only_if=way.only_if, done=way.done, undone=way.undone)

    def _of_futures(
        self,
        functions: Collection[PollFunction],
        glue: Collection[DropGlue],
        types: Mapping[int, Collection[str]],
        dropped: Mapping[int, Collection[str]],
    ) -> list[EndPoint | None]:
        by_type: dict[str, list[PollFunction]] = defaultdict(list)
        by_name: dict[str, list[PollFunction]] = defaultdict(list)
        for function in functions:
            if function.kind is FunctionKind.TASK:
                continue
            for path in types.get(function.address, ()):
                by_type[path].append(function)
            futures = [future for name in function.names if (future := _future(name)) is not None]
            for plain in {_plain(future) for future in futures}:
                by_name[plain].append(function)
        copies: dict[str, set[int]] = defaultdict(set)
        for destructor in glue:
            for path in destructor.types:
                copies[_plain(path)].add(destructor.address)
        points = []
        for destructor in glue:
            address = destructor.address
            found = {f.address: f for path in dropped.get(address, ()) for f in by_type.get(path, ())}
            if not found and address not in dropped:
                # Of several functions, or destructors, of one generic name nobody could tell which belong together.
                for path in map(_plain, destructor.types):
                    named = by_name.get(path, [])
                    if len(named) == 1 and len(copies[path]) == 1:
                        found[named[0].address] = named[0]
            if found:
                offsets = {f.state_offset for f in found.values()}
                points.append(
                    self._point(
                        address,
                        f"drop of {min(f.name for f in found.values())}",
                        EndKind.DROPPED,
                        futures=tuple(sorted(found)),
                        state_offset=offsets.pop() if len(offsets) == 1 else None,
                    )
                )
        return points

    def _point(
        self,
        address: int,
        name: str,
        kind: EndKind,
        *,
        futures: tuple[int, ...] = (),
        only_if: HeaderTest | None = None,
        done: HeaderTest | None = None,
        undone: HeaderTest | None = None,
        state_offset: int | None = None,
        others: Collection[int] = (),
    ) -> EndPoint | None:
        """None when the kernel takes no probe there."""
        site = entry_site(self._image, address)
        if site is None:
            return None
        offset, cost = site
        place = self._image.vaddr_of(offset)
        distances = () if place is None else tuple(sorted(back - place for back in others))
        return EndPoint(address, offset, name, kind, futures, only_if, done, undone, state_offset, cost, distances)


def _future(name: str) -> str | None:
    """The path of the future's type, as drop glue has it, by the name of its poll function."""
    return name if is_closure(name) else future_type_of(name)


_ANGLES = re.compile("([<>])")


def _plain(path: str) -> str:
    """Without generic arguments: legacy names of functions have none, those of types do.

    `<a::B<u8> as c::D<u8>>::e` is `<a::B as c::D>::e`.
    """
    kept: list[str] = []
    opened: list[bool] = []
    hidden = 0
    before = ""
    for part in _ANGLES.split(path):
        if part == "<":
            generic = before.isalnum() or before in ("_", ":", "}")
            before = part
            opened.append(generic)
            hidden += generic
            if generic:
                continue
        elif part == ">" and before != "-" and opened:
            before = part
            generic = opened.pop()
            hidden -= generic
            if generic:
                continue
        elif part:
            before = part[-1]
        if not hidden:
            kept.append(part)
    return "".join(kept).replace("::::", "::").removesuffix("::")
