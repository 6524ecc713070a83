"""What is said of polls and waits around lost events, which a capture tells ahead of the events read with them."""

from __future__ import annotations

import pytest

from tests.captures import START
from tests.unit.assemble.test_assembly import PENDING, PLAIN, READY, TASK, Script
from tracer import assemble
from tracer.assemble import losses
from tracer.assemble.state import NO_CAP, State
from tracer.model import Loss, PollFlag, Spans, WaitFlag

OF_ITS_EXIT = PollFlag.END_UNKNOWN | PollFlag.STATE


def lost(after: int, before: int) -> Loss:
    return Loss(0, 3, START + after, START + before)


def test_an_exit_behind_a_loss_does_not_end_the_poll_before_it() -> None:
    """It may be that of another poll, whose entry was lost with the exit of this one."""
    script = Script([lost(30, 700)])
    script.enter(10, 900, PLAIN, 1, 0)
    script.leave(800, 900, PLAIN, PENDING)
    result = script.run()
    result.poll(PLAIN, start=10, end=30, end_latest=30, flags=OF_ITS_EXIT)
    assert (result.tally.unmatched_exits, result.tally.unwound, result.tally.open_at_end) == (1, 1, 0)


def test_a_poll_behind_a_loss_is_in_none_from_before() -> None:
    script = Script([lost(30, 700)])
    script.enter(10, 900, TASK, 1)
    script.poll(750, 760, PLAIN, 2, READY, sp=800)
    script.leave(800, 900, TASK, PENDING)
    result = script.run()
    result.poll(TASK, start=10, end=30, flags=PollFlag.END_UNKNOWN)
    result.poll(PLAIN, start=750, end=760, depth=0, task=0, flags=PollFlag.RESULT)


@pytest.mark.parametrize("times", [(10, 20), (710, 720), (300, 400)])
def test_polls_on_one_side_of_an_edge_of_a_loss_are_whole(times: tuple[int, int]) -> None:
    """One that lies within it was seen from begin to end by a CPU that lost nothing then."""
    script = Script([lost(30, 700)])
    script.poll(*times, PLAIN, 1, READY)
    script.poll(900, 910, PLAIN, 2, READY)
    first, _ = script.run().polls
    assert (first["start"], first["end"], first["flags"]) == (*times, PollFlag.RESULT)


def test_what_began_within_a_loss_is_cut_off_where_that_ends() -> None:
    script = Script([lost(30, 700)])
    script.enter(300, 900, PLAIN, 1)
    script.leave(710, 900, PLAIN, PENDING)
    script.run().poll(PLAIN, start=300, end=699, flags=PollFlag.END_UNKNOWN)


def test_waits_before_a_loss_that_is_told_ahead_of_them_are_certain() -> None:
    script = Script([lost(100, 200)])
    for time in (10, 30, 50, 250):
        script.poll(time, time + 10, PLAIN, 1, PENDING, state=4 if time > 10 else 0)
    waits = [(wait["start"], wait["end"], bool(wait["flags"] & WaitFlag.AMBIGUOUS)) for wait in script.run().waits]
    assert waits == [(20, 30, False), (40, 50, False), (60, 250, True), (260, 1_000, False)]


def test_what_was_open_before_a_loss_behind_which_nothing_is_seen_ends_with_it() -> None:
    script = Script([lost(30, 700)])
    script.enter(10, 900, PLAIN, 1)
    script.run().poll(PLAIN, start=10, end=30, flags=PollFlag.END_UNKNOWN)


def test_very_many_losses_are_taken_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would be a step of its own."""
    acted: list[int] = []

    def come_to_bear(state: State, time: int = NO_CAP) -> tuple[State, Spans]:
        acted.append(time)
        return losses.come_to_bear(state, time)

    monkeypatch.setattr(assemble, "come_to_bear", come_to_bear)
    script = Script([lost(30 + 10 * number, 35 + 10 * number) for number in range(500)])
    script.enter(10, 900, PLAIN, 1, 0)
    script.poll(38, 39, PLAIN, 2, READY, sp=800)  # between two of them
    script.leave(800, 900, PLAIN, PENDING)
    script.poll(5_100, 5_110, PLAIN, 3, READY)
    result = script.run()
    first, *_, last = result.polls
    assert (first["end"], first["flags"]) == (30, OF_ITS_EXIT)
    assert (last["start"], last["end"], last["flags"]) == (5_100, 5_110, PollFlag.RESULT)
    assert len(acted) < 100
