"""The user registers of threads that do not run, as the kernel keeps them: by a BPF iterator over all threads.

Nothing is stopped.  It takes Linux 5.15 (the helper that leads to a thread's registers) and the kernel's BTF.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from tracer.model import Array
from tracer.probe.btf import VMLINUX
from tracer.probe.kept_types import KeptTypes
from tracer.probe.kernel import load_iterator, open_iterator
from tracer.probe.stacks import MOST_BYTES, by_dwarf_number
from tracer.target.process import TargetProcess
from tracer.target.standing import Standing, copies_of_stacks
from tracer.target.unwinding import StackCopy

THREAD_REGISTERS = np.dtype([("pid", "<u4"), ("tgid", "<u4"), ("registers", "<u8", 21)])
"""pid, tgid: the kernel's own, of the thread and its process.  registers: struct pt_regs of x86-64."""

NO_REGISTERS: Array = np.empty(0, THREAD_REGISTERS)

_TASK_PT_REGS, _PROBE_READ_KERNEL, _SEQ_WRITE = 175, 113, 127  # enum bpf_func_id
_SIZE = THREAD_REGISTERS.itemsize
_IP, _SP = 16, 19  # in struct pt_regs


def _program(pid: int, tgid: int) -> bytes:
    """Tells a record of one thread.  pid, tgid: offsets in struct task_struct.

    Its context is struct bpf_iter__task {meta, task}, where struct bpf_iter_meta {seq, …}.
    """
    steps = [  # code, destination, source, offset, constant
        (0x79, 6, 1, 8, 0),  # r6 = ctx->task
        (0x15, 6, 0, 19, 0),  # if it is 0 (the end), return
        (0x79, 7, 1, 0, 0),  # r7 = ctx->meta
        (0x79, 7, 7, 0, 0),  # r7 = meta->seq
        (0x61, 1, 6, pid, 0),
        (0x63, 10, 1, -_SIZE, 0),  # the record is on the stack
        (0x61, 1, 6, tgid, 0),
        (0x63, 10, 1, 4 - _SIZE, 0),
        (0xBF, 1, 6, 0, 0),
        (0x85, 0, 0, 0, _TASK_PT_REGS),
        (0xBF, 3, 0, 0, 0),
        (0xBF, 1, 10, 0, 0),
        (0x07, 1, 0, 0, 8 - _SIZE),
        (0xB7, 2, 0, 0, _SIZE - 8),
        (0x85, 0, 0, 0, _PROBE_READ_KERNEL),
        (0x55, 0, 0, 5, 0),  # it has none: a thread of the kernel
        (0xBF, 1, 7, 0, 0),  # else it is told to who reads the iterator
        (0xBF, 2, 10, 0, 0),
        (0x07, 2, 0, 0, -_SIZE),
        (0xB7, 3, 0, 0, _SIZE),
        (0x85, 0, 0, 0, _SEQ_WRITE),
        (0xB7, 0, 0, 0, 0),
        (0x95, 0, 0, 0, 0),
    ]
    packed = (struct.pack("<BBhi", code, source << 4 | to, offset, value) for code, to, source, offset, value in steps)
    return b"".join(packed)


class ThreadRegisters:
    """Reads them, again and again.  types: the kernel's BTF."""

    def __init__(self, types: Path = VMLINUX) -> None:
        self._program: int | None = None
        try:
            with KeptTypes(types) as known:
                pid, tgid = known.member("task_struct", "pid"), known.member("task_struct", "tgid")
                iterator = known.function("bpf_iter_task")
            if pid is not None and tgid is not None and iterator is not None:
                self._program = load_iterator(_program(pid[0], tgid[0]), iterator)
        except (OSError, ValueError, IndexError):
            pass

    def read(self) -> Array:
        """Of all threads, dtype THREAD_REGISTERS; none where this kernel does not tell.

        Of a thread that runs they are as it last entered the kernel.
        """
        if self._program is None:
            return NO_REGISTERS
        parts = []
        try:
            fd = open_iterator(self._program)
            try:
                while part := os.read(fd, 1 << 16):
                    parts.append(part)
            finally:
                os.close(fd)
        except OSError:
            return NO_REGISTERS
        data = b"".join(parts)
        return np.frombuffer(data[: len(data) // _SIZE * _SIZE], THREAD_REGISTERS)

    def close(self) -> None:
        """Unload the program."""
        if self._program is not None:
            os.close(self._program)
            self._program = None


def thread_registers(types: Path = VMLINUX) -> Array:
    """The same, once."""
    with contextlib.closing(ThreadRegisters(types)) as reader:
        return reader.read()


def registers_at(known: Array, pid: int, tid: int, stack_pointer: int, at: int) -> tuple[int, ...] | None:
    """The registers, as StackCopy has them, of a thread that waits; None: that is not known.

    known: dtype THREAD_REGISTERS.  It is known by where it stands, since the kernel's numbers are not those that a pid
    namespace has; by its number only among several that stand there, such as those of processes that were forked.
    """
    there = known[(known["registers"][:, _SP] == stack_pointer) & (known["registers"][:, _IP] == at)]
    named = there[(there["pid"] == tid) & (there["tgid"] == pid)]
    found = named if len(named) else there
    return by_dwarf_number(found["registers"][0]) if len(found) == 1 else None


def standing_stacks(known: Array, process: TargetProcess, there: Mapping[int, Standing]) -> dict[int, StackCopy]:
    """By tid the stacks of the threads that still stand there, at most MOST_BYTES of each, with their registers as far
    as they are known.

    known: dtype THREAD_REGISTERS, as they were since then.  Those that went on, or cannot be read, are left out.
    """
    copies = copies_of_stacks(process, there, MOST_BYTES)
    for tid, copy in copies.items():
        registers = registers_at(known, process.pid, tid, there[tid].stack_pointer, there[tid].at)
        if registers is not None:
            copies[tid] = replace(copy, registers=registers)
    return copies
