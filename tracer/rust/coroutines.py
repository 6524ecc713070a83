"""Coroutines without debug information: by the panic that every coroutine can end in, and by how its
code reads its state.

A coroutine polled again after its end calls `core::panicking::panic_const::
panic_const_async_fn_resumed` (or `..._panic` after a panic); rustc 1.78 and later.  Its code begins
by loading the state byte through its first argument and dispatching on it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import capstone
import numpy as np
import numpy.typing as npt

from tracer.model import Register
from tracer.rust.candidates import Candidate
from tracer.target.elf import ElfImage

_RESUMED = re.compile(rb"panic_const_(?:async_fn|coroutine)_resumed")
_FRAGMENT = re.compile(rb"\.cold(?:\.\d+)?(?=\0)")
_RELATIVE = 8  # R_X86_64_RELATIVE
_EXECUTABLE = 1
_MAX_INSTRUCTIONS = 96
_DISPATCH_WINDOW = 12
_MAX_STATE = 0xFF

_LOAD = re.compile(r"^(?:movzx|mov) (\w+), byte ptr \[(\w+)(?: \+ (0x[0-9a-f]+|\d+))?\]$")
_COMPARE = re.compile(r"^cmp byte ptr \[(\w+)(?: \+ (0x[0-9a-f]+|\d+))?\], (?:0x)?[0-9a-f]+$")
_MOVE = re.compile(r"^mov (r\w+), (r\w+)$")
_SPILL = re.compile(r"^mov qword ptr \[(r[sb]p(?: [+-] \w+)?)\], (r\w+)$")
_RELOAD = re.compile(r"^mov (r\w+), qword ptr \[(r[sb]p(?: [+-] \w+)?)\]$")
_WRITES = re.compile(r"^(?!cmp|test|push|j)\w+ (\w+)")

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
class CodeFacts:
    """What a coroutine's code shows for certain; None where it does not."""

    state_offset: int | None
    self_register: Register | None
    context_register: Register | None


_UNKNOWN = CodeFacts(None, None, None)


