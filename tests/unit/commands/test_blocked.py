"""What is said of tasks that keep what others wait for, while they wait themselves."""

from __future__ import annotations

import numpy as np

from tracer.commands.blocked import waiting_for_nobody, waiting_for_waiting
from tracer.model import (
    Array,
    AwaitPoint,
    Binary,
    FunctionKind,
    Layout,
    LayoutKind,
    LinkKind,
    LinkRole,
    PollFunction,
    Process,
    Source,
    SourceLocation,
)
from tracer.output.task_list import TaskView
from tracer.snapshot.blocks import blocked
from tracer.snapshot.link_reading import LinksFound
from tracer.stacks import (
    CHANNEL,
    LINK,
    LINK_KINDS,
    LINK_ROLES,
    SNAPSHOT_TASK,
    Frame,
    LinkFlag,
    Snapshot,
    Stack,
    TaskLinks,
    TaskState,
)

OWN = SourceLocation("/srv/app/src/main.rs", 7)
CRATE = SourceLocation("/srv/.cargo/registry/src/x/axum-0.8.9/src/serve/mod.rs", 389)
BRANCHES = Stack((Frame(-1, 0, None, 3), Frame(0, 2, None, 3), Frame(0, 1, None, 3)))
"""A library's future with a branch of its own, and one (frame 2) that is the user's."""


def view_of(count: int, *has: tuple[int, LinkRole, LinkKind, LinkFlag, int, int]) -> tuple[TaskView, TaskLinks]:
    """Of tasks that wait in one stack.  has: (task, role, kind, flags, place, before)."""
    poll = PollFunction(1, 1, 1, "task axum::serve", FunctionKind.TASK, Source.SYMBOLS, ())
    layouts = tuple(
        Layout(name, LayoutKind.COROUTINE, Source.DWARF, 8, (), None, 0, (AwaitPoint(3, place, None),), place, name)
        for name, place in (("axum::serve", CRATE), ("app::limited", OWN), ("axum::closed", CRATE))
    )
    binary = Binary("x", None, "x86_64", 1, "dwarf", True, (poll,), layouts=layouts)
    tasks: Array = np.zeros(count, SNAPSHOT_TASK)
    tasks["header"], tasks["state"] = np.arange(1, count + 1) << 8, TaskState.WAITING
    snapshot = Snapshot(1, 1, tasks, (BRANCHES,))
    links = np.zeros(len(has), LINK)
    for link, (task, role, kind, flags, place, before) in zip(links, has, strict=True):
        link["task"], link["frame"], link["address"], link["size"] = task, 2, 0x1000, 0x40
        link["role"], link["kind"], link["flags"] = LINK_ROLES.index(role), LINK_KINDS.index(kind), flags
        link["target"], link["future"], link["place"], link["before"] = -1, -1, place, before
    found = LinksFound(links, np.empty(0, CHANNEL), np.ones(count, np.bool_), np.full(count, 2), 1)
    told = blocked(snapshot, found)
    return TaskView.of(Process(1, 1, "x", ("x",), "x", 0, 0), binary, snapshot, {}, told), told


def test_who_reads_behind_a_writer_waits_for_who_has_the_lock() -> None:
    reads = LinkFlag.CERTAIN | LinkFlag.SHARED
    view, links = view_of(
        4,
        (0, LinkRole.HOLDS, LinkKind.RWLOCK, reads, 0, 0),
        (1, LinkRole.WAITS, LinkKind.RWLOCK, LinkFlag.CERTAIN, 0x10, 0),
        (2, LinkRole.WAITS, LinkKind.RWLOCK, reads, 0x20, 0x10),
        (3, LinkRole.WAITS, LinkKind.RWLOCK, reads, 0x30, 0x20),
    )
    (one,) = waiting_for_waiting(view, links)
    assert (one.tasks, one.behind) == ((1 << 8,), (2 << 8, 3 << 8, 4 << 8))
    assert one.words.endswith("; 3 tasks wait for the lock")


def test_the_place_of_a_permit_that_nobody_has_is_the_users_own() -> None:
    view, links = view_of(1, (0, LinkRole.WAITS, LinkKind.SEMAPHORE, LinkFlag.CERTAIN, 0, 0))
    assert view.parked_at(view.snapshot.tasks[0]).location == CRATE
    (one,) = waiting_for_nobody(view, links)
    assert (one.function, one.location) == ("app::limited", OWN)
