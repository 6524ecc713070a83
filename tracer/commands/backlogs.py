"""What waited in the channels of the recorded processes, from the begin of a recording to its end."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from tracer.errors import RatError
from tracer.model import Channel
from tracer.snapshot.channels import ChannelWatch, Receiver, Watched, receivers
from tracer.snapshot.read import SnapshotReader
from tracer.stacks import Snapshot, TaskLinks

if TYPE_CHECKING:
    from tracer.output.task_list import TaskView

MOST_TASKS = 20_000
"""Beyond that many, what each waits for and holds is not read."""

_LEAST = 100
"""Messages; what has fewer at the end is not told."""

_MOST_TOLD = 16

_UNKNOWN = Receiver(0, 0, -1, is_certain=False)


class Backlogs:
    """Of one recording."""

    def __init__(self) -> None:
        self._watches: dict[int, ChannelWatch] = {}

    def begin(self, pid: int, reader: SnapshotReader, snapshot: Snapshot) -> None:
        """snapshot: taken of this process a moment ago.  Of very many tasks nothing is looked at.

        Raises NoSuchProcess, PermissionMissing.
        """
        if len(snapshot.tasks) <= MOST_TASKS:
            self._watches[pid] = reader.watch_channels(snapshot)

    def look(self, pid: int, now: int) -> None:
        """now: ns."""
        if pid in self._watches:
            with contextlib.suppress(RatError, OSError):  # it ended
                self._watches[pid].look(now)

    def end(
        self, pid: int, reader: SnapshotReader, view: TaskView, links: TaskLinks | None
    ) -> tuple[Channel, ...] | None:
        """As MemoryReading has them.  view: of a snapshot just taken.  Raises NoSuchProcess, PermissionMissing."""
        watch = self._watches.get(pid)
        if watch is None or links is None:
            return None
        watch.look(view.snapshot.time, is_last=True)
        watched = [one for one in watch.told(_LEAST) if len(one.times) > 1][:_MOST_TOLD]
        running = reader.running_channels(view.snapshot) if watched else links.channels[:0]
        now = receivers(view.snapshot, np.concatenate([links.channels, running]))
        return tuple(_channel(view, one, now.get(one.address) or _at_begin(view, one)) for one in watched)


def _at_begin(view: TaskView, watched: Watched) -> Receiver:
    """Who had the receiver then, if it is still there."""
    before = watched.receiver
    if before is None:
        return _UNKNOWN
    tasks = view.snapshot.tasks
    is_there = ((tasks["header"] == before.header) & (tasks["id"] == before.id)).any()
    return Receiver(before.header, before.id, -1, is_certain=False) if is_there else _UNKNOWN


def _channel(view: TaskView, watched: Watched, receiver: Receiver) -> Channel:
    words, function, where = "", "", None
    if receiver.header:
        task = view.snapshot.tasks[view.snapshot.tasks["header"] == receiver.header][0]
        words = view.doing(view.index(task))
        function, where = view.waiting_at(task, receiver.frame)
    return Channel(
        watched.times,
        watched.messages,
        watched.received,
        watched.capacity,
        receiver.header,
        receiver.is_certain,
        words,
        function,
        where,
    )
