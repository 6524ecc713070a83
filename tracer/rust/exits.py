"""How a function is left, and what a probe on an instruction costs, from its machine code.

Sources: uprobes of Linux 6.18, arch/x86/kernel/uprobes.c (which instructions are emulated, which
refused); jump tables as LLVM 14 to 22 compiles them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import capstone

from tracer.model import ExitKind, ExitSite, InstructionCost
from tracer.target.elf import ElfImage

_MAX_CODE = 4 << 20
_BUDGET = 64 << 20
"""Bytes of code that are read at most for one binary."""

_TABLE_WINDOW = 8
"""Instructions before an indirect jump in which the load from its jump table is looked for."""

_SOMEWHERE = 1 << 20
"""An address; capstone writes those of jumps as numbers with 0x, if they are not below ten."""

_UNREADABLE = "its machine code could not be read to the end"

_BAD_PREFIXES = frozenset(b"\xf0\x2e\x36\x3e\x26")
"""lock and the segment overrides cs, ss, ds, es: is_prefix_bad()."""

_PREFIXES = frozenset(b"\x66\x67\xf2\xf3\x64\x65") | _BAD_PREFIXES
_REFUSED_OPCODES = frozenset(b"\xc4\xc5\x62\xcc\xcd\xce\xcf\xf4\xfa\xfb")
"""Vector (VEX, EVEX) encodings, breakpoints and privileged instructions: not in good_insns_64."""


@dataclass(frozen=True, slots=True)
class Body:
    """entry_cost: of a probe on the first instruction.  refusal: why the function cannot be probed, or None."""

    exits: tuple[ExitSite, ...]
    entry_cost: InstructionCost
    refusal: str | None = None


class Disassembler:
    """Reads the bodies of functions."""

    def __init__(self) -> None:
        self._budget = _BUDGET
        self._calls: dict[int, int] = {}
        self._read: set[int] = set()
        self._engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)

    def body(
        self, code: bytes, address: int, offset: int, is_fragment: Callable[[int], bool] = lambda _: False
    ) -> Body:
        """code: the whole function.  address: link-time; offset: the same place in the file, for the exits.

        is_fragment tells whether an address is a part of a function that the compiler moved away.
        """
        if not code or len(code) > _MAX_CODE:
            return Body((), InstructionCost.STEPPED, "its size in the symbol table is unusable")
        self._budget -= len(code)
        if self._budget < 0:
            return Body((), InstructionCost.STEPPED, "the binary has more code in poll functions than is looked at")
        first = _refused(code)
        if first is not None:
            return Body((), InstructionCost.STEPPED, first)
        end = address + len(code)
        exits: list[ExitSite] = []
        instructions = list(self._engine.disasm_lite(code, address))
        if not instructions:
            return Body((), InstructionCost.STEPPED, _UNREADABLE)
        entry_cost = cost_of(code[: instructions[0][1]])
        self._remember_calls(address, instructions)
        for index, (start, size, mnemonic, operands) in enumerate(instructions):
            kind = None
            if mnemonic[0] == "j" or mnemonic.endswith("jmp"):
                if operands.startswith("0x"):
                    target = int(operands, 16)
                    if not address <= target < end:
                        if mnemonic != "jmp" or is_fragment(target):
                            return Body((), entry_cost, "the compiler split it into parts that lie apart")
                        kind = ExitKind.TAIL
                elif mnemonic == "jmp" and not _is_jump_table(
                    operands, instructions[max(0, index - _TABLE_WINDOW) : index]
                ):
                    kind = ExitKind.TAIL
            elif mnemonic == "ret" or mnemonic.endswith(" ret"):
                kind = ExitKind.RET
            if kind is not None:
                instruction = code[start - address : start - address + size]
                reason = _refused(instruction)
                if reason is not None:
                    return Body((), entry_cost, reason.replace("first", "last"))
                exits.append(ExitSite(offset + start - address, kind, cost_of(instruction)))
        last = instructions[-1]
        if last[0] + last[1] != end:
            return Body((), entry_cost, _UNREADABLE)
        return Body(tuple(exits), entry_cost)

    def call_before(self, image: ElfImage, start: int, size: int, address: int) -> int | None:
        """Where the call of the function at `start` is that returns to this address; None: there is none."""
        if start not in self._read and size <= _MAX_CODE:
            self._budget -= size
            code = image.read(start, size) if self._budget >= 0 else None
            self._remember_calls(start, self._engine.disasm_lite(code or b"", start))
        return self._calls.get(address)

    def _remember_calls(self, function: int, instructions: Iterable[tuple[int, int, str, str]]) -> None:
        self._read.add(function)
        for start, size, mnemonic, _ in instructions:
            if mnemonic == "call":
                self._calls[start + size] = start

    def has_instruction(self, image: ElfImage, start: int, size: int, address: int) -> bool:
        """Whether an instruction of the function at `start` begins at this address; so, too, where that cannot be
        told."""
        before = min(size, address - start + 1)
        if before > _MAX_CODE:
            return True
        self._budget -= before
        code = image.read(start, before) if self._budget >= 0 else None
        reached = start
        for at, length, *_ in self._engine.disasm_lite((code or b"") + bytes(15), start):
            if at >= address:
                return bool(at == address)
            reached = at + length
        return reached <= address

    def may_jump_anywhere(self, code: bytes) -> bool:
        """Whether a function has a jump through a register or memory, or cannot be read to its end."""
        self._budget -= len(code)
        if self._budget < 0:
            return True
        end = 0
        for start, size, mnemonic, operands in self._engine.disasm_lite(code, _SOMEWHERE):
            end = start + size - _SOMEWHERE
            if (mnemonic[0] == "j" or mnemonic.endswith("jmp")) and not operands.startswith("0x"):
                return True
        return end != len(code)


def entry_site(image: ElfImage, address: int) -> tuple[int, InstructionCost] | None:
    """(file offset, cost) of a probe where a function begins; None when the kernel takes none there."""
    offset, segment = image.offset_of(address), image.segment_of(address)
    code = image.read(address, 16) or b""
    if offset is None or segment is None or not segment.flags & 1 or _refused(code) is not None:
        return None
    first = next(capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64).disasm_lite(code, address, 1), None)
    return (offset, cost_of(code[: first[1]])) if first is not None else None


def _is_jump_table(operands: str, window: list[tuple[int, int, str, str]]) -> bool:
    """Whether an indirect jump stays in the function: its target was loaded from a table of offsets
    (`movsxd` from an indexed place), or it jumps through an indexed table of addresses."""
    if "*8" in operands:
        return True
    return "[" not in operands and any(mnemonic == "movsxd" for _, _, mnemonic, _ in window)


def thunk_target(code: bytes, address: int) -> int | None:
    """Where a function goes that is nothing but one direct jump (tokio's task poll in release); else None."""
    if len(code) == 5 and code[0] == 0xE9:
        return address + 5 + int.from_bytes(code[1:], "little", signed=True)
    if len(code) == 2 and code[0] == 0xEB:
        return address + 2 + int.from_bytes(code[1:], "little", signed=True)
    return None


def cost_of(instruction: bytes) -> InstructionCost:
    """What the kernel does for a probe on this instruction: push, nop, jumps and calls are emulated."""
    first = instruction[0]
    second = instruction[1] if len(instruction) > 1 else 0
    emulated = (
        (0x50 <= first <= 0x57 and len(instruction) == 1)
        or (first == 0x41 and 0x50 <= second <= 0x57 and len(instruction) == 2)
        or first in (0xE8, 0xE9, 0xEB, 0x90)
        or 0x70 <= first <= 0x7F
        or (first == 0x0F and 0x80 <= second <= 0x8F)
    )
    return InstructionCost.EMULATED if emulated else InstructionCost.STEPPED


def _refused(code: bytes) -> str | None:
    """Why the kernel does not take a probe on this instruction; None when it does."""
    for at, byte in enumerate(code[:15]):
        if byte in _BAD_PREFIXES:
            return "the kernel takes no probe on its first instruction (a lock or segment prefix)"
        if byte in _PREFIXES or 0x40 <= byte <= 0x4F:
            continue
        if byte in _REFUSED_OPCODES or code[at : at + 2] in (b"\x0f\x0b", b"\x0f\xff", b"\x0f\xb9"):
            return "the kernel takes no probe on its first instruction"
        return None
    return "the kernel takes no probe on its first instruction"
