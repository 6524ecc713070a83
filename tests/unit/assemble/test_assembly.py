"""The rules of assembly, one by one, on events written by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from tests.captures import START, busy_plan, recording_of
from tracer.assemble import begin, finish, step
from tracer.model import (
    EVENT,
    CaptureEnd,
    EventFlag,
    Group,
    Loss,
    PlanChange,
    PollFlag,
    ProcessEnd,
    Tally,
    Thread,
    WaitFlag,
)

PLAN = busy_plan()
TASK, JUMPING, PLAIN, ENDLESS, INSTANT, _, PASSING = range(7)
ENTER = {TASK: 0, JUMPING: 2, PLAIN: 5, ENDLESS: 7, INSTANT: 8, PASSING: 10}
LEAVE = {TASK: 1, JUMPING: 3, PLAIN: 6, PASSING: 11}
JUMP = {TASK: 14, JUMPING: 4, PLAIN: 12}
END = START + 1_000
ENDED = WaitFlag.CANCELLED | WaitFlag.REPLACED
PENDING, READY = EventFlag.RESULT | EventFlag.PENDING, EventFlag.RESULT


@dataclass
class Script:
    """Events in the order in which they are told; times are ns after the recording's start."""

    items: list[Any] = field(default_factory=list)

    def _event(
        self, time: int, sp: int, probe: int, self_: int | None, state: int | None, flags: int, tid: int
    ) -> None:
        flags |= (EventFlag.SELF if self_ is not None else 0) | (EventFlag.STATE if state is not None else 0)
        row = (START + time, sp, self_ or 0, tid, 0, probe, 0, state or 0, flags)
        self.items.append(np.array([row], EVENT))

    def enter(
        self, time: int, sp: int, function: int, self_: int | None = None, state: int | None = None, tid: int = 1
    ) -> None:
        self._event(time, sp, ENTER[function], self_, state, 0, tid)

    def leave(self, time: int, sp: int, function: int, result: int = 0, state: int | None = None, tid: int = 1) -> None:
        self._event(time, sp, LEAVE[function], None, state, result, tid)

    def jump(self, time: int, sp: int, function: int, state: int | None = None) -> None:
        self._event(time, sp, JUMP[function], None, state, 0, 1)

    def poll(
        self,
        start: int,
        end: int,
        function: int,
        self_: int,
        result: int = 0,
        state: int | None = None,
        tid: int = 1,
        sp: int = 500,
    ) -> None:
        self.enter(start, sp, function, self_, state, tid)
        self.leave(end, sp, function, result, None, tid)

    def run(self, end: int | None = 1_000, processes: int = 1) -> Result:
        state = begin(recording_of(PLAN, processes))
        polls: list[dict[str, int]] = []
        waits: list[dict[str, int]] = []
        for spans in self._steps(state, end):
            for found, rows in ((polls, spans.polls), (waits, spans.waits)):
                for row in rows:
                    found.append({name: int(row[name]) for name in row.dtype.names})
        for span in (*polls, *waits):
            for name in ("start", "end", "end_latest"):
                if name in span:
                    span[name] -= START
        return Result(polls, waits, self.tally)

    def _steps(self, state: Any, end: int | None) -> Any:
        for item in self.items:
            state, spans = step(state, item)
            yield spans
        state, spans = finish(state, None if end is None else CaptureEnd(START + end, "", 0, 0))
        self.tally = state.tally
        yield spans


@dataclass
class Result:
    polls: list[dict[str, int]]
    waits: list[dict[str, int]]
    tally: Tally

    def poll(self, function: int, **expected: int) -> dict[str, int]:
        """The only poll of a function; it has these values."""
        (poll,) = [poll for poll in self.polls if poll["function"] == function]
        assert {name: poll[name] for name in expected} == expected
        return poll

    @property
    def wait(self) -> tuple[int, int, int, int]:
        """The only wait."""
        (wait,) = self.waits
        return wait["start"], wait["end"], wait["flags"], wait["state"]


# ---------------------------------------------------------------- pairing


