"""Tasks with several branches, `select!`, `join!` or a time limit, that wait for each other by one of them.

Such a task goes on when another of its branches does.  Where those wait for what may never be, a signal or what others
send, or for a timer that is not due soon, it is perhaps a deadlock.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property

import numpy as np

from tracer.model import LENT, LOCKS, Array, LinkKind, LinkRole
from tracer.snapshot.link_reading import LinksFound
from tracer.stacks import LINK_KINDS, LINK_ROLES, Frame, LinkFlag, Snapshot

_SOON = 1_000_000_000
"""ns; a timer that is due before ends the wait, as it is meant to."""

_WAITS = LINK_ROLES.index(LinkRole.WAITS)


class Branches:
    """Of the tasks of a snapshot.  links: dtype LINK."""

    def __init__(self, snapshot: Snapshot, links: Array, found: LinksFound) -> None:
        self._snapshot = snapshot
        self._links = links
        self._found = found

    def others(self, wait: int) -> tuple[int, ...] | None:
        """The waits of the other branches of the task that waits so; None where one of them may well go on, or it is
        not known what it waits for.  wait: index into the links."""
        task, frame = (int(self._links[wait][name]) for name in ("task", "frame"))
        stack = int(self._snapshot.tasks["stack"][task])
        if stack < 0 or not self._found.is_known[task]:
            return None
        frames = self._snapshot.stacks[stack].frames
        leaves = _leaves(frames)
        if any(one.more for one in frames) or len(leaves) != self._found.leaves[task]:
            return None
        others = tuple(one for one in self._waits[task] if one != wait)
        told = {int(self._links["frame"][one]) for one in others}
        if frame in told or not leaves <= told | {frame}:
            return None
        return others if all(map(self._is_outside, others)) else None

    def keeps(self, held: int, wait: int) -> bool:
        """Whether the task that has, or gives, `held` cannot do so but after `wait`, unless another branch goes on.

        Both: indexes into the links, of the same task.
        """
        if held == wait:  # before the one that asks, in a queue
            return True
        thing, role = self._links[held], LINK_ROLES[self._links["role"][held]]
        kind = LINK_KINDS[thing["kind"]]
        is_lock = role is LinkRole.HOLDS and kind in LOCKS
        if not is_lock and (role is not LinkRole.RECEIVES or kind is not LinkKind.MPSC):
            return False  # a task that can be stopped has such another branch as a rule
        begin, size = int(thing["address"]), max(int(thing["size"]), 1)
        task = int(thing["task"])
        if any(one != wait and 0 <= int(self._links["address"][one]) - begin < size for one in self._waits[task]):
            return False
        frames = self._snapshot.stacks[int(self._snapshot.tasks["stack"][task])].frames
        frame = int(self._links["frame"][wait])
        while frame >= 0 and frame != thing["frame"]:
            frame = frames[frame].parent
        return frame >= 0

    def _is_outside(self, wait: int) -> bool:
        link = self._links[wait]
        kind = LINK_KINDS[link["kind"]]
        if kind is not LinkKind.TIMER:
            return kind not in LENT
        return bool(self._snapshot.time) and int(link["number"]) - self._found.time >= _SOON

    @cached_property
    def _waits(self) -> dict[int, list[int]]:
        """By task."""
        is_wait = (self._links["role"] == _WAITS) & ((self._links["flags"] & np.uint8(LinkFlag.KEPT)) == 0)
        by_task: dict[int, list[int]] = defaultdict(list)
        for wait in np.flatnonzero(is_wait).tolist():
            by_task[int(self._links["task"][wait])].append(wait)
        return by_task


def _leaves(frames: tuple[Frame, ...]) -> set[int]:
    return set(range(len(frames))) - {frame.parent for frame in frames}
