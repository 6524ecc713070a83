"""Where the callers of a function call it, and go on after it, when all of them are known.

A probe on `ret` is single-stepped, which costs 15 times what an emulated instruction does.  Most often the caller
runs one of those soon after: `test eax, eax; je`.  Every return passes it, so that the function's exit can be seen
there; its entry at the call, where its first instruction would be stepped.  Other ways may lead to where it goes on,
too; a probe tells them apart by the return address, which the call has left below the stack pointer and which nothing
has overwritten yet.  Behind the future of a tokio task there is a short call before that jump: its return address is
looked for then, where no other way leads to that call.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from functools import cache, cached_property
from typing import NamedTuple, TypeVar

import capstone
import numpy as np
import numpy.typing as npt

from tracer.model import ExitKind, ExitSite, FunctionKind, InstructionCost, PollFunction
from tracer.rust.exits import Disassembler, cost_of
from tracer.rust.scan import CALL, CALL_BY_TABLE, CodeScan
from tracer.target.elf import ElfImage
from tracer.target.symbols import FUNCTION

T = TypeVar("T")

_MAX_DISTANCE = 64
"""Bytes after the call."""
_MAX_CALLERS = 64
_PASSED = re.compile(rb"TaskIdGuard[^\0]{0,80}4drop")
"""What tokio calls as soon as a task's future has returned: it sets back a number of the thread, in some ns."""
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

    def of(self, functions: Sequence[PollFunction]) -> list[PollFunction]:
        """The functions with where they are seen to be called and to return, if that is cheaper than in themselves."""
        wanted = {one.address: one for one in functions if _gains_by_calls(one) or _gains_by_returns(one)}
        if not wanted:
            return list(functions)
        returns, others = self._scan.references(wanted)
        others |= self._led_to_by_short_jumps(wanted)
        of_function: defaultdict[int, list[int]] = defaultdict(list)
        for address, target in returns:
            if target not in others:
                of_function[target].append(address)
        few = {target: addresses for target, addresses in of_function.items() if len(addresses) <= _MAX_CALLERS}
        callers = self._callers(address for several in few.values() for address in several)
        known = {
            target: {address: callers[address] for address in addresses}
            for target, addresses in few.items()
            if all(address in callers for address in addresses)
        }
        nexts = {
            back: self._next(back, caller, wanted[target])
            for target, returns_of in known.items()
            if _gains_by_returns(wanted[target])
            for back, caller in returns_of.items()
        }
        passed = [address for back, found in nexts.items() for address in _between(back, found)]
        led_to = self._scan.led_to(passed) | self._led_to_by_short_jumps(passed)
        seen = {}
        for target, returns_of in known.items():
            function = wanted[target]
            calls = [self._call(one, function) for one in returns_of.values()] if _gains_by_calls(function) else []
            sites = [
                self._site(back, nexts[back], caller, led_to) for back, caller in returns_of.items() if back in nexts
            ]
            seen[target] = replace(function, called=_if_all(calls), returned=_if_all(sites))
        return [seen.get(function.address, function) for function in functions]

    def _call(self, caller: _Caller, callee: PollFunction) -> int | None:
        """The offset of a call that the kernel emulates."""
        if self._image.segment_of(caller.call) != self._image.segment_of(callee.address):
            return None
        code = self._image.read_up_to(caller.call, 1)
        return self._image.offset_of(caller.call) if code == CALL else None

    def _callers(self, addresses: Iterable[int]) -> dict[int, _Caller]:
        """By where a call returns to, its function; without what is no call of a function."""
        found = {}
        for address in addresses:
            around = self._function_around(address - 1)
            call = self._disassembler.call_before(self._image, *around, address) if around is not None else None
            if around is not None and call is not None:
                found[address] = _Caller(around[0], sum(around), call)
        return found

    def _function_around(self, address: int) -> tuple[int, int] | None:
        """Address and size of the function that the symbols tell of there."""
        starts, sizes = self._functions
        at = int(np.searchsorted(starts, address, "right")) - 1
        if at < 0 or address >= int(starts[at]) + int(sizes[at]):
            return None
        return int(starts[at]), int(sizes[at])

    @cached_property
    def _functions(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(addresses, sizes), by address."""
        table = self._named.symbols().table
        table = table[((table["info"] & 15) == FUNCTION) & (table["size"] > 0)]
        table = table[np.argsort(table["address"], kind="stable")]
        return table["address"].astype(np.int64), table["size"].astype(np.int64)

    def _next(self, back: int, caller: _Caller, callee: PollFunction) -> Next | None:
        """What a return to there passes."""
        offset = self._image.offset_of(back)
        if offset is None or self._image.segment_of(back) != self._image.segment_of(callee.address):
            return None
        code = self._image.read_up_to(back, min(_MAX_DISTANCE, caller.end - back))
        reads_rax = callee.result is not None and callee.state_offset is None
        return next_emulated(code, back, keeps_rax=reads_rax, passed=self._passed)

    def _site(self, back: int, found: Next | None, caller: _Caller, led_to: Collection[int]) -> ExitSite | None:
        """None: nothing that would do.  led_to: where something else leads to.

        A second call that may be made without the first one proves too little by its return address.
        """
        offset = self._image.offset_of(back)
        if found is None or offset is None:
            return None
        if found.at != found.after:
            code = self._image.read(caller.start, caller.end - caller.start) or b""
            if any(one in led_to for one in _between(back, found)) or self._disassembler.may_jump_anywhere(code):
                return None
        return ExitSite(offset + found.at, ExitKind.RETURNED, InstructionCost.EMULATED, found.after)

    @cached_property
    def _passed(self) -> frozenset[int]:
        """Where the loader puts the addresses of functions that may run before a return is seen."""
        symbols = self._named.symbols()
        return self._scan.slots_of(symbols.table["address"][symbols.matching(_PASSED)].tolist())

    def _led_to_by_short_jumps(self, addresses: Collection[int]) -> set[int]:
        """Those of these addresses."""
        found = set()
        for jump, target in self._scan.short_jumps(addresses):
            around = self._function_around(jump)
            if around is None or self._disassembler.has_instruction(self._image, *around, jump):
                found.add(target)
        return found


class _Caller(NamedTuple):
    """A function, and a call in it: addresses."""

    start: int
    end: int
    call: int


class Next(NamedTuple):
    """An instruction, in bytes after the return (at) and after the latest one (after)."""

    at: int
    after: int


def _between(back: int, found: Next | None) -> range:
    """The addresses from a return to the end of the second call that it passes; none where it passes none."""
    return range(back, back + found.at - found.after + 1) if found and found.at != found.after else range(0)


def _if_all(found: Sequence[T | None]) -> tuple[T, ...]:
    """None of them where one is missing."""
    there = tuple(one for one in found if one is not None)
    return there if len(there) == len(found) else ()


def next_emulated(code: bytes, address: int, *, keeps_rax: bool, passed: Collection[int] = ()) -> Next | None:
    """The first instruction that the kernel emulates; None when what comes before it leads away, moves the stack
    pointer or, where that matters, changes rax.

    passed: the calls of what these places hold lead back.
    """
    latest = 0
    for instruction in _engine().disasm(code, 0):
        content = bytes(instruction.bytes)
        at, end = int(instruction.address), int(instruction.address) + len(content)
        if cost_of(content) is InstructionCost.EMULATED:
            return None if _is_loop(instruction) else Next(at, at - latest)
        if content[:2] == CALL_BY_TABLE and not keeps_rax:
            if address + end + int.from_bytes(content[2:], "little", signed=True) not in passed:
                return None
            latest = end
            continue
        _, written = instruction.regs_access()
        changed = {instruction.reg_name(register) for register in written}
        if any(instruction.group(group) for group in _LEADING_AWAY) or instruction.mnemonic in _ENDS:
            return None
        if changed & _STACK_POINTER or (keeps_rax and changed & _RESULT):
            return None
    return None


def _is_loop(instruction: capstone.CsInsn) -> bool:
    """Whether it leads back to what is behind the call: it may run more often than the function returns."""
    return bool(instruction.group(capstone.CS_GRP_JUMP)) and 0 <= instruction.operands[0].imm <= instruction.address


@cache
def _engine() -> capstone.Cs:
    engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    engine.detail = True
    return engine


def _gains_by_calls(function: PollFunction) -> bool:
    return function.kind in _KINDS and function.entry_cost is InstructionCost.STEPPED


def _gains_by_returns(function: PollFunction) -> bool:
    return (
        function.kind in _KINDS
        and all(site.kind is ExitKind.RET for site in function.exits)
        and any(site.cost is InstructionCost.STEPPED for site in function.exits)
    )
