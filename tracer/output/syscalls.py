"""The names of the system calls in which programs wait."""

from __future__ import annotations

from tracer.model import NO_SYSCALL, UNKNOWN_SYSCALL

_NAMES = {
    0: "read",
    1: "write",
    2: "open",
    3: "close",
    7: "poll",
    9: "mmap",
    10: "mprotect",
    11: "munmap",
    17: "pread64",
    18: "pwrite64",
    19: "readv",
    20: "writev",
    23: "select",
    24: "sched_yield",
    28: "madvise",
    34: "pause",
    35: "nanosleep",
    42: "connect",
    43: "accept",
    44: "sendto",
    45: "recvfrom",
    46: "sendmsg",
    47: "recvmsg",
    56: "clone",
    61: "wait4",
    73: "flock",
    74: "fsync",
    75: "fdatasync",
    128: "rt_sigtimedwait",
    202: "futex",
    230: "clock_nanosleep",
    232: "epoll_wait",
    247: "waitid",
    257: "openat",
    262: "newfstatat",
    270: "pselect6",
    271: "ppoll",
    277: "sync_file_range",
    281: "epoll_pwait",
    285: "fallocate",
    288: "accept4",
    295: "preadv",
    296: "pwritev",
    299: "recvmmsg",
    307: "sendmmsg",
    426: "io_uring_enter",
    435: "clone3",
    441: "epoll_pwait2",
    449: "futex_waitv",
}
"""Of x86-64: arch/x86/entry/syscalls/syscall_64.tbl of Linux."""


def syscall_words(number: int) -> str:
    """`futex`; `system call 300` of one that is not listed here; of none what else it can be."""
    if number == NO_SYSCALL:
        return "page fault or signal"
    if number == UNKNOWN_SYSCALL:
        return "unknown system call"
    return _NAMES.get(number, f"system call {number}")
