"""The registers of a thread that waits: the kernel tells those with which the thread called it."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tracer.probe.registers import NO_REGISTERS, THREAD_REGISTERS, registers_at, thread_registers
from tracer.target.call_frames import RETURN_ADDRESS, STACK_POINTER

pytestmark = pytest.mark.kernel

_ARGUMENTS = [5, 4, 1, 10, 8, 9]
"""DWARF's numbers of rdi, rsi, rdx, r10, r8, r9: the arguments of a system call, in their order."""


def test_they_are_those_of_its_system_call() -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        try:
            time.sleep(0.3)
            words = Path(f"/proc/{process.pid}/syscall").read_text("ascii").split()
            known = thread_registers()
        finally:
            process.kill()
    numbers = [int(word, 16) for word in words[1:]]
    found = registers_at(known, process.pid, process.pid, numbers[-2], numbers[-1])
    assert found is not None
    assert [found[number] for number in _ARGUMENTS] == numbers[:-2]
    assert (found[STACK_POINTER], found[RETURN_ADDRESS]) == (numbers[-2], numbers[-1])
    assert registers_at(known, process.pid, process.pid, numbers[-2] + 8, numbers[-1]) is None


def test_of_threads_that_stand_at_one_place_the_number_decides() -> None:
    """As in processes that were forked.  Where the numbers are another namespace's, none is told."""
    known = np.zeros(2, THREAD_REGISTERS)
    known["pid"] = known["tgid"] = 7, 8
    known["registers"][:, 4] = 70, 80  # rbp
    assert registers_at(known, 8, 8, 0, 0) == (0, 0, 0, 0, 0, 0, 80, *[0] * 10)
    assert registers_at(known, 9, 9, 0, 0) is None
    assert registers_at(known[:1], 9, 9, 0, 0) == (0, 0, 0, 0, 0, 0, 70, *[0] * 10)


def test_a_kernel_that_does_not_tell(tmp_path: Path) -> None:
    assert len(thread_registers(tmp_path / "none")) == len(NO_REGISTERS) == 0
