"""Where tasks are spawned, by the names in the symbol table and what the code does with its arguments.

tokio 1.25 to 1.54 (task/spawn.rs, task/local.rs, runtime/handle.rs, runtime/runtime.rs): the functions that users call
are `#[track_caller]`, so that their last argument is the address of a core::panic::Location.  The task is made in
`OwnedTasks::bind` and `LocalOwnedTasks::bind` (runtime/task/list.rs), which return its JoinHandle, its header's
address; since 1.35 what they share is `OwnedTasks::bind_inner(&self, task, notified)`.  Where rustc inlined all of
these into a function that spawns, the task is made in `Cell::new` (runtime/task/core.rs), which returns it, too, and of
which that function schedules it only later.  Blocking jobs
go to `Spawner::spawn_task(&self, task, rt)` (runtime/blocking/pool.rs), which queues them.  async-task 4.0 to 4.7
(runnable.rs, raw.rs): `spawn_unchecked` returns (Runnable, Task), both of them the header's address, and so does
`RawTask::allocate` inside.  No location is handed on there.
Crate blocking 1.0 to 1.7 (lib.rs) hands its jobs, at spawns and at wakes, to `Executor::schedule(&self, Runnable)`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import capstone
from capstone import x86_const as x86

from tracer.model import CallSite, ExitKind, FunctionKind, PollFunction, Register, SpawnPoint, SpawnStep, is_library
from tracer.rust.exits import Disassembler, entry_site
from tracer.rust.named_functions import NamedFunction, functions_named
from tracer.rust.panic_locations import PanicLocations
from tracer.rust.scan import CodeScan
from tracer.rust.spawn_callers import SpawnCallers
from tracer.target.elf import ElfImage

_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        rb"spawn",
        rb"4bind",
        rb"10bind_inner",
        rb"10bind_local",
        rb"bind_new_task",
        rb"8allocate",
        rb"Cell\$LT\$T\$C\$S\$GT\$3new",
        rb"4Cell\w*3new",
        rb"8blocking8Executor8schedule",
    )
)
"""Each begins with a literal, for which `re` has a fast search."""

_ARGUMENTS = (Register.RDI, Register.RSI, Register.RDX, Register.RCX)
"""In the order of the System V ABI, as far as spawn functions take any."""

_CALLED = tuple(
    re.compile(pattern)
    for pattern in (
        r"^tokio::task::spawn::spawn(?:_inner)?(?:::<|<|$)",
        r"^tokio::task::local::spawn_local(?:_inner)?(?:::<|<|$)",
        r"^<?tokio::task::local::LocalSet>?::spawn_local(?:::<|<|$)",
        r"^<?tokio::runtime::handle::Handle>?::spawn(?:::<|<|$)",
        r"^<?tokio::runtime::runtime::Runtime>?::spawn(?:::<|<|$)",
        r"^tokio::task::blocking::spawn_blocking(?:::<|<|$)",
        r"^tokio::runtime::blocking::pool::spawn_blocking(?:::<|<|$)",
        r"^<?tokio::runtime::handle::Handle>?::spawn_blocking(?:::<|<|$)",
        r"^<?tokio::runtime::runtime::Runtime>?::spawn_blocking(?:::<|<|$)",
    )
)
"""Each passes on the location that it was handed: what calls it is the user's own call, or another one of these.  Not
those that get it and have no use for it, as Handle::spawn_named; where these, optimised, have none either, what is in
the register is no location."""


_INNER = {
    "tokio": re.compile(
        r"^<?tokio::runtime::scheduler::(?:multi_thread::handle::|current_thread::)?Handle>?"
        r"::(?:spawn|spawn_local|bind_new_task)(?:::<|<|$)"
        r"|^<?tokio::task::local::Context>?::spawn(?:::<|<|$)"
    ),
    "async-task": re.compile(
        r"^async_std::task::(?:spawn::spawn|spawn_local::spawn_local)(?:::<|<|$)"
        r"|^<?async_std::task::builder::Builder>?::(?:spawn|local)(?:::<|<|$)"
        r"|^async_global_executor::executor::spawn(?:_local)?(?:::<|<|$)"
        r"|^<?async_executor::(?:Local)?Executor>?::spawn(?:_inner)?(?:::<|<|$)"
        r"|^smol::spawn::spawn(?:::<|<|$)"
        r"|^async_std::task::spawn_blocking::spawn_blocking(?:::<|<|$)"
        r"|^async_global_executor::executor::spawn_blocking(?:::<|<|$)"
        r"|^blocking::(?:unblock(?:::<|<|$)|<?Executor>?::spawn(?:::<|<|$))"
        r"|^async_task::runnable::spawn(?:_local|_unchecked)?(?:::<|<|$)"
    ),
}
"""By runtime what spawns and is not told where it was called: that may be known by its return address."""


@dataclass(frozen=True, slots=True)
class _Maker:
    """A function in which a task is made.  of_entry: it gets the header there, else it returns it.  step: see there."""

    runtime: str
    pattern: re.Pattern[str]
    of_entry: Register | None = None
    step: SpawnStep = SpawnStep.MADE


_MAKERS = (
    _Maker("tokio", re.compile(r"^<?tokio::runtime::task::list::OwnedTasks<.*>::bind_inner(?:::<|$)"), Register.RSI),
    _Maker("tokio", re.compile(r"^<?tokio::runtime::task::list::OwnedTasks<.*>::bind(?:_local)?(?:::<|$)")),
    _Maker("tokio", re.compile(r"^<?tokio::runtime::blocking::pool::Spawner>?::spawn_task$"), Register.RSI),
    _Maker("tokio", re.compile(r"^<?tokio::runtime::task::list::LocalOwnedTasks<.*>::bind(?:::<|$)")),
    _Maker("async-task", re.compile(r"^<?async_task::runnable::Builder<.*>::spawn_unchecked(?:::<|$)")),
    _Maker("async-task", re.compile(r"^async_task::runnable::spawn_unchecked(?:::<|<|$)")),
    _Maker("async-task", re.compile(r"^<?async_task::raw::RawTask<.*>::allocate(?:::<|$)")),
    _Maker("async-task", re.compile(r"^<?blocking::Executor>?::schedule$"), Register.RSI, SpawnStep.QUEUED),
)

_CELL = re.compile(r"^<?tokio::runtime::task::core::Cell<.*>>?::new(?:::<|$)")
"""It gives the task's header, not scheduled yet; those of blocking jobs, too."""


