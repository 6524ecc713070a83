"""Locks that are kept across awaits: whom it is told of, and what is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.unit.output.findings.made import START, TASK, deeper, recording, spans, summary_of, task, wait
from tracer.model import (
    AwaitPoint,
    Finding,
    Group,
    Layout,
    LayoutKind,
    Place,
    PlanChange,
    Source,
    SourceLocation,
    Spans,
)

KEPT, QUICK, LOCK, SEMAPHORE, TURNS, OTHER, NEXT_LOCK, SECOND_LOCK = 2, 3, 4, 5, 6, 8, 9, 10
"""Numbers of places: an await with a guard, the one after it; within those of a lock, of a semaphore, and of the lock
of a receiver; another await with a guard; one with a guard within that of the first lock, and of another one."""


def layout(name: str, *states: int, guards: tuple[int, ...] = ()) -> Layout:
    awaits = tuple(AwaitPoint(state, SourceLocation("src/store.rs", 10 + state), "app::load") for state in states)
    return Layout(name, LayoutKind.COROUTINE, Source.DWARF, 64, awaits=awaits, guards=guards)


LAYOUTS = (
    layout("app::refresh", 3, 4, guards=(3,)),
    layout("app::load"),
    layout("tokio::sync::mutex::Mutex<T>::lock<u64>"),
    layout("tokio::sync::semaphore::Semaphore::acquire"),
    layout("tokio::sync::mutex::Mutex<T>::lock<tokio::sync::mpsc::bounded::Receiver<u64>>"),
    layout("app::rebuild", 3, 4, 5, guards=(3, 4, 5)),
    layout("tokio::sync::mutex::Mutex<T>::lock<fn() -> String>"),
)
PLACES = (
    Place(0, TASK, 0, None, True),
    Place(1, TASK, 1, 3, False),
    Place(1, TASK, 1, 4, False),
    Place(0, TASK, 2, None, False),
    Place(0, TASK, 3, None, False),
    Place(0, TASK, 4, None, False),
    Place(0, TASK, 5, None, True),
    Place(7, TASK, 1, 4, False),
    Place(7, TASK, 2, 3, False),
    Place(7, TASK, 6, 5, False),
)


def at(place: int, row: np.void) -> np.void:
    """A wait at that place."""
    row["places"] = place
    return row


def keeps(number: int, length: float, holder: int = 1, place: int = KEPT) -> np.void:
    """Once in 100 ms, in the order of `number`."""
    return at(place, wait(100 * number, 100 * number + length, 100 * number + length, task=holder))


def wants(number: int, length: float, by: int = 1, task: int = 2, place: int = LOCK) -> np.void:
    """At the same time; the holder gives it back a bit later."""
    start = 100 * number
    return at(place, wait(start, start + length + 0.1, start + length + 0.2, task, by))


def found(*parts: Spans, changes: Sequence[PlanChange] = ()) -> Sequence[Finding]:
    made = recording()
    of = replace(made, plan=replace(made.plan, layouts=LAYOUTS, places=PLACES))
    return [one for one in summary_of(*parts, of=of, changes=changes).findings if one.rule == "held-lock"]


def test_who_keeps_it_is_told_and_where() -> None:
    waits = [one for number in range(50) for one in (keeps(number, 30), wants(number, 30))]
    (one,) = found(spans(waits=[*waits, keeps(50, 35), wants(50, 35)]))
    assert (one.function, str(one.where)) == ("app::refresh", "src/store.rs:13")
    assert (one.time, one.duration, one.task) == (START + 5_000_000_000, 35_000_000, 1)
    assert one.evidence == {
        "waits": 51,
        "waited_ns": 1_535_000_000,
        "longest_ns": 35_000_000,
        "kept_for": "app::load",
        "wanted_by": "task echo::conn::handle",
    }
    assert one.title.startswith("app::refresh waited for app::load and kept a lock meanwhile: 51 waits for it")


@pytest.mark.parametrize(("waits", "is_found"), [(9, False), (10, True)])
def test_ten_waits(waits: int, is_found: bool) -> None:
    rows = [one for number in range(waits) for one in (keeps(2 * number, 150), wants(2 * number, 150))]
    assert bool(found(spans(waits=rows))) is is_found


@pytest.mark.parametrize(("length", "is_found"), [(9.5, False), (10.5, True)])
def test_ten_milliseconds(length: float, is_found: bool) -> None:
    rows = [one for number in range(100) for one in (keeps(number, length), wants(number, length))]
    assert bool(found(spans(waits=rows))) is is_found


@pytest.mark.parametrize(("waits", "is_found"), [(24, False), (26, True)])
def test_a_tenth_of_the_run(waits: int, is_found: bool) -> None:
    rows = [one for number in range(waits) for one in (keeps(number, 40), wants(number, 40))]
    assert bool(found(spans(waits=rows))) is is_found


@pytest.mark.parametrize(("waits", "is_found"), [(13, False), (15, True)])
def test_a_tenth_of_the_time_in_which_wakes_were_probed(waits: int, is_found: bool) -> None:
    rows = [one for number in range(waits) for one in (keeps(number, 29), wants(number, 29))]
    without = PlanChange(START + 4_000_000_000, frozenset({Group.TASKS, Group.FUTURES}), "they cost too much")
    told = found(spans(waits=rows), changes=[without])
    assert [one.title.endswith(" in all, while wakes were probed") for one in told] == [True] * is_found


@pytest.mark.parametrize(("length", "is_found"), [(38, False), (42, True)])
def test_half_of_the_wait(length: float, is_found: bool) -> None:
    """The rest of the time it may have computed, or had the lock not yet."""
    rows = [one for number in range(50) for one in (keeps(number, length), wants(number, 80))]
    assert bool(found(spans(waits=rows))) is is_found


def test_what_waits_without_a_guard_keeps_none() -> None:
    rows = [one for number in range(50) for one in (keeps(number, 40, place=QUICK), wants(number, 40))]
    assert not found(spans(waits=rows))


def test_a_permit_is_to_be_kept() -> None:
    rows = [one for number in range(50) for one in (keeps(number, 40), wants(number, 40, place=SEMAPHORE))]
    assert not found(spans(waits=rows))


def test_workers_may_take_turns_with_a_receiver() -> None:
    rows = [one for number in range(50) for one in (keeps(number, 40), wants(number, 40, place=TURNS))]
    assert not found(spans(waits=rows))


def test_who_gave_it_back_is_to_blame_not_who_kept_another() -> None:
    rows = [one for number in range(50) for one in (keeps(number, 40), wants(number, 40, by=3))]
    assert not found(spans(waits=rows))


def test_those_behind_others_in_the_queue_count_too() -> None:
    """Each gives it to the next one at once; all have waited for the first one's await."""
    rows = []
    for number in range(30):
        rows += [keeps(number, 40), wants(number, 40), wants(number, 40.1, by=2, task=3)]
        rows.append(wants(number, 40.2, by=3, task=4))
    (one,) = found(spans(waits=rows))
    assert one.evidence["waits"] == 90
    assert one.task == 1


