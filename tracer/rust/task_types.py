"""Which future a runtime's task poll runs, by the symbol table alone.

Legacy mangling leaves out T of `raw::poll<T, S>`.  But the task's vtable names functions that drop
the future, and `drop_in_place<Cell<T, S>>` and `drop_in_place<CoreStage<T>>` (rustc 1.97: `drop_glue<…>`) carry T.
Vtable layout: tokio 1.25 to 1.54, runtime/task/raw.rs: it begins with seven functions, poll first.  async-task 4.0
to 4.7, raw.rs: `run` itself drops a guard with the future's type, or the future.

The compiler merges functions of the same code: the drop glue that is called can then have the name of another type.
There is one task poll for each T and S, so that two of them with the same name show that it is not the name of both.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import capstone
import numpy as np
import numpy.typing as npt

from tracer.rust.candidates import Candidate, Role
from tracer.rust.demangle import demangle
from tracer.rust.naming import future_type_of, generic_arguments, is_closure
from tracer.rust.runtimes import UNKNOWN_JOB, WORKER_LOOP, is_blocking_job, job_of
from tracer.target.elf import FUNCTION, ElfImage

_TOKIO_FUNCTIONS = 7
_DEPTH = 3
_DEEP = 7
"""Calls from a task's poll to what it runs, where nothing is inlined (opt-level = "z")."""
_MAX_CODE = 16 << 10
_BUDGET = 4 << 20
"""Bytes of code that are read at most for one binary."""

_SCHEDULERS = 3
"""tokio's: multi-thread, current-thread, LocalSet."""

_PLACE = re.compile(r"\[rip ([+-]) (0x[0-9a-f]+|\d+)\]")
_DROP = re.compile(rb"drop_(?:in_place|glue)\$LT\$")
_INTERNAL = re.compile(rb"5tokio7runtime4task|10async_task3raw|4core3mem4drop17h")  # the last where nothing is inlined
_TOKIO_DROPS = tuple(
    re.compile(rf"^core::ptr::drop_(?:in_place|glue)<{box}(?P<of>tokio::runtime::task::core::(?:{name})<.+>){end}>$")
    for box, name, end in (("alloc::boxed::Box<", "Cell", ">"), ("", "Cell|Core", ""), ("", "CoreStage|Stage", ""))
)
_GUARD = re.compile(
    r"^core::ptr::drop_(?:in_place|glue)<(?P<of>tokio::runtime::task::harness::poll_future::\{\{closure\}\}::Guard<.+>)>$"
)
_ASYNC_TASK_DROPS = (
    re.compile(r"^core::ptr::drop_(?:in_place|glue)<(?P<of>async_task::raw::RawTask<.*>::run::Guard<.+>)>$"),
    re.compile(r"^core::ptr::drop_(?:in_place|glue)<(?P<whole>async_executor::AsyncCallOnDrop<.+>)>$"),
)
"""The more telling first; of `whole` the type itself is the future, of the others the first argument."""


_WORKER = re.compile(
    r"^<?tokio::runtime::(?:scheduler::multi_thread(?:_alt)?|thread_pool)::worker::(?:run|Launch::launch|Context::\w+)\b"
)
"""tokio 1.25 to 1.54.  Others of that module are called by any task poll, such as what schedules a task anew."""
_JOB = re.compile(r"^<tokio::runtime::blocking::task::BlockingTask<.+> as core::future::future::Future>::poll$")
"""tokio 1.25 to 1.54."""
_OF_JOBS = re.compile(r"^<tokio::runtime::blocking::schedule::BlockingSchedule as tokio::runtime::task::Schedule>::")
"""tokio 1.25 to 1.54: what the vtables of jobs, and of workers' loops, call in the place of a scheduler."""
_OF_TASKS = re.compile(r"^<?tokio::runtime::(?:blocking::)?task::")


class _Claim(NamedTuple):
    """holder: the type that is dropped, of a task's parts.  glue: the address of what drops it."""

    holder: str
    future: str
    glue: int

    @property
    def names(self) -> tuple[str, str]:
        """Without the place."""
        return self.holder, self.future


