"""Slices of two futures never overlap on a lane, whatever comes."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tracer.output.lanes import NO_TRACK, Lanes

LIVES = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=4),
        st.booleans(),
    ),
    min_size=1,
    max_size=30,
)
"""Instances: function, slices (gap before, length), whether the last one is its end."""


@given(LIVES, st.integers(1, 5), st.integers(0, 3), st.integers(1, 12), st.integers(2, 40))
def test_lanes(
    lives: list[tuple[int, list[tuple[int, int]], bool]], blocks: int, own: int, most: int, known: int
) -> None:
    slices = []
    for instance, (function, parts, ends) in enumerate(lives, 1):
        at = 3 * instance
        for number, (gap, length) in enumerate(parts):
            at += gap
            slices.append((at + length, at, instance, function, ends and number == len(parts) - 1))
            at += length
    slices.sort()
    made: list[tuple[tuple[int, int], int, bool]] = []

    def new_track(group: tuple[int, int], number: int, is_lane: bool) -> int:
        made.append((group, number, is_lane))
        return len(made)

    lanes = Lanes(new_track, max_own=own, max_own_share=2, max_tracks=most, max_known=known)
    drawn = defaultdict(list)
    owners = defaultdict(set)
    for block in np.array_split(np.array(slices, np.int64), blocks):
        ends, starts, instances, functions, over = block.T if len(block) else np.empty((5, 0), np.int64)
        tracks = lanes.assign(
            instances.astype(np.uint64), np.ones(len(block), np.int64), functions, starts, ends, over.astype(np.bool_)
        )
        for track, start, end, instance in zip(
            tracks.tolist(), starts.tolist(), ends.tolist(), instances.tolist(), strict=True
        ):
            if track != NO_TRACK:
                drawn[track].append((start, end))
                owners[track].add(instance)
    assert lanes.tracks == len(made) <= max(most, own)
    for (_, _, is_lane), track in zip(made, range(1, len(made) + 1), strict=True):
        last = 0
        for start, end in sorted(drawn[track]):
            assert start >= last
            last = end
        assert is_lane or len(owners[track]) == 1
    assert sum(not is_lane for _, _, is_lane in made) <= own