def test_polls_nest_and_know_their_task_and_parent() -> None:
    script = Script()
    script.enter(10, 900, TASK, 0xAA0)
    script.enter(20, 800, JUMPING, 0xB0, state=3)
    script.enter(30, 700, PLAIN, 0xC0)
    script.leave(40, 700, PLAIN, PENDING)
    script.leave(50, 800, JUMPING, PENDING, state=4)
    script.leave(60, 900, TASK)
    result = script.run()
    task = result.poll(TASK, start=10, end=60, end_latest=60, depth=0, task=0, parent=0, flags=0, state_after=255)
    outer = result.poll(JUMPING, start=20, end=50, depth=1, task=task["instance"], parent=0, state=3, state_after=4)
    inner = result.poll(PLAIN, start=30, end=40, depth=2, task=task["instance"], parent=outer["instance"])
    assert outer["flags"] == PollFlag.RESULT | PollFlag.PENDING | PollFlag.STATE
    assert inner["flags"] == PollFlag.RESULT | PollFlag.PENDING
    assert [task["instance"], outer["instance"], inner["instance"]] == [1, 2, 3]
    assert [poll["function"] for poll in result.polls] == [PLAIN, JUMPING, TASK]
    assert (result.tally.events, result.tally.polls, result.tally.unmatched_exits) == (6, 3, 0)


def test_an_instruction_that_is_entry_and_exit_is_a_poll_of_no_length() -> None:
    script = Script()
    script.enter(10, 900, INSTANT, 0xB0)
    script.run().poll(INSTANT, start=10, end=10, end_latest=10, depth=0)


def test_threads_do_not_mix() -> None:
    script = Script()
    script.enter(10, 900, PLAIN, 1, tid=1)
    script.enter(20, 950, JUMPING, 2, tid=2)
    script.leave(30, 950, JUMPING, READY, tid=2)
    script.leave(40, 900, PLAIN, READY, tid=1)
    result = script.run()
    result.poll(PLAIN, start=10, end=40, tid=1, depth=0)
    result.poll(JUMPING, start=20, end=30, tid=2, depth=0)


def test_a_panic_unwinds_to_when_the_frame_was_last_seen() -> None:
    script = Script()
    script.enter(10, 900, TASK, 1)
    script.enter(20, 800, JUMPING, 2)
    script.poll(30, 40, PLAIN, 3, READY, sp=700)
    script.leave(90, 900, TASK)
    result = script.run()
    result.poll(JUMPING, start=20, end=40, end_latest=90, flags=PollFlag.UNWOUND, state_after=255)
    result.poll(TASK, end=90, flags=0)
    assert result.tally.unwound == 1


def test_an_entry_as_high_on_the_stack_shows_that_a_frame_is_gone() -> None:
    script = Script()
    script.enter(10, 900, PLAIN, 1)
    script.enter(50, 900, JUMPING, 2)
    script.leave(60, 900, JUMPING, READY)
    result = script.run()
    result.poll(PLAIN, end=10, end_latest=50, flags=PollFlag.UNWOUND)
    result.poll(JUMPING, depth=0, parent=0)


def test_a_function_without_exits_ends_where_its_parent_does_at_the_latest() -> None:
    script = Script()
    script.enter(10, 900, TASK, 1)
    script.enter(20, 800, ENDLESS, 2)
    script.poll(30, 40, PLAIN, 3, READY, sp=700)
    script.leave(90, 900, TASK)
    result = script.run()
    result.poll(ENDLESS, start=20, end=40, end_latest=90, flags=PollFlag.INFERRED_END)
    assert result.tally.unwound == 0


def test_another_functions_exit_ends_nothing_but_shows_that_a_frame_is_gone() -> None:
    script = Script()
    script.enter(10, 900, PLAIN, 1)
    script.leave(50, 900, JUMPING, READY)
    result = script.run()
    result.poll(PLAIN, end=10, end_latest=50, flags=PollFlag.UNWOUND)
    assert result.tally.unmatched_exits == 1


