"""A cheaper place for the probe of a wake than the function's entry, where its code proves that it serves as well.

The kernel emulates jumps and calls, and single-steps `sub rsp`, with which these functions often begin.  A place will
do when each way through the function comes by exactly once, and when the task's header and its state before the wake
are known there:

- `RawTask::wake_by_ref(&self)`, or `wake_by_val`, is called there: rdi has the place of the header's address, and
  nothing has changed.
- The state was changed right before by `lock cmpxchg [rdi], …`, whose rax is what it was, rdi being the header still.
  (tokio's loop, State::fetch_update_action, is left only after a change that succeeded, or without one.)

x86-64, as capstone 5 decodes it.  What is not known here makes the entry the place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import capstone
from capstone import x86_const as x86

from tracer.model import InstructionCost, Register
from tracer.rust.exits import cost_of

_MAX_CODE = 512
_INNER = re.compile(
    r"^(?:tokio::runtime::task::harness::<impl tokio::runtime::task::raw::RawTask>"
    r"|<?tokio::runtime::task::raw::RawTask>?)::wake_by_(?:ref|val)$"
)
_RAX = frozenset({x86.X86_REG_RAX, x86.X86_REG_EAX, x86.X86_REG_AX, x86.X86_REG_AL, x86.X86_REG_AH})
_RDI = frozenset({x86.X86_REG_RDI, x86.X86_REG_EDI, x86.X86_REG_DI, x86.X86_REG_DIL})


@dataclass(frozen=True, slots=True)
class WakeSite:
    """address: link-time.  is_indirect, state: as WakePoint has them."""

    address: int
    is_indirect: bool
    state: Register | None


def wake_site(code: bytes, address: int, names_at: Callable[[int], list[str]]) -> WakeSite | None:
    """Of the function with this code; None: none but its entry.  names_at: of the function at an address, demangled."""
    if not code or len(code) > _MAX_CODE:
        return None
    flow = _Flow(code, address)
    if not flow.is_whole:
        return None
    for at in flow.emulated():
        instruction = flow.instructions[at]
        if not flow.is_passed_once(at):
            continue
        if instruction.mnemonic == "call":
            target = _immediate(instruction)
            if target is not None and any(map(_INNER.match, names_at(target))):
                return WakeSite(at, is_indirect=True, state=None)
        elif instruction.mnemonic[0] == "j" and flow.has_old_state(at):
            return WakeSite(at, is_indirect=False, state=Register.RAX)
    return None


class _Flow:
    """The ways through a function.  is_whole: all of its code was decoded."""

    def __init__(self, code: bytes, address: int) -> None:
        engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
        engine.detail = True
        self.instructions: dict[int, Any] = {one.address: one for one in engine.disasm(code, address)}
        self._code, self._begin, self._end = code, address, address + len(code)
        last = max(self.instructions, default=address)
        self.is_whole = bool(self.instructions) and last + self.instructions[last].size == self._end
        self._after = {at: tuple(self._successors(one)) for at, one in self.instructions.items()}
        self.is_whole &= all(one in self.instructions or one is _OUT for many in self._after.values() for one in many)
        # What panics comes to no return: these ways need not come by.
        self._returning = self._before({at for at, many in self._after.items() if _OUT in many})

    def emulated(self) -> Iterator[int]:
        """The places where a probe is cheap, in order, but for the entry."""
        for at, one in sorted(self.instructions.items()):
            code = self._code[at - self._begin : at - self._begin + one.size]
            if at != self._begin and cost_of(code) is InstructionCost.EMULATED:
                yield at

    def is_passed_once(self, at: int) -> bool:
        """Whether each way that returns comes here, and none comes again."""
        around = self._reached({self._begin}, without=at)
        if any(_OUT in self._after[one] for one in around):
            return False
        return at in self._returning and at not in self._reached(set(self._after[at]) - {_OUT})

    def has_old_state(self, at: int) -> bool:
        """Whether rdi is what it was at the entry, and rax has the word there as it was before it was changed."""
        before = self._before({at}) - {at}
        exchanges = {one for one in before if self.instructions[one].mnemonic == "lock cmpxchg"}
        loads = {one for one in before if self._is_load(self.instructions[one])}
        if not exchanges or not loads:
            return False
        # No way around the load; nothing else writes either register, or memory but the stack.
        if at in self._reached({self._begin} - loads, without=loads):
            return False
        for one in before - loads:
            instruction = self.instructions[one]
            if instruction.mnemonic in ("call", "syscall", "int"):
                return False
            written = set(instruction.regs_access()[1])
            if written & _RDI or (written & _RAX and one not in exchanges):
                return False
            if one not in exchanges and not self._keeps_off(instruction, before):
                return False
        return all(self._succeeds(one, at) for one in exchanges)

    def _keeps_off(self, instruction: Any, before: set[int]) -> bool:
        """Whether it writes no memory but the function's own frame."""
        written = [
            one for one in instruction.operands if one.type == x86.X86_OP_MEM and one.access & capstone.CS_AC_WRITE
        ]
        return all(
            one.mem.index == 0 and one.mem.segment == 0 and self._is_in_frame(one.mem.base, instruction.address, before)
            for one in written
        )

    def _is_in_frame(self, register: int, at: int, before: set[int], depth: int = 3) -> bool:
        """Whether this register surely has an address in the function's frame there."""
        if register == x86.X86_REG_RSP:
            return True
        writes = {one for one in before if register in self.instructions[one].regs_access()[1]}
        if not depth or not writes or at in self._reached({self._begin}, without=writes):
            return False
        for one in writes:
            instruction = self.instructions[one]
            if len(instruction.operands) != 2 or instruction.operands[0].size != 8:
                return False
            source = instruction.operands[1]
            if instruction.mnemonic == "lea" and source.mem.base == x86.X86_REG_RSP and source.mem.index == 0:
                continue
            if instruction.mnemonic != "mov" or source.type != x86.X86_OP_REG:
                return False
            if not self._is_in_frame(source.reg, one, before, depth - 1):
                return False
        return True

    def _succeeds(self, exchange: int, at: int) -> bool:
        """Whether a change that succeeded leads there without another one, and one that failed only to another try."""
        instruction = self.instructions[exchange]
        if not _is_header(instruction.operands[0]) or instruction.operands[1].size != 8:
            return False
        branch = self.instructions.get(exchange + instruction.size)
        if branch is None or branch.mnemonic not in ("je", "jne"):
            return False
        taken, falls = _immediate(branch), branch.address + branch.size
        if taken is None:
            return False
        done, failed = (taken, falls) if branch.mnemonic == "je" else (falls, taken)
        if exchange in self._reached({done}, without=at):
            return False
        # A try that failed and is then given up leaves the word as rax has it: no change is no worse than a change.
        return done in self.instructions and failed in self.instructions

    def _is_load(self, instruction: Any) -> bool:
        operands = instruction.operands
        return bool(
            instruction.mnemonic == "mov"
            and operands[0].type == x86.X86_OP_REG
            and operands[0].reg in (x86.X86_REG_RAX, x86.X86_REG_EAX)
            and _is_header(operands[1])
        )

    def _successors(self, one: Any) -> Iterator[int]:
        after = one.address + one.size
        mnemonic = one.mnemonic
        if mnemonic.endswith("ret"):
            yield _OUT
        elif mnemonic in ("ud2", "int3", "hlt"):
            return
        elif mnemonic == "call":
            # What follows a call that never returns is not of the function's code, or another part of it.
            if after < self._end:
                yield after
        elif mnemonic[0] == "j":
            target = _immediate(one)
            yield target if target is not None and self._begin <= target < self._end else _OUT
            if mnemonic != "jmp":
                yield after
        else:
            yield after

    def _reached(self, first: set[int], without: int | set[int] = -1) -> set[int]:
        """The instructions that ways from these come to, themselves too, not past some."""
        blocked = without if isinstance(without, set) else {without}
        seen: set[int] = set()
        waiting = [one for one in first if one not in blocked]
        while waiting:
            one = waiting.pop()
            if one in seen or one not in self.instructions:
                continue
            seen.add(one)
            waiting += [after for after in self._after[one] if after is not _OUT and after not in blocked]
        return seen

    def _before(self, last: set[int]) -> set[int]:
        """The instructions from which ways lead to these, themselves too."""
        sources: dict[int, list[int]] = {}
        for at, many in self._after.items():
            for one in many:
                sources.setdefault(one, []).append(at)
        seen: set[int] = set()
        waiting = list(last)
        while waiting:
            one = waiting.pop()
            if one not in seen:
                seen.add(one)
                waiting += sources.get(one, [])
        return seen


_OUT = -1
"""Where the function is left."""


def _immediate(instruction: Any) -> int | None:
    operand = instruction.operands[0]
    return int(operand.imm) if operand.type == x86.X86_OP_IMM else None


def _is_header(operand: Any) -> bool:
    """Whether it is the word that rdi points to."""
    memory = operand.mem
    return bool(
        operand.type == x86.X86_OP_MEM
        and memory.base == x86.X86_REG_RDI
        and memory.index == 0
        and memory.disp == 0
        and memory.segment == 0
    )
