"""The stacks that bpf/stack.c sends: of threads that blocked, or went on and on, in a task poll."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from tracer.model import Array, StackKind
from tracer.probe.bpf_program import BpfProgram
from tracer.probe.kernel import cpus, enable_perf_event, open_cpu_clock
from tracer.probe.ring import BUSY, DISCARDED, MappedRing
from tracer.target.unwinding import StackCopy

STACK_HEAD = np.dtype(
    [
        ("time", "<u8"),
        ("told", "<u8"),
        ("since", "<u8"),
        ("until", "<u8"),
        ("tid", "<u4"),
        ("tgid", "<u4"),
        ("size", "<u4"),
        ("kind", "u1"),
        ("is_cut", "u1"),
        ("from_before", "u1"),
        ("_pad", "u1"),
        ("registers", "<u8", 21),
    ]
)
"""struct stack_head of bpf/events.h; registers: struct pt_regs of x86-64."""

POLLING = np.dtype([("sp", "<u8"), ("since", "<u8"), ("epoch", "<u4"), ("from_before", "<u4")])
"""struct polling."""

STACK_COUNTS = np.dtype([("sent", "<u8"), ("lost", "<u8"), ("crowded", "<u8"), ("unread", "<u8"), ("spent", "<u8")])

MOST_BYTES = 32_768
"""Of a stack."""
_SLOT_SIZE = 24 + STACK_HEAD.itemsize + MOST_BYTES
_SLOTS = 256
"""Threads that are blocked at once, in a poll: 8 MiB of kernel memory."""
_PAGES = 1024
_WORD = 8

LEAST_BLOCKED = 200_000
"""ns: a thread that was off its CPU for less is not worth a stack."""
LEAST_POLLING = 5_000_000
"""ns: a poll that has gone on for less is not looked at."""
_FREQUENCY, _LEAST_FREQUENCY, _MOST_LOOKS = 99, 11, 800
"""Looks a second, on each CPU; the most of all CPUs."""

_BY_DWARF_NUMBER = [10, 12, 11, 5, 13, 14, 4, 19, 9, 8, 7, 6, 3, 2, 1, 0, 16]
"""Where in struct pt_regs (arch/x86/include/asm/ptrace.h) the registers are: rax, rdx, rcx, rbx, rsi, rdi, rbp, rsp,
r8 to r15, rip."""


@dataclass(frozen=True, slots=True)
class StackRecord:
    """time: ns, when the stack was as it is here.  until: when the thread ran on; None: not seen yet.  pid: its
    process.  is_cut: the outermost bytes are missing.  is_from_before: nobody saw the poll begin, so that the copy goes
    beyond it."""

    time: int
    until: int | None
    tid: int
    pid: int
    kind: StackKind
    copy: StackCopy
    is_cut: bool
    is_from_before: bool = False


@dataclass(frozen=True, slots=True)
class StackCounts:
    """Stacks that were sent, and those that were not: no room in the buffer; no room to keep it; not readable."""

    sent: int
    lost: int
    crowded: int
    unread: int


def stack_sizes() -> dict[str, int | None]:
    """What the program is compiled with."""
    return {
        "STACKS": None,
        "STACK_SLOTS": _SLOTS,
        "STACK_PAGES": _PAGES,
        "POSSIBLE_CPUS": cpus("possible")[-1] + 1,
    }


class StackSampler:
    """Of a program that was compiled with stack_sizes().

    Raises AttachFailed or PermissionMissing where the kernel refuses its programs, OSError where it refuses its clocks.
    """

    def __init__(self, bpf: BpfProgram) -> None:
        self._clocks: list[int] = []
        self._epoch = 0
        self._counts = bpf.map("stack_counts", 4, STACK_COUNTS.itemsize * (cpus("possible")[-1] + 1))
        self._slots = bpf.map("stack_slots", 4, _SLOT_SIZE)
        self._pollings = bpf.map("pollings", 4, POLLING.itemsize)
        settings = bpf.map("stack_settings", 4, 8)
        for index, value in enumerate((LEAST_BLOCKED, LEAST_POLLING)):
            settings.update(struct.pack("<I", index), struct.pack("<Q", value))
        look = bpf.load_perf_event("at_look")
        self._ring = MappedRing(bpf.map_fd("stacks"), _PAGES)
        online = cpus("online")
        self._frequency = max(_LEAST_FREQUENCY, min(_FREQUENCY, _MOST_LOOKS // len(online)))
        try:
            for cpu in online:
                self._clocks.append(open_cpu_clock(cpu, self.period, look))
        except BaseException:
            self.close()
            raise

    @property
    def period(self) -> int:
        """ns of a CPU's time between two looks at what runs there."""
        return 1_000_000_000 // self._frequency

    def begin(self, epoch: int) -> None:
        """Look at what runs from now on.  epoch: of the group of scheduling."""
        self._epoch = epoch
        for clock in self._clocks:
            enable_perf_event(clock)

    def expect(self, stack_ends: Mapping[int, int], epoch: int, now: int) -> None:
        """Threads that are in a task poll of which nobody saw the entry are looked at, until they enter or leave one.

        stack_ends: by tid, where its stack ends.  epoch: of the group of tasks.  now: ns.
        """
        for tid, end in stack_ends.items():
            polling = np.array((end - _WORD, now, epoch, True), POLLING)
            self._pollings.add(struct.pack("<I", tid), polling.tobytes())

    def read(self) -> Iterator[StackRecord]:
        """What has come since the last call; what is not taken from here is there at the next one."""
        ring = self._ring
        produced = int(ring.producer[0])
        while (consumed := int(ring.consumer[0])) < produced:
            at = consumed % ring.size // 8
            head = int(ring.data[at]) & 0xFFFF_FFFF
            if head & BUSY:
                return
            length = head & ~DISCARDED
            words = 1 + (length + 7) // 8
            content = ring.data[at + 1 : at + words].tobytes()[:length]
            ring.consumer[0] = consumed + 8 * words
            if not head & DISCARDED:
                yield _record(content, is_over=True)

    def blocked(self) -> Iterator[StackRecord]:
        """Of the threads that block now."""
        for index in range(_SLOTS):
            content = self._slots.lookup(struct.pack("<I", index))
            if content is not None:
                owner, epoch = struct.unpack_from("<QQ", content, 8)
                if owner and epoch == self._epoch:
                    yield _record(content[24:], is_over=False)

    def counts(self) -> StackCounts:
        """Since the begin, of all CPUs."""
        counts = self._of_cpus()
        return StackCounts(*(int(counts[name].sum()) for name in ("sent", "lost", "crowded", "unread")))

    def spent(self) -> int:
        """ns of all CPUs so far in which stacks were copied and sent."""
        return int(self._of_cpus()["spent"].sum())

    def _of_cpus(self) -> Array:
        return np.frombuffer(self._counts.lookup(b"\0\0\0\0") or b"", STACK_COUNTS)

    def end(self) -> None:
        """Look no more."""
        while self._clocks:
            with suppress(OSError):
                os.close(self._clocks.pop())

    def close(self) -> None:
        """Free everything."""
        self.end()
        self._ring.close()


def by_dwarf_number(registers: Array) -> tuple[int, ...]:
    """The registers of a struct pt_regs, as StackCopy has them."""
    return tuple(int(value) for value in registers[_BY_DWARF_NUMBER])


def _record(content: bytes, *, is_over: bool) -> StackRecord:
    head = np.frombuffer(content, STACK_HEAD, 1)[0]
    stack = content[STACK_HEAD.itemsize : STACK_HEAD.itemsize + int(head["size"])]
    return StackRecord(
        time=int(head["time"]),
        until=int(head["told"]) if is_over else None,
        tid=int(head["tid"]),
        pid=int(head["tgid"]),
        kind=StackKind(int(head["kind"])),
        copy=StackCopy(by_dwarf_number(head["registers"]), stack, int(head["until"])),
        is_cut=bool(head["is_cut"] and not head["from_before"]),  # what lies further out is of no interest
        is_from_before=bool(head["from_before"]),
    )