def test_stacks_that_no_program_has_take_no_longer() -> None:
    outer = [(1_000_000 - i, ENTER[PLAIN]) for i in range(2_000)]
    rising = [(10 + i, ENTER[JUMPING]) for i in range(2_000)]
    rows = outer + rising + [(sp, LEAVE[PLAIN]) for sp, _ in reversed(outer)]
    events = np.zeros(len(rows), EVENT)
    events["sp"], events["probe"] = np.array(rows).T
    events["time"], events["tid"] = START + np.arange(len(rows)), 1
    state, spans = step(begin(recording_of(PLAN)), events)
    plain = spans.polls[spans.polls["function"] == PLAIN]
    assert sorted(plain["depth"].tolist()) == list(range(2_000))
    assert not plain["flags"].any()
    assert (state.tally.unwound, state.tally.unmatched_exits) == (2_000, 0)


# ---------------------------------------------------------------- tail jumps


def test_a_tail_jump_hands_the_poll_to_the_next_entry() -> None:
    script = Script()
    script.enter(10, 900, JUMPING, 1, state=3)
    script.jump(20, 900, JUMPING, state=3)
    script.enter(21, 900, PLAIN, 2)
    script.leave(50, 900, PLAIN, PENDING, state=7)
    result = script.run()
    outer = result.poll(JUMPING, start=10, end=50, end_latest=50, depth=0, state_after=3)
    inner = result.poll(PLAIN, start=21, end=50, depth=1, parent=outer["instance"], state_after=7)
    assert outer["flags"] == PollFlag.TAIL | PollFlag.RESULT | PollFlag.PENDING | PollFlag.STATE
    assert inner["flags"] == PollFlag.RESULT | PollFlag.PENDING
    assert [poll["function"] for poll in result.polls] == [PLAIN, JUMPING]


def test_a_jump_to_something_without_a_probe_leaves_the_end_open() -> None:
    script = Script()
    script.enter(5, 950, TASK, 9)
    script.enter(10, 900, JUMPING, 1)
    script.jump(20, 900, JUMPING)
    script.leave(80, 950, TASK)
    script.run().poll(JUMPING, start=10, end=20, end_latest=80, flags=PollFlag.TAIL)


def test_a_wrapper_polled_again_from_the_same_place_is_not_its_own_callee() -> None:
    script = Script()
    for start in (10, 30, 50):
        script.enter(start, 900, JUMPING, start)
        script.jump(start + 5, 900, JUMPING)
    result = script.run()
    assert [(poll["start"], poll["end"], poll["end_latest"], poll["depth"]) for poll in result.polls] == [
        (10, 15, 30, 0),
        (30, 35, 50, 0),
        (50, 1_000, 1_000, 0),
    ]


def test_a_jump_is_no_hand_over_when_anything_came_between() -> None:
    script = Script()
    script.enter(10, 900, JUMPING, 1)
    script.jump(20, 900, JUMPING)
    script.poll(30, 40, PLAIN, 2, READY, sp=800)
    script.enter(50, 900, PASSING, 3)
    result = script.run()
    result.poll(JUMPING, end=40, end_latest=50, flags=PollFlag.TAIL)
    result.poll(PASSING, depth=0, flags=PollFlag.TAIL | PollFlag.END_UNKNOWN)


def test_a_task_poll_that_jumps_to_its_runtime_does_not_become_the_parent_of_the_next_one() -> None:
    script = Script()
    script.enter(10, 900, TASK, 1)
    script.jump(20, 900, TASK)
    script.enter(30, 900, PLAIN, 2)
    script.leave(40, 900, PLAIN, READY)
    result = script.run()
    result.poll(TASK, start=10, end=20, end_latest=30, flags=PollFlag.TAIL)
    result.poll(PLAIN, start=30, end=40, depth=0, task=0)


def test_a_task_poll_is_never_jumped_to() -> None:
    script = Script()
    script.enter(10, 900, JUMPING, 1)
    script.jump(20, 900, JUMPING)
    script.enter(30, 900, TASK, 2)
    script.leave(40, 900, TASK)
    result = script.run()
    result.poll(JUMPING, start=10, end=20, end_latest=30, flags=PollFlag.TAIL)
    result.poll(TASK, start=30, end=40, depth=0)


def test_a_chain_of_jumps_ends_together() -> None:
    script = Script()
    script.enter(10, 900, JUMPING, 1)
    script.jump(11, 900, JUMPING)
    script.enter(12, 900, PASSING, 2)
    script.enter(13, 900, PLAIN, 3)
    script.leave(50, 900, PLAIN, READY)
    result = script.run()
    for function, depth in ((JUMPING, 0), (PASSING, 1), (PLAIN, 2)):
        result.poll(function, end=50, end_latest=50, depth=depth)
    assert all(poll["flags"] & PollFlag.RESULT for poll in result.polls)


