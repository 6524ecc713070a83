"""Tasks that nobody began to poll: what they did, as memory told at both ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.captures import START, busy_plan, recording_of
from tests.unit.assemble.test_lives import IDLE, RUNNING, end
from tests.unit.assemble.test_tasks import COMPLETE, HEADER, SHUTDOWN, event, poll, run
from tracer.assemble import begin, finish, step
from tracer.model import (
    PARKED,
    STACK_SAMPLE,
    Array,
    CaptureEnd,
    EventFlag,
    Group,
    Loss,
    MemoryReading,
    Outcome,
    PlanChange,
    PollFlag,
    ProcessEnd,
    Spans,
    StackKind,
    StackSamples,
    TaskAtRest,
    WaitFlag,
)

PLAN = busy_plan()
THREAD = 77
END = 1000
"""ns, of the run."""
WOKEN = event(40, 900, next(one.id for one in PLAN.probes if one.wakes is not None), HEADER, int(EventFlag.STATE))
UNSEEN_WAIT = int(WaitFlag.START_UNKNOWN | WaitFlag.END_UNKNOWN)
UNSEEN = int(PollFlag.START_UNKNOWN | PollFlag.END_UNKNOWN)


def reading(task: TaskAtRest, *, id_: int = 7, tid: int = THREAD, is_last: bool = False) -> MemoryReading:
    """Memory has this one task."""
    parked = np.zeros(1, PARKED)
    parked["self"], parked["id"], parked["task"] = HEADER, id_, task
    parked["places"] = tid if task == TaskAtRest.RUNNING else 0
    return MemoryReading(START, 5, 0, is_last, 1, parked)


def with_futures(reading: MemoryReading, *futures: tuple[int, int, int]) -> MemoryReading:
    """And these in the task: (address, function, state)."""
    parked = np.repeat(reading.parked, 1 + len(futures))
    for row, (address, function, state) in zip(parked[1:], futures, strict=True):
        row["self"], row["function"], row["state"] = address, function, state
    return replace(reading, parked=parked)


def told(before: TaskAtRest, after: TaskAtRest, between: Sequence[Any] = (), **last: Any) -> Spans:
    """What a run told with these readings at its ends."""
    return run([reading(before), *between, reading(after, is_last=True, **last)], plan=PLAN)


def test_one_poll_all_the_time() -> None:
    spans = told(TaskAtRest.RUNNING, TaskAtRest.RUNNING)
    (one,) = spans.polls
    assert (one["start"], one["end"], one["tid"], one["flags"]) == (START, START + END, THREAD, UNSEEN)
    (task,) = spans.over
    assert (task["id"], task["outcome"], task["busy"], task["polls"]) == (7, Outcome.RUNNING, END, 1)
    assert one["instance"] == task["task"] == spans.begun["task"][0]
    assert not len(spans.waits)


INSIDE, DEEPER = HEADER + 0x40, 0x7700
PLAIN, ENDLESS = 2, 3
"""Two coroutines."""


def test_the_coroutines_in_a_task_that_waits_all_the_time_do_too() -> None:
    first, last = reading(TaskAtRest.WAITING), reading(TaskAtRest.WAITING, is_last=True)
    futures = (INSIDE, PLAIN, 4), (DEEPER, ENDLESS, 3), (DEEPER + 8, PLAIN, 0)
    spans = run([first, with_futures(last, *futures)], plan=PLAN)
    (task,) = spans.over
    waits = {int(one["self"]): one for one in spans.waits}
    assert waits.keys() == {HEADER, INSIDE, DEEPER}  # one that was never polled does not wait
    assert len({int(one["instance"]) for one in spans.waits}) == 3
    for one in spans.waits:
        assert (one["start"], one["end"], one["task"]) == (START, START + END, task["task"])
        assert one["flags"] & UNSEEN_WAIT == UNSEEN_WAIT
    assert (waits[INSIDE]["function"], waits[INSIDE]["state"]) == (PLAIN, 4)
    assert waits[INSIDE]["flags"] & WaitFlag.STATE


def test_a_coroutine_of_another_task_is_not_told() -> None:
    """Only by its id is a task known to be the same one."""
    first, last = reading(TaskAtRest.WAITING), with_futures(reading(TaskAtRest.WAITING, is_last=True), (INSIDE, 2, 4))
    for id_ in (0, 8):
        last.parked["id"][1] = id_
        assert run([first, last], plan=PLAN).waits["self"].tolist() == [HEADER]
    last.parked["id"][1] = 7
    assert INSIDE in run([first, last], plan=PLAN).waits["self"]
    assert INSIDE not in run([first, *poll(40, 7), last], plan=PLAN).waits["self"]  # its task was polled


def taken(time: int, tid: int = THREAD) -> StackSamples:
    return StackSamples(np.array([(START + time, 0, tid, 3, StackKind.BLOCKED, 0)], STACK_SAMPLE))


@pytest.mark.parametrize("wakes", [False, True], ids=["nothing is seen of its thread", "it wakes others"])
def test_stacks_are_of_the_poll_that_nobody_saw(wakes: bool) -> None:
    state = begin(recording_of(PLAN))
    items: list[Any] = [reading(TaskAtRest.RUNNING), taken(0), taken(30), taken(30, tid=78)]
    items += [event(40, 900, int(WOKEN["probe"][0]), 0xBB00, int(EventFlag.STATE), THREAD)] if wakes else []
    items += [*poll(50, 9, header=0xCC00), reading(TaskAtRest.RUNNING, is_last=True), taken(500)]
    for item in items:
        state, _ = step(state, item)
    _, spans = finish(state, CaptureEnd(START + END, "", 0, 0))
    assert (spans.looks["time"] - START).tolist() == [0, 30, 500]
    assert spans.looks["start"].tolist() == [START] * 3
    assert spans.looks["until"].tolist() == [START + END] * 3
    assert set(spans.looks["task"].tolist()) == set(spans.polls["instance"][spans.polls["flags"] == UNSEEN].tolist())


def test_stacks_do_not_wait_for_a_poll_that_is_over() -> None:
    state = begin(recording_of(PLAN))
    items: list[Any] = [reading(TaskAtRest.RUNNING), taken(20), *poll(40, 8, tid=THREAD)]
    for item in items:
        state, _ = step(state, item)
    assert (len(state.in_poll), len(state.samples)) == (0, 0)


def test_of_an_unknown_thread_only_the_task_is_told() -> None:
    last = reading(TaskAtRest.RUNNING, tid=0, is_last=True)
    spans = run([reading(TaskAtRest.RUNNING, tid=0), last], plan=PLAN)
    assert (len(spans.polls), spans.over["busy"].tolist(), spans.over["tid"].tolist()) == (0, [END], [0])


LOST = [Loss(0, 1, None, START + 5)]
AWAY = [
    PlanChange(START + 10, frozenset({Group.WAKES}), ""),
    PlanChange(START + 20, frozenset({Group.TASKS, Group.FUTURES, Group.WAKES}), ""),
]


@pytest.mark.parametrize(("between", "since"), [(LOST, 5), (AWAY, 20)], ids=["events were lost", "nobody looked"])
def test_one_that_runs_at_both_ends_does_since_all_was_seen(between: list[Any], since: int) -> None:
    spans = told(TaskAtRest.RUNNING, TaskAtRest.RUNNING, between)
    (one,) = spans.polls
    assert (one["start"], one["end"], one["flags"]) == (START + since, START + END, UNSEEN)
    assert (spans.over["first"].tolist(), spans.over["busy"].tolist()) == ([START + since], [END - since])


@pytest.mark.parametrize(
    "between", [poll(40, 7), LOST, AWAY], ids=["it was polled", "events were lost", "nobody looked"]
)
@pytest.mark.parametrize("state", [TaskAtRest.RUNNING, TaskAtRest.READY])
def test_what_may_have_changed_is_not_told(between: list[Any], state: TaskAtRest) -> None:
    spans = told(state, state, between)
    assert not np.any((spans.polls["flags"] & UNSEEN == UNSEEN) & (spans.polls["start"] == START))
    assert not np.any(spans.waits["woken"])


@pytest.mark.parametrize("last", [{"id_": 8}, {"tid": 78}], ids=["another task", "another thread"])
def test_another_poll_is_not_the_same(last: dict[str, Any]) -> None:
    spans = told(TaskAtRest.RUNNING, TaskAtRest.RUNNING, **last)
    assert (len(spans.polls), len(spans.over)) == (0, 0)


def test_ready_all_the_time() -> None:
    (wait,) = told(TaskAtRest.READY, TaskAtRest.READY).waits
    assert (wait["start"], wait["woken"], wait["end"]) == (START, START, START + END)


def test_woken_and_not_polled() -> None:
    (wait,) = told(TaskAtRest.WAITING, TaskAtRest.READY, [WOKEN]).waits
    assert (wait["start"], wait["woken"], wait["end"]) == (START, START + 40, START + END)


def test_ready_at_both_ends_but_woken_between() -> None:
    """It had been polled before anybody saw, and has waited."""
    assert not len(told(TaskAtRest.READY, TaskAtRest.READY, [WOKEN]).waits)


PID = recording_of(PLAN).processes[0].pid
DROPPED = end(30, SHUTDOWN, byte=IDLE, tid=2)
GONE = ProcessEnd(START + 50, PID, "")
SPAWN = [one.id for one in PLAN.probes if one.spawns is not None][-1]
"""Of a task that was made, not of the call."""


def test_one_that_is_dropped_waited_until_then() -> None:
    first = with_futures(reading(TaskAtRest.WAITING), (INSIDE, PLAIN, 4), (DEEPER, PLAIN, 0))
    for items in ([first, DROPPED], [first, DROPPED, *poll(40, 9), GONE]):
        spans = run(items, plan=PLAN)
        (task,) = (one for one in spans.over if one["id"] == 7)
        assert (task["outcome"], task["polls"], task["until"] - START) == (Outcome.CANCELLED, 0, 30)
        assert (task["waiting"], task["first"]) == (30, START)
        waits = {int(one["self"]): one for one in spans.waits if one["task"] == task["task"]}
        assert waits.keys() == {HEADER, INSIDE}
        for one in waits.values():
            assert (one["start"] - START, one["end"] - START, one["tid"]) == (0, 30, 2)
            assert one["flags"] & UNSEEN_WAIT == WaitFlag.START_UNKNOWN
            assert one["flags"] & WaitFlag.CANCELLED


def test_one_whose_process_ends_waited_until_then() -> None:
    first = with_futures(reading(TaskAtRest.WAITING), (INSIDE, PLAIN, 4))
    spans = run([first, GONE], plan=PLAN)
    assert spans.over["outcome"].tolist() == [Outcome.WAITING]
    assert [(one["end"] - START, one["flags"] & UNSEEN_WAIT) for one in spans.waits] == [(50, UNSEEN_WAIT)] * 2
    assert len(run([first], plan=PLAN).over) == 1  # nothing more is told: the capture breaks off


def test_one_that_was_ready_until_its_process_ended() -> None:
    (wait,) = run([reading(TaskAtRest.READY), GONE], plan=PLAN).waits
    assert (wait["woken"], wait["end"] - START) == (START, 50)
    (wait,) = run([reading(TaskAtRest.WAITING), WOKEN, GONE], plan=PLAN).waits
    assert (wait["woken"] - START, wait["end"] - START) == (40, 50)


@pytest.mark.parametrize("over", [DROPPED, GONE], ids=["dropped", "gone"])
@pytest.mark.parametrize(
    "items",
    [
        [replace(reading(TaskAtRest.WAITING), time=START - 1)],
        [reading(TaskAtRest.RUNNING)],
        [reading(TaskAtRest.WAITING), Loss(0, 1, None, START + 5)],
        [reading(TaskAtRest.WAITING), end(10, COMPLETE, byte=RUNNING)],
        [reading(TaskAtRest.WAITING), event(10, 900, SPAWN, HEADER)],
        [
            reading(TaskAtRest.WAITING),
            PlanChange(START + 10, frozenset({Group.WAKES}), ""),
            PlanChange(START + 20, frozenset({Group.TASKS, Group.FUTURES, Group.WAKES}), ""),
        ],
    ],
    ids=["read before its polls were seen", "it was polled", "loss", "its future returned", "reused", "not probed"],
)
def test_of_one_that_may_have_been_polled_nothing_is_told(items: list[Any], over: Any) -> None:
    assert not len(run([*items, over], plan=PLAN).over)


def test_one_that_memory_did_not_have_any_more_is_not_told() -> None:
    last = replace(reading(TaskAtRest.WAITING, is_last=True), parked=np.empty(0, PARKED))
    assert not len(run([reading(TaskAtRest.WAITING), last], plan=PLAN).over)


def born(time: int, header: int = HEADER) -> Array:
    return event(time, 800, SPAWN, header)


def at_the_end(did: TaskAtRest = TaskAtRest.READY) -> MemoryReading:
    """Read from END to END + 5."""
    return replace(reading(did, is_last=True), time=START + END)


def test_a_new_one_was_ready_from_its_spawn_on() -> None:
    spawner = poll(20, 5, header=0xBB00)
    spans = run([*spawner[:-1], born(25), spawner[-1], at_the_end()], plan=PLAN)
    (task,) = (one for one in spans.over if one["id"] == 7)
    assert (task["spawned"] - START, task["first"] - START, task["last"] - START) == (25, END, END)
    assert (task["spawned_by_id"], task["spawned_on"], task["header"]) == (5, 1, HEADER)
    assert (task["polls"], task["outcome"]) == (0, Outcome.WAITING)
    assert task.tolist() in spans.begun.tolist()


@pytest.mark.parametrize(
    "items",
    [
        [*poll(20, 8), at_the_end()],
        [born(20), *poll(30, 7), at_the_end()],
        [born(20), end(30, COMPLETE), at_the_end()],
        [born(20), at_the_end(TaskAtRest.WAITING)],
        [born(20), born(30, HEADER + 0x100), replace(at_the_end(), parked=at_the_end().parked[:0])],
        [born(20), Loss(0, 1, None, START + 30), at_the_end()],
        [born(END - 4), at_the_end()],
        [
            born(20),
            PlanChange(START + 30, frozenset({Group.WAKES}), ""),
            PlanChange(START + 40, frozenset({Group.TASKS, Group.FUTURES, Group.WAKES}), ""),
            at_the_end(),
        ],
    ],
    ids=[
        "not spawned",
        "polled",
        "over",
        "waits",
        "not there",
        "loss",
        "another one may be there by now",
        "not probed",
    ],
)
def test_of_one_that_is_perhaps_not_new_nothing_is_told(items: list[Any]) -> None:
    assert not np.any(run(items, plan=PLAN).over["polls"] == 0)
