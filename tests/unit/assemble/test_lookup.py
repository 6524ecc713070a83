"""Look-ups by tables find what numpy's sorting finds, wherever the numbers lie."""

from __future__ import annotations

import numpy as np
import pytest

from tracer.assemble.lookup import distinct, locate

FAR = 2**40


@pytest.mark.parametrize("dtype", [np.uint32, np.int64, np.uint64])
@pytest.mark.parametrize("numbers", [[], [7], [5, 3, 5, 9], [2**32 - 1, 0, 2**32 - 1], [70_000, 3]])
def test_distinct_is_unique(numbers: list[int], dtype: type[np.integer]) -> None:
    values = np.array(numbers, dtype)
    found, places = distinct(values)
    expected, inverse = np.unique(values, return_inverse=True)
    assert found.dtype == values.dtype
    assert found.tolist() == expected.tolist()
    assert places.tolist() == inverse.tolist()


def test_the_largest_numbers_have_a_table_too() -> None:
    found, places = distinct(np.array([2**64 - 1, 2**64 - 3, 2**64 - 1], np.uint64))
    assert found.tolist() == [2**64 - 3, 2**64 - 1]
    assert places.tolist() == [1, 0, 1]


@pytest.mark.parametrize("ordered", [[], [3], [3, 4, 9], [0, 2**64 - 1], [10, FAR], list(range(0, 999, 3))])
@pytest.mark.parametrize("wanted", [[], [3], [0, 1, 2, 3, 4, 9, 10, 12, FAR, 2**64 - 1]])
def test_locate_finds_what_is_there(ordered: list[int], wanted: list[int]) -> None:
    there, sought = np.array(ordered, np.uint64), np.array(wanted, np.uint64)
    at, found = locate(there, sought)
    assert found.tolist() == [one in ordered for one in wanted]
    assert [ordered[place] for place in at[found].tolist()] == [one for one in wanted if one in ordered]
    assert not ordered or all(0 <= place < len(ordered) for place in at.tolist())