# ---------------------------------------------------------------- the edges of the recording


def test_what_was_under_way_begins_with_the_recording() -> None:
    script = Script()
    script.leave(30, 700, PLAIN, PENDING)
    script.poll(40, 50, JUMPING, 1, READY, sp=650)
    script.leave(60, 800, PLAIN, READY)
    result = script.run()
    inner, _, outer = result.polls
    assert (inner["start"], inner["end"], outer["start"], outer["end"]) == (0, 30, 0, 60)
    assert inner["flags"] == PollFlag.START_UNKNOWN | PollFlag.RESULT | PollFlag.PENDING
    assert (result.tally.open_at_start, result.tally.unmatched_exits) == (2, 0)


def test_an_exit_below_what_was_seen_lost_its_entry() -> None:
    script = Script()
    script.poll(10, 20, TASK, 1, sp=900)
    script.leave(30, 700, PLAIN, READY)
    result = script.run()
    assert (len(result.polls), result.tally.unmatched_exits, result.tally.open_at_start) == (1, 1, 0)


def test_after_a_loss_nothing_is_said_to_have_been_under_way() -> None:
    script = Script([Loss(0, 1, None, None)])
    script.leave(30, 700, PLAIN, READY)
    result = script.run()
    assert (result.polls, result.tally.unmatched_exits) == ([], 1)


def test_what_is_open_at_the_end_ends_with_it() -> None:
    script = Script()
    script.enter(10, 900, TASK, 1)
    script.enter(20, 800, PLAIN, 2)
    result = script.run()
    result.poll(PLAIN, start=20, end=1_000, end_latest=1_000, flags=PollFlag.END_UNKNOWN)
    result.poll(TASK, start=10, end=1_000, flags=PollFlag.END_UNKNOWN)
    assert [poll["function"] for poll in result.polls] == [PLAIN, TASK]
    assert result.tally.open_at_end == 2


def test_without_an_end_the_latest_event_is_it() -> None:
    script = Script()
    script.enter(10, 900, TASK, 1)
    script.poll(20, 70, PLAIN, 2, READY, tid=2)
    script.run(end=None).poll(TASK, end=70, flags=PollFlag.END_UNKNOWN)


def test_events_that_nobody_can_read_are_counted() -> None:
    script = Script()
    script.items = [np.array([(START, 9, 0, 1, 0, 4_000_000_000, 0, 0, 0), (START, 9, 0, 1, 0, 13, 0, 0, 0)], EVENT)]
    result = script.run()
    assert (result.polls, result.tally.events, result.tally.unmatched_exits) == ([], 2, 2)


# ---------------------------------------------------------------- instances and waits


def test_a_wait_lies_between_two_polls_and_knows_its_state() -> None:
    script = Script()
    script.poll(10, 20, PLAIN, 1, PENDING, state=0)
    script.poll(70, 80, PLAIN, 1, READY, state=4, tid=2)
    result = script.run()
    assert [poll["instance"] for poll in result.polls] == [1, 1]
    assert result.wait == (20, 70, WaitFlag.STATE, 4)
    assert (result.waits[0]["tid"], result.waits[0]["self"], result.waits[0]["instance"]) == (2, 1, 1)


@pytest.mark.parametrize(
    ("result", "state", "same"),
    [
        (PENDING, 4, True),
        (PENDING, None, True),
        (PENDING, 0, False),
        (READY, None, False),
        (0, None, True),
        (0, 4, True),
        (0, 0, False),
    ],
)
def test_an_address_used_again_is_another_future(result: int, state: int | None, same: bool) -> None:
    script = Script()
    script.poll(10, 20, PLAIN, 1, result, state=0)
    script.poll(70, 80, PLAIN, 1, READY, state)
    done = script.run()
    assert [poll["instance"] for poll in done.polls] == ([1, 1] if same else [1, 2])
    ended = result == PENDING and not same  # by the other one at its address
    assert [wait["flags"] & ENDED for wait in done.waits] == ([ENDED] if ended else [0] if same else [])
    if same:
        doubtful = result == 0 and state is None
        assert bool(done.waits[0]["flags"] & WaitFlag.AMBIGUOUS) == doubtful


