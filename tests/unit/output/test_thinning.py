"""What is thinned stays within its budget, counts every poll once, and nests."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.perfetto.simulation import many, simulate, without_exits
from tracer.model import PollFlag
from tracer.output.thinning import Budget, select

ALIKE = np.zeros(6, np.int64)
"""All functions are of one sort."""


@given(st.integers(0, 3000), st.integers(1, 3), st.integers(0, 3))
def test_any_budget(budget: int, nested: int, seed: int) -> None:
    spans = many(600, nested=nested, tasks=20, seed=seed)
    polls = spans.polls
    chosen = select(polls, spans.waits, budget, ALIKE)
    drawn = 2 * chosen.polls.sum() + chosen.waits.sum() + chosen.singles.sum() + len(chosen.merged)
    assert drawn <= max(budget, 0)
    assert not (chosen.polls & chosen.singles).any()
    assert chosen.represented == int(chosen.merged["instance"].sum())
    assert chosen.represented + int((chosen.polls | chosen.singles).sum()) <= len(polls)
    kept = polls["end"][chosen.polls] - polls["start"][chosen.polls]
    left = (polls["end"] - polls["start"])[~chosen.polls]
    if len(kept) and len(left):
        assert kept.min() >= left.max()
    for tid in np.unique(polls["tid"]):
        here = chosen.merged[chosen.merged["tid"] == tid]
        for depth in np.unique(here["depth"]):
            at = np.sort(here[here["depth"] == depth], order="start")
            assert (at["start"][1:] >= at["end"][:-1]).all()
        drawn_polls = polls[(chosen.polls | chosen.singles) & (polls["tid"] == tid)]
        for run in here:
            crosses = (
                (drawn_polls["start"] < run["start"])
                & (run["start"] < drawn_polls["end"])
                & (drawn_polls["end"] < run["end"])
            )
            crosses |= (
                (run["start"] < drawn_polls["start"])
                & (drawn_polls["start"] < run["end"])
                & (run["end"] < drawn_polls["end"])
            )
            assert not crosses.any()


def test_what_is_merged_is_of_one_sort() -> None:
    spans = many(600, nested=1, tasks=20)
    spans.polls["function"] = np.arange(len(spans.polls)) // 7 % 2
    sorts = np.array([0, 1])
    chosen = select(spans.polls, spans.waits, 100, sorts)
    drawn = chosen.polls | chosen.singles
    assert len(chosen.merged)
    for run in chosen.merged:
        inside = (spans.polls["tid"] == run["tid"]) & (spans.polls["start"] >= run["start"])
        inside &= spans.polls["end"] <= run["end"]
        assert set(spans.polls["function"][inside].tolist()) == {run["function"]}
        assert np.count_nonzero(inside) == run["instance"]
        assert not drawn[inside].any()


def test_what_is_unusual_stays() -> None:
    spans = simulate()
    spans.polls["flags"][:3] |= int(PollFlag.UNWOUND)
    chosen = select(spans.polls, spans.waits, 60, ALIKE)
    assert chosen.polls[:3].all()


def test_the_budget_is_shared_by_time() -> None:
    """What quiet blocks leave over, later ones may use; more events than announced get nothing extra."""
    budget = Budget(1000, 2000)
    assert budget.of(100, 300) == 100
    budget.spend(100, 20)
    assert budget.of(100, 300) == 980 * 200 // 1800
    budget.spend(900, 980)
    assert budget.of(50, 150) == 0


def test_what_there_is_room_for_is_drawn_however_few_its_polls_are() -> None:
    """Not all events are polls, and tasks at rest have waits and no events."""
    budget = Budget(2_000_000, 200_000)
    budget.spend(49_990, 150_000)
    assert budget.of(10, 32_030) == 32_030
    assert budget.of(10, 1_800_000) < 1_000
    assert budget.of(0, 32_000) == 32_000
    assert budget.of(0, 3_000_000) == 1_850_000


def test_the_longest_of_waits_without_polls_stay() -> None:
    spans = simulate()
    chosen = select(spans.polls[:0], spans.waits, 5, ALIKE)
    lengths = spans.waits["end"] - spans.waits["start"]
    assert 0 < np.count_nonzero(chosen.waits) <= 5
    assert lengths[chosen.waits].min() >= lengths[~chosen.waits].max()


def test_what_may_have_been_long_is_not_among_the_short() -> None:
    """Of a merged slice with such polls it is known only how long they took at the least."""
    spans = many(600, nested=1, tasks=20)
    spans = without_exits(spans, np.arange(len(spans.polls)) % 5 == 0)
    polls = spans.polls
    blind = (polls["flags"] & int(PollFlag.INFERRED_END)) != 0
    chosen = select(polls, spans.waits, 200, ALIKE)
    kept = (polls["end_latest"] - polls["start"])[chosen.polls]
    left = (polls["end_latest"] - polls["start"])[~chosen.polls]
    assert kept.min() >= left.max()
    assert blind[chosen.polls].any()
    for run in chosen.merged:
        inside = (polls["tid"] == run["tid"]) & (polls["start"] >= run["start"]) & (polls["end"] <= run["end"])
        inside &= (polls["depth"] == run["depth"]) & ~chosen.polls
        assert bool(run["flags"] & PollFlag.INFERRED_END) == bool(blind[inside].any())
    assert {bool(flags & PollFlag.INFERRED_END) for flags in chosen.merged["flags"].tolist()} == {True, False}
