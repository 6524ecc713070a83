"""The tracks of threads, as Perfetto knows them: each below its process, with its name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tracer.assemble.lookup import distinct
from tracer.model import Recording, Thread
from tracer.output.descriptors import Descriptors
from tracer.output.histogram import Integers


class ThreadTracks:
    """Makes a thread's track when it is first asked for.

    only: the process track where there is but one process, else None.
    """

    def __init__(self, descriptors: Descriptors, recording: Recording) -> None:
        self._descriptors = descriptors
        self._first = recording.processes[0].pid
        self._processes = {
            one.pid: descriptors.process(one.pid, one.name, one.command or (one.executable,))
            for one in recording.processes
        }
        self._numbered = np.array([*(self._processes[one.pid] for one in recording.processes), 0], np.int64)
        self.only = self._processes[self._first] if len(recording.processes) == 1 else None
        self._tracks: dict[int, int] = {}
        self._threads: dict[int, Thread] = {}
        self._named: set[int] = set()

    def tell(self, threads: Sequence[Thread]) -> None:
        """Give these threads' tracks their process and name."""
        for thread in threads:
            self._threads[thread.tid] = thread
            self._descriptors.thread(thread, self.track(thread.tid))
            self._named.add(thread.tid)

    def track(self, tid: int) -> int:
        track = self._tracks.get(tid)
        if track is None:
            track = self._tracks[tid] = self._descriptors.new_track()
        return track

    def tracks(self, tids: npt.NDArray[np.uint32]) -> Integers:
        found, inverse = distinct(tids)
        return np.array([self.track(tid) for tid in found.tolist()], np.int64)[inverse]

    def words(self, tids: npt.NDArray[np.uint32]) -> Integers:
        """The intern ids of what threads are called."""
        found, inverse = distinct(tids)
        threads = [(tid, self._threads.get(tid)) for tid in found.tolist()]
        words = [f"thread {one.name} ({tid})" if one is not None else f"thread {tid}" for tid, one in threads]
        words = [one if tid else "unknown" for (tid, _), one in zip(threads, words, strict=True)]
        return np.array([self._descriptors.string(one) for one in words], np.int64)[inverse]

    def processes(self, tids: npt.NDArray[np.uint32]) -> Integers:
        """The process track of each thread; 0 when it is not known (several processes, a thread never named)."""
        if self.only is not None:
            return np.full(len(tids), self.only)
        found, inverse = distinct(tids)
        known = [self._threads.get(tid) for tid in found.tolist()]
        return np.array([self._processes.get(one.pid, 0) if one else 0 for one in known], np.int64)[inverse]

    def numbered(self, processes: npt.NDArray[np.uint16]) -> Integers:
        """The tracks of processes by their index into Recording.processes; 0 of those that are not known."""
        return self._numbered[np.minimum(processes, len(self._numbered) - 1)]

    def pid_of(self, tid: int) -> int | None:
        thread = self._threads.get(tid)
        if thread is not None:
            return thread.pid
        return self._first if self.only is not None else None

    def close(self) -> None:
        """Describe the threads that were never told: their process is certain only if there is one."""
        for tid, track in self._tracks.items():
            if tid in self._named:
                continue
            if self.only is not None:
                self._descriptors.thread(Thread(tid, self._first, ""), track)
            else:
                self._descriptors.track(f"thread {tid} (of an unknown process)", uuid=track)
