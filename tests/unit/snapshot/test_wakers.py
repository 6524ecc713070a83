"""Which waiting tasks have no waker, by what their memory counts."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest

from tests.captures import EVERYTHING
from tests.memory_image import MadeMemory
from tracer.model import Binary, FunctionKind, Mapping
from tracer.snapshot.wakers import without_wakers
from tracer.stacks import SNAPSHOT_TASK, Snapshot, TaskState

HEADER = 0x1000
_OWNER = 7


def binary_of(runtime: str, type_: str | None = "RawTask<server::handle>") -> Binary:
    """type_: of its tasks; None: it has no debug information."""
    binary = EVERYTHING.plan.binaries[0]
    layout = None if type_ is None else 0
    function = replace(binary.functions[0], kind=FunctionKind.TASK, runtime=runtime, layout=layout)
    return replace(binary, functions=(function,), layouts=(replace(binary.layouts[0], name=type_ or ""),))


def found(binary: Binary, *memories: bytes) -> list[int]:
    """Of one task, told to be waiting; memories: its header at each reading."""
    tasks = np.zeros(1, SNAPSHOT_TASK)
    tasks["header"], tasks["state"] = HEADER, TaskState.WAITING
    contents = iter([*memories, memories[-1]])

    class Changing(MadeMemory):
        def mappings(self) -> list[Mapping]:  # asked for at the begin of each reading
            self.areas[HEADER] = next(contents)
            return super().mappings()

    memory = Changing({HEADER: memories[0]})
    return without_wakers(binary, memory, Snapshot(1, 1, tasks, ())).tolist()  # type: ignore[no-any-return]


def tokio(references: int, bits: int = 0) -> bytes:
    """state, queue_next, vtable, owner, and what follows."""
    return struct.pack("<QQQQ", 64 * references | bits, 0, 0x9000, _OWNER).ljust(128, b"\0")


def async_task(references: int, bits: int = 0) -> bytes:
    """vtable, state, awaiter."""
    return struct.pack("<QQQ", 0x9000, 256 * references | bits, 0).ljust(128, b"\0")


JOINED, RUNNING, NOTIFIED, COMPLETE = 8, 1, 4, 2
TASK = 16


@pytest.mark.parametrize(
    ("content", "is_found"),
    [
        (tokio(1), True),
        (tokio(2), False),
        (tokio(2, JOINED), True),
        (tokio(3, JOINED), False),
        (tokio(1, JOINED), False),
        (tokio(2, JOINED | NOTIFIED), False),
        (tokio(1, RUNNING), False),
        (tokio(1, COMPLETE), False),
    ],
)
def test_tokio_and_the_handle_have_one_each(content: bytes, is_found: bool) -> None:
    assert bool(found(binary_of("tokio"), content)) is is_found


@pytest.mark.parametrize(
    ("type_", "content", "is_found"),
    [
        ("RawTask<server::handle>", async_task(0, TASK), True),
        ("RawTask<server::handle>", async_task(1, TASK), False),
        ("RawTask<async_executor::AsyncCallOnDrop<server::handle>>", async_task(1, TASK), True),
        ("RawTask<async_executor::AsyncCallOnDrop<server::handle>>", async_task(2, TASK), False),
        ("RawTask<server::handle>", async_task(0, TASK | 1), False),  # scheduled
        ("RawTask<server::handle>", async_task(0, TASK | 2), False),  # running
        (None, async_task(0, TASK), False),
    ],
)
def test_async_tasks_handle_has_none_and_the_executor_one(type_: str | None, content: bytes, is_found: bool) -> None:
    assert bool(found(binary_of("async-task", type_), content)) is is_found


def test_tokio_needs_no_debug_information() -> None:
    assert found(binary_of("tokio", None), tokio(1)) == [0]


def test_a_state_that_changes_is_none() -> None:
    """It can be another task by then."""
    assert found(binary_of("tokio"), tokio(1), tokio(1)) == [0]
    assert found(binary_of("tokio"), tokio(1), tokio(2)) == []
    assert found(binary_of("tokio"), tokio(1), tokio(2, JOINED)) == []
