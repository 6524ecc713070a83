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


def place(process: int, function: int, _task: int) -> tuple[tuple[int, int], bool]:
    return (process, function), False


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

    def new_track(group: tuple[int, int], number: int, is_lane: bool, _instance: int) -> int:
        made.append((group, number, is_lane))
        return len(made)

    lanes = Lanes(new_track, place, max_own=own, max_own_share=2, max_tracks=most, max_known=known)
    drawn = defaultdict(list)
    owners = defaultdict(set)
    for block in np.array_split(np.array(slices, np.int64), blocks):
        ends, starts, instances, functions, over = block.T if len(block) else np.empty((5, 0), np.int64)
        tracks = lanes.assign(
            instances.astype(np.uint64),
            np.ones(len(block), np.int64),
            functions,
            np.zeros(len(block), np.uint64),
            starts,
            ends,
            instances[over != 0].astype(np.uint64),
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


def test_a_lane_is_left_by_a_future_whose_last_poll_is_not_drawn() -> None:
    """The end of a future counts even when thinning leaves its last poll out."""
    made: list[bool] = []

    def new_track(_group: tuple[int, int], _number: int, is_lane: bool, _instance: int) -> int:
        made.append(is_lane)
        return len(made)

    lanes = Lanes(new_track, place, max_own=0, max_own_share=0, max_tracks=9, max_known=99)

    def draw(instance: int, start: int, ended: list[int]) -> int:
        one = np.array([start], np.int64)
        ids = np.array([instance], np.uint64)
        return int(lanes.assign(ids, one * 0 + 1, one * 0, ids * 0, one, one + 5, np.array(ended, np.uint64))[0])

    assert draw(1, 10, []) == 1
    assert draw(2, 20, [1]) == 2
    assert draw(3, 30, []) == 1
    assert draw(2, 40, []) == 2
    assert (lanes.tracks, lanes.lanes, lanes.sharing) == (2, 0, 0)  # lanes by choice, not for want of room
