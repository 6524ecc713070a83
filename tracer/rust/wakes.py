"""Where tasks are woken, by the names in the symbol table: what the vtables of wakers lead to, and aborts.

tokio 1.25 to 1.54 (runtime/task/waker.rs): `wake_by_val` and `wake_by_ref` get the header.  An abort (harness.rs,
`RawTask::remote_abort`) wakes the task as well, by `State::transition_to_notified_and_cancel`; the state is the
header's first field, and where the compiler made that a part of remote_abort, this gets the header's address by
reference.  async-task 4.0 to 4.7 (raw.rs): `RawTask::wake` and `wake_by_ref`, of which the first may leave it to the
second.  Timers and IO wake tasks by their wakers, as all else does; tokio's come from inside of
`Handle::process_at_time` (runtime/time/mod.rs) and `Driver::turn` (runtime/io/driver.rs; until 1.27 io/mod.rs).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from tracer.model import FunctionKind, HeaderTest, InstructionCost, PollFunction, WakeOrigin, WakePoint
from tracer.rust.exits import entry_site
from tracer.rust.named_functions import functions_named
from tracer.rust.scan import CodeScan
from tracer.rust.wake_sites import wake_site
from tracer.target.elf import ElfImage

_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        rb"4wake",
        rb"wake_by_val",
        rb"wake_by_ref",
        rb"transition_to_notified_and_cancel",
        rb"remote_abort",
        rb"15process_at_time",
        rb"2io6driver6Driver4turn",
        rb"2io6Driver4turn",
    )
)
"""Each begins with a literal, for which `re` has a fast search."""

_COMPLETE, _NOTIFIED, _CANCELLED = 0b10, 0b100, 0b100_000
"""tokio 1.25 to 1.54, runtime/task/state.rs: bits of the state, which is the header's first field (core.rs)."""

_TOKIO_EFFECTIVE = HeaderTest(0, _COMPLETE | _NOTIFIED, 0)
"""One that is being polled is polled again at once: State::transition_to_notified_by_ref."""

_ABORT_EFFECTIVE = HeaderTest(0, _COMPLETE | _NOTIFIED | _CANCELLED, 0)

_SCHEDULED, _COMPLETED, _CLOSED = 0b1, 0b100, 0b1000
"""async-task 4.0 to 4.7, state.rs; of header.rs, as rustc 1.95 lays it out, the state is the second word."""

_ASYNC_TASK_EFFECTIVE = HeaderTest(8, _SCHEDULED | _COMPLETED | _CLOSED, 0)


@dataclass(frozen=True, slots=True)
class _Way:
    """How tasks are woken by functions of this name; see WakePoint.

    inner: not probed where it calls one of these.  has_cheaper: there may be a place that serves as well as the entry,
    see tracer.rust.wake_sites.
    """

    pattern: re.Pattern[str]
    runtime: str
    effective: HeaderTest
    is_indirect: bool = False
    inner: re.Pattern[str] | None = None
    has_cheaper: bool = False
    begins: WakeOrigin | None = None


_NEVER = HeaderTest(0, 0, 1)

_CANCEL = re.compile(r"^<?tokio::runtime::task::state::State>?::transition_to_notified_and_cancel$")
_BY_REF = re.compile(r"^<?async_task::raw::RawTask<.*>::wake_by_ref(?:::<|$)")
_WAYS = (
    _Way(
        re.compile(r"^tokio::runtime::task::waker::wake_by_(?:val|ref)$"),
        "tokio",
        _TOKIO_EFFECTIVE,
        has_cheaper=True,
    ),
    _Way(
        re.compile(
            r"^(?:tokio::runtime::time::<impl tokio::runtime::time::handle::Handle>"
            r"|<?tokio::runtime::time::handle::Handle>?)::process_at_time$"
        ),
        "tokio",
        _NEVER,
        begins=WakeOrigin.TIMER,
    ),
    _Way(
        re.compile(r"^<?tokio::runtime::io::(?:driver::)?Driver>?::turn$"),
        "tokio",
        _NEVER,
        begins=WakeOrigin.IO,
    ),
    _Way(_CANCEL, "tokio", _ABORT_EFFECTIVE),
    _Way(
        re.compile(
            r"^(?:tokio::runtime::task::harness::<impl tokio::runtime::task::raw::RawTask>"
            r"|<?tokio::runtime::task::raw::RawTask>?)::remote_abort$"
        ),
        "tokio",
        _ABORT_EFFECTIVE,
        is_indirect=True,
        inner=_CANCEL,
    ),
    _Way(_BY_REF, "async-task", _ASYNC_TASK_EFFECTIVE),
    _Way(
        re.compile(r"^<?async_task::raw::RawTask<.*>::wake(?:::<|$)"),
        "async-task",
        _ASYNC_TASK_EFFECTIVE,
        inner=_BY_REF,
    ),
)


class Wakes:
    """Of one binary.  named: where the symbols are.  image: whose code it is."""

    def __init__(self, named: ElfImage, image: ElfImage, scan: CodeScan) -> None:
        self._image = image
        self._scan = scan
        self._found: dict[int, tuple[int, str, _Way]] = {}
        self._names: dict[int, list[str]] = {}
        for address, size, name in functions_named(named, _PATTERNS):
            self._names.setdefault(address, []).append(name)
            way = next((way for way in _WAYS if way.pattern.match(name)), None)
            if way is not None:
                self._found[address] = size, name, way

    def points(self, functions: Collection[PollFunction]) -> tuple[WakePoint, ...]:
        """functions: the poll functions; of runtimes whose tasks' headers are not known there are none."""
        runtimes = {one.runtime for one in functions if one.kind is FunctionKind.TASK and one.aborted is not None}
        points = [
            self._point(address, size, name, way)
            for address, (size, name, way) in sorted(self._found.items())
            if way.runtime in runtimes and not self._leaves_it(address, size, way)
        ]
        return tuple(point for point in points if point is not None)

    def _leaves_it(self, address: int, size: int, way: _Way) -> bool:
        """Whether it calls another one that has a probe."""
        if way.inner is None:
            return False
        inner = {at for at, (_, name, _) in self._found.items() if way.inner.match(name)}
        return bool(inner) and bool(self._scan.callers({address: size}, inner))

    def _point(self, address: int, size: int, name: str, way: _Way) -> WakePoint | None:
        """None when the kernel takes no probe there."""
        site = entry_site(self._image, address)
        if site is None:
            return None
        offset, cost = site
        point = WakePoint(address, offset, name, way.effective, way.is_indirect, cost, begins=way.begins)
        if cost is InstructionCost.EMULATED or not way.has_cheaper:
            return point
        cheaper = wake_site(self._image.read(address, size) or b"", address, self._names_at)
        if cheaper is None:
            return point
        return replace(
            point,
            address=cheaper.address,
            offset=offset + cheaper.address - address,
            is_indirect=cheaper.is_indirect,
            state=cheaper.state,
            cost=InstructionCost.EMULATED,
        )

    def _names_at(self, address: int) -> list[str]:
        return self._names.get(address, [])
