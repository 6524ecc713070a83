"""What probes took of polls: counted by the polls inside, in whatever blocks those came."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.perfetto.simulation import QUERY, ROW, START, WORKERS, make_recording, many
from tracer.model import POLL, Array, Group, PollFlag, Probe, Site
from tracer.output.probe_time import ProbeTime, at_most, taken_words

PLAN = make_recording().plan
COSTS = tuple(100.0 * (1 + index) for index in range(len(PLAN.probes)))
"""Of entries; exits are not probed."""


def rows(*given: dict[str, Any]) -> Array:
    made = np.zeros(len(given), POLL)
    for row, one in zip(made, given, strict=True):
        row["tid"] = WORKERS[0]
        for name, value in one.items():
            row[name] = value
    return made


@pytest.mark.parametrize("size", [10_000, 700, 7])
def test_it_is_the_sum_of_those_inside(size: int) -> None:
    """As exact as the blocks are large; of the time before those, to the polls of a millisecond."""
    polls = many(2_100, nested=3, threads=2).polls
    one = ProbeTime(PLAN, COSTS)
    cost = one.own(polls)
    assert np.array_equal(cost, np.array(COSTS)[polls["function"]])
    for begin in range(0, len(polls), size):
        block = polls[begin : begin + size]
        one.add(block)
        for row, taken in zip(block, one.inside(block), strict=True):
            inside = (polls["tid"] == row["tid"]) & (polls["start"] >= row["start"]) & (polls["end"] <= row["end"])
            if begin == 0 and size == 10_000:
                assert taken == pytest.approx(cost[inside].sum(), abs=1)
            assert taken <= cost[(polls["tid"] == row["tid"]) & (polls["end"] <= row["end"])].sum()


def test_of_a_long_poll_over_many_blocks() -> None:
    one = ProbeTime(PLAN, COSTS)
    for number in range(5_000):
        at = START + 20_000 * number
        one.add(rows({"start": at + 10, "end": at + 1_000, "function": ROW, "depth": 1}))
    outer = rows({"start": START + 9_990_000, "end": START + 100_000_000, "function": QUERY})
    one.add(outer)
    expected = 4_501 * COSTS[ROW] + COSTS[QUERY]  # half of the first ten milliseconds' polls are before it
    assert one.inside_one(outer[0]) == pytest.approx(expected, abs=51 * COSTS[ROW])
    assert one.inside(outer, START + 50_000_000)[0] == pytest.approx(2_001 * COSTS[ROW], abs=51 * COSTS[ROW])
    assert one.inside_one(rows({"start": START, "end": START + 100_000_000, "tid": 1})[0]) == 0


def test_of_many_threads_the_latest_are_remembered() -> None:
    one = ProbeTime(PLAN, COSTS)
    for tid in range(1, 3_000):
        one.add(rows({"start": START + tid, "end": START + tid + 10, "function": ROW, "tid": tid}))
    old, new = (rows({"start": START, "end": START + 10_000, "tid": tid}) for tid in (1, 2_999))
    assert (one.inside_one(old[0]), one.inside_one(new[0])) == (0, COSTS[ROW])


def test_an_exit_that_is_not_probed_costs_nothing() -> None:
    probes = (*PLAN.probes, Probe(len(PLAN.probes), 0, 0x9100, Site.EXIT, Group.FUTURES, None, ROW))
    plan = type(PLAN)(PLAN.binaries, PLAN.functions, PLAN.function_binary, probes, (), PLAN.exit_mode)
    both = rows({"function": ROW}, {"function": ROW, "flags": int(PollFlag.INFERRED_END)})
    assert ProbeTime(plan, (*COSTS, 9_000.0)).own(both).tolist() == [COSTS[ROW] + 9_000.0, COSTS[ROW]]


def test_what_hits_cost_may_not_be_known() -> None:
    one = ProbeTime(PLAN, ())
    polls = many(100).polls
    one.add(polls)
    assert not one.inside(polls).any()


def test_the_words() -> None:
    assert taken_words(35_000_000, 37_000_000) == ", of which the probes took about 35.0 ms"
    assert taken_words(1_000_000, 37_000_000) == ""
    assert at_most(10) == 15