class Spawns:
    """Of one binary.  named: where the symbols are.  image: whose code it is."""

    def __init__(self, named: ElfImage, image: ElfImage, scan: CodeScan) -> None:
        self._image = image
        self._scan = scan
        self._disassembler = Disassembler()
        self._arguments = _Arguments(image)
        self._called: dict[int, NamedFunction] = {}
        self._made: dict[int, tuple[NamedFunction, _Maker]] = {}
        self._inner: dict[int, tuple[NamedFunction, str]] = {}
        self._cells: set[int] = set()
        for function in functions_named(named, _PATTERNS):
            address = function.address
            if any(pattern.match(function.name) for pattern in _CALLED):
                self._called[address] = function
            maker = next((one for one in _MAKERS if one.pattern.match(function.name)), None)
            if maker is not None:
                self._made[address] = function, maker
            for runtime in (runtime for runtime, pattern in _INNER.items() if pattern.match(function.name)):
                self._inner[address] = function, runtime
            if _CELL.match(function.name):
                self._cells.add(address)

    def points(
        self, functions: Collection[PollFunction], callers: SpawnCallers | None
    ) -> tuple[tuple[SpawnPoint, ...], tuple[CallSite, ...]]:
        """And where the calls stand in the source.

        functions: the poll functions; of runtimes whose tasks are not polled there are none.  callers: None where
        there is no debug information.
        """
        runtimes = {one.runtime for one in functions if one.kind is FunctionKind.TASK}
        makers = list(self._makers(runtimes))
        inner = [function for function, runtime in self._inner.values() if runtime in runtimes]
        entered = frozenset(one.address for one in [*inner, *(function for function, _ in makers)])
        by = callers.of(entered) if callers is not None else {}
        made = [
            point for function, maker in makers for point in self._of_maker(function, maker, function.address in by)
        ]
        made += self._in_spawns() if "tokio" in runtimes else ()
        if not made:
            return (), ()
        called = [self._of_call(one) for one in self._innermost()] if "tokio" in runtimes else []
        by_caller = [one for one in inner if one.address in by]
        called += [self._at_entry(one, SpawnStep.CALLED, None, tells_caller=True) for one in by_caller]
        points = [*made, *(point for point in called if point is not None)]
        sites = {site.address: site for several in by.values() for site in several}
        if any(point.register is not None and point.step is SpawnStep.CALLED for point in points):
            sites |= {site.address: site for site in _locations(self._image)}
        by_address = sorted(sites.values(), key=lambda site: site.address)
        return tuple(sorted(points, key=lambda point: (point.address, point.step))), tuple(by_address)

    def _makers(self, runtimes: Collection[str | None]) -> Iterator[tuple[NamedFunction, _Maker]]:
        """Those that do not leave it to another one."""
        outer = {address: one.size for address, (one, maker) in self._made.items() if maker.of_entry is None}
        leaving = self._scan.callers(outer, self._made.keys())
        for address, (function, maker) in self._made.items():
            if maker.runtime in runtimes and address not in leaving:
                yield function, maker

    def _in_spawns(self) -> Iterator[SpawnPoint]:
        """Where functions that spawn make the task themselves: rustc inlined into them those that do."""
        spawning = {
            address: function
            for address, function in [*self._called.items(), *((at, one) for at, (one, _) in self._inner.items())]
            if "blocking" not in function.name and address not in self._made
        }
        leaving = self._scan.callers({at: one.size for at, one in spawning.items()}, self._made.keys())
        for at, back, _ in self._scan.calls_of(self._cells):
            around = self._scan.functions.at(at)
            if around is None or around[0] not in spawning or around[0] in leaving:
                continue
            point = self._at(back, spawning[around[0]].name, SpawnStep.MADE, Register.RAX)
            if point is not None:
                yield point

    def _innermost(self) -> list[NamedFunction]:
        """Spawn functions that do not only call another one: of such a pair one probe is enough."""
        outer = self._scan.callers({address: one.size for address, one in self._called.items()}, self._called.keys())
        return [one for address, one in self._called.items() if address not in outer]

    def _of_call(self, function: NamedFunction) -> SpawnPoint | None:
        """The location is the last argument: None when the code takes none, because it has no use for it."""
        register = self._arguments.last_read(function.address, function.size)
        return self._at_entry(function, SpawnStep.CALLED, register) if register is not None else None

    def _of_maker(self, function: NamedFunction, maker: _Maker, tells_caller: bool) -> Iterator[SpawnPoint]:
        if maker.of_entry is not None:
            point = self._at_entry(function, maker.step, maker.of_entry, tells_caller=tells_caller)
            if point is not None:
                yield point
            return
        offset = self._image.offset_of(function.address)
        code = self._image.read(function.address, function.size)
        if offset is None or code is None:
            return
        body = self._disassembler.body(code, function.address, offset, self._scan.is_fragment)
        for site in () if body.refusal is not None else body.exits:
            if site.kind is ExitKind.RET:
                address = function.address + site.offset - offset
                yield SpawnPoint(
                    address=address,
                    offset=site.offset,
                    name=function.name,
                    step=SpawnStep.MADE,
                    register=Register.RAX,
                    is_return=True,
                    tells_caller=tells_caller,
                    cost=site.cost,
                )

    def _at_entry(
        self, function: NamedFunction, step: SpawnStep, register: Register | None, *, tells_caller: bool = False
    ) -> SpawnPoint | None:
        return self._at(function.address, function.name, step, register, tells_caller=tells_caller)

    def _at(
        self, address: int, name: str, step: SpawnStep, register: Register | None, *, tells_caller: bool = False
    ) -> SpawnPoint | None:
        """None when the kernel takes no probe there."""
        site = entry_site(self._image, address)
        if site is None:
            return None
        offset, cost = site
        return SpawnPoint(address, offset, name, step, register, tells_caller=tells_caller, cost=cost)


