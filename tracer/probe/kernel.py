"""The kernel calls that BCC does not wrap: maps as bytes, uprobe_multi links, raw tracepoints, perf buffers.

Numbers and layouts are of linux/bpf.h and linux/perf_event.h (Linux 6.6 for uprobe_multi), the
same on every architecture but for the system call's own number.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import re
import resource
import struct
from collections.abc import Iterator, Sequence
from enum import Enum

_BPF_SYSCALL = 321  # x86-64
_PERF_EVENT_OPEN_SYSCALL = 298

_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _MAP_NEXT_KEY, _PROG_LOAD, _LINK_CREATE = 0, 1, 2, 4, 5, 28
_GET_INFO, _RAW_TRACEPOINT_OPEN, _MAP_LOOKUP_BATCH = 15, 17, 24
_PROG_INFO_MISSES = 208  # offset of bpf_prog_info.recursion_misses; what the kernel does not know it leaves as it is
PROGRAM_UPROBE, PROGRAM_PERF_EVENT, PROGRAM_RAW_TRACEPOINT = 2, 7, 17
_PROGRAM_TRACING, _TRACE_ITERATOR, _ITERATOR_CREATE = 26, 28, 33
_MAP_TYPE_PERCPU_ARRAY, _MAP_TYPE_RINGBUF = 6, 27
_MOST_CPUS = 1 << 14
_NO_EXIST = 1  # BPF_NOEXIST
ATTACH_UPROBE_MULTI = 48
_UPROBE_MULTI_RETURN = 1

_PERF_TYPE_SOFTWARE, _PERF_COUNT_SW_CPU_CLOCK, _PERF_COUNT_SW_TASK_CLOCK, _PERF_COUNT_SW_BPF_OUTPUT = 1, 0, 1, 10
_PERF_SAMPLE_RAW, _PERF_SAMPLE_REGS_USER, _PERF_SAMPLE_STACK_USER = 1 << 10, 1 << 12, 1 << 13
_PERF_FLAG_FD_CLOEXEC = 8
_PERF_ATTR_WATERMARK = 1 << 14
_PERF_ATTR_DISABLED, _PERF_ATTR_EXCLUDE_KERNEL = 1 << 0, 1 << 5
_PERF_IOC_ENABLE, _PERF_IOC_SET_BPF = 0x2400, 0x40042408

NOT_ALLOWED = (errno.EPERM, errno.EACCES, errno.ENOSYS)
"""What a system call that may not be made fails with: for want of rights, or for a seccomp profile (any of them)."""
RETURN_0 = bytes.fromhex("b700000000000000 9500000000000000")
"""The least program: r0 = 0; exit."""
# r1 = 0; *(u64 *)(r10 - 8) = r1; r1 = atomic_fetch_add((u64 *)(r10 - 8), r1); return 0
_FETCHING = bytes.fromhex("b701000000000000 7b1af8ff00000000 db1af8ff01000000") + RETURN_0
_PROBE_READ, _PROBE_READ_USER = 4, 112
_MOST_INTERRUPTIONS = 20
_VERIFIER_WORDS = 1 << 20
"""Bytes: what it says last, which tells why, is not in less of a long program."""

_ATTRIBUTES = 128
"""Bytes; what lies beyond those of a command has to be 0."""
_BATCH = struct.Struct("<QQQQIIQQ")
_BATCH_COUNT = struct.Struct("<32xI")
_IN_A_BATCH = 1 << 12

_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, attributes: bytes) -> int:
    return _bpf_in(command, ctypes.create_string_buffer(attributes.ljust(_ATTRIBUTES, b"\0"), _ATTRIBUTES))


def _bpf_in(command: int, attributes: ctypes.Array[ctypes.c_char]) -> int:
    """The same, where the kernel answers in its attributes."""
    result = int(_libc.syscall(_BPF_SYSCALL, command, attributes, _ATTRIBUTES))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


class Map:
    """One BPF map, read and written as bytes.

    value_size: of the buffer a look-up fills; for a per-CPU map, the value rounded up to 8 bytes
    times the number of possible CPUs.
    """

    def __init__(self, fd: int, key_size: int, value_size: int) -> None:
        self.fd = fd
        self._key = ctypes.create_string_buffer(key_size)
        self._value = ctypes.create_string_buffer(value_size)
        self._next = ctypes.create_string_buffer(key_size)
        self._element = struct.pack("<IIQQQ", fd, 0, *map(ctypes.addressof, (self._key, self._value)), 0)
        self._following = struct.pack("<IIQQ", fd, 0, *map(ctypes.addressof, (self._key, self._next)))

    def lookup(self, key: bytes) -> bytes | None:
        self._key.raw = key
        try:
            _bpf(_MAP_LOOKUP, self._element)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return self._value.raw

    def update(self, key: bytes, value: bytes) -> None:
        self._key.raw = key
        self._value.raw = value
        _bpf(_MAP_UPDATE, self._element)

    def add(self, key: bytes, value: bytes) -> None:
        """Unless there is one."""
        self._key.raw = key
        self._value.raw = value
        try:
            _bpf(_MAP_UPDATE, self._element[:-8] + struct.pack("<Q", _NO_EXIST))
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise

    def items(self) -> tuple[bytes, bytes]:
        """All keys of a hash table, one after the other, and all values.  Others may change it meanwhile: a new one can
        be missed."""
        try:
            return self._in_batches()
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSPC):  # before Linux 5.6; more in one bucket than in a batch
                raise
        found = [(key, value) for key in self if (value := self.lookup(key)) is not None]
        return b"".join(key for key, _ in found), b"".join(value for _, value in found)

    def _in_batches(self) -> tuple[bytes, bytes]:
        keys = ctypes.create_string_buffer(_IN_A_BATCH * len(self._key))
        values = ctypes.create_string_buffer(_IN_A_BATCH * len(self._value))
        place = ctypes.create_string_buffer(max(len(self._key), 8))
        at, *to = map(ctypes.addressof, (place, keys, values))
        attributes = ctypes.create_string_buffer(_ATTRIBUTES)
        all_keys, all_values, start, is_all = list[bytes](), list[bytes](), 0, False
        while not is_all:
            _BATCH.pack_into(attributes, 0, start, at, *to, _IN_A_BATCH, self.fd, 0, 0)
            try:
                _bpf_in(_MAP_LOOKUP_BATCH, attributes)
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise
                is_all = True
            (count,) = _BATCH_COUNT.unpack_from(attributes)
            all_keys.append(keys.raw[: count * len(self._key)])
            all_values.append(values.raw[: count * len(self._value)])
            start = at
        return b"".join(all_keys), b"".join(all_values)

    def __iter__(self) -> Iterator[bytes]:
        """Every key of a map that others may be changing meanwhile: a new one can be missed."""
        attributes = struct.pack("<IIQQ", self.fd, 0, 0, ctypes.addressof(self._next))
        while True:
            try:
                _bpf(_MAP_NEXT_KEY, attributes)
            except OSError as error:
                if error.errno == errno.ENOENT:
                    return
                raise
            key = self._next.raw
            yield key
            self._key.raw = key
            attributes = self._following


def create_map(kind: int, key_size: int, value_size: int, entries: int, flags: int, name: str) -> int:
    """A map of enum bpf_map_type; returns its descriptor.  Raises OSError."""
    shape = struct.pack("<IIIII", kind, key_size, value_size, entries, flags)
    attributes = shape + struct.pack("<II16s", 0, 0, name.encode()[:15])
    try:
        return _bpf(_MAP_CREATE, attributes)
    except PermissionError:
        if not _may_now_lock_memory():
            raise
        return _bpf(_MAP_CREATE, attributes)


def _may_now_lock_memory() -> bool:
    """Lifts the limit of what this process may lock, which maps count against before Linux 5.11.  False: it cannot,
    or there was none."""
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    if resource.getrlimit(resource.RLIMIT_MEMLOCK) == unlimited:
        return False
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, unlimited)
    except (OSError, ValueError):
        return False
    return True


def map_shape(fd: int) -> tuple[int, int, int, int, int]:
    """kind, key_size, value_size, entries, flags: as create_map takes them (struct bpf_map_info)."""
    information = ctypes.create_string_buffer(24)
    _bpf(_GET_INFO, struct.pack("<IIQ", fd, len(information), ctypes.addressof(information)))
    kind, _, *sizes = struct.unpack("<IIIIII", information.raw)
    return kind, sizes[0], sizes[1], sizes[2], sizes[3]


class Unverified(OSError):
    """The kernel did not load a program; said: what its verifier had to say."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(code, os.strerror(code))
        self.said = said