class TaskTypes:
    """Finds T for the task polls among the candidates of one binary.

    can_resume: whether the function at (address, size) ends in the panic of a coroutine.
    """

    def __init__(
        self,
        image: ElfImage,
        named: ElfImage,
        candidates: Sequence[Candidate],
        can_resume: Callable[[int, int], bool],
    ) -> None:
        self._image = image
        self._symbols = named.symbols()
        self._candidates = candidates
        self._can_resume = can_resume
        self._engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
        self._callees: dict[int, frozenset[int]] = {}
        self._budget = _BUDGET

    def of(self, candidate: Candidate) -> str | None:
        """The path of the future's type as the symbols have it; None when it is not to be found, or ambiguous."""
        if Role.TOKIO in candidate.roles:
            return self._tokio.get(candidate.address)
        found = self._reached({candidate.address}, _ASYNC_TASK_DROPS, 1)
        return found.future if found is not None else None

    @cached_property
    def _tokio(self) -> dict[int, str]:
        polls = [candidate.address for candidate in self._candidates if Role.TOKIO in candidate.roles]
        found = {poll: self._reached({poll} | self._vtable(poll), _TOKIO_DROPS, _DEPTH) for poll in polls}
        claims = Counter(claim.names for claim in found.values() if claim is not None)
        glue = Counter(claim for claim in found.values() if claim is not None)
        types = {}
        for poll, claim in found.items():
            if (claim is None or is_blocking_job(claim.future)) and self._leads_to(poll, _WORKER):
                types[poll] = WORKER_LOOP
                continue
            if claim is None:
                if self._leads_to(poll, _JOB) or self._is_scheduled_as_job(poll):
                    types[poll] = UNKNOWN_JOB
                continue
            future: str | None = claim.future
            if is_blocking_job(claim.future):
                # Closures of one function have one name without their numbers, but each has glue of its own.
                future = claim.future if glue[claim] == 1 or job_of(claim.future, "tokio") is None else UNKNOWN_JOB
            else:
                # Glue without the scheduler in its name is rightly shared by one poll for each scheduler.
                allowed = 1 if len(generic_arguments(claim.holder)) > 1 else _SCHEDULERS
                if claims[claim.names] > allowed:
                    future = self._run_by(poll, claim.future)
            if future is not None:
                types[poll] = future
        return types

    def _leads_to(self, poll: int, pattern: re.Pattern[str]) -> bool:
        """Whether this calls a function of such a name, itself or by the runtime's own, as its code shows."""
        functions, seen = {poll}, {poll}
        for _ in range(_DEEP):
            called = {callee for address in functions for callee in self._calls(address)} - seen
            seen |= called
            names = {callee: self._names(callee) for callee in called}
            if any(pattern.match(name) for several in names.values() for name in several):
                return True
            functions = {callee for callee, several in names.items() if any(map(_OF_TASKS.match, several))}
        return False

    def _is_scheduled_as_job(self, poll: int) -> bool:
        called = {callee for function in self._vtable(poll) for callee in self._calls(function)}
        return any(_OF_JOBS.match(name) for callee in called for name in self._names(callee))

    def _run_by(self, poll: int, claimed: str) -> str | None:
        """What a task poll runs whose drop glue has the name of several: the one coroutine that its code leads to."""
        bodies: set[str] = set()
        for address in self.bodies(poll):
            bodies |= {name for name in self._names(address) if is_closure(name)} or {""}
        if len(bodies) != 1 or "" in bodies:
            return None
        body = bodies.pop()
        return claimed if body in claimed else body

    def parts(self, poll: int) -> dict[int, int]:
        """address → size of the runtime's own functions that only this task poll of tokio's leads to, and it itself."""
        return {one: self._sizes[one] for one in self._parts[poll] if self._leading[one] == 1 and one in self._sizes}

    @cached_property
    def _parts(self) -> dict[int, set[int]]:
        parts = {one.address: {one.address} for one in self._candidates if Role.TOKIO in one.roles}
        for found in parts.values():
            functions = set(found)
            for _ in range(_DEPTH):
                called = {callee for address in functions for callee in self._calls(address)} - found
                functions = called & self._internal
                found |= functions
        return parts

    @cached_property
    def _leading(self) -> Counter[int]:
        """How many polls lead to a function: one that is the code of several is described as one of them."""
        return Counter(one for found in self._parts.values() for one in found)

    def bodies(self, poll: int) -> set[int]:
        """The functions with a coroutine's code that a task poll leads to: coroutines, or what they were inlined into.

        Not past those: what they lead to is what the coroutine awaits.
        """
        if self._can_resume(poll, self._sizes.get(poll, 0)):
            return {poll}
        found: set[int] = set()
        functions, seen = {poll}, {poll}
        for _ in range(_DEPTH):
            called = {callee for address in functions for callee in self._calls(address)} - seen
            seen |= called
            functions = set()
            for callee in called:
                if self._can_resume(callee, self._sizes.get(callee, 0)):
                    found.add(callee)
                elif callee in self._internal or any(future_type_of(name) is not None for name in self._names(callee)):
                    functions.add(callee)
        return found

    def _reached(self, functions: set[int], patterns: tuple[re.Pattern[str], ...], depth: int) -> _Claim | None:
        """What the functions drop, themselves or through the runtime's own functions."""
        best: tuple[int, _Claim] | None = None
        seen: set[int] = set()
        for _ in range(depth):
            called = {callee for address in functions - seen for callee in self._calls(address)}
            seen |= functions
            names = [(callee, name) for callee in called for name in self._drops(callee)]
            for rank, pattern in enumerate(patterns):
                if best is not None and best[0] <= rank:
                    break
                found = {
                    _Claim(match["of"] if "of" in match.groupdict() else future, future, callee)
                    for callee, name in names
                    if (match := pattern.match(name)) and (future := _future(match))
                }
                if len({claim.future for claim in found}) == 1:
                    best = rank, min(found)
                elif found and all(is_blocking_job(claim.future) for claim in found):
                    # Several blocking jobs whose code was merged are still blocking jobs; one may be a worker's loop.
                    loops = [claim for claim in found if job_of(claim.future, "tokio") is None]
                    best = rank, min(loops or [claim._replace(future=UNKNOWN_JOB) for claim in found])
            functions = {callee for callee in called if callee in self._internal}
        return best[1] if best is not None else None

    def _vtable(self, poll: int) -> set[int]:
        """The functions of the tokio vtables that begin with this one."""
        slots = [slot + 8 * index for slot in self._slots_of.get(poll, ()) for index in range(_TOKIO_FUNCTIONS)]
        return {self._relocated[slot] for slot in slots if slot in self._relocated}

    @cached_property
    def _relocated(self) -> dict[int, int]:
        """Slot → address that the loader puts there, for the slots that hold functions."""
        pointers = self._image.pointers
        return dict(pointers[np.isin(pointers[:, 1], np.array(sorted(self._sizes), np.int64))].tolist())

    @cached_property
    def _slots_of(self) -> dict[int, list[int]]:
        slots: dict[int, list[int]] = defaultdict(list)
        for slot, target in self._relocated.items():
            slots[target].append(slot)
        return slots

    @cached_property
    def _sizes(self) -> dict[int, int]:
        table = self._symbols.table[(self._symbols.table["info"] & 15) == FUNCTION]
        return dict(zip(table["address"].tolist(), table["size"].tolist(), strict=True))

    @cached_property
    def _internal(self) -> frozenset[int]:
        return frozenset(self._symbols.table["address"][self._symbols.matching(_INTERNAL)].tolist())

    @cached_property
    def _drop_names(self) -> dict[int, list[int]]:
        names: dict[int, list[int]] = defaultdict(list)
        rows = self._symbols.table[self._symbols.matching(_DROP)]
        for address, name in zip(rows["address"].tolist(), rows["name"].tolist(), strict=True):
            names[address].append(name)
        return names

    @cached_property
    def _rows(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.uint64]]:
        order = np.argsort(self._symbols.table["address"], kind="stable")
        return order, self._symbols.table["address"][order]

    def _names(self, address: int) -> list[str]:
        """The demangled names of what begins at an address."""
        order, addresses = self._rows
        low, high = np.searchsorted(addresses, [address, address + 1])
        return [demangle(self._symbols.name(int(index))) for index in order[low:high]]

    def _drops(self, address: int) -> list[str]:
        return [demangle(self._symbols.name_at(name)) for name in self._drop_names.get(address, ())]

    def _calls(self, address: int) -> frozenset[int]:
        """The functions that this one calls or jumps to, directly or through the global offset table, or points to."""
        known = self._callees.get(address)
        if known is not None:
            return known
        size = min(self._sizes.get(address, 0), _MAX_CODE, self._budget)
        self._budget -= size
        code = self._image.read(address, size) or b""
        targets = set()
        for start, length, mnemonic, operands in self._engine.disasm_lite(code, address):
            target = None
            if mnemonic in ("call", "jmp") and operands.startswith("0x"):
                target = int(operands, 16)
            elif mnemonic in ("call", "jmp", "lea", "mov") and (match := _PLACE.search(operands)):
                place = start + length + int(match[2], 0) * (-1 if match[1] == "-" else 1)
                target = place if mnemonic == "lea" else self._relocated.get(place)
            if target in self._sizes and target != address:
                targets.add(target)
        self._callees[address] = frozenset(targets)
        return self._callees[address]


def dropped_task(name: str) -> str | None:
    """T of a demangled name of what drops a part of tokio's task of T; None: it does not."""
    for pattern in (*_TOKIO_DROPS, _GUARD):
        if match := pattern.match(name):
            return _future(match)
    return None


def _future(match: re.Match[str]) -> str | None:
    if "whole" in match.re.groupindex:
        return match["whole"]
    arguments = generic_arguments(match["of"])
    return arguments[0] if arguments else None
