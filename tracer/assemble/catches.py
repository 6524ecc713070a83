"""Which polls were under way where panics were caught, tasks made or woken, and where threads left their CPUs."""

from __future__ import annotations

import numpy as np

from tracer.assemble.arrays import Indexes
from tracer.assemble.marks import Catches
from tracer.assemble.nesting import Nesting
from tracer.assemble.pairing import Pairs
from tracer.assemble.stream import Stream

_THREAD = 1 << 40
"""Higher than any number of rows."""


def frames_around(places: Catches, stream: Stream, pairs: Pairs, nesting: Nesting) -> Indexes:
    """For each of the places the innermost frame that was on the stack still; -1: there was none.

    What has been unwound lay at or below the stack pointer that was seen there.
    """
    found = np.full(len(places.row), -1)
    if not len(places.row) or not len(pairs.entry):
        return found
    rows = stream.rows.thread * _THREAD + stream.place
    entry, close = rows[pairs.entry], rows[pairs.close]
    sought = places.thread * _THREAD + places.row + stream.carried_rows
    frame = np.searchsorted(entry, sought) - 1
    left = np.arange(len(found))
    while True:
        inside = frame >= 0
        frame, left = frame[inside], left[inside]
        if not len(frame):
            return found
        at = sought[left]
        same_thread = entry[frame] // _THREAD == at // _THREAD
        is_it = (close[frame] >= at) & (stream.rows.sp[pairs.entry[frame]] > places.sp[left]) & same_thread
        found[left[is_it]] = frame[is_it]
        on = ~is_it & same_thread
        frame, left = nesting.parent[frame[on]], left[on]


def caught_in(catches: Catches, stream: Stream, pairs: Pairs, nesting: Nesting) -> Indexes:
    """The frames in whose functions panics were caught."""
    frames = frames_around(catches, stream, pairs, nesting)
    return np.unique(frames[frames >= 0])