def test_a_wait_counts_once_however_many_rows_tell_of_it() -> None:
    rows = [one for number in range(50) for one in (keeps(number, 40), wants(number, 40))]
    more = [deeper(one) for one in rows]
    (one,) = found(spans(waits=[*rows, *more, *map(deeper, more)]))
    assert one.evidence["waits"] == 50
    assert one.evidence["waited_ns"] == pytest.approx(2_000_000_000, rel=1e-3)


def test_futures_tell_what_their_tasks_do_not() -> None:
    """Those of a `dyn Future`; the task's own wait tells who ended it."""
    rows = [one for number in range(50) for one in (keeps(number, 40), wants(number, 40))]
    futures = [deeper(one) for one in rows]
    (one,) = found(spans(waits=[*(at(0, row) for row in rows), *futures]))
    assert (one.evidence["waits"], one.evidence["wanted_by"], one.task) == (50, "echo::db::query", 1)


@pytest.mark.parametrize("holders", [2, 4, 20])
def test_where_all_keep_it_each_has_waited_for_all_before(holders: int) -> None:
    """One after the other: the last of them had it for a small part of a wait only."""
    length, rows = 20.0, []
    for number in range(400):
        end = 20 * (number + 1)
        task, giver = 10 + number % holders, 10 + (number - 1) % holders
        if number >= holders - 1:
            waited = at(LOCK, wait(end - length * holders, end - length, end - length + 0.01, task, giver))
            rows.append(waited)
        rows.append(at(KEPT, wait(end - length + 0.02, end - 0.01, end - 0.01, task)))
    (one,) = found(spans(waits=rows))
    assert one.evidence["waits"] == pytest.approx(400 - holders, abs=holders)
    assert one.evidence["longest_ns"] == pytest.approx((holders - 1) * 20_000_000, rel=0.01)


def test_what_lies_between_two_who_keep_it_is_not_kept() -> None:
    """Each has it for 24 ms, and waits for 20 of those: of a queue of ten the last one's wait is told so."""
    rows = []
    for number in range(400):
        end = 24 * (number + 1)
        if number >= 9:
            rows.append(at(LOCK, wait(end - 240, end - 24, end - 23.99, 10 + number % 10, 10 + (number - 1) % 10)))
        rows.append(at(KEPT, wait(end - 20, end - 0.01, end - 0.01, 10 + number % 10)))
    (one,) = found(spans(waits=rows))
    assert one.evidence["waits"] == pytest.approx(391, abs=10)
    assert one.evidence["longest_ns"] == pytest.approx(9 * 20_000_000, rel=0.05)


