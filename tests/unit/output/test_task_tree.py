"""What `tree` says of tasks that wait alike: what one of them holds is not said of the others."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from tracer.model import (
    Array,
    Binary,
    FunctionKind,
    Layout,
    LayoutKind,
    LinkKind,
    LinkRole,
    PollFunction,
    Process,
    Source,
)
from tracer.output.task_list import TaskView
from tracer.output.task_tree import _ids, print_tree
from tracer.stacks import (
    BLOCK,
    KEEPER,
    LINK,
    LINK_KINDS,
    LINK_ROLES,
    SNAPSHOT_TASK,
    Frame,
    LinkFlag,
    Snapshot,
    Stack,
    TaskFlag,
    TaskLinks,
    TaskState,
)

A, B = 0xA0, 0xB0
"""Of locks."""

MUTEX, SEMAPHORE = LinkKind.MUTEX, LinkKind.SEMAPHORE


def trees(
    count: int,
    *held: tuple[int, LinkKind, int],
    certain: bool = True,
    role: LinkRole = LinkRole.HOLDS,
    blocks: Array | None = None,
) -> list[str]:
    """What is said of tasks 1, 2 … that are in one stack, a text a tree.  held: (task, kind, address)."""
    poll = PollFunction(1, 1, 1, "task a::b", FunctionKind.TASK, Source.SYMBOLS, ())
    layout = Layout("a::b", LayoutKind.COROUTINE, Source.DWARF, 8, ())
    binary = Binary("x", None, "x86_64", 1, "dwarf", True, (poll,), layouts=(layout,))
    tasks = np.zeros(count, SNAPSHOT_TASK)
    tasks["id"] = np.arange(1, count + 1)
    tasks["header"] = tasks["id"] << 8
    tasks["state"] = TaskState.WAITING
    snapshot = Snapshot(1, 1, tasks, (Stack((Frame(-1, 0, None, 3),)),))
    links = np.zeros(len(held), LINK)
    for link, (task, kind, address) in zip(links, sorted(held), strict=True):
        link["task"], link["address"], link["target"], link["future"] = task - 1, address, -1, -1
        link["kind"], link["role"] = LINK_KINDS.index(kind), LINK_ROLES.index(role)
        link["flags"] = LinkFlag.CERTAIN if certain else 0
    found = TaskLinks(links, blocks if blocks is not None else np.empty(0, BLOCK), (), np.ones(count, np.bool_), 1)
    view = TaskView.of(Process(1, 1, "x", ("x",), "x", 0, 0), binary, snapshot, {}, found)
    written = io.StringIO()
    print_tree(view, tasks, [], Console(file=written, width=200))
    return written.getvalue().split("\n\n")[:-1]


def test_who_holds_a_lock_is_apart_from_those_that_do_not() -> None:
    others, holder = trees(6, (4, MUTEX, A))
    assert others.startswith("5 tasks: a::b  waiting  ids 1, 2, 3, 5, 6\n")
    assert "holding" not in others
    assert holder.startswith("a::b  waiting  id 4\n")
    assert "  holding the mutex at 0xa0" in holder


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ([7, 0, 3], "ids 3, 7, 0x2"),
        ([0, 0], "0x1, 0x2"),
        ([5], "id 5"),
        ([*range(1, 9), 0, 0], "ids 1, 2, 3, 4, 5, 6, 7, 8, … (2 more)"),
        ([0] * 10, "0x1, 0x2, 0x3, 0x4, 0x5, 0x6, 0x7, 0x8, … (2 more)"),
    ],
)
def test_each_is_named_by_its_id_or_else_by_its_place(ids: list[int], said: str) -> None:
    tasks = np.zeros(len(ids), SNAPSHOT_TASK)
    tasks["id"], tasks["header"] = ids, np.arange(1, len(ids) + 1)
    assert _ids(tasks).plain.strip() == said


def test_so_is_who_has_permits_or_may_hold_it() -> None:
    assert len(trees(2, (1, SEMAPHORE, A), (2, MUTEX, A))) == 2
    others, holder = trees(3, (2, MUTEX, A), certain=False)
    assert "holding" not in others
    assert "perhaps holding the mutex at 0xa0" in holder


def test_those_that_hold_each_one_of_their_own_are_together() -> None:
    (one,) = trees(3, (1, MUTEX, A), (2, MUTEX, B), (3, MUTEX, A))
    assert one.startswith("3 tasks: a::b  waiting  ids 1, 2, 3\n")
    assert "holding the mutex at 0xa0 (2 of 3)" in one
    assert "holding the mutex at 0xb0 (1 of 3)" in one


@pytest.mark.parametrize("times", [1, 2])
def test_what_all_of_them_have_is_said_of_all(times: int) -> None:
    (one,) = trees(2, *[(1, SEMAPHORE, A), (2, SEMAPHORE, A)] * times)
    assert one.endswith("with permits of the semaphore at 0xa0")


def test_who_has_what_is_waited_for_twice_is_told_once() -> None:
    """Two branches of one task, each with a sender: surely, where one of them surely has it."""
    blocks = np.zeros(3, BLOCK)
    blocks["by"], blocks["other"], blocks["is_certain"] = -1, [1, 1, 2], [False, True, False]
    waiting = trees(3, (1, MUTEX, A), role=LinkRole.WAITS, blocks=blocks)[0]
    assert "mutex at 0xa0, held by task 2 (a::b), perhaps task 3 (a::b)" in waiting


def kept_timers(*due: float) -> list[str]:
    """What is said of one task that keeps futures, by when each is due, in seconds from now."""
    poll = PollFunction(1, 1, 1, "task a::b", FunctionKind.TASK, Source.SYMBOLS, ())
    layouts = tuple(Layout(name, LayoutKind.COROUTINE, Source.DWARF, 8, ()) for name in ("a::b", "a::fetch"))
    binary = Binary("x", None, "x86_64", 1, "dwarf", True, (poll,), layouts=layouts)
    tasks = np.zeros(1, SNAPSHOT_TASK)
    tasks["id"], tasks["header"], tasks["state"] = 1, 1 << 8, TaskState.WAITING
    links = np.zeros(len(due), LINK)
    links["kind"], links["role"] = LINK_KINDS.index(LinkKind.TIMER), LINK_ROLES.index(LinkRole.WAITS)
    links["target"], links["future"], links["flags"] = -1, 1, LinkFlag.CERTAIN | LinkFlag.KEPT
    links["number"] = [round((10 + one) * 1e9) for one in due]
    found = TaskLinks(links, np.empty(0, BLOCK), (), np.ones(1, np.bool_), 10_000_000_000)
    snapshot = Snapshot(1, 1, tasks, (Stack((Frame(-1, 0, None, 3),)),))
    view = TaskView.of(Process(1, 1, "x", ("x",), "x", 0, 0), binary, snapshot, {}, found)
    assert view.links is not None
    return [words for _, words, _ in view.links.of(0)]


def test_futures_that_are_kept_are_counted() -> None:
    keeps = "a::fetch, which it keeps but does not poll"
    assert kept_timers(-2) == [f"due 2.00 s ago, by {keeps}"]
    assert kept_timers(-2, -2) == [f"due 2.00 s ago, by 2 {keeps}"]
    assert kept_timers(-1, -3, 0.5, -2) == [f"due 3.00 s ago … for another 500 ms, by 4 {keeps}"]


def finished(count: int, kept: int, *, joined: bool = True) -> str:
    """What is said of one task and `count` finished ones, of which it is known to keep so many."""
    polls = tuple(
        PollFunction(1, 1, 1, f"task {name}", FunctionKind.TASK, Source.SYMBOLS, ()) for name in ("a::b", "a::job")
    )
    layout = Layout("a::b", LayoutKind.COROUTINE, Source.DWARF, 8, ())
    binary = Binary("x", None, "x86_64", 1, "dwarf", True, polls, layouts=(layout,))
    tasks = np.zeros(1 + count, SNAPSHOT_TASK)
    tasks["id"] = np.arange(1, count + 2)
    tasks["header"] = tasks["id"] << 8
    tasks["state"], tasks["stack"], tasks["function"] = TaskState.COMPLETE, -1, 1
    tasks["flags"] = TaskFlag.JOINED if joined else 0
    tasks["state"][0], tasks["stack"][0], tasks["function"][0] = TaskState.WAITING, 0, 0
    keepers = np.zeros(kept, KEEPER)
    keepers["finished"] = np.arange(1, kept + 1)
    found = TaskLinks(np.empty(0, LINK), np.empty(0, BLOCK), (), np.ones(1 + count, np.bool_), 1, keepers)
    snapshot = Snapshot(1, 1, tasks, (Stack((Frame(-1, 0, None, 3),)),))
    view = TaskView.of(Process(1, 1, "x", ("x",), "x", 0, 0), binary, snapshot, {}, found)
    written = io.StringIO()
    print_tree(view, tasks, [], Console(file=written, width=200))
    return written.getvalue()


def test_who_keeps_finished_tasks_is_told() -> None:
    told = finished(25, 25)
    assert "25 tasks: a::job  complete, handle kept  ids 2, 3" in told
    assert "all handles are kept by task 1 (a::b)" in told
    assert told.endswith("\nfinished, and kept in memory by their handles: 25 a::job\n")


def test_what_is_not_known_of_them_is_said() -> None:
    told = finished(25, 7)
    assert "7 handles are kept by task 1 (a::b)" in told
    assert "18 handles are kept where no variable of a task is known to have it" in told
    assert "all handles are kept where no variable of a task is known to have it" in finished(3, 0)
    assert "finished, and kept" not in finished(3, 0)


def test_what_has_no_handle_is_kept_by_something_else() -> None:
    told = finished(25, 0, joined=False)
    assert "25 tasks: a::job  complete  ids" in told
    assert "nobody has its handle: a waker or an AbortHandle keeps it" in told
    assert "finished, and kept" not in told