def test_a_coroutines_own_state_tells_its_result_when_the_return_value_does_not() -> None:
    script = Script()
    script.enter(10, 900, PLAIN, 1)
    script.leave(20, 900, PLAIN, 0, state=1)
    script.poll(30, 40, PLAIN, 1)
    assert [poll["instance"] for poll in script.run().polls] == [1, 2]


@pytest.mark.parametrize("is_lossy", [False, True])
def test_a_future_that_panicked_is_not_polled_again(is_lossy: bool) -> None:
    """Unless it was only that the exit was lost."""
    script = Script()
    script.enter(10, 900, TASK, 1)
    script.enter(20, 800, PLAIN, 3)
    if is_lossy:
        script.items.append(Loss(cpu=0, count=1, after=None, before=START + 25))
    script.leave(30, 900, TASK, PENDING)
    script.poll(50, 60, PLAIN, 3, READY, sp=800)
    result = script.run()
    assert len({row["instance"] for row in result.polls if row["function"] == PLAIN}) == (1 if is_lossy else 2)
    waits = [(wait["start"], wait["end"], wait["flags"]) for wait in result.waits if wait["function"] == PLAIN]
    assert waits == ([(20, 50, WaitFlag.AMBIGUOUS)] if is_lossy else [])


def test_an_unknown_address_has_no_instance_and_no_wait() -> None:
    script = Script()
    for start in (10, 30):
        script.enter(start, 900, PLAIN)
        script.leave(start + 5, 900, PLAIN, PENDING)
    result = script.run()
    assert [poll["instance"] for poll in result.polls] == [0, 0]
    assert (result.waits, result.tally.instances) == ([], 0)


def test_a_pending_future_waits_until_the_end() -> None:
    script = Script()
    script.enter(10, 900, PLAIN, 1)
    script.leave(20, 900, PLAIN, PENDING, state=5)
    assert script.run().wait == (20, 1_000, WaitFlag.END_UNKNOWN | WaitFlag.STATE, 5)


def test_a_wait_across_a_loss_may_hide_a_poll() -> None:
    script = Script()
    script.poll(10, 20, PLAIN, 1, PENDING, state=0)
    script.items.append(Loss(0, 1, START + 30, START + 40))
    script.poll(70, 80, PLAIN, 1, PENDING, state=4)
    script.poll(90, 95, PLAIN, 1, READY, state=4)
    result = script.run()
    assert [wait["flags"] for wait in result.waits] == [WaitFlag.STATE | WaitFlag.AMBIGUOUS, WaitFlag.STATE]


def test_nobody_knows_whether_a_future_of_unknown_result_still_waits() -> None:
    script = Script()
    script.poll(10, 20, PLAIN, 1)
    assert script.run().waits == []


def test_a_future_that_is_suspended_when_first_seen_has_waited_since_before() -> None:
    script = Script()
    script.poll(40, 50, PLAIN, 1, READY, state=3)
    assert script.run().wait == (0, 40, WaitFlag.START_UNKNOWN | WaitFlag.STATE, 3)


def test_perhaps_it_was_polled_when_recording_began_and_has_waited_since_that_ended_only() -> None:
    script = Script()
    script.leave(20, 500, PLAIN, PENDING)
    script.poll(40, 50, PLAIN, 1, READY, state=3)
    assert script.run().wait == (0, 40, WaitFlag.START_UNKNOWN | WaitFlag.STATE | WaitFlag.AMBIGUOUS, 3)


def test_two_polls_at_once_are_two_futures() -> None:
    script = Script()
    script.enter(10, 900, PLAIN, 1, tid=1)
    script.poll(20, 30, PLAIN, 1, PENDING, tid=2)
    script.leave(40, 900, PLAIN, PENDING, tid=1)
    result = script.run()
    assert sorted(poll["instance"] for poll in result.polls) == [1, 2]


