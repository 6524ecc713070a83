"""What is loaded in the kernel, and by whom: bpftool's view of it, as far as leaks go."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_BPF = 321  # the system call's number on x86-64
_NEXT_ID = {"prog": 11, "map": 12, "link": 31}  # BPF_*_GET_NEXT_ID
_HELD = re.compile(r"^(prog|map|link)_id:\s+(\d+)$", re.MULTILINE)

Objects = frozenset[tuple[str, int]]
"""Kind and number."""


def loaded() -> Objects:
    """All programs, maps and links."""
    return frozenset((kind, number) for kind in _NEXT_ID for number in _numbers(kind))


def unheld() -> Objects:
    """Those that no process has a descriptor of: pinned, used by the kernel itself, on their way out, or leaked."""
    there = loaded()  # first: what is made from here on is not in question
    return there - _held()


def _numbers(kind: str) -> Iterator[int]:
    libc = ctypes.CDLL(None, use_errno=True)
    number = 0
    while True:
        attributes = ctypes.create_string_buffer(struct.pack("<III", number, 0, 0), 128)
        if libc.syscall(_BPF, _NEXT_ID[kind], attributes, 128) < 0:
            code = ctypes.get_errno()
            if code == errno.ENOENT:
                return
            raise OSError(code, os.strerror(code))
        number = struct.unpack_from("<I", attributes.raw, 4)[0]
        yield number


def _held() -> Objects:
    """As /proc says of every process' descriptors."""
    found: set[tuple[str, int]] = set()
    for name in os.listdir("/proc"):
        if name.isdecimal():
            found |= _held_by(Path("/proc") / name)
    return frozenset(found)


def _held_by(process: Path) -> set[tuple[str, int]]:
    found: set[tuple[str, int]] = set()
    with suppress(OSError):  # it ended
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):  # it was closed
                if str(descriptor.readlink()).startswith("anon_inode:bpf"):
                    text = (process / "fdinfo" / descriptor.name).read_text()
                    found.update((kind, int(number)) for kind, number in _HELD.findall(text))
    return found