def load_program(kind: int, instructions: bytes, attach_type: int = 0, name: str = "", attach_function: int = 0) -> int:
    """Load a program of enum bpf_prog_type; returns its descriptor.  Raises Unverified.

    attach_function: of a program for one of the kernel's own functions, its number in the kernel's BTF.
    """
    code = ctypes.create_string_buffer(instructions, len(instructions))
    terms = ctypes.create_string_buffer(b"GPL")
    common = struct.pack("<IIQQ", kind, len(instructions) // 8, *map(ctypes.addressof, (code, terms)))
    end = struct.pack("<II16sII", _kernel_version(), 0, name.encode()[:15], 0, attach_type)
    end += struct.pack("<IIQIIQII", 0, 0, 0, 0, 0, 0, 0, attach_function)
    try:
        return _verified(common + struct.pack("<IIQ", 0, 0, 0) + end)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOMEM):
            raise Unverified(error.errno, "") from error
        said = ctypes.create_string_buffer(_VERIFIER_WORDS)
        try:  # again, to be told why
            return _verified(common + struct.pack("<IIQ", 1, len(said), ctypes.addressof(said)) + end)
        except OSError as reason:
            raise Unverified(reason.errno or errno.EINVAL, said.value.decode(errors="replace")) from error


def _verified(attributes: bytes) -> int:
    """The kernel's verifier gives up when a signal comes: a window that is resized, Ctrl-Z, a debugger."""
    for _ in range(_MOST_INTERRUPTIONS):
        with contextlib.suppress(BlockingIOError):
            return _bpf(_PROG_LOAD, attributes)
    return _bpf(_PROG_LOAD, attributes)


