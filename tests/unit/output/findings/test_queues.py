"""Waits in line: how long they must be, and whose doing their end is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.unit.output.findings.made import ACCEPT, QUERY, START, TASK, deeper, recording, spans, summary_of, wait
from tracer.model import (
    AwaitPoint,
    Finding,
    Layout,
    LayoutKind,
    Place,
    Severity,
    Source,
    SourceLocation,
    Spans,
    WaitFlag,
)

PERMIT, ROOM, OTHER, POOLED, ELSEWHERE = 2, 4, 5, 7, 8
"""Numbers of places."""
POOL = "/srv/b/.cargo/registry/src/i/pool-1.0.0/src/pool.rs"


def layout(name: str, *states: int, file: str = "src/fetch.rs") -> Layout:
    awaits = tuple(AwaitPoint(state, SourceLocation(file, 10 + state), "app::load") for state in states)
    return Layout(name, LayoutKind.COROUTINE, Source.DWARF, 64, awaits=awaits)


LAYOUTS = (
    layout("app::fetch", 3, 4, 5),
    layout("tokio::sync::semaphore::Semaphore::acquire"),
    layout("tokio::sync::mpsc::bounded::Sender<T>::send<u64>"),
    layout("tokio::sync::batch_semaphore::Acquire"),
    layout("tokio::sync::mpsc::bounded::Receiver<T>::recv<u64>"),
    layout("pool::Pool::get", 3, file=POOL),
)
PLACES = (
    Place(0, TASK, 0, None, True),
    Place(1, TASK, 1, 3, False),
    Place(1, TASK, 2, 4, False),
    Place(3, TASK, 3, 3, False),
    Place(1, TASK, 4, 5, False),
    Place(0, QUERY, 5, None, True),
    Place(6, QUERY, 1, 3, False),
    Place(1, TASK, 4, 3, False),
)


def line(
    length: float, count: int, place: int = PERMIT, by: int = 2, tasks: int = 3, first: float = 0, flags: int = 0
) -> list[np.void]:
    """So many waits of some tasks each, in ms, with one between them, from `first` on; who ends them runs ACCEPT."""
    rows = []
    for number in range(count):
        start = first + number * (length + 1)
        for task in range(tasks):
            row = wait(start, start + length if by else None, start + length, 10 + task, by, flags=flags)
            row["places"], row["woken_by_function"] = place, ACCEPT
            rows.append(row)
    return rows


def found(*parts: Spans) -> Sequence[Finding]:
    made = recording()
    of = replace(made, plan=replace(made.plan, layouts=LAYOUTS, places=PLACES))
    return [one for one in summary_of(*parts, of=of).findings if one.rule == "long-queue"]


def test_what_is_wanted_where_and_who_gives_it() -> None:
    (one,) = found(spans(waits=[*line(100, 80), *line(150, 1, first=9000)]))
    assert (one.severity, one.function, str(one.where)) == (Severity.INFO, "task echo::conn::handle", "src/fetch.rs:13")
    assert (one.time, one.duration) == (START + 9_000_000_000, 150_000_000)
    assert one.evidence == {
        "waits": 243,
        "waited_ns": 24_450_000_000,
        "longest_ns": 150_000_000,
        "ended_by_tasks": 243,
        "ended_mostly_by": "echo::accept_loop",
    }
    assert one.title == (
        "243 waits for a permit of a semaphore, up to 150 ms, 24.4 s in all, mostly ended by echo::accept_loop"
    )


def test_room_in_a_channel_but_no_message() -> None:
    (one,) = found(spans(waits=line(100, 90, place=ROOM)))
    assert one.title.startswith("270 waits for room in a channel")
    assert str(one.where) == "src/fetch.rs:14"
    assert not found(spans(waits=line(100, 90, place=OTHER)))


@pytest.mark.parametrize(("tasks", "count", "is_found"), [(1, 79, False), (1, 81, True), (20, 79, False)])
def test_somebody_had_to_wait_nearly_all_the_time(tasks: int, count: int, is_found: bool) -> None:
    """However many there were: a burst of many is none."""
    assert bool(found(spans(waits=line(100, count, tasks=tasks)))) is is_found


@pytest.mark.parametrize(("length", "is_found"), [(9.9, False), (10.1, True)])
def test_ten_milliseconds(length: float, is_found: bool) -> None:
    assert bool(found(spans(waits=line(length, 890, tasks=1)))) is is_found


@pytest.mark.parametrize(("tasks", "is_found"), [(9, False), (10, True)])
def test_ten_waits(tasks: int, is_found: bool) -> None:
    assert bool(found(spans(waits=line(9000, 1, tasks=tasks)))) is is_found


def test_what_never_ends_counts_and_is_nobodys() -> None:
    (one,) = found(spans(waits=line(9000, 1, tasks=12, by=0, flags=int(WaitFlag.END_UNKNOWN))))
    assert one.evidence == {
        "waits": 12, "waited_ns": 108_000_000_000, "longest_ns": 9_000_000_000, "waits_cut": 12, "ended_by_tasks": 0,
    }  # fmt: skip
    assert one.title.endswith("in all")


def test_a_wait_counts_once_however_many_rows_tell_of_it() -> None:
    rows = line(100, 90)
    more = [deeper(one) for one in rows]
    (one,) = found(spans(waits=[*rows, *more, *map(deeper, more)]))
    assert (one.evidence["waits"], one.evidence["waited_ns"]) == (270, 27_000_000_000)


def test_a_future_tells_what_its_task_does_not() -> None:
    """That of a `dyn Future`; the task's own wait tells who ended it."""
    tasks = line(100, 90)
    futures = [deeper(one) for one in tasks]
    for row in tasks:
        row["places"] = 0
    (one,) = found(spans(waits=[*tasks, *futures]))
    assert (one.function, one.task) == ("echo::db::query", 10)
    assert (one.evidence["waits"], one.evidence["ended_mostly_by"]) == (270, "echo::accept_loop")