class CodeReader:
    """Reads coroutines out of one binary's machine code."""

    def __init__(self, image: ElfImage, named: ElfImage) -> None:
        self._image = image
        self._named = named
        self._engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)

    def can_resume(self, candidate: Candidate) -> bool:
        """Whether the function calls the panic of a coroutine that is resumed after its end."""
        low, high = np.searchsorted(self._resumptions, [candidate.address, candidate.address + candidate.size])
        return bool(low < high)

    def is_fragment(self, address: int) -> bool:
        """Whether a part of some function that the compiler moved away begins here."""
        return address in self._fragments

    @cached_property
    def _fragments(self) -> frozenset[int]:
        symbols = self._named.symbols()
        return frozenset(symbols.table["address"][symbols.matching(_FRAGMENT)].tolist())

    @cached_property
    def _resumptions(self) -> npt.NDArray[np.int64]:
        """The addresses of all calls of and jumps to the panic, sorted."""
        symbols = self._named.symbols()
        targets = np.unique(symbols.table["address"][symbols.matching(_RESUMED)]).astype(np.int64)
        if not len(targets):
            return np.zeros(0, np.int64)
        slots = self._slots(targets)
        found: list[npt.NDArray[np.int64]] = []
        for segment in self._image.segments:
            if not segment.flags & _EXECUTABLE:
                continue
            size = min(segment.filesz, self._image.size - segment.offset)
            if size > 6:
                code = np.frombuffer(self._image.data, np.uint8, size, segment.offset)
                found += _calls(code, segment.vaddr, targets, slots)
        return np.sort(np.concatenate(found)) if found else np.zeros(0, np.int64)

    def _slots(self, targets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Where the loader puts the targets' addresses (the global offset table), sorted."""
        content = self._image.section(".rela.dyn")
        if content is None:
            return np.zeros(0, np.int64)
        rows = np.frombuffer(content, "<i8", len(content) // 24 * 3).reshape(-1, 3)
        chosen = ((rows[:, 1] & 0xFFFFFFFF) == _RELATIVE) & np.isin(rows[:, 2], targets)
        return np.sort(rows[chosen, 0])

    # ------------------------------------------------------------ the state byte

    def facts(self, candidate: Candidate) -> CodeFacts:
        """Follows the first two arguments through the function's first instructions up to the load of
        a byte by which the code then branches."""
        code = self._image.read(candidate.address, min(candidate.size, 16 * _MAX_INSTRUCTIONS))
        if code is None:
            return _UNKNOWN
        instructions = [
            (f"{mnemonic} {operands}", mnemonic, address)
            for address, _, mnemonic, operands in self._engine.disasm_lite(code, candidate.address, _MAX_INSTRUCTIONS)
        ]
        origin: dict[str, str] = {"rdi": "rdi", "rsi": "rsi"}
        for index, (text, mnemonic, _) in enumerate(instructions):
            if mnemonic == "ret" or (mnemonic[0] == "j" and mnemonic == "jmp"):
                break
            if mnemonic == "call":
                for register in _CALL_CLOBBERED:
                    origin.pop(register, None)
                continue
            if match := _COMPARE.match(text):
                if match[1] in origin:
                    return _facts(origin[match[1]], match[2])
            elif match := _LOAD.match(text):
                base = origin.get(match[2])
                wide = _NARROW.get(match[1], match[1])
                if base is not None and _dispatches(instructions[index + 1 :], wide):
                    return _facts(base, match[3])
                origin.pop(wide, None)
            elif (match := _SPILL.match(text)) or (match := _MOVE.match(text)) or (match := _RELOAD.match(text)):
                _assign(origin, match[1], match[2])
            elif match := _WRITES.match(text):
                origin.pop(_NARROW.get(match[1], match[1]), None)
        return _UNKNOWN


def _assign(origin: dict[str, str], place: str, source: str) -> None:
    if source in origin:
        origin[place] = origin[source]
    else:
        origin.pop(place, None)


def _facts(base: str, displacement: str | None) -> CodeFacts:
    offset = int(displacement, 0) if displacement is not None else 0
    if base == "rdi":
        return CodeFacts(offset, Register.RDI, Register.RSI)
    return CodeFacts(offset, Register.RSI, Register.RDX)


def _dispatches(instructions: list[tuple[str, str, int]], wide: str) -> bool:
    """Whether the value in this register decides where the code goes: an index of a jump table, or compared."""
    names = {wide} | {narrow for narrow, of in _NARROW.items() if of == wide}
    for text, mnemonic, _ in instructions[:_DISPATCH_WINDOW]:
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


def _calls(
    code: npt.NDArray[np.uint8], base: int, targets: npt.NDArray[np.int64], slots: npt.NDArray[np.int64]
) -> list[npt.NDArray[np.int64]]:
    """Addresses of `call`/`jmp rel32` to the targets, and of `call`/`jmp [rip + disp32]` through the slots."""
    found = []
    direct = np.nonzero((code[:-4] == 0xE8) | (code[:-4] == 0xE9))[0]
    found.append(base + direct[np.isin(base + direct + 5 + _displacements(code, direct + 1), targets)])
    if len(slots):
        indirect = np.nonzero((code[:-5] == 0xFF) & ((code[1:-4] == 0x15) | (code[1:-4] == 0x25)))[0]
        found.append(base + indirect[np.isin(base + indirect + 6 + _displacements(code, indirect + 2), slots)])
    return found


def _displacements(code: npt.NDArray[np.uint8], at: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
    value = code[at].astype(np.uint32)
    for byte in (1, 2, 3):
        value |= code[at + byte].astype(np.uint32) << np.uint32(8 * byte)
    return value.view(np.int32).astype(np.int64)
