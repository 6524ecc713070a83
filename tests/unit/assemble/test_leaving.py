"""In which poll a thread was when it left its CPU, on events written by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.captures import START, busy_plan, recording_of
from tests.unit.assemble.test_assembly import ENTER, JUMPING, LEAVE, PLAIN, TASK
from tracer.assemble import begin, finish, step
from tracer.model import (
    EVENT,
    SWITCH_IN_RECORD,
    SWITCH_OUT_RECORD,
    Array,
    CaptureEnd,
    EventFlag,
    Group,
    OffCpuFlag,
    PlanChange,
)

BLIND = PlanChange(START, frozenset(Group), "", frozenset(), frozenset({PLAIN}))
"""From here on the exits of this function are not probed."""


IN_POLL, MAYBE = OffCpuFlag.IN_POLL, OffCpuFlag.MAYBE_IN_POLL


def left_in(rows: list[tuple[int, int, int]], *changes: PlanChange) -> tuple[int, OffCpuFlag]:
    """(function, flags) of the only time off a CPU.  rows: (stack pointer, probe, self)."""
    known = int(EventFlag.SELF)
    events = [(START + 10 * n, sp, own, 1, n, probe, 0, 1, known) for n, (sp, probe, own) in enumerate(rows, 1)]
    state, found = begin(recording_of(replace(busy_plan(), scheduling=True))), []
    items: list[PlanChange | Array] = [*changes, np.array(events, EVENT)]
    for item in items:
        state, spans = step(state, item)
        found.append(spans.off_cpu)
    _, spans = finish(state, CaptureEnd(START + 1_000, "", 0, 0))
    (off,) = np.concatenate([*found, spans.off_cpu])
    return int(off["function"]), OffCpuFlag(int(off["flags"]))


OFF = [(202, SWITCH_OUT_RECORD, 5), (0, SWITCH_IN_RECORD, 5)]


@pytest.mark.parametrize("after", [[], [(800, ENTER[PLAIN], 1)]])
def test_whoever_parks_in_block_on_is_in_no_poll_of_its_future(after: list[tuple[int, int, int]]) -> None:
    """Its exit is not probed: it may be over, and is when the next poll begins in its place."""
    rows = [(800, ENTER[PLAIN], 1), *OFF, *after]
    assert left_in(rows) == (PLAIN, IN_POLL)
    assert left_in(rows, BLIND) == (0, MAYBE)


def test_it_is_in_the_innermost_poll_whose_exit_would_have_been_seen() -> None:
    rows = [(900, ENTER[TASK], 1), (800, ENTER[PLAIN], 2), *OFF, (900, LEAVE[TASK], 0)]
    assert left_in(rows) == (PLAIN, IN_POLL)
    assert left_in(rows, BLIND) == (TASK, IN_POLL)


def test_a_poll_without_an_exit_is_still_there_while_one_inside_it_is() -> None:
    rows = [(900, ENTER[PLAIN], 1), (800, ENTER[JUMPING], 2), *OFF, (800, LEAVE[JUMPING], 0)]
    assert left_in(rows, BLIND) == (JUMPING, IN_POLL)


def test_a_thread_without_polls_is_in_none() -> None:
    assert left_in([*OFF, (800, ENTER[PLAIN], 1)], BLIND) == (0, OffCpuFlag(0))
