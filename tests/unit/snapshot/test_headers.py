"""Where tasks are looked for."""

from __future__ import annotations

import struct
from dataclasses import replace

from tests.memory_image import MadeMemory
from tracer.model import Mapping
from tracer.snapshot.headers import HEADERS, find_headers

HEAP, STACK, VTABLE = 0x10000, 0x80000, 0x5550


class WithStack(MadeMemory):
    """One of its areas is the main thread's stack."""

    def mappings(self) -> list[Mapping]:
        return [replace(one, path="[stack]") if one.start == STACK else one for one in super().mappings()]


def test_what_a_task_was_made_of_on_the_stack_is_none() -> None:
    """With a word that says that it is complete it would be one that nobody owns any more."""
    header = HEADERS["tokio"]
    task = struct.pack("<QQQ", 0x40 | header.complete, 0, VTABLE).ljust(64, b"\0")
    memory = WithStack({HEAP: bytes(64) + task, STACK: task + bytes(64)})
    headers, functions, _ = find_headers(memory, {VTABLE: 7}, {7: "tokio"})
    assert (headers.tolist(), functions.tolist()) == ([HEAP + 64], [7])
