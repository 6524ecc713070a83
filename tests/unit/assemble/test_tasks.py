"""What makes a task one task, and what is known of its end, on events written by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.captures import START, busy_plan, recording_of
from tracer.assemble import begin, finish, step
from tracer.model import (
    EVENT,
    PARKED,
    TASK_ID_RECORD,
    Array,
    CaptureEnd,
    EventFlag,
    Group,
    MemoryReading,
    Outcome,
    Plan,
    PlanChange,
    ProcessEnd,
    Spans,
    TaskAtRest,
    WaitFlag,
)

HEADER = 0xAA00
ENTER_TASK, LEAVE_TASK, ENTER_OTHER, ENTER_PLAIN, LEAVE_PLAIN = 0, 1, 9, 5, 6
COMPLETE, SHUTDOWN, DROP_PLAIN = 15, 16, 17
SAME, NEW = EventFlag.TASK_ID, EventFlag.TASK_ID | EventFlag.NEW_TASK_ID
PENDING, READY = EventFlag.RESULT | EventFlag.PENDING, EventFlag.RESULT


def event(time: int, sp: int, probe: int, self_: int = 0, flags: int = 0, tid: int = 1) -> Array:
    known = EventFlag.SELF if self_ else 0
    return np.array([(START + time, sp, self_, tid, 0, probe, 0, 0, flags | known)], EVENT)


def poll(time: int, id_: int | None = None, *, flags: int = 0, tid: int = 1, header: int = HEADER) -> list[Array]:
    """A task poll of 10 ns; with an id the record that tells it."""
    record = [event(time, id_, TASK_ID_RECORD, header, SAME, tid)] if id_ else []
    told = int(NEW) if id_ else flags
    return [*record, event(time, 900, ENTER_TASK, header, told, tid), event(time + 10, 900, LEAVE_TASK, tid=tid)]


PLAN = replace(busy_plan(), probes=busy_plan().probes[:COMPLETE], ends=())
"""Of a program that has no functions at which lives are known to end."""


def run(items: list[Any], end: int = 1000, plan: Plan = PLAN) -> Spans:
    state, parts = begin(recording_of(plan)), []
    for item in items:
        state, spans = step(state, item)
        parts.append(spans)
    state, spans = finish(state, CaptureEnd(START + end, "", 0, 0))
    parts.append(spans)
    return Spans(
        *(np.concatenate([getattr(one, name) for one in parts]) for name in ("polls", "waits", "begun", "over"))
    )


def outcomes(spans: Spans) -> list[tuple[int, int, Outcome]]:
    """(id, polls, outcome) in the order of first polls."""
    rows = np.sort(spans.over, order="task")
    return [(int(row["id"]), int(row["polls"]), Outcome(row["outcome"])) for row in rows]


def test_an_address_with_another_id_is_another_task() -> None:
    spans = run([*poll(0, 7), *poll(20, flags=SAME), *poll(40, 8), *poll(60, flags=SAME, tid=2)])
    assert outcomes(spans) == [(7, 2, Outcome.REPLACED), (8, 2, Outcome.UNKNOWN)]
    assert spans.begun["id"].tolist() == [7, 8]
    assert [(w["start"] - START, w["end"] - START, w["flags"] & WaitFlag.AMBIGUOUS) for w in spans.waits] == [
        (10, 20, 0),
        (50, 60, 0),
    ]
    first, second = np.sort(spans.over, order="task")
    assert (first["first"], first["last"], first["busy"], first["longest"], first["waiting"]) == (
        START,
        START + 30,
        20,
        10,
        10,
    )
    assert (first["header"], second["header"]) == (HEADER, HEADER)


def test_an_id_told_again_is_the_same_task() -> None:
    spans = run([*poll(0, 7), *poll(20, 7), *poll(40, 7, tid=2)])
    assert outcomes(spans) == [(7, 3, Outcome.UNKNOWN)]


def test_an_id_whose_record_is_lost_is_unknown() -> None:
    """Not the id told before, and not the same task; the one told next is."""
    spans = run([*poll(0, 7), *poll(20, flags=NEW), *poll(40, 9), *poll(60, flags=SAME)])
    assert outcomes(spans) == [(7, 1, Outcome.UNKNOWN), (0, 1, Outcome.UNKNOWN), (9, 2, Outcome.UNKNOWN)]


def test_a_record_belongs_to_the_entry_of_its_own_thread() -> None:
    """Other threads' events of the same time may stand between, and the end of a block."""
    here, there = poll(0, 7), poll(0, 8, tid=2, header=HEADER + 512)
    spans = run([here[0], there[0], there[1], here[1], here[2], there[2]])
    assert sorted(outcomes(spans)) == [(7, 1, Outcome.UNKNOWN), (8, 1, Outcome.UNKNOWN)]
    merged = run([np.concatenate([here[0], there[0], there[1], here[1], here[2], there[2]])])
    assert merged.over.tolist() == spans.over.tolist()


def test_an_id_joins_what_a_pause_has_parted() -> None:
    pause = [PlanChange(START + 30, frozenset(), ""), PlanChange(START + 40, frozenset(Group), "")]
    assert outcomes(run([*poll(0, 7), *pause, *poll(50, flags=SAME)])) == [(7, 2, Outcome.UNKNOWN)]
    assert [polls for _, polls, _ in outcomes(run([*poll(0), *pause, *poll(50)]))] == [1, 1]