def load_iterator(instructions: bytes, function: int) -> int:
    """Load the program of an iterator; function: the number of the iterator's own in the kernel's BTF."""
    return load_program(_PROGRAM_TRACING, instructions, _TRACE_ITERATOR, attach_function=function)


def _kernel_version() -> int:
    """What kernels before 5.0 want to be told by a program of a uprobe."""
    numbers = [int(part) for part in re.findall(r"\d+", os.uname().release)[:3]] + [0, 0, 0]
    return numbers[0] << 16 | numbers[1] << 8 | min(numbers[2], 255)


def link_uprobe_multi(
    program: int, path: str, offsets: Sequence[int], cookies: Sequence[int], *, is_return: bool = False, pid: int = 0
) -> int:
    """Attach a program to offsets of a file at once; returns the link, detached by closing it.

    pid: only this process; 0: every process that maps the file.
    Raises OSError as the kernel does: the call is all or nothing.
    """
    count = len(offsets)
    name = ctypes.create_string_buffer(os.fsencode(path))
    places = (ctypes.c_uint64 * count)(*offsets)
    values = (ctypes.c_uint64 * count)(*cookies)
    attributes = struct.pack(
        "<IIIIQQQQIIi",
        program,
        0,
        ATTACH_UPROBE_MULTI,
        0,
        ctypes.addressof(name),
        ctypes.addressof(places),
        0,
        ctypes.addressof(values),
        count,
        _UPROBE_MULTI_RETURN if is_return else 0,
        pid,
    )
    return _bpf(_LINK_CREATE, attributes)