@pytest.mark.parametrize("futures", [False, True])
def test_who_waits_for_it_with_a_guard_of_its_own_does_not_keep_it(futures: bool) -> None:
    """Each has a lock that nobody else wants when it gets into the queue, and gives back both."""
    rows = []
    for number in range(400):
        end, of, by = 12 * (number + 1), 10 + number % 6, 10 + (number - 1) % 6
        if number >= 5:
            rows.append(at(NEXT_LOCK, wait(end - 60, end - 12, end - 11.99, of, by)))
        rows.append(at(KEPT, wait(end - 11.98, end - 0.01, end - 0.01, of)))
    if futures:  # the task's own rows do not lead further than to the future with the guard
        deep = [deeper(row) for row in rows if row["places"] == NEXT_LOCK]
        rows = [*(at(OTHER if row["places"] == NEXT_LOCK else KEPT, row) for row in rows), *(deep)]
    (one,) = found(spans(waits=rows))
    assert str(one.where) == "src/store.rs:13"
    assert one.evidence["waits"] == pytest.approx(395, abs=6)
    assert one.evidence["waited_ns"] == pytest.approx(395 * 48_000_000, rel=0.05)


def test_readers_that_let_in_the_next_one_did_not_keep_it() -> None:
    """Who has it lets in the first one, that one the second, and so on: each of them has a guard of its own."""
    rows = []
    for number in range(60):
        start = 60 * number
        rows.append(at(KEPT, wait(start, start + 20, start + 20, task=1)))
        for reader in range(1, 6):
            woken = start + 20 + 0.1 * reader
            rows.append(at(NEXT_LOCK, wait(start + 0.1, woken, woken + 0.05, 1 + reader, reader)))
    (one,) = found(spans(waits=rows))
    assert (str(one.where), one.evidence["waits"]) == ("src/store.rs:13", 300)
    assert int(one.evidence["waited_ns"]) <= sum(int(row["end"] - row["start"]) for row in rows if row["instance"] != 1)


def test_who_waits_for_another_lock_keeps_this_one() -> None:
    rows = [one for number in range(50) for one in (keeps(number, 30, place=SECOND_LOCK), wants(number, 30))]
    (one,) = found(spans(waits=rows))
    assert str(one.where) == "src/store.rs:15"


def test_one_hold_is_none_however_many_waited() -> None:
    rows = [keeps(0, 300), *(wants(0, 300, task=2 + number) for number in range(60))]
    assert not found(spans(waits=rows))


def test_each_await_has_its_own_part() -> None:
    """Two holders, one after the other, at different awaits."""
    rows = []
    for number in range(50):
        start = 100 * number
        rows.append(at(KEPT, wait(start, start + 40, start + 40, task=1)))
        rows.append(at(LOCK, wait(start + 1, start + 40.1, start + 40.2, 5, 1)))
        rows.append(at(OTHER, wait(start + 40.3, start + 65, start + 65, task=5)))
        rows.append(at(LOCK, wait(start + 2, start + 65.1, start + 65.2, 6, 5)))
    one, other = sorted(found(spans(waits=rows)), key=lambda finding: str(finding.where))
    assert (str(one.where), str(other.where)) == ("src/store.rs:13", "src/store.rs:14")
    assert (one.evidence["waits"], other.evidence["waits"]) == (100, 50)
    assert one.evidence["longest_ns"] == pytest.approx(39_000_000, rel=0.01)
    assert other.evidence["longest_ns"] == pytest.approx(24_700_000, rel=0.01)


def test_steps_do_not_matter_and_tasks_that_are_over_are_forgotten() -> None:
    parts = [
        spans(waits=[keeps(number, 40), wants(number, 40)], over=[task(2)] if number == 20 else [])
        for number in range(50)
    ]
    assert [one.evidence["waits"] for one in found(*parts)] == [50]
    gone = [spans(waits=[keeps(number, 40)], over=[task(1)]) for number in range(50)]
    late = [part for number, one in enumerate(gone) for part in (one, spans(waits=[wants(number, 40)]))]
    assert not found(*late)


def test_it_is_the_await_whatever_task_it_is_in() -> None:
    rows = [
        one for number in range(50) for one in (keeps(number, 40, holder=8 + number), wants(number, 40, 8 + number))
    ]
    assert [one.evidence["waits"] for one in found(spans(waits=rows))] == [50]


def test_without_types_or_wakes_it_is_not_judged() -> None:
    rows = [one for number in range(50) for one in (keeps(number, 40), wants(number, 40))]
    bare = recording()
    bare = replace(bare, plan=replace(bare.plan, layouts=()))
    summary = summary_of(spans(waits=rows), of=bare)
    assert "held-lock" in {one["rule"] for one in summary.as_json()["rules_not_judged"]}
    assert "held-lock" in {one["rule"] for one in summary_of(wakes=False).as_json()["rules_not_judged"]}
