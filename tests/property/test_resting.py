"""What memory told at both ends: nothing raises, polls stay what they are, any block size gives the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.captures import START
from tests.property.test_assembly import PLAN, ends, inputs, split, whole
from tracer.model import PARKED, CaptureEnd, FunctionKind, MemoryReading, Outcome, WaitFlag

_RECORD = st.tuples(
    st.sampled_from([1, 2, 3, 16, 21, 32, 37, 64, 2**64 - 1]),  # self
    st.sampled_from([0, 1, 2, 3]),  # id
    st.sampled_from([0, 1, 2, 2**64 - 1]),  # places
    st.sampled_from([0, 0, 1, 2, 5, 6, 99]),  # function
    st.sampled_from([0, 1, 9]),  # process
    st.sampled_from([0, 3, 4, 255]),  # state
    st.sampled_from([0, 1, 2, 9]),  # of the task
)


def reading(records: list[tuple[Any, ...]], *, is_last: bool, time: int) -> MemoryReading:
    parked = np.array(records, PARKED) if records else np.empty(0, PARKED)
    return MemoryReading(time, 5, 0, is_last, len(records), parked)


IS_TASK = np.array([function.kind is FunctionKind.TASK for function in PLAN.functions])
_READINGS = st.lists(_RECORD, max_size=6)


@given(
    inputs,
    _READINGS,
    st.none() | _READINGS,
    st.integers(0, START + 500),
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    ends,
)
def test_readings_change_only_what_is_open(
    items: list[Any],
    first: list[tuple[Any, ...]],
    last: list[tuple[Any, ...]] | None,
    time: int,
    sizes: list[int],
    end: CaptureEnd | None,
) -> None:
    around = [reading(first, is_last=False, time=START), *items]
    if last is not None:
        around.append(reading([*first[::2], *last], is_last=True, time=time))
    spans, tally = whole(around, end)
    for blocks in (split(around, sizes), split(around, [1])):
        other, other_tally = whole(blocks, end)
        assert sorted(other.waits.tolist()) == sorted(spans.waits.tolist())
        assert sorted(other.over.tolist()) == sorted(spans.over.tolist())
        assert other_tally == tally
    without, _ = whole(items, end)
    assert spans.polls.tolist() == without.polls.tolist()
    dropped = spans.over["task"][(spans.over["polls"] == 0) & (spans.over["outcome"] == Outcome.CANCELLED)]
    seen = (spans.waits["flags"] & int(WaitFlag.END_UNKNOWN)) == 0
    seen &= ~np.isin(spans.waits["task"], dropped)
    closed = (without.waits["flags"] & int(WaitFlag.END_UNKNOWN)) == 0
    before = seen & ((spans.waits["flags"] & int(WaitFlag.START_UNKNOWN)) != 0) & IS_TASK[spans.waits["function"]]
    assert spans.waits[seen & ~before].tolist() == without.waits[closed].tolist()
    firsts = {int(task["task"]): int(task["first"]) for task in spans.begun}
    for wait in spans.waits[before]:
        assert (int(wait["start"]), int(wait["end"])) == (START, firsts[int(wait["instance"])])
    rested = spans.over[spans.over["polls"] == 0]
    for task in rested:
        assert PLAN.functions[task["function"]].kind is FunctionKind.TASK
        assert task["outcome"] in (Outcome.WAITING, Outcome.CANCELLED)
        if task["spawned"]:  # a new one; others had its header before
            assert task["spawned"] <= task["first"]
            continue
        until = task["until"] if task["outcome"] == Outcome.CANCELLED else np.iinfo(np.int64).max
        same = (without.over["header"] == task["header"]) & (without.over["process"] == task["process"])
        assert (without.over["first"][same] >= until).all()
    assert len(np.unique(spans.begun["task"])) == len(spans.begun)
    assert set(spans.over["task"].tolist()) == set(spans.begun["task"].tolist())
