"""Which poll a stack was taken in: the cases that matter, one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.captures import START, busy_plan, recording_of
from tracer.assemble import begin, finish, step
from tracer.model import (
    EVENT,
    STACK_SAMPLE,
    SWITCH_IN_RECORD,
    SWITCH_OUT_RECORD,
    WAKING_RECORD,
    Array,
    CaptureEnd,
    EventFlag,
    Group,
    PlanChange,
    StackKind,
    StackSamples,
)

PLAN = busy_plan()
ENTER, LEAVE, INNER, INNER_LEFT = 0, 1, 5, 6
TASK, OTHER, FUTURE = 0x1000, 0x2000, 0x3000


def event(time: int, sp: int, probe: int, self_: int = TASK, tid: int = 7) -> tuple[int, ...]:
    return START + time, sp, self_, tid, 0, probe, 0, 0, int(EventFlag.SELF)


def taken(*times: int, tid: int = 7, stack: int = 1, until: int = 0) -> StackSamples:
    kind = StackKind.BLOCKED if until else StackKind.RUNNING
    rows = [(START + time, until and START + until, tid, stack, kind, 0) for time in times]
    return StackSamples(np.array(rows, STACK_SAMPLE))


def looks(*items: Any) -> Array:
    """dtype LOOK, after these lists of events and other items; the same in blocks of one event."""
    found: list[Array] = []
    for size in (1, 1 << 20):
        state, parts = begin(recording_of(PLAN)), []
        for item in items:
            events = np.array(item, EVENT) if isinstance(item, list) else np.empty(0, EVENT)
            for one in [events[at : at + size] for at in range(0, len(events), size)] or [item]:
                state, spans = step(state, one)
                parts.append(spans.looks)
        state, spans = finish(state, CaptureEnd(START + 1000, "", 0, 0))
        found.append(np.concatenate([*parts, spans.looks]))
        assert state.tally.looks == len(found[-1])
    assert found[0].tolist() == found[1].tolist()
    return found[0]


def test_it_is_the_poll_of_its_thread_and_time() -> None:
    polls = [event(10, 4000, ENTER), event(20, 4000, LEAVE), event(30, 4000, ENTER, OTHER), event(40, 4000, LEAVE)]
    found = looks(taken(5, 15, 25, 35, 45), taken(15, tid=8), polls)
    assert (found["time"] - START).tolist() == [15, 35]
    assert (found["start"] - START).tolist() == [10, 30]
    assert found["task"].tolist() == [1, 2]
    assert found["function"].tolist() == [0, 0]


def test_what_a_thread_blocked_for_is_told() -> None:
    (found,) = looks(taken(12, until=18, stack=3), [event(10, 4000, ENTER), event(20, 4000, LEAVE)])
    assert (found["until"] - START, found["stack"], found["kind"]) == (18, 3, StackKind.BLOCKED)


def test_what_ran_was_seen_in_a_poll_up_to_its_end() -> None:
    (found,) = looks(taken(12), [event(10, 4000, ENTER), event(20, 4000, LEAVE)])
    assert (found["start"] - START, found["until"] - START) == (10, 20)


def test_what_blocks_still_at_the_end_has_blocked_until_then() -> None:
    blocked = taken(12, until=1)
    blocked.samples["until"] = 0
    (found,) = looks(blocked, [event(10, 4000, ENTER)])
    assert found["until"] == START + 1000


def test_the_time_off_the_cpu_has_the_stack() -> None:
    """Where the records of the switches have the sample's very time."""
    state = begin(replace(recording_of(PLAN), plan=replace(PLAN, scheduling=True)))
    off = [
        (START + time, 0, 0, 7, 0, record, 0, kind, int(EventFlag.STATE))
        for time, record, kind in (
            (12, SWITCH_OUT_RECORD, 1),
            (13, WAKING_RECORD, 0),
            (18, SWITCH_IN_RECORD, 0),
            (25, SWITCH_OUT_RECORD, 1),
            (28, SWITCH_IN_RECORD, 0),
        )
    ]
    state, _ = step(state, taken(12, until=18, stack=3))
    _, spans = step(state, np.array([event(10, 4000, ENTER), *off, event(30, 4000, LEAVE)], EVENT))
    assert dict(zip((spans.off_cpu["start"] - START).tolist(), spans.off_cpu["stack"].tolist(), strict=True)) == {
        12: 3,
        25: 0,
    }
    assert (spans.looks["until"] - START).tolist() == [13]  # from then on it waited for a CPU


def test_a_future_inside_is_none_of_its_polls() -> None:
    inside = [event(11, 3900, INNER, FUTURE), event(13, 3900, INNER_LEFT)]
    (found,) = looks(taken(12), [event(10, 4000, ENTER), *inside, event(20, 4000, LEAVE)])
    assert found["start"] == START + 10


def test_of_polls_inside_each_other_it_is_the_innermost() -> None:
    inner = [event(12, 3000, ENTER, OTHER), event(14, 3000, LEAVE)]
    found = looks(taken(11, 13, 15), [event(10, 4000, ENTER), *inner, event(20, 4000, LEAVE)])
    assert dict(zip(found["time"].tolist(), found["start"].tolist(), strict=True)) == {
        START + 11: START + 10,
        START + 13: START + 12,
        START + 15: START + 10,
    }


def test_it_waits_for_a_poll_that_is_under_way() -> None:
    assert len(looks([event(10, 4000, ENTER)], taken(500))) == 1  # until the end
    pause = PlanChange(START + 30, frozenset[Group](), "")
    assert len(looks([event(10, 4000, ENTER)], taken(15), pause)) == 1


def test_what_no_poll_is_around_is_not_kept() -> None:
    state, _ = step(begin(recording_of(PLAN)), taken(5, 15))
    for one in ([event(10, 4000, ENTER)], [event(12, 4000, LEAVE)], [event(30, 4000, ENTER)]):
        state, _ = step(state, np.array(one, EVENT))
    assert len(state.samples) == 0


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(6, 8), st.booleans()), max_size=30), st.data())
def test_any_samples_in_any_order(drawn: list[tuple[int, int, bool]], data: st.DataObject) -> None:
    """Each is in one poll at most, whatever the size of the blocks."""
    items: list[Any] = []
    for time, tid, is_sample in drawn:
        probe = data.draw(st.sampled_from([ENTER, LEAVE, INNER, INNER_LEFT]))
        sp = data.draw(st.sampled_from([3000, 4000]))
        items.append(taken(time, tid=tid) if is_sample else [event(time, sp, probe, tid=tid)])
    found = looks(*items)
    assert len(found) <= sum(is_sample for *_, is_sample in drawn)
    assert (found["time"] >= found["start"]).all()
