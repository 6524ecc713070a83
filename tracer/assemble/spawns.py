"""By which spawn a task came: the next one that is polled at the header of one that was made is that one, unless its
life ended before.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tracer.assemble.arrays import Flags, Indexes, Small, Unsigned
from tracer.assemble.columns import Frames, pick
from tracer.assemble.marks import Marks
from tracer.assemble.nesting import Nesting
from tracer.assemble.state import MAYBE_OVER
from tracer.model import Array

_BORN, _POLLED, _ENDED = 0, 1, 2


def tell_spawners(
    births: Array, around: Indexes, nesting: Nesting, frames: Frames, is_task: Flags, lost_until: int
) -> Indexes:
    """Tell births (dtype BIRTH, or WAKE, in place) in which tasks' polls they were; yields these frames, -1 where
    there is none, or MAYBE_OVER.

    around: the frame around each, or -1.  One that began before `lost_until` may have ended unseen.
    """
    frame = around.copy()
    while True:
        on = np.flatnonzero(frame >= 0)
        on = on[~is_task[frames.function[frame[on]]]]
        if not len(on):
            break
        frame[on] = nesting.parent[frame[on]]
    inside = np.flatnonzero(frame >= 0)
    lost = frames.start[frame[inside]] < lost_until
    frame[inside[lost]] = MAYBE_OVER
    inside = inside[~lost]
    for name, source in (("by", "instance"), ("by_id", "id"), ("by_function", "function")):
        births[name][inside] = getattr(frames, source)[frame[inside]]
    return frame


def _told_before(births: Array, order: Indexes, header: Unsigned, process: npt.NDArray[np.uint16]) -> Flags:
    """Which of these rows, births first, in this order, only queue what was made right before."""
    again = np.zeros(len(order), np.bool_)
    again[1:] = (order[1:] < len(births)) & (order[:-1] < len(births))
    again[1:] &= (header[order[1:]] == header[order[:-1]]) & (process[order[1:]] == process[order[:-1]])
    at = np.flatnonzero(again)
    again[at] = births["is_queued"][order[at]]
    return again


def with_spawns(births: Array, marks: Marks, is_task: Flags, begun: Array, orders: Unsigned, lost_until: int) -> Array:
    """Tell new tasks (dtype TASK, in place) by which births (dtype BIRTH) they came; yields the births that are left.

    orders: numbers of the rows in which their first polls begin.  A birth from before `lost_until` may have been
    followed by another one at that address.
    """
    if not len(births):
        return births
    ended = np.flatnonzero(is_task[marks.function])
    header = np.concatenate([births["self"], begun["header"], marks.self[ended]])
    process = np.concatenate([births["process"], begun["process"], marks.process[ended]])
    when = np.concatenate([births["order"], orders, marks.order[ended]])
    kind: Small = np.repeat(np.array([_BORN, _POLLED, _ENDED], np.uint8), [len(births), len(begun), len(ended)])
    order = np.lexsort((when, header, process))
    if births["is_queued"].any():
        order = order[~_told_before(births, order, header, process)]
    follows = (header[order[1:]] == header[order[:-1]]) & (process[order[1:]] == process[order[:-1]])
    is_born = kind[order] == _BORN
    first = np.flatnonzero(follows & is_born[:-1] & (kind[order[1:]] == _POLLED))
    born = births[order[first]]
    task = order[first + 1] - len(births)
    in_time = born["time"] >= lost_until
    born, task = born[in_time], task[in_time]
    begun["spawned"][task] = np.minimum(born["time"], begun["first"][task])  # times of two CPUs
    for name in ("by", "by_id", "by_function", "at", "on"):
        begun[f"spawned_{name}"][task] = born[name]
    is_last = is_born.copy()
    is_last[:-1] &= ~follows
    left = np.zeros(len(births), np.bool_)
    left[order[is_last]] = True
    return pick(births, left)
