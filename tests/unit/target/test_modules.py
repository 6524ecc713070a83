"""What lies where in a live process, and whose functions its stack goes through."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tracer.target.call_frames import REGISTERS, RETURN_ADDRESS, STACK_POINTER
from tracer.target.memory import LiveMemory
from tracer.target.modules import Modules
from tracer.target.process import TargetProcess
from tracer.target.unwinding import StackCopy, Unwound, unwind

_VDSO_AT = 33  # AT_SYSINFO_EHDR of linux/auxvec.h


@pytest.fixture
def own() -> Iterator[Modules]:
    modules = Modules(TargetProcess.open(os.getpid()))
    yield modules
    modules.close()


def test_a_function_of_a_library_is_at_its_symbol(own: Modules) -> None:
    libc = ctypes.CDLL(None)
    address = ctypes.cast(libc.getpid, ctypes.c_void_p).value
    assert address is not None
    found = own.at(address)
    assert found is not None
    module, link_address = found
    assert module.name == "libc.so.6"
    symbols = module.image.symbols_of(".dynsym")
    names = {symbols.name(index) for index in np.flatnonzero(symbols.table["address"] == link_address).tolist()}
    assert "getpid" in names
    assert own.row(address) is not None


def test_the_vdso_is_read_from_memory(own: Modules) -> None:
    libc = ctypes.CDLL(None)
    libc.getauxval.restype = ctypes.c_ulong
    begin = libc.getauxval(ctypes.c_ulong(_VDSO_AT))
    found = own.at(begin)
    assert found is not None
    image = found[0].image
    symbols = image.symbols_of(".dynsym")
    at = next(index for index in range(len(symbols)) if symbols.name(index) == "__vdso_clock_gettime")
    assert own.row(begin + int(symbols.table["address"][at])) is not None


def test_where_nothing_is_nothing_is_found(own: Modules) -> None:
    stack = next(m for m in TargetProcess.open(os.getpid()).maps() if m.path == "[stack]")
    for address in (0, 1 << 63, stack.start, stack.end - 1):
        assert own.at(address) is None
        assert own.row(address) is None


def _sleeping(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """(stack pointer, program counter) of a process once it sleeps: proc(5), syscall."""
    for _ in range(500):
        words = Path(f"/proc/{process.pid}/syscall").read_text().split()
        if len(words) == 9 and int(words[0]) in (35, 230):  # nanosleep, clock_nanosleep
            return int(words[7], 16), int(words[8], 16)
        time.sleep(0.01)
    pytest.fail("it did not go to sleep")


def _unwound(process: subprocess.Popen[bytes], modules: Modules, keep: int | None = None) -> Unwound:
    """keep: bytes of the stack that are known."""
    target = TargetProcess.open(process.pid)
    sp, pc = _sleeping(process)
    top = next(m.end for m in target.maps() if m.start <= sp < m.end)
    size = min(top - sp, 16 << 10) if keep is None else keep
    content, _ = LiveMemory(target).fill(np.array([sp], np.uint64), np.array([size], np.uint64))
    registers: list[int | None] = [None] * REGISTERS  # others than these are not told
    registers[STACK_POINTER], registers[RETURN_ADDRESS] = sp, pc
    return unwind(StackCopy(tuple(registers), content.tobytes(), top), modules.row)


def test_a_sleeping_program_is_unwound_to_its_begin() -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        try:
            modules = Modules(TargetProcess.open(process.pid))
            found = _unwound(process, modules)
            places = [modules.at(address) for address in found.addresses]
            cut = _unwound(process, modules, keep=0)
            modules.close()
        finally:
            process.kill()
    names = [place[0].name if place is not None else None for place in places]
    # The C library's sleep, main, the C library's start of main (two functions), _start.
    assert names[0] == names[-2] == names[-3] == "libc.so.6"
    assert names[-1] == "sleep"
    assert "sleep" in names[:-1]
    assert not found.is_whole  # nothing called it
    assert (len(cut.addresses), cut.is_whole) == (1, False)
    assert cut.addresses == found.addresses[:1]