def test_a_task_that_is_polled_elsewhere_already_was_over() -> None:
    script = Script()
    script.enter(10, 900, TASK, 1, tid=1)
    script.poll(12, 15, PLAIN, 2, READY, tid=1)
    script.enter(20, 900, TASK, 1, tid=2)
    script.leave(22, 900, TASK, tid=1)
    script.leave(40, 900, TASK, tid=2)
    result = script.run()
    tasks = [(p["start"], p["end"], p["end_latest"], p["instance"]) for p in result.polls if p["function"] == TASK]
    assert tasks == [(10, 20, 20, 1), (20, 40, 40, 1)]
    assert result.waits == []


# ---------------------------------------------------------------- what changes while recording


def test_detached_futures_end_and_begin_again_unknown() -> None:
    script = Script()
    script.enter(10, 900, TASK, 1)
    script.enter(20, 800, PLAIN, 2)
    script.items.append(PlanChange(START + 100, frozenset({Group.TASKS}), ""))
    script.items.append(PlanChange(START + 200, frozenset(Group), ""))
    script.leave(250, 800, PLAIN, READY)
    script.leave(300, 900, TASK)
    result = script.run()
    before, after = (poll for poll in result.polls if poll["function"] == PLAIN)
    assert (before["end"], before["flags"]) == (100, PollFlag.END_UNKNOWN)
    assert (after["start"], after["end"], after["depth"]) == (200, 250, 1)
    assert after["flags"] == PollFlag.START_UNKNOWN | PollFlag.RESULT
    result.poll(TASK, start=10, end=300, flags=0)


def test_a_wait_is_not_drawn_across_a_time_that_nobody_watched() -> None:
    script = Script()
    script.poll(10, 20, PLAIN, 1, PENDING, state=0)
    script.poll(30, 40, JUMPING, 1, PENDING, state=0)
    script.items.append(PlanChange(START + 100, frozenset({Group.TASKS}), ""))
    script.items.append(PlanChange(START + 200, frozenset(Group), ""))
    script.poll(250, 260, PLAIN, 1, READY, state=4)
    script.poll(270, 280, JUMPING, 1, READY)
    result = script.run()
    waits = [(w["function"], w["start"], w["end"], w["flags"]) for w in result.waits]
    assert waits == [
        (PLAIN, 20, 100, WaitFlag.END_UNKNOWN),
        (JUMPING, 40, 100, WaitFlag.END_UNKNOWN),
        (PLAIN, 200, 250, WaitFlag.START_UNKNOWN | WaitFlag.STATE),
    ]
    assert [poll["instance"] for poll in result.polls] == [1, 2, 3, 4]  # at their addresses may be others by now


def test_a_detached_future_goes_on_as_long_as_one_inside_it() -> None:
    """Its own end is not seen any more: it is no sooner than that of the inner one."""
    script = Script()
    script.enter(10, 900, TASK, 1)
    script.enter(20, 800, PLAIN, 2)
    script.enter(30, 700, JUMPING, 3)
    script.items.append(PlanChange(START + 100, frozenset(Group), "", frozenset({PLAIN})))
    script.leave(150, 700, JUMPING, PENDING)
    script.leave(200, 900, TASK)
    script.items.append(PlanChange(START + 250, frozenset(Group), ""))
    script.poll(300, 310, PLAIN, 2, READY)
    result = script.run()
    result.poll(JUMPING, start=30, end=150)
    detached, again = (poll for poll in result.polls if poll["function"] == PLAIN)
    assert (detached["end"], detached["end_latest"], detached["flags"]) == (150, 150, PollFlag.END_UNKNOWN)
    assert again["instance"] != detached["instance"]
    assert not [wait for wait in result.waits if wait["function"] == PLAIN]


def test_what_is_polled_after_that_is_not_in_the_detached_one() -> None:
    """On a thread where nothing comes that is higher on the stack it would seem to go on for ever."""
    script = Script()
    script.enter(10, 900, PLAIN, 2)
    script.enter(20, 700, JUMPING, 3)
    script.items.append(PlanChange(START + 100, frozenset(Group), "", frozenset({PLAIN})))
    script.leave(150, 700, JUMPING, PENDING)
    for start in (1000, 2000, 3000):
        script.enter(start, 700, JUMPING, 3)
        script.leave(start + 100, 700, JUMPING, PENDING)
    script.leave(4000, 900, PLAIN, PENDING)  # its probe was on its way out
    result = script.run()
    detached = result.poll(PLAIN, start=10)
    assert (detached["end"], detached["flags"]) == (150, PollFlag.END_UNKNOWN)
    assert [poll["depth"] for poll in result.polls if poll["function"] == JUMPING] == [1, 0, 0, 0]
    assert result.tally.unmatched_exits == 1