def with_future(time: int, result: int, self_: int, id_: int | None = None, flags: int = 0) -> list[Array]:
    """A task poll that polls a future of the task's type."""
    record = [event(time, id_, TASK_ID_RECORD, HEADER, SAME)] if id_ else []
    return [
        *record,
        event(time, 900, ENTER_TASK, HEADER, int(NEW) if id_ else flags),
        event(time + 1, 800, ENTER_PLAIN, self_),
        event(time + 9, 800, LEAVE_PLAIN, flags=result),
        event(time + 10, 900, LEAVE_TASK),
    ]


def test_the_result_of_its_own_future_is_the_tasks() -> None:
    inside = HEADER + 0x40
    pending, ready = with_future(0, PENDING, inside, 7), with_future(20, READY, inside, flags=SAME)
    assert outcomes(run(pending)) == [(7, 1, Outcome.WAITING)]
    assert outcomes(run([*pending, *ready])) == [(7, 2, Outcome.FINISHED)]
    elsewhere = with_future(20, READY, HEADER + 0x400, flags=SAME)
    assert outcomes(run([*pending, *elsewhere])) == [(7, 2, Outcome.UNKNOWN)]


@pytest.mark.parametrize(
    ("task", "future", "is_one"),
    [
        ("task a::serve<L, fn(&u8) -> M<u8>>::{async block}", "a::serve::{async block}", True),
        ("task a::serve<L>::{async block}", "a::serve::{async block}::{async block}", False),
        ("task a::serve<u8>::{async block}", "a::serve<u16>::{async block}", False),
    ],
)
def test_symbols_need_not_name_the_arguments_of_its_future(task: str, future: str, is_one: bool) -> None:
    plan = busy_plan()
    functions = list(plan.functions)
    functions[0], functions[2] = replace(functions[0], name=task), replace(functions[2], name=future)
    roles = begin(recording_of(replace(plan, functions=tuple(functions)))).roles
    assert (roles.future[0] == roles.future[2]) == roles.may_be_root[2] == is_one


def test_without_ids_a_task_ends_with_its_future() -> None:
    inside = HEADER + 0x40
    spans = run([*with_future(0, READY, inside), *with_future(20, PENDING, inside)])
    assert outcomes(spans) == [(0, 1, Outcome.FINISHED), (0, 1, Outcome.WAITING)]


def test_a_task_of_another_type_has_replaced_it() -> None:
    spans = run([*poll(0), event(20, 900, ENTER_OTHER, HEADER), event(30, 900, ENTER_TASK, 0xBB00)])
    assert [outcome for _, _, outcome in outcomes(spans)] == [Outcome.REPLACED, Outcome.UNKNOWN, Outcome.RUNNING]


def test_all_are_over_when_their_process_is() -> None:
    state = begin(recording_of(PLAN))
    for item in [*poll(0, 7), event(20, 900, ENTER_TASK, 0xBB00)]:
        state, spans = step(state, item)
    state, spans = step(state, ProcessEnd(START + 50, 5, ""))
    assert outcomes(spans) == [(7, 1, Outcome.UNKNOWN), (0, 1, Outcome.RUNNING)]
    assert len(state.tasks.alive) == 0


def test_memory_is_bounded_by_the_addresses_in_use() -> None:
    """Ten thousand tasks at one address leave one behind."""
    state = begin(recording_of(busy_plan()))
    for number in range(100):
        events = np.concatenate(
            [one for n in range(100) for one in poll(100 * (100 * number + n), 1 + 100 * number + n)]
        )
        state, spans = step(state, events)
        assert len(spans.begun) == 100
    assert (len(state.tasks.alive), len(state.latest), len(state.records)) == (1, 1, 1)


PAUSE, BACK = PlanChange(START + 30, frozenset(), ""), PlanChange(START + 40, frozenset(Group), "")


@pytest.mark.parametrize("rest", [[PAUSE], [PAUSE, ProcessEnd(START + 500, 5, "it ended")], [PAUSE, BACK]])
def test_whether_a_task_still_waits_is_not_known_where_nobody_looked(rest: list[Any]) -> None:
    """It can have been polled to its end meanwhile."""
    waiting = with_future(0, PENDING, HEADER + 0x40, 7)
    assert outcomes(run(waiting)) == [(7, 1, Outcome.WAITING)]
    assert outcomes(run([*waiting, *rest])) == [(7, 1, Outcome.UNKNOWN)]


def test_a_task_that_is_polled_when_the_probes_are_back_waits() -> None:
    again = with_future(50, PENDING, HEADER + 0x40, flags=SAME)
    waiting = with_future(0, PENDING, HEADER + 0x40, 7)
    assert outcomes(run([*waiting, PAUSE, BACK, *again])) == [(7, 2, Outcome.WAITING)]


@pytest.mark.parametrize(
    ("id_", "did", "outcome"),
    [
        (7, TaskAtRest.WAITING, Outcome.WAITING),
        (7, TaskAtRest.READY, Outcome.WAITING),
        (7, TaskAtRest.RUNNING, Outcome.RUNNING),
        (8, TaskAtRest.WAITING, Outcome.UNKNOWN),
        (0, TaskAtRest.WAITING, Outcome.UNKNOWN),
    ],
)
def test_memory_at_the_end_tells_of_a_task_that_nobody_looked_at(id_: int, did: TaskAtRest, outcome: Outcome) -> None:
    parked = np.zeros(1, PARKED)
    parked["self"], parked["id"], parked["task"] = HEADER, id_, did
    memory = MemoryReading(START + 990, 5, 0, True, 1, parked)
    assert outcomes(run([*with_future(0, PENDING, HEADER + 0x40, 7), PAUSE, memory])) == [(7, 1, outcome)]
