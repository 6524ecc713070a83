"""Times in which at least one of several things was so."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tracer.output.findings.places import Union

INTERVALS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)).map(lambda one: (one[0], one[0] + one[1])))


def length(intervals: list[tuple[int, int]]) -> int:
    return len({time for begin, end in intervals for time in range(begin, end)})


@given(INTERVALS, INTERVALS)
def test_a_union_is_as_long_as_what_is_in_any(some: list[tuple[int, int]], others: list[tuple[int, int]]) -> None:
    one, other = Union(), Union()
    for union, intervals in ((one, some), (other, others)):
        for begin, end in intervals:
            union.add(begin, end)
        assert union.total == length(intervals)
    assert Union.of([one, other]).total == length(some + others)


def test_of_very_many_the_old_ones_are_a_sum() -> None:
    union = Union()
    for number in range(20_000):
        union.add(10 * number, 10 * number + 3)
    assert union.total == 60_000
