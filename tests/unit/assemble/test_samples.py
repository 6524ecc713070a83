"""Shares, their error and stretches from samples that are known."""

from __future__ import annotations

import numpy as np
import pytest

from tracer.assemble.shares import MOST_ROUNDS, Shares, ShareSums
from tracer.assemble.stretches import Stretches
from tracer.stacks import SAMPLE, TaskState, Tick


def tick(time: int, number: int, *samples: tuple[int, int, TaskState, int]) -> Tick:
    """samples: (task, stack, state, ns since its place was looked at before); tasks are of function 0."""
    found = np.zeros(len(samples), SAMPLE)
    for row, (task, stack, state, since) in enumerate(samples):
        found[row]["task"], found[row]["stack"], found[row]["state"], found[row]["since"] = task, stack, state, since
    return Tick(time, number, found, 1.0)


def sums(ticks: list[Tick]) -> Shares:
    adding = ShareSums()
    for one in ticks:
        adding.add(one)
    return adding.result()


def test_each_sample_stands_for_the_time_since_the_last_one() -> None:
    waiting, running = TaskState.WAITING, TaskState.RUNNING
    shares = sums(
        [tick(100, 1, (0, 3, waiting, 100)), tick(130, 2, (0, 3, waiting, 30)), tick(150, 3, (0, -1, running, 20))]
    )
    told = {(one.state, one.stack): time for one, time in zip(shares.kinds, shares.times.tolist(), strict=True)}
    assert told == {(waiting, 3): 130, (running, -1): 20}
    assert shares.samples.tolist() == [2, 1]


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_the_error_holds_the_truth_in_most_cases(share: float) -> None:
    random = np.random.default_rng(7)
    held = 0
    for _ in range(200):
        ticks = [
            tick(
                round_ * 10,
                round_,
                *((task, int(random.random() < share), TaskState.WAITING, 10) for task in range(20)),
            )
            for round_ in range(1, 41)
        ]
        shares = sums(ticks)
        mask = np.array([one.stack == 1 for one in shares.kinds])
        error = shares.error(mask, np.ones(len(mask), np.bool_))
        assert error is not None
        held += abs(shares.times[mask].sum() / shares.times.sum() - share) <= error
    assert held >= 180


def test_few_rounds_tell_no_error() -> None:
    shares = sums([tick(10, 1, (0, 1, TaskState.WAITING, 10)), tick(20, 2, (0, 1, TaskState.WAITING, 10))])
    assert shares.error(np.ones(1, np.bool_), np.ones(1, np.bool_)) is None


def test_a_long_run_is_kept_in_few_rounds() -> None:
    shares = sums([tick(10 * one, one, (0, one % 3, TaskState.WAITING, 10)) for one in range(1, 10 * MOST_ROUNDS)])
    assert len(shares.rounds) <= MOST_ROUNDS
    assert shares.times.sum() == 10 * (10 * MOST_ROUNDS - 1)
    assert shares.samples.sum() == 10 * MOST_ROUNDS - 1
    assert shares.seen.sum(axis=1) == pytest.approx(1)  # one task, seen once a round
    assert np.all(np.diff(shares.begins) > 0)


def test_stretches_follow_each_other() -> None:
    stretches = Stretches()
    waiting, ready = TaskState.WAITING, TaskState.READY
    for one in (
        tick(10, 1, (0, 1, waiting, 10), (1, 4, waiting, 10)),
        tick(20, 2, (0, 1, waiting, 10), (1, 4, waiting, 10)),
        tick(30, 3, (0, 2, waiting, 10)),
        tick(40, 4, (0, 2, ready, 10), (1, 4, waiting, 10)),  # task 1 was not there at 30
    ):
        stretches.add(one)
    told = [(one["task"], one["start"], one["end"], one["stack"], one["state"]) for one in stretches.result()]
    assert told == [
        (0, 10, 30, 1, waiting),
        (0, 30, 40, 2, waiting),
        (0, 40, 40, 2, ready),
        (1, 10, 20, 4, waiting),
        (1, 40, 40, 4, waiting),
    ]


def test_tasks_beyond_the_limit_have_no_stretches() -> None:
    stretches = Stretches()
    stretches.add(tick(10, 1, *((task, 1, TaskState.WAITING, 10) for task in range(700))))
    stretches.add(tick(20, 2, *((task, 1, TaskState.WAITING, 10) for task in range(700))))
    assert len(stretches.result()) == 500
    assert stretches.left_out == 200
