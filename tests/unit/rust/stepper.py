"""A second opinion on poll functions: breakpoints by ptrace on every entry and exit of a running program."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tracer.model import ExitKind, PollFunction
from tracer.target.elf import open_elf

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long
TRACEME, CONT, SINGLESTEP, GETREGS, SETREGS = 0, 7, 9, 12, 13
BREAKPOINT = b"\xcc"


_REGISTERS = """r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss
fs_base gs_base ds es fs gs"""


class Registers(ctypes.Structure):
    """struct user_regs_struct of <sys/user.h>, x86-64."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in _REGISTERS.split())


@dataclass(frozen=True, slots=True)
class SeenPoll:
    """One poll as the breakpoints saw it.  None: the function's description does not say how to tell."""

    function: PollFunction
    self_address: int | None
    state: int | None
    is_pending: bool | None


@dataclass(frozen=True, slots=True)
class Run:
    """polls: in the order of their ends.  output: what the program printed.  unmatched: exits without entry.

    called, returned: of those functions whose callers are said to show it, the polls of which these showed the begin,
    or the end.  misled: how often one showed what was not so.
    """

    polls: list[SeenPoll]
    output: str
    unmatched: int
    left_open: int
    called: int
    returned: int
    misled: int


def _call(request: int, pid: int, address: object = None, data: object = None) -> None:
    if _libc.ptrace(request, pid, address, data) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def run_with_breakpoints(path: Path, functions: Sequence[PollFunction], *arguments: str) -> Run:
    """Runs the program, single-threaded, to its end."""
    process = subprocess.Popen(
        [path, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TRUTH_NO_WAIT": ""},
        preexec_fn=_ask_for_tracing,  # noqa: PLW1509 - one system call, no lock of ours is involved
    )
    pid = process.pid
    memory = -1
    try:
        os.waitpid(pid, 0)  # stopped by its exec
        memory = os.open(f"/proc/{pid}/mem", os.O_RDWR)
        bias = _bias(pid, path)
        entries = {function.address + bias: function for function in functions}
        exits = {
            site.offset - function.offset + function.address + bias: (function, site.kind)
            for function in functions
            for site in function.exits
        }
        returns = {
            site.offset - function.offset + function.address + bias: (function, site.after)
            for function in functions
            for site in function.returned
        }
        calls = {
            offset - function.offset + function.address + bias: function
            for function in functions
            for offset in function.called
        }
        saved = {address: os.pread(memory, 1, address) for address in {*entries, *exits, *calls, *returns}}
        for address in saved:
            os.pwrite(memory, BREAKPOINT, address)
        polls: list[SeenPoll] = []
        stack: list[tuple[int, SeenPoll]] = []
        unmatched = called = returned = misled = 0
        called_at: tuple[int, PollFunction] | None = None
        left_at: tuple[int, PollFunction] | None = None
        registers = Registers()
        _call(CONT, pid)
        while True:
            _, status = os.waitpid(pid, 0)
            if os.WIFEXITED(status):
                assert os.WEXITSTATUS(status) == 0
                process.returncode = 0
                break
            assert os.WIFSTOPPED(status), status
            assert os.WSTOPSIG(status) == signal.SIGTRAP, status
            _call(GETREGS, pid, None, ctypes.byref(registers))
            address = registers.rip - 1
            if address in calls:
                called_at = registers.rsp - 8, calls[address]
            if address in entries:
                if entries[address].called:
                    called += called_at == (registers.rsp, entries[address])
                    misled += called_at != (registers.rsp, entries[address])
                    called_at = None
                stack.append((registers.rsp, _entered(entries[address], registers, memory)))
            if address in exits:
                function, kind = exits[address]
                if stack and stack[-1] == (registers.rsp, stack[-1][1]) and stack[-1][1].function == function:
                    polls.append(_left(stack.pop()[1], kind, registers))
                    left_at = registers.rsp, function
                else:
                    unmatched += 1
            if address in returns:
                function, after = returns[address]
                sp = registers.rsp - 8
                if int.from_bytes(os.pread(memory, 8, sp), "little") == address - after:
                    returned += left_at == (sp, function)
                    misled += left_at != (sp, function)
                    left_at = None
            registers.rip = address
            _call(SETREGS, pid, None, ctypes.byref(registers))
            os.pwrite(memory, saved[address], address)
            _call(SINGLESTEP, pid)
            os.waitpid(pid, 0)
            os.pwrite(memory, BREAKPOINT, address)
            _call(CONT, pid)
        assert process.stdout is not None
        output = process.stdout.read().decode()
        return Run(polls, output, unmatched, len(stack), called, returned, misled)
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        if memory >= 0:
            os.close(memory)


def _ask_for_tracing() -> None:
    _libc.ptrace(TRACEME, 0, None, None)


def _entered(function: PollFunction, registers: Registers, memory: int) -> SeenPoll:
    at = int(getattr(registers, function.self_register)) if function.self_register is not None else None
    state = None
    if at is not None and function.state_offset is not None:
        state = os.pread(memory, 1, at + function.state_offset)[0]
    return SeenPoll(function, at, state, None)


def _left(poll: SeenPoll, kind: ExitKind, registers: Registers) -> SeenPoll:
    encoding = poll.function.result
    if encoding is None or kind is not ExitKind.RET:
        return poll
    return SeenPoll(poll.function, poll.self_address, poll.state, registers.rax & encoding.mask == encoding.pending)


def _bias(pid: int, path: Path) -> int:
    with open_elf(path) as image:
        first = image.segments[0]
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        match = re.match(r"([0-9a-f]+)-\S+ \S+ ([0-9a-f]+) .*" + re.escape(str(path)), line)
        if match and int(match[2], 16) == first.offset:
            return int(match[1], 16) - first.vaddr
    raise AssertionError("the program is not mapped")