class _Arguments:
    """Which arguments functions take, by what their code reads before it was written."""

    def __init__(self, image: ElfImage) -> None:
        self._image = image
        self._engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
        self._engine.detail = True

    def last_read(self, address: int, size: int) -> Register | None:
        """The last one in the ABI's order; None when it takes none, or it cannot be told."""
        found: set[Register] = set()
        seen: dict[int, frozenset[Register]] = {}
        waiting = [(address, frozenset(_ARGUMENTS))]
        while waiting:
            at, intact = waiting.pop()
            while intact and not intact <= seen.get(at, frozenset()):
                seen[at] = seen.get(at, frozenset()) | intact
                if len(seen) > _MOST_INSTRUCTIONS:
                    return None
                instruction = self._decoded(at) if address <= at < address + size else None
                if instruction is None or instruction.mnemonic in _LEAVES:
                    break  # a call keeps nothing in them
                read, written = _accessed(instruction)
                found |= read & intact
                intact -= written
                target = _target(instruction)
                if target is not None:
                    waiting.append((target, intact))
                if instruction.mnemonic == "jmp":
                    break
                at += instruction.size
        return max(found, key=_ARGUMENTS.index) if found else None

    def _decoded(self, address: int) -> capstone.CsInsn | None:
        code = next((code for size in (15, 8, 4, 2, 1) if (code := self._image.read(address, size))), b"")
        return next(self._engine.disasm(code, address, 1), None)


