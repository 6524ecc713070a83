"""Whether a future that is polled again is the one that waited: what nobody can know is said to be unsure."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.unit.assemble.test_assembly import JUMPING, PENDING, PLAIN, READY, TASK, Script
from tracer.model import WaitFlag

HEADER, OTHER_HEADER = 0x1000, 0x2000
MIDDLE, LEAF = 0x1040, 0x1060
NONE, UNSURE, OPEN = WaitFlag(0), WaitFlag.AMBIGUOUS, WaitFlag.END_UNKNOWN
REPLACED = WaitFlag.CANCELLED | WaitFlag.REPLACED


def poll_task(script: Script, at: int, *inside: int, header: int = HEADER, result: int = PENDING) -> None:
    """A poll of a task from `at` on, 9 ns long; in it a poll of MIDDLE, and in that one of LEAF, where they are told
    inside."""
    script.enter(at, 500, TASK, header)
    if MIDDLE in inside:
        script.enter(at + 2, 400, JUMPING, MIDDLE)
    if LEAF in inside:
        script.poll(at + 3, at + 4, PLAIN, LEAF, PENDING, sp=300)
    if MIDDLE in inside:
        script.leave(at + 5, 400, JUMPING, PENDING)
    script.leave(at + 9, 500, TASK, result)


def waits_of(script: Script, function: int, end: int = 1_000) -> list[tuple[int, int, WaitFlag]]:
    """(start, end, flags) of its waits, by their ends."""
    waits = [one for one in script.run(end).waits if one["function"] == function]
    return [(one["start"], one["end"], WaitFlag(one["flags"]) & ~WaitFlag.STATE) for one in waits]


@pytest.mark.parametrize("inside", [(LEAF,), (MIDDLE, LEAF)])
def test_one_that_is_polled_in_each_poll_around_it_is_the_same(inside: Sequence[int]) -> None:
    script = Script()
    for at in (0, 100, 200):
        poll_task(script, at, *inside)
    assert waits_of(script, PLAIN) == [(4, 103, NONE), (104, 203, NONE), (204, 1_000, OPEN)]


def test_one_that_was_passed_over_may_be_another() -> None:
    script = Script()
    poll_task(script, 0, LEAF)
    poll_task(script, 100)
    poll_task(script, 200, LEAF)
    poll_task(script, 300, LEAF)
    assert waits_of(script, PLAIN) == [(4, 203, UNSURE), (204, 303, NONE), (304, 1_000, OPEN)]


def test_what_is_in_another_may_be_another() -> None:
    """Each poll of the middle one has the leaf in it, but the middle one itself may be another."""
    script = Script()
    poll_task(script, 0, MIDDLE, LEAF)
    poll_task(script, 100)
    poll_task(script, 200, MIDDLE, LEAF)
    assert waits_of(script, JUMPING) == [(5, 202, UNSURE), (205, 1_000, OPEN)]
    assert waits_of(script, PLAIN) == [(4, 203, UNSURE), (204, 1_000, OPEN)]


def test_what_is_polled_by_a_new_one_may_be_another() -> None:
    script = Script()
    poll_task(script, 0, LEAF)
    poll_task(script, 100, MIDDLE, LEAF)
    assert waits_of(script, PLAIN) == [(4, 103, UNSURE), (104, 1_000, OPEN)]


def test_a_coroutine_says_by_its_state_that_it_is_the_same() -> None:
    script = Script()
    script.enter(0, 500, TASK, HEADER)
    script.poll(2, 4, JUMPING, MIDDLE, PENDING, state=0, sp=400)
    script.leave(9, 500, TASK, PENDING)
    poll_task(script, 100)
    script.enter(200, 500, TASK, HEADER)
    script.poll(202, 204, JUMPING, MIDDLE, PENDING, state=3, sp=400)
    script.leave(209, 500, TASK, PENDING)
    assert waits_of(script, JUMPING) == [(4, 202, NONE), (204, 1_000, OPEN)]


@pytest.mark.parametrize("header", [HEADER, OTHER_HEADER])
def test_in_another_task_it_is_another(header: int) -> None:
    """The memory of a task that is over is the next one's, often the very same cell."""
    script = Script()
    poll_task(script, 0, LEAF)
    poll_task(script, 100, result=READY if header == HEADER else PENDING)
    poll_task(script, 200, LEAF, header=header)
    poll_task(script, 300, LEAF, header=header)
    result = script.run()
    polls = [one["instance"] for one in result.polls if one["function"] == PLAIN]
    assert polls[0] != polls[1] == polls[2]
    waits = [(one["instance"], one["end"], one["flags"]) for one in result.waits if one["function"] == PLAIN]
    assert waits == [(polls[0], 203, REPLACED), (polls[1], 303, NONE), (polls[1], 1_000, OPEN)]


def test_what_lies_outside_of_its_task_may_go_on_in_another() -> None:
    """As what is shared by several does (futures' Shared)."""
    script = Script()
    for at, header in ((0, OTHER_HEADER), (100, 3 * OTHER_HEADER)):
        poll_task(script, at, LEAF, header=header)
    result = script.run()
    assert len({one["instance"] for one in result.polls if one["function"] == PLAIN}) == 1
    assert waits_of(script, PLAIN) == [(4, 103, UNSURE), (104, 1_000, OPEN)]


def test_outside_of_any_other_future_it_is_the_same() -> None:
    script = Script()
    for at in (0, 100):
        script.poll(at, at + 1, PLAIN, LEAF, PENDING)
    assert waits_of(script, PLAIN) == [(1, 100, NONE), (101, 1_000, OPEN)]


def test_at_the_end_it_waits_only_if_what_is_around_it_does() -> None:
    script = Script()
    poll_task(script, 0, LEAF)
    poll_task(script, 100, result=READY)
    assert waits_of(script, PLAIN) == [(4, 1_000, OPEN | UNSURE)]
    script = Script()
    poll_task(script, 0, MIDDLE, LEAF)
    poll_task(script, 100)
    assert waits_of(script, JUMPING) == [(5, 1_000, OPEN | UNSURE)]
    assert waits_of(script, PLAIN) == [(4, 1_000, OPEN | UNSURE)]


def test_at_the_end_it_waits_while_it_may_be_polled_yet() -> None:
    script = Script()
    poll_task(script, 0, LEAF)
    script.enter(100, 500, TASK, HEADER)
    assert waits_of(script, PLAIN) == [(4, 1_000, OPEN)]


@pytest.mark.parametrize(
    ("is_told_apart", "result", "flags"),
    [(True, PENDING, OPEN), (True, READY, OPEN | UNSURE), (False, PENDING, OPEN | UNSURE)],
)
def test_at_the_end_a_coroutine_waits_while_what_is_around_it_does(
    is_told_apart: bool, result: int, flags: WaitFlag
) -> None:
    """It need not be polled in each poll of that: of many futures together only those are that were woken.  But of a
    future that is not told apart (its address is not known) nobody knows whether it is still there."""
    around = MIDDLE if is_told_apart else None
    script = Script()
    for at, last in ((0, PENDING), (100, result)):
        script.enter(at, 500, TASK, HEADER)
        script.enter(at + 1, 450, PLAIN, around)
        if not at:
            script.enter(2, 400, JUMPING, LEAF, state=3)
            script.leave(4, 400, JUMPING, PENDING, state=4)
        script.leave(at + 8, 450, PLAIN, last)
        script.leave(at + 9, 500, TASK, last)
    assert waits_of(script, JUMPING)[-1] == (4, 1_000, flags)
