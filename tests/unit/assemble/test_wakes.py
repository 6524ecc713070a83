"""Which wake ended which wait, on events written by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.captures import START, busy_plan, recording_of
from tests.unit.assemble.test_lives import end, with_byte
from tests.unit.assemble.test_resting import reading
from tests.unit.assemble.test_tasks import COMPLETE, HEADER, PENDING, event, poll, run
from tracer.assemble import begin, finish, step
from tracer.model import Array, EventFlag, Group, Loss, Plan, PlanChange, Tally, WaitFlag, WakeOrigin

PLAN = busy_plan()
WOKEN, ABORTED = 22, 23
INNER = 5
IDLE, RUNNING, NOTIFIED = 0, 1, 4
OTHER = HEADER + 0x200


def wake(time: int, tid: int = 2, byte: int = IDLE, header: int = HEADER, probe: int = WOKEN) -> Array:
    return with_byte(event(time, 800, probe, header, tid=tid), byte)


def woken(items: list[Any]) -> list[tuple[int, int, int] | None]:
    """(when, by the number of which task, on which thread) of the waits of the first task; None: not known."""
    spans = run(items, plan=PLAN)
    waits = [wait for wait in spans.waits if wait["instance"] == spans.begun["task"][0]]
    return [
        (int(wait["woken"]) - START, int(wait["woken_by"]), int(wait["woken_on"])) if wait["woken"] else None
        for wait in waits
    ]


def tally(items: list[Any]) -> Tally:
    state = begin(recording_of(PLAN))
    for item in items:
        state, _ = step(state, item)
    return finish(state, None)[0].tally


def test_the_first_effective_wake_counts() -> None:
    items = [*poll(0), wake(15, byte=NOTIFIED), wake(20), wake(22, tid=3), wake(24, byte=NOTIFIED), *poll(30)]
    assert woken([*items, wake(900)])[0] == (20, 0, 2)
    counted = tally([*items, wake(900)])
    assert (counted.wakes, counted.idle_wakes, counted.self_wakes, counted.unanswered_wakes) == (5, 2, 0, 1)


def test_a_task_that_is_polled_on_that_thread_is_the_waker() -> None:
    entry, leave = poll(15, tid=2, header=OTHER)
    assert woken([*poll(0), entry, wake(20), leave, *poll(40)])[0] == (20, 2, 2)
    assert woken([*poll(0), entry, leave, wake(30), *poll(40)])[0] == (30, 0, 2)


def test_a_task_can_wake_itself_while_it_is_polled() -> None:
    entry, leave = poll(0)
    items = [entry, wake(5, tid=1, byte=RUNNING), leave, *poll(40)]
    assert woken(items)[0] == (5, 1, 1)
    assert tally(items).self_wakes == 1


def test_an_abort_is_a_wake() -> None:
    assert woken([*poll(0), wake(20, probe=ABORTED), *poll(40)])[0] == (20, 0, 2)
    assert woken([*poll(0), wake(20, probe=ABORTED, byte=RUNNING), *poll(40)])[0] is None, "by this plan's test"


def test_a_wake_of_another_task_does_not_count() -> None:
    assert woken([*poll(0), wake(20, header=OTHER), *poll(40)])[0] is None


def test_what_a_wake_meant_that_had_another_life_at_its_header_is_not_told() -> None:
    items = [*poll(0), wake(20), end(25, COMPLETE), *poll(40), *poll(60)]
    assert tally(items).unanswered_wakes == 1
    assert not run(items, plan=PLAN).waits["woken"].any()


@pytest.mark.parametrize(
    "between",
    [
        [Loss(0, 1, START + 11, START + 13)],
        [Loss(0, 1, START + 21, START + 23)],
        [PlanChange(START + 22, frozenset({Group.TASKS, Group.FUTURES}), "")],
    ],
)
def test_where_a_wake_may_be_missing_nothing_is_told(between: list[Any]) -> None:
    assert woken([*poll(0), wake(20), *between, *poll(40)])[0] is None


def test_wakes_count_again_from_the_next_poll_on() -> None:
    off = PlanChange(START + 12, frozenset({Group.TASKS, Group.FUTURES}), "")
    on = PlanChange(START + 15, frozenset(Group), "")
    assert woken([*poll(0), off, on, wake(20), *poll(40), wake(55), *poll(60)])[:2] == [None, (55, 0, 2)]


def test_a_task_that_memory_knew_to_wait_is_woken_as_others() -> None:
    """An effective wake is the first one: memory had none yet."""
    assert woken([reading(7), wake(20), *poll(40, 7)])[0] == (20, 0, 2)
    off = PlanChange(START + 12, frozenset({Group.TASKS, Group.FUTURES}), "")
    on = PlanChange(START + 15, frozenset(Group), "")
    assert woken([reading(7), off, on, wake(20), *poll(40, 7)])[0] is None, "one may have come unseen"


def test_a_wake_that_came_late_is_not_that_of_the_next_wait() -> None:
    """In the file it stands behind the poll that it led to."""
    assert woken([*poll(0), *poll(40)[:1], wake(35), *poll(40)[1:], *poll(60)])[:2] == [None, None]


def test_a_task_that_nobody_polls_is_ready_since_its_wake() -> None:
    entry, leave = poll(0)
    leave["flags"] = PENDING
    spans = run([entry, leave, wake(20)], plan=PLAN)
    (wait,) = spans.waits
    assert (int(wait["woken"]) - START, int(wait["woken_on"])) == (20, 2)
    assert wait["flags"] & WaitFlag.END_UNKNOWN


def origins(items: list[Any], plan: Plan = PLAN) -> list[WakeOrigin]:
    """Of the waits of the first task, what they were ended by."""
    spans = run(items, plan=plan)
    return [WakeOrigin(wait["woken_from"]) for wait in spans.waits if wait["instance"] == spans.begun["task"][0]]


def told(wake: Array, flag: EventFlag) -> Array:
    """The same from inside of a function of the driver."""
    wake["flags"] |= int(flag)
    return wake


def test_a_wake_says_what_it_came_from() -> None:
    first, again = poll(0, tid=1), poll(40, tid=1)
    assert origins([*first, wake(20, tid=9), *again]) == [WakeOrigin.THREAD]
    # A thread is one of the runtime's from its first task poll on, not before.
    other = poll(25, tid=9, header=OTHER)
    assert origins([*first, wake(20, tid=9), *other, *again]) == [WakeOrigin.THREAD]
    assert origins([*first, *poll(15, tid=9, header=OTHER), wake(30, tid=9), *again]) == [WakeOrigin.RUNTIME]
    assert origins([*first, told(wake(20, tid=9), EventFlag.FROM_IO), *again]) == [WakeOrigin.IO]
    assert origins([*first, told(wake(20, tid=1), EventFlag.FROM_TIMER), *again]) == [WakeOrigin.TIMER]


def test_what_a_wake_came_from_is_not_known_where_tasks_are_left_out() -> None:
    """The thread may have been in a poll of one of those."""
    left_out = replace(PLAN.functions[0], address=0x7000)
    plan = replace(PLAN, binaries=(replace(PLAN.binaries[0], functions=(*PLAN.functions, left_out)),))
    first, again = poll(0, tid=1), poll(40, tid=1)
    other = poll(15, tid=9, header=OTHER)
    future = event(15, 4000, INNER, 0x9000, tid=9)
    for items in (other, [future], [told(event(16, 800, WOKEN, OTHER, tid=9), EventFlag.FROM_TIMER)]):
        assert origins([*first, *items, wake(30, tid=9), *again], plan) == [WakeOrigin.UNKNOWN]
    assert origins([*first, other[0], wake(20, tid=9), other[1], *again], plan) == [WakeOrigin.TASK]


def test_a_wake_inside_a_poll_is_that_tasks_whatever_is_below() -> None:
    entry, leave = poll(15, tid=2, header=OTHER)
    inside = told(wake(20, tid=2), EventFlag.FROM_TIMER)
    assert origins([*poll(0), entry, inside, leave, *poll(40)]) == [WakeOrigin.TASK]


def test_a_future_outside_of_tasks_wakes() -> None:
    future = event(15, 4000, INNER, 0x9000, tid=5)
    assert origins([*poll(0), future, wake(20, tid=5), *poll(40)]) == [WakeOrigin.FUTURE]
