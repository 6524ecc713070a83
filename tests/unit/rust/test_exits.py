"""Exit instructions and costs of small pieces of machine code."""

from __future__ import annotations

import pytest

from tracer.model import ExitKind, InstructionCost
from tracer.rust.exits import Disassembler, cost_of

STEPPED, EMULATED = InstructionCost.STEPPED, InstructionCost.EMULATED


def body(code: str, **keywords: object) -> tuple[list[tuple[int, ExitKind, InstructionCost]], str | None]:
    found = Disassembler().body(bytes.fromhex(code), 0x1000, 0x400, **keywords)  # type: ignore[arg-type]
    return [(site.offset - 0x400, site.kind, site.cost) for site in found.exits], found.refusal


def test_returns_and_tail_jumps() -> None:
    assert body("53 5b c3") == ([(2, ExitKind.RET, STEPPED)], None)
    assert body("53 5b f3c3") == ([(2, ExitKind.RET, STEPPED)], None)
    assert body("53 c20800") == ([(1, ExitKind.RET, STEPPED)], None)
    assert body("53 e9fb0f0000") == ([(1, ExitKind.TAIL, EMULATED)], None)  # jmp 0x2001
    assert body("ff2500100000") == ([(0, ExitKind.TAIL, STEPPED)], None)  # jmp [rip+0x1000]
    assert body("ffe0") == ([(0, ExitKind.TAIL, STEPPED)], None)  # jmp rax
    assert body("ff6018") == ([(0, ExitKind.TAIL, STEPPED)], None)  # jmp [rax+0x18]: through a vtable


def test_jumps_that_stay() -> None:
    assert body("7401 90 c3") == ([(3, ExitKind.RET, STEPPED)], None)
    assert body("ebfe") == ([], None)
    # movsxd rax, [rcx+rax*4]; add rax, rcx; jmp rax
    assert body("48630481 4801c8 ffe0 c3") == ([(9, ExitKind.RET, STEPPED)], None)
    assert body("ff24c500200000 c3") == ([(7, ExitKind.RET, STEPPED)], None)  # jmp [rax*8+0x2000]


def test_a_function_that_never_returns_has_no_exit() -> None:
    assert body("50 0f0b") == ([], None)


@pytest.mark.parametrize(
    "code", ["f0ff00 c3", "2e90 c3", "36c3", "3ec3", "662e90 c3", "c5f877 c3", "cc c3", "0f0b", "f4"]
)
def test_first_instructions_that_the_kernel_refuses(code: str) -> None:
    exits, refusal = body(code)
    assert exits == []
    assert refusal is not None
    assert "first instruction" in refusal


@pytest.mark.parametrize("code", ["", "53 5b c3 0f", "53 06 c3"])
def test_code_that_cannot_be_read_is_refused(code: str) -> None:
    exits, refusal = body(code)
    assert exits == []
    assert refusal is not None


def test_split_functions_are_refused() -> None:
    assert body("53 0f84fa0f0000 c3")[1] is not None  # je 0x2001
    assert body("53 e9fb0f0000", is_fragment=lambda address: address == 0x2001)[1] is not None


@pytest.mark.parametrize(
    ("code", "cost"),
    [
        ("55", EMULATED),
        ("4157", EMULATED),
        ("90", EMULATED),
        ("e800000000", EMULATED),
        ("0f8400000000", EMULATED),
        ("ff35aa000000", STEPPED),
        ("4883ec28", STEPPED),
        ("f30f1efa", STEPPED),
        ("c3", STEPPED),
    ],
)
def test_costs(code: str, cost: InstructionCost) -> None:
    assert cost_of(bytes.fromhex(code)) is cost