def test_steps_do_not_matter() -> None:
    rows = line(100, 90)
    assert found(spans(waits=rows)) == found(*(spans(waits=rows[at : at + 7]) for at in range(0, len(rows), 7)))


def pooled(rows: Sequence[np.void], outside: int = OTHER) -> list[np.void]:
    """The future of a library waits for them, in tasks that wait for it at another place."""
    made = []
    for row in rows:
        inner = deeper(row)
        inner["places"], row["places"] = POOLED, outside
        made += [row, inner]
    return made


def test_the_line_is_the_users_own_where_a_library_waits_for_it() -> None:
    (one,) = found(spans(waits=pooled(line(100, 80))))
    assert (one.evidence["waits"], str(one.where)) == (240, "src/fetch.rs:15")
    assert one.function == "task echo::conn::handle"


def test_open_waits_are_where_the_others_were() -> None:
    """Nobody saw where the futures around stood; all end when the recording does, in any order."""
    still = line(1000, 1, by=0, first=9000, flags=int(WaitFlag.END_UNKNOWN))
    for row in (late := pooled(still, outside=0)):
        row["end"] = START + 10_000_000_000
    (one,) = found(spans(waits=[*pooled(line(100, 80)), *late[::-1]]))
    assert (one.evidence["waits"], str(one.where)) == (243, "src/fetch.rs:15")
    elsewhere = line(100, 80, tasks=2)
    for row in elsewhere:
        row["instance"], row["task"] = row["instance"] + 10, row["task"] + 10
    two = found(spans(waits=[*pooled(line(100, 80)), *pooled(elsewhere, outside=ELSEWHERE), *late]))
    assert {(one.evidence["waits"], str(one.where)) for one in two} == {
        (240, "src/fetch.rs:15"), (160, "src/fetch.rs:13")
    }  # fmt: skip


def test_the_longest_may_have_lasted_longer() -> None:
    open_ones = line(1900, 1, by=0, first=8100, flags=int(WaitFlag.END_UNKNOWN))
    (one,) = found(spans(waits=[*line(100, 80), *open_ones]))
    assert "up to 1.90 s or more, " in one.title
    assert one.evidence["waits_cut"] == 3
    (one,) = found(spans(waits=[*line(100, 80), *line(50, 1, by=0, first=9000, flags=int(WaitFlag.END_UNKNOWN))]))
    assert "up to 100 ms, " in one.title
