"""The DWARF expressions of call frame information: where a linkage table, or code written by hand, has its frame.

DWARF 5, section 2.5.  Only what such expressions can need is known; anything else has no value.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from tracer.target.cursor import Cursor

Registers = Sequence[int | None]
"""By DWARF number (System V psABI for x86-64, figure 3.36): rax, rdx, rcx, rbx, rsi, rdi, rbp, rsp, r8 … r15, the
return address; None: not known."""

ReadWord = Callable[[int], int | None]
"""The 8 bytes at an address of the stack; None where they are not known."""

_MASK = (1 << 64) - 1
_MOST_STEPS = 256
_MOST_DEEP = 64

_DEREF, _DUP, _DROP, _OVER, _SWAP = 0x06, 0x12, 0x13, 0x14, 0x16
_CONSTANTS = {0x08: "<B", 0x09: "<b", 0x0A: "<H", 0x0B: "<h", 0x0C: "<I", 0x0D: "<i", 0x0E: "<Q", 0x0F: "<q"}
_CONSTU, _CONSTS, _PLUS_UCONST, _SKIP, _BRA = 0x10, 0x11, 0x23, 0x2F, 0x28
_LIT0, _LIT31, _BREG0, _BREG16 = 0x30, 0x4F, 0x70, 0x80
_NOP = 0x96


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


_BINARY: dict[int, Callable[[int, int], int]] = {
    0x1A: lambda a, b: a & b,
    0x1C: lambda a, b: a - b,
    0x1E: lambda a, b: a * b,
    0x21: lambda a, b: a | b,
    0x22: lambda a, b: a + b,
    0x24: lambda a, b: a << b if b < 64 else 0,
    0x25: lambda a, b: a >> b if b < 64 else 0,
    0x26: lambda a, b: _signed(a) >> min(b, 63),
    0x27: lambda a, b: a ^ b,
    0x29: lambda a, b: int(a == b),
    0x2A: lambda a, b: int(_signed(a) >= _signed(b)),
    0x2B: lambda a, b: int(_signed(a) > _signed(b)),
    0x2C: lambda a, b: int(_signed(a) <= _signed(b)),
    0x2D: lambda a, b: int(_signed(a) < _signed(b)),
    0x2E: lambda a, b: int(a != b),
}
"""By operation: of the one below the top of the stack, and the top."""


def evaluate(expression: bytes, registers: Registers, read: ReadWord, first: int | None = None) -> int | None:
    """The value of an expression; first: what is on its stack when it begins.  None: not known.  Never raises."""
    try:
        return _run(Cursor(expression), registers, read, [] if first is None else [first])
    except (IndexError, struct.error):
        return None


def _run(code: Cursor, registers: Registers, read: ReadWord, stack: list[int]) -> int | None:
    for _ in range(_MOST_STEPS):
        if code.is_at_end:
            return stack[-1]
        operation = code.number("<B")
        value: int | None
        if _BREG0 <= operation <= _BREG16:
            base = registers[operation - _BREG0]
            value = None if base is None else base + code.sleb()
        elif _LIT0 <= operation <= _LIT31:
            value = operation - _LIT0
        elif operation in _CONSTANTS:
            value = code.number(_CONSTANTS[operation])
        elif operation in _BINARY:
            top = stack.pop()
            value = _BINARY[operation](stack.pop(), top)
        elif operation == _DEREF:
            value = read(stack.pop())
        elif operation == _PLUS_UCONST:
            value = stack.pop() + code.uleb()
        elif operation in (_CONSTU, _CONSTS):
            value = code.uleb() if operation == _CONSTU else code.sleb()
        elif operation in (_DUP, _OVER):
            value = stack[-1 if operation == _DUP else -2]
        elif operation in (_DROP, _SWAP, _SKIP, _BRA, _NOP):
            _move(operation, code, stack)
            continue
        else:
            return None
        if value is None or len(stack) >= _MOST_DEEP:
            return None
        stack.append(value & _MASK)
    return None


def _move(operation: int, code: Cursor, stack: list[int]) -> None:
    """What puts no new value on the stack."""
    if operation == _DROP:
        stack.pop()
    elif operation == _SWAP:
        stack[-1], stack[-2] = stack[-2], stack[-1]
    elif operation in (_SKIP, _BRA):
        distance = code.number("<h")
        if operation == _SKIP or stack.pop():
            code.skip(distance)
