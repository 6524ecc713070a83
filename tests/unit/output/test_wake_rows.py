"""Waits, split where they were woken."""

from __future__ import annotations

import numpy as np

from tracer.model import WAIT
from tracer.output.wake_rows import split


def test_waits_that_are_all_woken_are_two_parts_each() -> None:
    waits = np.zeros(2, WAIT)
    waits["start"], waits["woken"], waits["end"] = [10, 50], [20, 80], [30, 90]
    before = waits.copy()
    (waiting, _), (ready, _) = split(waits, np.array([1, 2]))
    assert list(zip(waiting["start"].tolist(), waiting["end"].tolist(), strict=True)) == [(10, 20), (50, 80)]
    assert list(zip(ready["start"].tolist(), ready["end"].tolist(), strict=True)) == [(20, 30), (80, 90)]
    assert (waits == before).all()
