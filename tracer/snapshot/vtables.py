"""The tables of functions by which memory tells of which type something is: those of tasks, and of futures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from tracer.model import Binary, EndKind, FunctionKind, PollFunction
from tracer.snapshot.headers import HEADERS
from tracer.snapshot.image import Image
from tracer.target.memory import Addresses, Memory

_CHUNK = 1 << 22
_POLL_SLOT = 24
"""Of a `dyn Future`'s vtable: {drop, size, align, poll}; rustc 1.63 to 1.97."""

_TABLE = 11
"""Words of tokio's tables, about."""

_TOKIO_SLOTS = {EndKind.FREED: 2, EndKind.SHUTDOWN: 6}
"""tokio 1.25 to 1.54, runtime/task/raw.rs: the words of the table after that of the poll that are these functions."""

_MAX_ALIGN = 1 << 29
"""The largest that rustc allows."""


class FutureVtables:
    """Which poll function a `dyn Future` has.  bias: run-time address minus link-time address."""

    def __init__(self, binary: Binary, bias: int) -> None:
        self._binary = binary
        self._bias = bias
        self._polls = {
            function.address: index
            for index, function in enumerate(binary.functions)
            if function.kind is not FunctionKind.TASK
        }
        self._known: dict[int, int | None] = {}

    def function(self, image: Image, vtable: int) -> int | None:
        """Index into Binary.functions; None when it is no vtable of a future, or of one whose poll is not known."""
        if vtable not in self._known:
            self._known[vtable] = self._look_up(image, vtable)
        return self._known[vtable]

    def _look_up(self, image: Image, vtable: int) -> int | None:
        content, known = image.bytes_at(np.array([vtable], np.uint64), _POLL_SLOT + 8)
        if vtable % 8 or not known[0]:
            return None
        _, size, align, poll = (int(word) for word in content.view("<u8")[0])
        index = self._polls.get(poll - self._bias)
        if index is None or align & (align - 1) or not 0 < align <= _MAX_ALIGN or size % align:
            return None
        layout = self._binary.functions[index].layout
        if layout is not None and self._binary.layouts[layout].size != size:
            return None  # two futures of one code, or none at all
        return index


def task_vtables(binary: Binary, bias: int, memory: Memory, constants: Iterable[tuple[int, int]]) -> dict[int, int]:
    """By run-time address of a task's vtable the index of its poll in Binary.functions.

    constants: (start, end) of the parts of the process' memory that hold the executable's data.
    Raises NoSuchProcess, PermissionMissing.
    """
    polls = {
        function.address + bias: index
        for index, function in enumerate(binary.functions)
        if function.kind is FunctionKind.TASK and function.runtime in HEADERS and not is_unlisted(function)
    }
    wanted = np.array(sorted(polls), np.uint64)
    found: dict[int, int] = {}
    for start, words in _words(memory, constants) if polls else ():
        near = np.flatnonzero((words >= wanted[0]) & (words <= wanted[-1]))
        for place in near[np.isin(words[near], wanted)].tolist():
            index = polls[int(words[place])]
            header = HEADERS[str(binary.functions[index].runtime)]
            found[start + 8 * place - header.poll_slot] = index
    return found


def has_other_layout(binary: Binary, bias: int, memory: Memory, vtables: Iterable[int]) -> bool:
    """Whether tokio's tables of functions are surely not laid out as HEADERS has it, nor is anything of its tasks then.

    vtables: as task_vtables() yields them.  Around a task's poll there are other functions of the table that are known,
    but in none of the tables where they have to be.  Raises NoSuchProcess, PermissionMissing.
    """
    tokio = np.array(sorted(vtables), np.uint64)
    starts = tokio - np.uint64(8 * _TABLE)
    content, is_whole = memory.fill(starts, np.full(len(starts), 8 * (2 * _TABLE + 1), np.uint64))
    tables = content.view("<u8").reshape(-1, 2 * _TABLE + 1)[is_whole]
    for kind, slot in _TOKIO_SLOTS.items():
        known = np.array([one.address + bias for one in binary.ends if one.kind is kind], np.uint64)
        is_there = np.isin(tables, known)
        if is_there.any() and not is_there[:, _TABLE + slot].any():
            return True
    return False


def is_unlisted(function: PollFunction) -> bool:
    """tokio's blocking jobs are in none of the lists that tell a task from its remains."""
    return function.is_job and function.runtime == "tokio"


def _words(memory: Memory, parts: Iterable[tuple[int, int]]) -> Iterator[tuple[int, Addresses]]:
    """(address, words), as the loader has left them."""
    for begin, end in parts:
        for start in range(-(-begin // 8) * 8, end - 7, _CHUNK):
            size = min(_CHUNK, end - start) // 8 * 8
            content, is_whole = memory.fill(np.array([start], np.uint64), np.array([size], np.uint64))
            if is_whole[0]:
                yield start, content.view("<u8")
