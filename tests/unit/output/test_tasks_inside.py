"""What an executor's loop takes is the time of the tasks that it polls: theirs, and not its own."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tracer.model import POLL, WAIT, Array
from tracer.output.accounts import Accounts

IS_TASK = [False, True, False]
LOOP, TASK, FUTURE = range(3)
Row = tuple[int, int, int, int, int]
"""(function, start, end, depth, task's number)."""


def polls(*rows: Row, tid: int = 1) -> Array:
    made = np.zeros(len(rows), POLL)
    for at, (function, start, end, depth, task) in enumerate(rows):
        made[at]["function"], made[at]["start"], made[at]["end"], made[at]["depth"] = function, start, end, depth
        made[at]["tid"] = tid
        made[at]["instance" if function == TASK else "task"] = task
    return made


NEST = polls(
    (FUTURE, 11, 39, 2, 7),
    (TASK, 10, 40, 1, 7),
    (TASK, 50, 80, 1, 8),
    (FUTURE, 82, 90, 1, 0),
    (LOOP, 5, 100, 0, 0),
)
"""A loop of 95 that polls two tasks of 30 and a future of its own."""


def longest(accounts: Accounts) -> list[tuple[int, int, int]]:
    """(function, start, in tasks) each."""
    return [(int(one["function"]), int(one["start"]), inside) for one, inside in accounts.longest_apart(9)]


def test_the_tasks_of_a_loop_are_told() -> None:
    accounts = Accounts(IS_TASK)
    accounts.add(NEST, np.empty(0, WAIT))
    assert longest(accounts) == [(LOOP, 5, 60), (TASK, 50, 0), (FUTURE, 11, 0)]
    assert accounts.in_tasks.tolist() == [60, 0, 0]
    assert accounts.busy[LOOP] == 95


def test_a_loop_that_only_runs_tasks_is_not_long() -> None:
    accounts = Accounts(IS_TASK)
    accounts.add(polls((TASK, 6, 50, 1, 7), (TASK, 50, 99, 1, 8), (LOOP, 5, 100, 0, 0)), np.empty(0, WAIT))
    assert longest(accounts) == [(TASK, 50, 0), (TASK, 6, 0), (LOOP, 5, 93)]


@st.composite
def nests(draw: st.DrawFn, depth: int = 0) -> list[Row]:
    """Polls on one thread, by their ends; tasks have the begin for a number."""
    made: list[Row] = []
    clock = 1

    def one(depth: int, task: int) -> None:
        nonlocal clock
        function, start = draw(st.integers(0, 2)), clock
        clock += draw(st.integers(1, 9))
        number = start if function == TASK else task
        for _ in range(draw(st.integers(0, 3)) if depth < 4 else 0):
            one(depth + 1, number)
        clock += draw(st.integers(1, 9))
        made.append((function, start, clock, depth, number))

    for _ in range(draw(st.integers(1, 3))):
        one(0, 0)
    return made


@given(nests(), st.lists(st.integers(0, 60), max_size=5))
def test_any_nest_in_any_blocks(rows: list[Row], cuts: list[int]) -> None:
    accounts = Accounts(IS_TASK)
    every = np.concatenate([polls(*rows), polls(*rows, tid=2)])
    every = every.take(np.argsort(every["end"], kind="stable"))
    for first, last in pairwise([0, *sorted(cuts), len(every)]):
        accounts.add(every[first:last], np.empty(0, WAIT))
    expected = [0, 0, 0]
    for function, start, end, _, _ in rows:
        tasks = [(a, b) for kind, a, b, _, _ in rows if kind == TASK and start <= a < end and (a, b) != (start, end)]
        moments = {moment for a, b in tasks for moment in range(a, b)}
        expected[function] += 2 * len(moments)
    assert accounts.in_tasks.tolist() == expected
