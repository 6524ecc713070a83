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


def binary_of(runtime: str, name: str = "task server::handle") -> Binary:
    binary = EVERYTHING.plan.binaries[0]
    function = replace(binary.functions[0], kind=FunctionKind.TASK, runtime=runtime, name=name)
    return replace(binary, functions=(function,))


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
    ("name", "content", "is_found"),
    [
        ("task server::handle", async_task(0, TASK), True),
        ("task server::handle", async_task(1, TASK), False),
        ("task async_executor::AsyncCallOnDrop<server::handle>", async_task(1, TASK), True),
        ("task async_executor::AsyncCallOnDrop<server::handle>", async_task(2, TASK), False),
        ("task server::handle", async_task(0, TASK | 1), False),  # scheduled
        ("task server::handle", async_task(0, TASK | 2), False),  # running
    ],
)
def test_async_tasks_handle_has_none_and_the_executor_one(name: str, content: bytes, is_found: bool) -> None:
    assert bool(found(binary_of("async-task", name), content)) is is_found


def test_a_state_that_changes_is_none() -> None:
    """It can be another task by then."""
    assert found(binary_of("tokio"), tokio(1), tokio(1)) == [0]
    assert found(binary_of("tokio"), tokio(1), tokio(2)) == []
    assert found(binary_of("tokio"), tokio(1), tokio(2, JOINED)) == []
