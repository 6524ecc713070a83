"""From a thread's registers and a copy of its stack to the functions that it is in.

Release builds keep no frame pointers: each frame is found by the call frame information of the code that it belongs to.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tracer.target.call_frames import REGISTERS, RETURN_ADDRESS, STACK_POINTER, FrameRow, Rule
from tracer.target.cfa_expressions import evaluate

MOST_FRAMES = 256
_MASK = (1 << 64) - 1
_WORD = struct.Struct("<Q").unpack_from

FindRow = Callable[[int], FrameRow | None]
"""The row of the instruction at a run-time address."""


@dataclass(frozen=True, slots=True)
class StackCopy:
    """registers: by DWARF number, see cfa_expressions.Registers, the last is where the thread goes on; None: not
    known.

    content: the bytes of its stack from the stack pointer on.  until: the address of the outermost return address
    that is of interest.
    """

    registers: tuple[int | None, ...]
    content: bytes
    until: int


@dataclass(frozen=True, slots=True)
class Unwound:
    """addresses: of instructions, innermost first: of a caller, within its call.  is_whole: the last is the one that
    was asked for; else what lies further out is not known.  last: (stack pointer, address above) of the frame that was
    known by its address, else (0, 0)."""

    addresses: tuple[int, ...]
    is_whole: bool
    last: tuple[int, int] = (0, 0)


def unwind(copy: StackCopy, find: FindRow, is_last: Callable[[int], bool] | None = None) -> Unwound:
    """Never raises; at most MOST_FRAMES frames.

    is_last: whether the frame at an address is the outermost of interest, where no stack pointer tells.
    """
    base, content = copy.registers[STACK_POINTER], copy.content

    def read(address: int) -> int | None:
        if base is None:
            return None
        at = address - base
        return int(_WORD(content, at)[0]) if 0 <= at <= len(content) - 8 else None

    registers: list[int | None] = [*copy.registers[:REGISTERS]]
    found: list[int] = []
    is_exact = True
    while len(found) < MOST_FRAMES:
        at = registers[RETURN_ADDRESS]
        if not at:
            return Unwound(tuple(found), False)
        # A call that never returns is the last instruction of its function: the return address is another one's.
        address = at if is_exact else at - 1
        found.append(address)
        row = find(address)
        cfa = _frame_address(row, registers, read) if row is not None else None
        below = registers[STACK_POINTER]
        if is_last is not None and is_last(address):
            return Unwound(tuple(found), True, (below or 0, cfa or 0))
        if row is None or cfa is None or below is None or cfa < below:
            return Unwound(tuple(found), False)
        if cfa > copy.until:
            return Unwound(tuple(found), is_last is None)
        registers = _callers(row, cfa, registers, read)
        is_exact = row.is_signal
    return Unwound(tuple(found), False)


def _frame_address(row: FrameRow, registers: Sequence[int | None], read: Callable[[int], int | None]) -> int | None:
    if isinstance(row.cfa, bytes):
        return evaluate(row.cfa, registers, read)
    base = registers[row.cfa[0]]
    return None if base is None else (base + row.cfa[1]) & _MASK


def _callers(
    row: FrameRow, cfa: int, registers: Sequence[int | None], read: Callable[[int], int | None]
) -> list[int | None]:
    callers = [*registers]
    callers[STACK_POINTER] = cfa
    callers[RETURN_ADDRESS] = None
    for register, kind, operand in row.rules:
        value: int | None = None
        if isinstance(operand, bytes):
            value = evaluate(operand, registers, read, first=cfa)
            if kind is Rule.EXPRESSION and value is not None:
                value = read(value)
        elif kind is Rule.OFFSET:
            value = read(cfa + operand)
        elif kind is Rule.IS_OFFSET:
            value = (cfa + operand) & _MASK
        elif kind is Rule.REGISTER:
            value = registers[operand] if operand < REGISTERS else None
        callers[register] = value
    return callers