def test_a_detached_one_ends_when_the_inner_one_is_detached_too() -> None:
    script = Script()
    script.enter(10, 900, PLAIN, 2)
    script.enter(20, 700, JUMPING, 3)
    script.items.append(PlanChange(START + 100, frozenset(Group), "", frozenset({PLAIN})))
    script.items.append(PlanChange(START + 130, frozenset(Group), "", frozenset({PLAIN, JUMPING})))
    script.enter(200, 600, TASK, 1)
    result = script.run()
    assert result.poll(PLAIN, start=10)["end"] == result.poll(JUMPING, start=20)["end"] == 130
    assert result.poll(TASK, start=200)["depth"] == 0


def test_what_has_no_exit_lasts_until_what_may_be_around_it_is_probed_again() -> None:
    """Its end was not seen: it may be a part of the poll that was under way by then, or have ended before that."""
    script = Script()
    script.enter(10, 900, TASK, 1)
    script.items.append(PlanChange(START + 20, frozenset(Group), "", frozenset({JUMPING})))
    script.enter(30, 700, ENDLESS, 2)
    script.items.append(PlanChange(START + 100, frozenset(Group), ""))
    script.poll(110, 120, PLAIN, 3, READY, sp=600)
    script.leave(150, 800, JUMPING, PENDING)
    script.leave(200, 900, TASK)
    result = script.run()
    result.poll(ENDLESS, start=30, end=100, end_latest=150, flags=PollFlag.INFERRED_END)
    result.poll(JUMPING, start=100, end=150)


def without_exits(at: int, *functions: int) -> PlanChange:
    return PlanChange(START + at, frozenset(Group), "", frozenset(), frozenset(functions))


def test_a_poll_that_is_open_when_exits_go_ends_between_two_events() -> None:
    script = Script()
    script.enter(10, 900, TASK, 1)
    script.enter(20, 800, PLAIN, 2, state=3)
    script.items.append(without_exits(100, PLAIN))
    script.enter(120, 700, JUMPING, 3)
    script.leave(150, 700, JUMPING, PENDING)
    script.leave(200, 900, TASK)
    result = script.run()
    result.poll(PLAIN, start=20, end=150, end_latest=200, flags=PollFlag.INFERRED_END | PollFlag.STATE)
    result.poll(JUMPING, start=120, end=150, end_latest=150)
    result.poll(TASK, start=10, end=200, end_latest=200, flags=0)


def test_a_poll_whose_exit_went_unseen_is_not_taken_for_unwound_when_exits_are_back() -> None:
    script = Script([without_exits(0, PLAIN)])
    script.enter(10, 800, PLAIN, 2)
    script.enter(20, 800, PLAIN, 3, tid=2)
    script.items.append(without_exits(50))
    script.leave(60, 800, PLAIN, PENDING)  # its entry was seen
    script.enter(70, 900, TASK, 1, tid=2)
    script.enter(80, 800, PLAIN, 4, tid=2)
    script.leave(90, 900, TASK, tid=2)
    polls = [(p["self"], p["end"], p["end_latest"], p["flags"]) for p in script.run().polls if p["function"] == PLAIN]
    assert polls == [
        (2, 60, 60, PollFlag.RESULT | PollFlag.PENDING),
        (3, 20, 70, PollFlag.INFERRED_END),
        (4, 80, 90, PollFlag.UNWOUND),
    ]


def test_a_poll_whose_exit_may_have_gone_unseen_is_not_said_to_be_under_way_at_the_end() -> None:
    script = Script()
    script.enter(10, 800, PLAIN, 2)
    script.items.append(without_exits(50, PLAIN))
    script.items.append(without_exits(60))
    script.enter(70, 800, PLAIN, 3, tid=2)
    result = script.run()
    polls = [(poll["self"], poll["end"], poll["end_latest"], poll["flags"]) for poll in result.polls]
    assert polls == [(2, 10, 1_000, PollFlag.INFERRED_END), (3, 1_000, 1_000, PollFlag.END_UNKNOWN)]
    assert result.tally.open_at_end == 1


