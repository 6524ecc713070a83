"""Where a poll function without debug information has its arguments, by what its first instructions do.

The first arguments are followed, through copies and spills, to the first use that decides:
- a byte loaded through one of them, by whose value the code then branches, is a coroutine's state,
  and that argument is self;
- memory read through rdi before anything was written through it: rdi is no place for a result, so
  it is self;
- rdx taken as an argument: a place for the result, self and the context came in rdi, rsi and rdx.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import capstone

from tracer.model import Register

MAX_CODE = 1536
"""Bytes of a function that are looked at."""

_MAX_INSTRUCTIONS = 96
_DISPATCH_WINDOW = 12
_MAX_STATE = 0xFF

_LOAD = re.compile(r"^(?:movzx|mov) (\w+), byte ptr \[(\w+)(?: \+ (0x[0-9a-f]+|\d+))?\]$")
_COMPARE = re.compile(r"^cmp byte ptr \[(\w+)(?: \+ (0x[0-9a-f]+|\d+))?\], (?:0x)?[0-9a-f]+$")
_MOVE = re.compile(r"^mov (r\w+), (r\w+)$")
_SPILL = re.compile(r"^mov qword ptr \[(r[sb]p(?: [+-] \w+)?)\], (r\w+)$")
_RELOAD = re.compile(r"^mov (r\w+), qword ptr \[(r[sb]p(?: [+-] \w+)?)\]$")
_WRITES = re.compile(r"^(?!cmp|test|push|j)\w+ (\w+)")
_STORE = re.compile(r"^v?mov\w* \w+ ptr \[(\w+)[^\]]*\],")
_ACCESS = re.compile(r"^(?!lea|nop)\w+ .*\[(\w+)[^\]]*\]")

_CALL_CLOBBERED = ("rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11")
_NARROW = {
    narrow: wide
    for wide, names in {
        "rax": "eax ax al", "rbx": "ebx bx bl", "rcx": "ecx cx cl", "rdx": "edx dx dl", "rsi": "esi si sil",
        "rdi": "edi di dil", "rbp": "ebp bp bpl", **{f"r{n}": f"r{n}d r{n}w r{n}b" for n in range(8, 16)},
    }.items()
    for narrow in names.split()
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Arguments:
    """What the code shows for certain; None where it does not."""

    self_register: Register | None = None
    context_register: Register | None = None
    state_offset: int | None = None


_IN_RDI = Arguments(Register.RDI, Register.RSI)
_IN_RSI = Arguments(Register.RSI, Register.RDX)

_Instruction = tuple[str, str]
"""(the whole text, the mnemonic)."""


class Prologue:
    """Follows arguments through the straight beginning of functions."""

    def __init__(self) -> None:
        self._engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)

    def of_coroutine(self, code: bytes) -> Arguments:
        """Self, context and the state's offset of a function that is known to be a coroutine's body."""
        instructions = self._disassemble(code)
        for index, text, origin in _followed(instructions):
            if match := _COMPARE.match(text):
                if match[1] in origin:
                    return _with_state(origin[match[1]], match[2])
            elif match := _LOAD.match(text):
                base = origin.get(match[2])
                if base is not None and _dispatches(instructions[index + 1 :], _NARROW.get(match[1], match[1])):
                    return _with_state(base, match[3])
        return Arguments()

    def of_future(self, code: bytes) -> Arguments:
        """Self and context of a function that is known to be a Future::poll."""
        for _, text, origin in _followed(self._disassemble(code)):
            if ((match := _SPILL.match(text)) or (match := _MOVE.match(text))) and origin.get(match[2]) == "rdx":
                return _IN_RSI
            if match := _STORE.match(text):
                if origin.get(match[1]) == "rdi":
                    return Arguments()
            elif match := _ACCESS.match(text):
                base = origin.get(match[1])
                if base == "rdi":
                    return _IN_RDI
                if base == "rdx":
                    return _IN_RSI
        return Arguments()

    def _disassemble(self, code: bytes) -> list[_Instruction]:
        return [
            (f"{mnemonic} {operands}", mnemonic)
            for _, _, mnemonic, operands in self._engine.disasm_lite(code[:MAX_CODE], 0, _MAX_INSTRUCTIONS)
        ]


def _followed(instructions: list[_Instruction]) -> Iterator[tuple[int, str, dict[str, str]]]:
    """(index, text, which argument each register and stack slot holds before this instruction)."""
    origin = {"rdi": "rdi", "rsi": "rsi", "rdx": "rdx"}
    for index, (text, mnemonic) in enumerate(instructions):
        if mnemonic in ("ret", "jmp"):
            return
        yield index, text, origin
        if mnemonic == "call":
            for register in _CALL_CLOBBERED:
                origin.pop(register, None)
        elif (match := _SPILL.match(text)) or (match := _MOVE.match(text)) or (match := _RELOAD.match(text)):
            if match[2] in origin:
                origin[match[1]] = origin[match[2]]
            else:
                origin.pop(match[1], None)
        elif match := _WRITES.match(text):
            origin.pop(_NARROW.get(match[1], match[1]), None)


def _with_state(base: str, displacement: str | None) -> Arguments:
    offset = int(displacement, 0) if displacement is not None else 0
    if base == "rdi":
        return Arguments(Register.RDI, Register.RSI, offset)
    return Arguments(Register.RSI, Register.RDX, offset) if base == "rsi" else Arguments()


def _dispatches(instructions: list[_Instruction], wide: str) -> bool:
    """Whether the value in this register decides where the code goes: an index of a jump table, or compared."""
    names = {wide} | {narrow for narrow, of in _NARROW.items() if of == wide}
    for text, mnemonic in instructions[:_DISPATCH_WINDOW]:
        operands = text[len(mnemonic) + 1 :].split(", ")
        if mnemonic == "movsxd" and any(re.search(rf"\b{name}\*4\b", text) for name in names):
            return True
        if mnemonic == "jmp" and any(f"{name}*8" in text for name in names):
            return True
        if mnemonic in ("cmp", "test", "sub", "dec") and operands[0] in names:
            return all(_is_small(operand) or operand in names for operand in operands[1:])
        if mnemonic in ("mov", "movzx") and len(operands) == 2:
            if operands[1] in names:
                target = _NARROW.get(operands[0], operands[0])
                names |= {target} | {narrow for narrow, of in _NARROW.items() if of == target}
                continue
            if operands[0] in names:
                return False
        if mnemonic in ("call", "ret"):
            return False
    return False


def _is_small(operand: str) -> bool:
    try:
        return 0 <= int(operand, 0) <= _MAX_STATE
    except ValueError:
        return False
