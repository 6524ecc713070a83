"""What memory tells of the tasks of recorded processes: at both ends of a recording; of channels also in between."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from tracer.capture.format import MAX_PAYLOAD
from tracer.commands.backlogs import Backlogs
from tracer.commands.kept import kept_tasks
from tracer.commands.polling_threads import PollingThreads
from tracer.commands.snapshots import reader_of
from tracer.errors import RatError
from tracer.model import PARKED, MemoryReading, Plan, Process
from tracer.snapshot.places import parked_futures
from tracer.snapshot.read import SnapshotReader
from tracer.stacks import Snapshot
from tracer.target.process import TargetProcess
from tracer.terminal import remark

MOST_MEMORY = 4 << 30
"""Bytes of a process whose tasks are read at both ends: a second or two of reading."""
_MOST_PARKED = MAX_PAYLOAD * 3 // 4 // PARKED.itemsize
"""Tasks and futures of one reading, which is one block of a capture."""


class TargetMemory:
    """Of one recording.  running: by pid, those that have not ended."""

    def __init__(self, processes: Sequence[Process], running: Mapping[int, TargetProcess]) -> None:
        self._processes = processes
        self._running = running
        self._polling: dict[int, PollingThreads] = {}
        self._backlogs = Backlogs()
        self._begun: dict[int, Snapshot] = {}
        self.readers: dict[int, SnapshotReader] = {}
        """By pid what reads the tasks of a process."""

    def open(self, plan: Plan) -> str | None:
        """Of the processes that run.  Returns what is not read, and why: of the last one that has too much."""
        self.readers, left_out = {}, None
        for process in self._processes:
            if process.pid not in self._running:
                continue
            with contextlib.suppress(RatError, OSError):  # what it tells is welcome, but no more
                size = self._running[process.pid].resident_bytes()
                if size > MOST_MEMORY:
                    left_out = f"not read: process {process.pid} has {size / (1 << 30):.1f} GiB"
                    remark(f"  its memory is {left_out}, and only up to {MOST_MEMORY >> 30} GiB are")
                    continue
                binary = plan.binaries[process.binary]
                self.readers[process.pid] = reader_of(self._running[process.pid], binary)
                self._polling[process.pid] = PollingThreads(self._running[process.pid], binary)
        return left_out

    def read(self, plan: Plan, *, is_last: bool) -> Iterator[MemoryReading]:
        """What it tells now."""
        for number, process in enumerate(self._processes):
            reader = self.readers.get(process.pid)
            if reader is None or process.pid not in self._running:
                continue
            with contextlib.suppress(RatError, OSError):  # it ended
                snapshot = self._polling[process.pid].named(reader.take())
                parked = parked_futures(snapshot, plan, number, process.binary)
                if len(parked) > _MOST_PARKED:
                    remark(f"  the memory of process {process.pid} tells of {len(parked):,} tasks: too many to be kept")
                    continue
                count = len(snapshot.tasks)
                stuck, channels, view = None, None, None
                if not is_last:
                    self._begun[process.pid] = snapshot
                else:
                    from tracer.commands.stuck import linked, stuck_tasks

                    view, links = linked(reader, plan.binaries[process.binary], process, snapshot)
                    stuck = stuck_tasks(reader, view, links)
                    channels = self._backlogs.end(process.pid, reader, view, links)
                kept = kept_tasks(snapshot, plan, process.binary, view)
                yield MemoryReading(
                    snapshot.time,
                    snapshot.duration,
                    number,
                    is_last,
                    count,
                    parked,
                    stuck,
                    snapshot.missed,
                    kept,
                    channels,
                )

    def watch_channels(self) -> None:
        """From here on, those of the tasks that were last read.  It takes a reading of its own: not before the probes
        are there."""
        for pid, snapshot in self._begun.items():
            with contextlib.suppress(RatError, OSError):  # it ended
                self._backlogs.begin(pid, self.readers[pid], snapshot)
        self._begun.clear()

    def look(self, pid: int, now: int) -> None:
        """At what waits in channels, if it is time to.  now: ns."""
        self._backlogs.look(pid, now)

    def close(self) -> None:
        """What it takes to tell which thread polls what."""
        for polling in self._polling.values():
            polling.close()