def open_iterator(program: int) -> int:
    """What runs an iterator's program when it is read; a descriptor.  Raises OSError as the kernel does."""
    link = _bpf(_LINK_CREATE, struct.pack("<IIII", program, 0, _TRACE_ITERATOR, 0))
    try:
        return _bpf(_ITERATOR_CREATE, struct.pack("<II", link, 0))
    finally:
        os.close(link)


def open_raw_tracepoint(name: str, program: int) -> int:
    """Run a program at a tracepoint; returns the link, detached by closing it.  Raises OSError as the kernel does."""
    text = ctypes.create_string_buffer(name.encode())
    return _bpf(_RAW_TRACEPOINT_OPEN, struct.pack("<QI", ctypes.addressof(text), program))


def recursion_misses(program: int) -> int:
    """How often a program was not run because it was running on that CPU already (known since Linux 5.12)."""
    information = ctypes.create_string_buffer(_PROG_INFO_MISSES + 8)
    _bpf(_GET_INFO, struct.pack("<IIQ", program, len(information), ctypes.addressof(information)))
    return int.from_bytes(information.raw[_PROG_INFO_MISSES:], "little")


class MultiSupport(Enum):
    """What the kernel knows of uprobe_multi links."""

    NONE = "none"  # before Linux 6.6
    BY_THREAD = "by thread"  # the pid filter of the first versions lets only that one thread through
    BY_PROCESS = "by process"


def uprobe_multi_support() -> MultiSupport:
    """Found by trying, as libbpf does (probe_uprobe_multi_link, v1.5): nothing is attached.

    Linking to a directory is refused with EBADF by a kernel that knows the link type; a negative
    pid with EINVAL by one whose pid filter was repaired.
    """
    try:
        program = load_program(PROGRAM_UPROBE, RETURN_0, ATTACH_UPROBE_MULTI)
    except OSError as error:
        if error.errno in NOT_ALLOWED:
            raise
        return MultiSupport.NONE
    try:
        if _link_error(program, 0) != errno.EBADF:
            return MultiSupport.NONE
        return MultiSupport.BY_PROCESS if _link_error(program, -1) == errno.EINVAL else MultiSupport.BY_THREAD
    finally:
        os.close(program)


def _link_error(program: int, pid: int) -> int | None:
    try:
        os.close(link_uprobe_multi(program, "/", [0], [0], pid=pid))
    except OSError as error:
        return error.errno
    return None


def read_user_helper() -> int:
    """The helper (enum bpf_func_id of linux/bpf.h) that reads a process' memory: one of its own since Linux 5.5, before
    that the one for all memory."""
    try:
        os.close(load_program(PROGRAM_UPROBE, _reads_by(_PROBE_READ_USER)))
    except OSError as error:
        if error.errno in NOT_ALLOWED:
            raise
        return _PROBE_READ
    return _PROBE_READ_USER


def _reads_by(helper: int) -> bytes:
    """r1 = r10 - 8; r2 = 8; r3 = 0; the call; r0 = 0; exit."""
    return (
        struct.pack(
            "<BBhi BBhi BBhi BBhi BBhi",
            *(0xBF, 0xA1, 0, 0),
            *(0x07, 0x01, 0, -8),
            *(0xB7, 0x02, 0, 8),
            *(0xB7, 0x03, 0, 0),
            *(0x85, 0x00, 0, helper),
        )
        + RETURN_0
    )


def has_ring_buffer() -> bool:
    """Whether the kernel knows BPF ring buffers (Linux 5.8)."""
    try:
        os.close(create_map(_MAP_TYPE_RINGBUF, 0, 0, mmap.PAGESIZE, 0, "events"))
    except OSError as error:
        if error.errno in NOT_ALLOWED:
            raise
        return False
    return True


def has_atomic_fetch() -> bool:
    """Whether an addition of a BPF program can tell the value before it, in one instruction (Linux 5.12)."""
    try:
        os.close(load_program(PROGRAM_UPROBE, _FETCHING))
    except OSError as error:
        if error.errno in NOT_ALLOWED:
            raise
        return False
    return True


