"""Percentiles of what is only counted in bins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.output.findings.made import poll, spans, summary_of
from tracer.output.histogram import BINS, NO_LEAST, PERCENTILE_ERROR, bins_of, percentile


@given(st.lists(st.integers(1, 1 << 40), min_size=1, max_size=50), st.floats(0.01, 1))
def test_a_percentile_is_among_the_values(values: list[int], share: float) -> None:
    bins = np.bincount(bins_of(np.array(values)), minlength=BINS)
    told = percentile(bins, share, min(values), max(values))
    exact = sorted(values)[max(0, int(np.ceil(share * len(values))) - 1)]
    assert min(values) <= told <= max(values)
    assert told == pytest.approx(exact, rel=PERCENTILE_ERROR + 0.001, abs=1)


def test_there_is_none_of_none() -> None:
    assert percentile(np.zeros(BINS, np.int64), 0.5, NO_LEAST, 0) == 0


def test_one_poll_is_all_of_its_percentiles() -> None:
    document = summary_of(spans([poll(100, 3000)])).as_json()
    (one,) = [row for row in document["functions"] if row["polls"] == 1]
    assert one["mean"] == one["p50"] == one["p99"] == one["longest"] == 3_000_000_000
