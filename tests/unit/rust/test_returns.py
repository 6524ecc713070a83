"""Where callers go on: by small pieces of machine code, and by breakpoints in a program of misleading callers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest

from tests.running import Targets
from tests.unit.rust.stepper import run_with_breakpoints
from tracer import rust
from tracer.rust.exits import Disassembler
from tracer.rust.returns import next_emulated
from tracer.rust.scan import CodeScan
from tracer.target.elf import ElfImage, open_elf


@pytest.mark.parametrize(
    ("code", "after"),
    [
        ("7402", 0),  # je
        ("85c0 7402", 2),  # test eax, eax; je
        ("85c0 0f8400010000", 2),
        ("4989c6 4d85f6 7502", 6),  # mov r14, rax; test r14, r14; jne
        ("4889442410 eb00", 5),  # mov [rsp + 16], rax; jmp
        ("0f1f00 7402", 3),
        ("90", 0),
        ("e800000000", 0),
        ("ff1500000000 7402", None),  # call [rip]: the return address is gone
        ("4883c428 7402", None),  # add rsp, 40
        ("5b 7402", None),  # pop rbx
        ("c9 7402", None),  # leave
        ("c3", None),
        ("ffe0", None),
        ("0f0b 7402", None),
        ("0f05 7402", None),
        ("f4 7402", None),
        ("cc 7402", None),
        ("85c0 75fc", None),  # a loop
        ("ebfe", None),
        ("85c0 75fb", 2),  # to the call
        ("06 7402", None),  # no instruction
        ("", None),
    ],
)
def test_the_next_emulated_instruction(code: str, after: int | None) -> None:
    expected = (after, after) if after is not None else None
    for keeps_rax in (False, True):
        assert next_emulated(bytes.fromhex(code), 0x1000, keeps_rax=keeps_rax) == expected


@pytest.mark.parametrize("code", ["31c0 7402", "2401 7402", "b001 7402", "488b4424 08 7402", "4891 7402", "0fa2 7402"])
def test_where_the_result_is_in_rax_it_stays_there(code: str) -> None:
    content = bytes.fromhex(code)
    assert next_emulated(content, 0x1000, keeps_rax=False) == (len(content) - 2, len(content) - 2)
    assert next_emulated(content, 0x1000, keeps_rax=True) is None


@pytest.mark.parametrize(("place", "found"), [(0x2009, (12, 3)), (0x2008, None)])
def test_a_call_that_is_passed(place: int, found: tuple[int, int] | None) -> None:
    """mov r15, rax; call [rip + 0x1000]; test r15, r15; jne"""
    content = bytes.fromhex("4989c7 ff1500100000 4d85ff 7502")
    assert next_emulated(content, 0x1000, keeps_rax=False, passed={place}) == found
    assert next_emulated(content, 0x1000, keeps_rax=True, passed={place}) is None


@pytest.mark.parametrize("profile", ["dev", "release", "release-debug"])
def test_every_call_and_return_is_shown_and_nothing_else(targets: Targets, profile: str) -> None:
    path = targets.path("returns", profile)
    with open_elf(path) as image:
        functions = rust.read_binary(image, display_path=str(path)).functions
    shown = [function for function in functions if function.returned and function.name.startswith("returns::")]
    assert {one.name for one in shown} >= {"returns::Left", "returns::Right", "returns::Deep", "returns::Either"}
    assert profile != "dev" or all(one.called for one in shown if one.name != "&mut returns::Taken")
    run = run_with_breakpoints(path, shown, "60")
    assert (run.unmatched, run.left_open) == (0, 0)
    assert len(run.polls) > 4_000
    assert run.called == sum(bool(poll.function.called) for poll in run.polls)
    assert (run.returned, run.misled) == (len(run.polls), 0)


def test_who_is_found_in_another_way_too_is_left_out(targets: Targets) -> None:
    """By a pointer in a table of methods."""
    path = targets.path("returns", "release")
    with open_elf(path) as image:
        functions = rust.read_binary(image, display_path=str(path)).functions
    (taken,) = (one for one in functions if one.name == "returns::Taken")
    assert taken.returned == ()


class Code:
    """An image of nothing but these instructions, at 0x1000."""

    def __init__(self, code: str) -> None:
        self._code = np.frombuffer(bytes.fromhex(code) + bytes(8), np.uint8)

    def executable_code(self) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
        yield 0x1000, self._code

    def read(self, address: int, size: int) -> bytes:
        return self._code[address - 0x1000 :][:size].tobytes()


@pytest.mark.parametrize(
    ("code", "is_led_to"),
    [
        ("90 e9fa0f0000", True),  # jmp 0x2000
        ("90 0f84f90f0000", True),  # je 0x2000
        ("90 488d05f80f0000", True),  # lea rax, [rip + ...]
        ("90 4c8d3df80f0000", True),  # lea r15, [rip + ...]
        ("90 e8fa0f0000", False),  # call 0x2000
        ("90 e9fb0f0000", False),  # jmp 0x2001
    ],
)
def test_ways_that_lead_into_the_middle(code: str, is_led_to: bool) -> None:
    scan = CodeScan(cast(ElfImage, Code(code)), cast(ElfImage, None))
    assert scan.led_to([0x2000, 0x2FFF]) == ({0x2000} if is_led_to else set())
    assert scan.led_to([]) == set()


@pytest.mark.parametrize(("code", "target"), [("90 eb10", 0x1013), ("90 90 75fd", 0x1001)])
def test_short_jumps_that_lead_into_the_middle(code: str, target: int) -> None:
    scan = CodeScan(cast(ElfImage, Code(code)), cast(ElfImage, None))
    assert [led for _, led in scan.short_jumps([target])] == [target]
    assert scan.short_jumps([target + 1]) == []


@pytest.mark.parametrize(
    ("code", "may"),
    [("90 c3", False), ("7401 90 c3", False), ("ffe0", True), ("ff24c500200000", True), ("90 06", True), ("", False)],
)
def test_jumps_that_may_lead_anywhere(code: str, may: bool) -> None:
    assert Disassembler().may_jump_anywhere(bytes.fromhex(code)) is may


@pytest.mark.parametrize(
    ("code", "at", "may"),
    [
        ("90 eb02 9090", 1, True),
        ("90 b8eb020000 c3", 2, False),  # inside of mov eax, 0x2eb
        ("90 06 eb02", 2, True),  # behind what is no instruction
        ("90 b8eb02", 2, False),
        ("06 eb02", 1, True),
    ],
)
def test_whether_an_instruction_may_begin_there(code: str, at: int, may: bool) -> None:
    image = cast(ElfImage, Code(code))
    size = len(bytes.fromhex(code))
    assert Disassembler().has_instruction(image, 0x1000, size, 0x1000 + at) is may
