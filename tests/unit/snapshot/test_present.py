"""Which of the places that look like tasks are some."""

from __future__ import annotations

import struct

import pytest

from tests.memory_image import MadeMemory
from tracer.model import Binary, FunctionKind, PollFunction, Source
from tracer.snapshot.headers import HEADERS
from tracer.snapshot.read import SnapshotReader
from tracer.stacks import TaskState

CODE, DATA, HEAP = 0x1000, 0x4000, 0x10000
TASK, POINTERS = HEAP + 0x100, 0x200
TOKIO = HEADERS["tokio"]


def headers_found(state: int, pointers: int) -> list[tuple[int, int]]:
    """(header, state) of the tasks, where one header has this state word and so many pointers lead to it."""
    poll = PollFunction(CODE, CODE, 16, "f", FunctionKind.TASK, Source.SYMBOLS, (), runtime="tokio")
    binary = Binary("x", None, "x86_64", 1, "symbols", True, (poll,))
    heap = bytearray(0x1000)
    struct.pack_into("<QQQQ", heap, TASK - HEAP, state, 0, DATA, 1)
    struct.pack_into(f"<{pointers}Q", heap, POINTERS, *[TASK] * pointers)
    vtable = struct.pack("<8Q", CODE, *[0] * 6, 128)
    memory = MadeMemory({DATA: vtable.ljust(256, b"\0"), HEAP: bytes(heap)})
    found = SnapshotReader(binary, 0, memory, [(DATA, DATA + 256)]).take().tasks
    return [(int(one["header"]), int(one["state"])) for one in found]


@pytest.mark.parametrize(("references", "pointers"), [(1, 1), (2, 2), (2, 5)])
def test_a_complete_task_is_there_while_it_is_referenced(references: int, pointers: int) -> None:
    state = references * TOKIO.reference | TOKIO.complete | TOKIO.joined
    assert headers_found(state, pointers) == [(TASK, TaskState.COMPLETE)]


@pytest.mark.parametrize(
    ("state", "pointers"),
    [
        (0x393A, 3),  # two characters, where a task was: 228 references
        (2 * TOKIO.reference | TOKIO.complete, 1),
        (TOKIO.reference | TOKIO.complete, 0),
    ],
)
def test_what_looks_complete_and_lacks_its_references_is_gone(state: int, pointers: int) -> None:
    assert headers_found(state, pointers) == []
