"""Which task came by which spawn: the cases that matter, one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tests.captures import SITES, START, busy_plan, call_told, recording_of
from tracer.assemble import begin, finish, step
from tracer.model import (
    EVENT,
    SPAWN_RECORD,
    Array,
    CaptureEnd,
    EventFlag,
    Group,
    Loss,
    Plan,
    PlanChange,
    PlannedSpawn,
    Probe,
    ProcessEnd,
    Register,
    Site,
    SpawnPoint,
    SpawnStep,
)

PLAN = busy_plan()
ENTER, LEAVE, INNER, INNER_LEFT, FREED, MADE = 0, 1, 5, 6, 15, 21
PARENT, CHILD = 0x1000, 0x2000
READY = EventFlag.RESULT


def event(time: int, sp: int, probe: int, self_: int, tid: int = 7, flags: int = EventFlag.SELF) -> tuple[int, ...]:
    return START + time, sp, self_, tid, 0, probe, 0, 0, int(flags)


def made(time: int, sp: int = 3800, header: int = CHILD, tid: int = 7, site: int | None = 0) -> list[tuple[int, ...]]:
    told = [event(time, call_told(SITES[site].address), SPAWN_RECORD, header, tid)] if site is not None else []
    return [*told, event(time, sp, MADE, header, tid)]


def polled(time: int, header: int, tid: int = 7) -> list[tuple[int, ...]]:
    return [event(time, 4000, ENTER, header, tid), event(time + 1, 4000, LEAVE, 0, tid, READY)]


def tasks(*items: Any, processes: int = 1, plan: Plan = PLAN) -> dict[int, Any]:
    """The last task at each header, after these lists of events and other items; the same in blocks of one event."""
    found: list[list[tuple[Any, ...]]] = []
    for size in (1, 1 << 20):
        state, parts = begin(recording_of(plan, processes)), []
        for item in items:
            events = np.array(item, EVENT) if isinstance(item, list) else np.empty(0, EVENT)
            blocks = [events[at : at + size] for at in range(0, len(events), size)]
            for one in blocks or [item]:
                state, spans = step(state, one)
                parts.append(spans.over)
        _, spans = finish(state, CaptureEnd(START + 1000, "", 0, 0))
        over: Array = np.concatenate([*parts, spans.over])
        found.append(over.tolist())
    assert sorted(found[0]) == sorted(found[1])
    return {int(task["header"]): task for task in over}


def test_a_task_comes_from_the_poll_it_was_made_in() -> None:
    found = tasks([event(0, 4000, ENTER, PARENT), *made(1), event(2, 4000, LEAVE, 0, flags=READY), *polled(3, CHILD)])
    child, parent = found[CHILD], found[PARENT]
    assert (child["spawned"], child["spawned_at"], child["spawned_on"]) == (START + 1, 1, 7)
    assert (child["spawned_by"], child["spawned_by_function"]) == (parent["task"], 0)
    assert parent["spawned"] == 0


def queuing() -> tuple[Plan, int]:
    """The plan with one more probe, where a task is handed to a pool, and its number."""
    point = SpawnPoint(0x7000, 0x7000, "schedule", SpawnStep.QUEUED, Register.RSI)
    probe = Probe(len(PLAN.probes), 0, point.offset, Site.SPAWN, Group.TASKS, None, None, spawns=len(PLAN.spawns))
    return replace(PLAN, probes=(*PLAN.probes, probe), spawns=(*PLAN.spawns, PlannedSpawn(0, point))), probe.id


def test_a_task_that_is_only_seen_to_be_queued_was_made_then() -> None:
    plan, queued = queuing()
    pending = EventFlag.RESULT | EventFlag.PENDING
    found = tasks(
        [event(1, 3800, queued, CHILD)],
        [event(2, 4000, ENTER, CHILD), event(3, 4000, LEAVE, 0, flags=pending)],
        [event(5, 3800, queued, CHILD), *polled(6, CHILD)],
        plan=plan,
    )
    assert (found[CHILD]["spawned"], found[CHILD]["polls"]) == (START + 1, 2)


def test_what_is_made_and_then_queued_was_made_once() -> None:
    """And where, and by whom, is known of its making."""
    plan, queued = queuing()
    inside = [event(0, 4000, ENTER, PARENT), *made(1), event(2, 4000, LEAVE, 0, flags=READY)]
    found = tasks(inside, [event(3, 3800, queued, CHILD)], polled(4, CHILD), plan=plan)
    assert (found[CHILD]["spawned"], found[CHILD]["spawned_at"]) == (START + 1, 1)
    assert found[CHILD]["spawned_by"] == found[PARENT]["task"]


def test_another_thread_can_poll_it_before_the_spawn_returns() -> None:
    inside = [event(0, 4000, ENTER, PARENT), *made(1), *polled(2, CHILD, tid=8), event(5, 4000, LEAVE, 0, flags=READY)]
    found = tasks(inside)
    assert found[CHILD]["spawned_by"] == found[PARENT]["task"]


def test_a_future_in_the_task_spawns_for_it() -> None:
    inside = [event(0, 4000, ENTER, PARENT), event(1, 3900, INNER, 0x77), *made(2), event(3, 3900, INNER_LEFT, 0)]
    found = tasks([*inside, event(4, 4000, LEAVE, 0, flags=READY), *polled(5, CHILD)])
    assert found[CHILD]["spawned_by"] == found[PARENT]["task"]


def test_outside_of_a_task_there_is_none() -> None:
    """Not even the one that was polled before, nor one whose end was not seen and that lies lower on the stack."""
    found = tasks([*polled(0, PARENT), *made(2, sp=4100), *polled(3, CHILD)])
    assert (found[CHILD]["spawned"], found[CHILD]["spawned_by"]) == (START + 2, 0)
    found = tasks([event(0, 4000, ENTER, PARENT), *made(2, sp=4100), *polled(3, CHILD)])
    assert found[CHILD]["spawned_by"] == 0


def test_a_call_that_was_not_told_is_unknown() -> None:
    found = tasks([*made(0, site=None), *polled(1, CHILD)])
    assert (found[CHILD]["spawned"], found[CHILD]["spawned_at"]) == (START, 0)
    stranger = [event(0, call_told(SITES[0].address + 8), SPAWN_RECORD, CHILD), event(0, 3800, MADE, CHILD)]
    assert tasks([*stranger, *polled(1, CHILD)])[CHILD]["spawned_at"] == 0


def test_each_task_at_an_address_has_its_own_spawn() -> None:
    first = [*made(0, site=0), *polled(1, CHILD), event(3, 0, FREED, CHILD, flags=3)]
    found = tasks([*first, *made(4, site=1), *polled(5, CHILD)])
    assert (found[CHILD]["spawned"], found[CHILD]["spawned_at"]) == (START + 4, 2)
    # One that was never polled is not taken for the next one, whose own spawn was not seen.
    found = tasks([*made(0), event(3, 0, FREED, CHILD, flags=3), *polled(5, CHILD)])
    assert found[CHILD]["spawned"] == 0


def test_what_may_have_been_lost_is_not_guessed() -> None:
    loss = Loss(0, 1, START + 1, START + 2)
    assert tasks(made(0), loss, polled(3, CHILD))[CHILD]["spawned"] == 0
    found = tasks([event(0, 4000, ENTER, PARENT)], loss, [*made(3), *polled(4, CHILD, tid=8)])
    assert (found[CHILD]["spawned"], found[CHILD]["spawned_by"]) == (START + 3, 0)


def test_what_was_made_before_a_pause_is_forgotten() -> None:
    pause, again = (
        PlanChange(START + at, groups, "") for at, groups in ((1, frozenset[Group]()), (2, frozenset(Group)))
    )
    assert tasks(made(0), pause, again, polled(3, CHILD))[CHILD]["spawned"] == 0


def test_what_was_made_in_a_process_that_ended_is_forgotten() -> None:
    assert tasks(made(0), ProcessEnd(START + 1, 5, "it ended"), polled(3, CHILD))[CHILD]["spawned"] == 0
