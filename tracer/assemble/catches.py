"""Which polls caught panics."""

from __future__ import annotations

import numpy as np

from tracer.assemble.marks import Catches
from tracer.assemble.nesting import Nesting
from tracer.assemble.pairing import Pairs
from tracer.assemble.state import Indexes
from tracer.assemble.stream import Stream

_THREAD = 1 << 40
"""Higher than any number of rows."""


def caught_in(catches: Catches, stream: Stream, pairs: Pairs, nesting: Nesting) -> Indexes:
    """The frames in whose functions panics were caught: the innermost ones that were on the stack still.

    What has been unwound lay at or below the stack pointer that the catching function called from.
    """
    if not len(catches.row) or not len(pairs.entry):
        return np.zeros(0, np.intp)
    place = stream.rows.thread * _THREAD + stream.place
    caught = catches.thread * _THREAD + catches.row + stream.carried_rows
    frame = np.searchsorted(place[pairs.entry], caught) - 1
    found: list[Indexes] = []
    sp = catches.sp
    while True:
        inside = frame >= 0
        frame, caught, sp = frame[inside], caught[inside], sp[inside]
        if not len(frame):
            return np.unique(np.concatenate(found)) if found else np.zeros(0, np.intp)
        same_thread = place[pairs.entry[frame]] // _THREAD == caught // _THREAD
        is_it = (place[pairs.close[frame]] > caught) & (stream.rows.sp[pairs.entry[frame]] > sp) & same_thread
        found.append(frame[is_it])
        on = ~is_it & same_thread
        frame, caught, sp = nesting.parent[frame[on]], caught[on], sp[on]