def test_without_exits_a_future_is_one_on_two_threads() -> None:
    """Its poll on the first one was over when the second one's began, though nothing told it there."""
    script = Script([without_exits(0, PLAIN)])
    script.enter(10, 800, PLAIN, 2, state=3)
    script.items.append(without_exits(50))
    script.poll(60, 70, PLAIN, 2, READY, state=3, tid=2)
    script.enter(80, 900, TASK, 1)
    result = script.run()
    first, second = (poll for poll in result.polls if poll["function"] == PLAIN)
    if first["start"] > second["start"]:
        first, second = second, first
    assert first["instance"] == second["instance"]
    assert (first["end"], first["end_latest"]) == (10, 60)


def test_a_function_goes_in_two_steps_and_comes_back_in_two() -> None:
    """While its entries are seen its waits go on; where they are not, nobody knows."""
    script = Script()
    script.poll(10, 20, PLAIN, 1, PENDING)
    script.items.append(without_exits(30, PLAIN))
    script.enter(40, 500, PLAIN, 1, state=3)
    script.items.append(PlanChange(START + 100, frozenset(Group), "", frozenset({PLAIN})))
    script.items.append(without_exits(200, PLAIN))
    script.enter(210, 500, PLAIN, 1, state=4)
    script.items.append(without_exits(300))
    script.poll(310, 320, PLAIN, 1, READY, state=5)
    result = script.run()
    assert [(p["start"], p["end"], p["end_latest"]) for p in result.polls] == [
        (10, 20, 20),
        (40, 40, 100),
        (210, 210, 310),
        (310, 320, 320),
    ]
    waits = [(w["start"], w["end"], w["state"], w["flags"]) for w in result.waits]
    assert waits == [
        (20, 40, 3, WaitFlag.STATE),
        (200, 210, 4, WaitFlag.START_UNKNOWN | WaitFlag.STATE),
        (210, 310, 5, WaitFlag.STATE),
    ]


def test_no_change_takes_the_exits_of_tasks() -> None:
    script = Script([without_exits(0, TASK, 99)])
    script.poll(10, 20, TASK, 1)
    script.run().poll(TASK, start=10, end=20, end_latest=20, flags=0)


def test_the_end_of_one_process_ends_only_what_is_its_own() -> None:
    script = Script([[Thread(1, 5, "a"), Thread(2, 6, "b")]])
    script.enter(10, 900, PLAIN, 1, tid=1)
    script.enter(20, 900, JUMPING, 1, tid=2)
    script.items.append(ProcessEnd(START + 100, 5, "exited"))
    script.leave(200, 900, JUMPING, READY, tid=2)
    result = script.run(processes=2)
    result.poll(PLAIN, end=100, flags=PollFlag.END_UNKNOWN)
    result.poll(JUMPING, end=200, flags=PollFlag.RESULT)


def test_one_address_in_two_processes_is_two_futures() -> None:
    script = Script([[Thread(1, 5, "a"), Thread(2, 6, "b")]])
    script.poll(10, 20, PLAIN, 1, PENDING, tid=1)
    script.poll(30, 40, PLAIN, 1, PENDING, tid=2)
    assert [poll["instance"] for poll in script.run(processes=2).polls] == [1, 2]


def test_only_live_things_are_remembered() -> None:
    state = begin(recording_of(PLAN))
    events = np.zeros(20_000, EVENT)
    events["time"] = START + np.arange(20_000)
    events["sp"], events["tid"] = 900, 1
    events["probe"][0::2], events["probe"][1::2] = ENTER[PLAIN], LEAVE[PLAIN]
    events["self"][0::2] = 16 + np.arange(10_000)
    events["flags"][0::2], events["flags"][1::2] = EventFlag.SELF, READY
    events["flags"][19_999] = PENDING
    state, spans = step(state, events)
    assert (len(spans.polls), len(state.frames), len(state.latest)) == (10_000, 0, 1)
