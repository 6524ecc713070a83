"""How frames lie in each other: depth, enclosing frame, enclosing task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracer.assemble.arrays import Flags, Indexes, Unsigned
from tracer.assemble.pairing import Pairs

_DEEPEST = np.iinfo(np.uint16).max


@dataclass(frozen=True, slots=True)
class Nesting:
    """One element for each frame.  depth: number of open frames around it.  parent: the innermost one, or -1.

    by_depth: all frames, outer ones first.  level_ends: where in it each depth ends.
    """

    depth: npt.NDArray[np.uint16]
    parent: Indexes
    by_depth: Indexes
    level_ends: Indexes

    def levels(self, fixed: Flags) -> Iterator[Indexes]:
        """The frames of each depth, outer ones first, without those that are fixed."""
        begin = 0
        for end in self.level_ends:
            frames = self.by_depth[begin:end]
            begin = end
            yield frames[~fixed[frames]]


def nest(pairs: Pairs, row_count: int) -> Nesting:
    """The nesting of one stream's frames."""
    count = len(pairs.entry)
    frames = np.arange(count)
    closed = np.cumsum(np.bincount(pairs.close, minlength=row_count))
    depth = np.minimum(frames - closed[pairs.entry], _DEEPEST).astype(np.uint16)
    by_depth = np.argsort(depth, kind="stable")  # a radix sort: 16 bits
    # One deeper than the frame before: that one is the parent.  Otherwise the parent is that of the
    # previous frame of the same depth.
    steps_in = np.zeros(count, np.bool_)
    steps_in[1:] = depth[1:] == depth[:-1].astype(np.int32) + 1
    ordered = steps_in[by_depth]
    source = by_depth[np.maximum.accumulate(np.where(ordered, frames, 0))]
    parent = np.empty(count, np.intp)
    parent[by_depth] = np.where(depth[by_depth] > 0, source - 1, -1)
    return Nesting(depth, parent, by_depth, np.cumsum(np.bincount(depth)) if count else np.empty(0, np.intp))


def enclosing_tasks(nesting: Nesting, is_task: Flags, own: Unsigned, task: Unsigned, fixed: Flags) -> None:
    """Fill in `task`: the `own` value of the nearest enclosing task frame, 0 without one.

    fixed: frames whose `task` is known already and stays.
    """
    for frames in nesting.levels(fixed):
        parent = nesting.parent[frames]
        inside = parent >= 0
        around = parent[inside]
        task[frames[inside]] = np.where(is_task[around], own[around], task[around])
