"""Whatever a file or a stack says: unwinding ends, and does not raise."""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path, PurePosixPath

from hypothesis import example, given
from hypothesis import strategies as st

from tracer.target.call_frames import REGISTERS, STACK_POINTER, CallFrames, FrameRow, Rule
from tracer.target.cfa_expressions import evaluate
from tracer.target.elf import open_elf
from tracer.target.modules import Module
from tracer.target.unwinding import MOST_FRAMES, StackCopy, unwind

_WORDS = st.integers(0, (1 << 64) - 1)
_HEADER = b"\x01\x1b\x03\x3b" + bytes(4) + struct.pack("<I", 1)
_STACK = 0x7FFF_0000_0000


@given(st.binary(max_size=400), st.lists(_WORDS, min_size=17, max_size=17), st.none() | _WORDS)
@example(b"\x2f\xfd\xff", [0] * 17, None)  # it jumps back for ever
@example(b"\x30" * 300, [0] * 17, None)
@example(b"\x4f\x12\x1e" + b"\x12\x1e" * 120, [0] * 17, None)  # it squares, and squares
def test_an_expression_has_a_value_of_64_bits_or_none(code: bytes, registers: list[int], first: int | None) -> None:
    value = evaluate(code, registers, lambda address: address ^ 1, first)
    assert value is None or 0 <= value < 1 << 64


@given(st.binary(max_size=300), st.integers(-8, 400))
def test_damaged_entries_have_no_row_or_one(entries: bytes, address: int) -> None:
    content = _HEADER + struct.pack("<ii", 0, 20) + entries

    def read(at: int, size: int) -> bytes:
        return content[at : at + size] if at >= 0 else b""

    frames = CallFrames(read, 0)
    row = frames.row(address)
    assert row is None or isinstance(row, FrameRow)
    assert frames.row(address) == row


@given(st.binary(max_size=60), st.binary(max_size=60), st.integers(0, 200))
def test_any_instructions_end(initial: bytes, own: bytes, address: int) -> None:
    """An entry that is well up to its instructions."""
    common = struct.pack("<IB", 0, 1) + b"zR\0\x01\x78\x10\x01\x1b" + initial
    at_function = 20 + 4 + len(common)
    function = struct.pack("<Iii", at_function + 4 - 20, -(at_function + 8), 1 << 20) + b"\0" + own
    content = _HEADER + struct.pack("<ii", 0, at_function)
    content += struct.pack("<I", len(common)) + common + struct.pack("<I", len(function)) + function
    row = CallFrames(lambda at, size: content[at : at + size] if at >= 0 else b"", 0).row(address)
    assert row is None or isinstance(row, FrameRow)


@cache
def _libc() -> Module:
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    path = next(line.split()[5] for line in maps.splitlines() if "/libc.so.6" in line)
    return Module(path, open_elf(Path(path)), PurePosixPath(path))


_CODE = st.integers(0, 0x18_0000)


@given(st.lists(_CODE | _WORDS, max_size=200), st.lists(_CODE | _WORDS, min_size=REGISTERS, max_size=REGISTERS), _WORDS)
@example([0x26000] * 200, [0x26000] * REGISTERS, (1 << 64) - 1)
def test_garbage_on_the_stack_is_unwound_in_bounds(words: list[int], registers: list[int], until: int) -> None:
    registers[STACK_POINTER] = _STACK
    copy = StackCopy(tuple(registers), struct.pack(f"<{len(words)}Q", *words), until)
    found = unwind(copy, _libc().row)
    assert len(found.addresses) <= MOST_FRAMES


def test_a_rule_without_end_is_cut() -> None:
    row = FrameRow((STACK_POINTER, 0), ((16, Rule.REGISTER, 16),))
    copy = StackCopy((1,) * REGISTERS, b"", 1 << 40)
    found = unwind(copy, lambda address: row)
    assert (len(found.addresses), found.is_whole) == (MOST_FRAMES, False)
