"""Where the callers of a function go on after it, when all of them are known.

A probe on `ret` is single-stepped, which costs 15 times what an emulated instruction does.  Most often the caller
runs one of those soon after: `test eax, eax; je`.  Every return passes it, so that the function's exit can be seen
there.  Other ways may lead there, too; a probe tells them apart by the return address, which the call has left below
the stack pointer and which nothing has overwritten yet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache

import capstone
import numpy as np

from tracer.model import ExitKind, ExitSite, FunctionKind, InstructionCost, PollFunction
from tracer.rust.exits import Disassembler, cost_of
from tracer.rust.scan import CodeScan
from tracer.target.elf import ElfImage
from tracer.target.symbols import FUNCTION

_MAX_DISTANCE = 64
"""Bytes after the call."""
_MAX_CALLERS = 16
_KINDS = (FunctionKind.COROUTINE, FunctionKind.FUTURE)
_STACK_POINTER = frozenset({"rsp", "esp", "sp"})
_LEADING_AWAY = (
    capstone.CS_GRP_JUMP,
    capstone.CS_GRP_CALL,
    capstone.CS_GRP_RET,
    capstone.CS_GRP_INT,
    capstone.CS_GRP_IRET,
    capstone.CS_GRP_PRIVILEGE,
)
_ENDS = frozenset({"ud2", "syscall", "hlt"})
_RESULT = frozenset({"rax", "eax", "ax", "al", "ah"})


class Returns:
    """Of one binary.  disassembler: has read the bodies of its functions."""

    def __init__(self, image: ElfImage, named: ElfImage, scan: CodeScan, disassembler: Disassembler) -> None:
        self._image = image
        self._named = named
        self._scan = scan
        self._disassembler = disassembler

    def of(self, functions: Sequence[PollFunction]) -> dict[int, tuple[ExitSite, ...]]:
        """By address the sites of those functions for which they are worth it."""
        wanted = {function.address: function for function in functions if _could_gain(function)}
        if not wanted:
            return {}
        calls, others = self._scan.references(wanted)
        callers: defaultdict[int, list[int]] = defaultdict(list)
        for address, target in calls:
            callers[target].append(address)
        ends = self._ends_of_callers(address for address, target in calls if target not in others)
        found = {}
        for target, addresses in callers.items():
            if target in others or len(addresses) > _MAX_CALLERS:
                continue
            sites = [self._site(address, ends.get(address), wanted[target]) for address in addresses]
            if all(site is not None for site in sites):
                found[target] = tuple(site for site in sites if site is not None)
        return found

    def _ends_of_callers(self, addresses: Iterable[int]) -> dict[int, int]:
        """By where a call returns to, where its function ends; without what is no call of a function."""
        table = self._named.symbols().table
        table = table[((table["info"] & 15) == FUNCTION) & (table["size"] > 0)]
        table = table[np.argsort(table["address"], kind="stable")]
        starts = table["address"].astype(np.int64)
        found = {}
        for address in addresses:
            at = int(np.searchsorted(starts, address, "right")) - 1
            if at < 0:
                continue
            start, size = int(starts[at]), int(table["size"][at])
            if address < start + size and self._disassembler.has_return(self._image, start, size, address):
                found[address] = start + size
        return found

    def _site(self, back: int, end: int | None, callee: PollFunction) -> ExitSite | None:
        """What a return to there passes; None: nothing that would do."""
        offset = self._image.offset_of(back)
        if end is None or offset is None or self._image.segment_of(back) != self._image.segment_of(callee.address):
            return None
        code = self._image.read_up_to(back, min(_MAX_DISTANCE, end - back))
        reads_rax = callee.result is not None and callee.state_offset is None
        after = next_emulated(code, keeps_rax=reads_rax)
        return (
            ExitSite(offset + after, ExitKind.RETURNED, InstructionCost.EMULATED, after) if after is not None else None
        )


def next_emulated(code: bytes, *, keeps_rax: bool) -> int | None:
    """Where the first instruction is that the kernel emulates, in bytes; None when what comes before it leads away,
    moves the stack pointer or, where that matters, changes rax."""
    for instruction in _engine().disasm(code, 0):
        if cost_of(bytes(instruction.bytes)) is InstructionCost.EMULATED:
            return int(instruction.address)
        _, written = instruction.regs_access()
        changed = {instruction.reg_name(register) for register in written}
        if any(instruction.group(group) for group in _LEADING_AWAY) or instruction.mnemonic in _ENDS:
            return None
        if changed & _STACK_POINTER or (keeps_rax and changed & _RESULT):
            return None
    return None


@cache
def _engine() -> capstone.Cs:
    engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    engine.detail = True
    return engine


def _could_gain(function: PollFunction) -> bool:
    return (
        function.kind in _KINDS
        and all(site.kind is ExitKind.RET for site in function.exits)
        and any(site.cost is InstructionCost.STEPPED for site in function.exits)
    )
