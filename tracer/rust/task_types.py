"""Which future a runtime's task poll runs, by the symbol table alone.

Legacy mangling leaves out T of `raw::poll<T, S>`.  But the task's vtable names functions that drop
the future, and `drop_in_place<CoreStage<T>>` carries T.  Vtable layout: tokio 1.25 to 1.54,
runtime/task/raw.rs: it begins with seven functions, poll first.  async-task 4.0 to 4.7, raw.rs:
`run` itself drops a guard with the future's type, or the future.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cached_property

import capstone
import numpy as np

from tracer.rust.candidates import Candidate, Role
from tracer.rust.demangle import demangle
from tracer.rust.naming import generic_arguments
from tracer.rust.runtimes import is_blocking_job
from tracer.target.elf import FUNCTION, ElfImage

_RELATIVE = 8  # R_X86_64_RELATIVE
_TOKIO_FUNCTIONS = 7
_DEPTH = 3
_MAX_CODE = 16 << 10
_BUDGET = 4 << 20
"""Bytes of code that are read at most for one binary."""

_DROP = re.compile(rb"drop_in_place\$LT\$")
_INTERNAL = re.compile(rb"5tokio7runtime4task|10async_task3raw")
_TOKIO_DROPS = tuple(
    re.compile(rf"^core::ptr::drop_(?:in_place|glue)<{before}(tokio::runtime::task::core::(?:{name})<.+>)>{after}$")
    for before, name, after in (("", "CoreStage|Stage", ""), ("", "Cell|Core", ""), ("alloc::boxed::Box<", "Cell", ">"))
)
_ASYNC_TASK_DROPS = (
    re.compile(r"^core::ptr::drop_(?:in_place|glue)<(async_task::raw::RawTask<.*>::run::Guard<.+>)>$"),
    re.compile(r"^core::ptr::drop_(?:in_place|glue)<(?P<whole>async_executor::AsyncCallOnDrop<.+>)>$"),
)
"""The more telling first; of `whole` the type itself is the future, of the others the first argument."""


class TaskTypes:
    """Finds T for the task polls of one binary."""

    def __init__(self, image: ElfImage, named: ElfImage) -> None:
        self._image = image
        self._symbols = named.symbols()
        self._engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
        self._callees: dict[int, frozenset[int]] = {}
        self._budget = _BUDGET

    def of(self, candidate: Candidate) -> str | None:
        """The path of the future's type as the symbols have it; None when it is not to be found, or ambiguous."""
        if Role.TOKIO in candidate.roles:
            return self._reached({candidate.address} | self._vtable(candidate.address), _TOKIO_DROPS, _DEPTH)
        return self._reached({candidate.address}, _ASYNC_TASK_DROPS, 1)

    def _reached(self, functions: set[int], patterns: tuple[re.Pattern[str], ...], depth: int) -> str | None:
        """The one future that the functions drop, themselves or through the runtime's own functions."""
        seen: set[int] = set()
        for _ in range(depth):
            called = {callee for address in functions - seen for callee in self._calls(address)}
            seen |= functions
            names = [name for callee in called for name in self._drops(callee)]
            for pattern in patterns:
                futures = {_future(match) for name in names if (match := pattern.match(name))} - {None}
                if futures:
                    # Several blocking jobs whose code was merged are still blocking jobs.
                    is_clear = len(futures) == 1 or all(future and is_blocking_job(future) for future in futures)
                    return min(future for future in futures if future) if is_clear else None
            functions = {callee for callee in called if callee in self._internal}
        return None

    def _vtable(self, poll: int) -> set[int]:
        """The functions of the tokio vtables that begin with this one."""
        slots = [slot + 8 * index for slot in self._slots_of.get(poll, ()) for index in range(_TOKIO_FUNCTIONS)]
        return {self._relocated[slot] for slot in slots if slot in self._relocated}

    @cached_property
    def _relocated(self) -> dict[int, int]:
        """Slot → address that the loader puts there, for the slots that hold functions."""
        content = self._image.section(".rela.dyn")
        if content is None:
            return {}
        rows = np.frombuffer(content, "<i8", len(content) // 24 * 3).reshape(-1, 3)
        rows = rows[(rows[:, 1] & 0xFFFFFFFF) == _RELATIVE]
        rows = rows[np.isin(rows[:, 2], np.array(sorted(self._sizes), np.int64))]
        return dict(zip(rows[:, 0].tolist(), rows[:, 2].tolist(), strict=True))

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

    def _drops(self, address: int) -> list[str]:
        return [demangle(self._symbols.name_at(name)) for name in self._drop_names.get(address, ())]

    def _calls(self, address: int) -> frozenset[int]:
        """The functions that this one calls, or jumps to, directly."""
        known = self._callees.get(address)
        if known is not None:
            return known
        size = min(self._sizes.get(address, 0), _MAX_CODE, self._budget)
        self._budget -= size
        code = self._image.read(address, size) or b""
        targets = set()
        for _, _, mnemonic, operands in self._engine.disasm_lite(code, address):
            if mnemonic in ("call", "jmp") and operands.startswith("0x"):
                target = int(operands, 16)
                if target in self._sizes and target != address:
                    targets.add(target)
        self._callees[address] = frozenset(targets)
        return self._callees[address]


def _future(match: re.Match[str]) -> str | None:
    if "whole" in match.re.groupindex:
        return match["whole"]
    arguments = generic_arguments(match[1])
    return arguments[0] if arguments else None