_MOST_INSTRUCTIONS = 4096
_LEAVES = frozenset({"call", "ret", "ud2", "int3", "hlt"})
_WIDE = {
    number: register
    for register, numbers in {
        Register.RDI: (x86.X86_REG_RDI, x86.X86_REG_EDI, x86.X86_REG_DI, x86.X86_REG_DIL),
        Register.RSI: (x86.X86_REG_RSI, x86.X86_REG_ESI, x86.X86_REG_SI, x86.X86_REG_SIL),
        Register.RDX: (x86.X86_REG_RDX, x86.X86_REG_EDX, x86.X86_REG_DX, x86.X86_REG_DL),
        Register.RCX: (x86.X86_REG_RCX, x86.X86_REG_ECX, x86.X86_REG_CX, x86.X86_REG_CL),
    }.items()
    for number in numbers
}


def _accessed(instruction: capstone.CsInsn) -> tuple[set[Register], set[Register]]:
    """The arguments' registers that it reads, and those that it writes."""
    operands = instruction.operands
    if instruction.mnemonic in ("xor", "sub") and len(operands) == 2 and operands[0].reg == operands[1].reg != 0:
        return set(), {_WIDE[operands[0].reg]} & set(_ARGUMENTS) if operands[0].reg in _WIDE else set()
    read, written = instruction.regs_access()
    return {_WIDE[one] for one in read if one in _WIDE}, {_WIDE[one] for one in written if one in _WIDE}


def _target(instruction: capstone.CsInsn) -> int | None:
    """Where a direct jump goes."""
    if instruction.mnemonic[0] != "j" or instruction.operands[0].type != x86.X86_OP_IMM:
        return None
    return int(instruction.operands[0].imm)


_LIBRARYS_DEPENDENCIES = "/rust/deps/"


def _locations(image: ElfImage) -> Iterator[CallSite]:
    """Where the program may call the spawn functions; the standard library spawns no task."""
    for address, (file, spot) in PanicLocations(image).by_address.items():
        if not is_library(file) and not file.startswith(_LIBRARYS_DEPENDENCIES):
            yield CallSite(address, file, spot.line, spot.column)