def open_perf_output(cpu: int, watermark: int) -> int:
    """A perf event of one CPU that BPF programs write to; it wakes nobody below `watermark` bytes."""
    attributes = struct.pack(
        "<IIQQQQQII",
        _PERF_TYPE_SOFTWARE,
        112,
        _PERF_COUNT_SW_BPF_OUTPUT,
        1,
        _PERF_SAMPLE_RAW,
        0,
        _PERF_ATTR_WATERMARK,
        watermark,
        0,
    )
    return _open_perf_event(attributes, cpu)


def enable_perf_event(fd: int) -> None:
    """Let it count from now on."""
    fcntl.ioctl(fd, _PERF_IOC_ENABLE, 0)


def open_cpu_clock(cpu: int, period: int, program: int) -> int:
    """Run a program on one CPU every so many ns, whatever runs there; closed, it does no more.

    Raises OSError as the kernel does.
    """
    attributes = struct.pack(
        "<IIQQQQQII", _PERF_TYPE_SOFTWARE, 112, _PERF_COUNT_SW_CPU_CLOCK, period, 0, 0, _PERF_ATTR_DISABLED, 0, 0
    )
    fd = _open_perf_event(attributes, cpu)
    try:
        fcntl.ioctl(fd, _PERF_IOC_SET_BPF, program)
    except OSError:
        os.close(fd)
        raise
    return fd


def open_thread_clock(tid: int, period: int, registers: int, stack: int) -> int:
    """Sample a thread's registers (a mask of PERF_REG_X86_*) and so many bytes of its stack every so many ns that it
    runs; not while it is in the kernel.  Closed, it does no more.

    Needs no more rights than to trace the process where perf_event_paranoid is 2 or less.  Raises OSError as the kernel
    does.
    """
    samples, flags = _PERF_SAMPLE_REGS_USER | _PERF_SAMPLE_STACK_USER, _PERF_ATTR_EXCLUDE_KERNEL
    head = struct.pack(
        "<IIQQQQQII", _PERF_TYPE_SOFTWARE, 112, _PERF_COUNT_SW_TASK_CLOCK, period, samples, 0, flags, 1, 0
    )
    return _open_perf_event(head + struct.pack("<QQQQI", 0, 0, 0, registers, stack), -1, tid)


def _open_perf_event(attributes: bytes, cpu: int, tid: int = -1) -> int:
    buffer = ctypes.create_string_buffer(attributes.ljust(112, b"\0"), 112)
    fd = int(_libc.syscall(_PERF_EVENT_OPEN_SYSCALL, buffer, tid, cpu, -1, _PERF_FLAG_FD_CLOEXEC))
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return fd


def cpus(kind: str) -> list[int]:
    """CPU numbers that are "possible" or "online".  Raises OSError where they can be told by nothing."""
    try:
        with open(f"/sys/devices/system/cpu/{kind}", encoding="ascii") as file:
            text = file.read().strip()
    except FileNotFoundError:  # a container without /sys
        return list(range(_count_possible())) if kind == "possible" else _online()
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        numbers.extend(range(int(first), int(last or first) + 1))
    return numbers


def _count_possible() -> int:
    """As many as the kernel copies values of a per-CPU map, which of a new one are 0.  Raises OSError."""
    fd = create_map(_MAP_TYPE_PERCPU_ARRAY, 4, 8, 1, 0, "possible")
    try:
        key = ctypes.create_string_buffer(4)
        values = (ctypes.c_int64 * _MOST_CPUS)(*[-1] * _MOST_CPUS)
        _bpf(_MAP_LOOKUP, struct.pack("<IIQQQ", fd, 0, ctypes.addressof(key), ctypes.addressof(values), 0))
    finally:
        os.close(fd)
    return list(values).index(-1)


def _online() -> list[int]:
    with open("/proc/stat", encoding="ascii") as file:
        return [int(number) for number in re.findall(r"^cpu(\d+) ", file.read(), re.MULTILINE)]
