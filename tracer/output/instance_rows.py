"""Polls and waits on the tracks of their own tasks and futures, and the wakes and spawns that they came of."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from tracer.assemble.lookup import locate
from tracer.model import Array
from tracer.output.descriptors import Descriptors
from tracer.output.histogram import Integers
from tracer.output.instance_tracks import InstanceTracks
from tracer.output.lanes import NO_TRACK
from tracer.output.live_tasks import LiveTasks
from tracer.output.records import pick
from tracer.output.slices import BEGIN, INSTANT, SliceRows
from tracer.output.spawn_rows import SpawnRows
from tracer.output.thread_tracks import ThreadTracks
from tracer.output.wait_rows import WaitRows
from tracer.output.wake_rows import WakeRows, split


class InstanceRows:
    """write: takes the packets.  slices: how many were written."""

    def __init__(
        self,
        write: Callable[[bytes | npt.NDArray[np.uint8]], None],
        descriptors: Descriptors,
        rows: SliceRows,
        waits: WaitRows,
        spawns: SpawnRows,
        wakes: WakeRows,
        threads: ThreadTracks,
        instances: InstanceTracks,
        tasks: LiveTasks,
    ) -> None:
        self._write = write
        self._descriptors = descriptors
        self._rows, self._waits, self._spawns, self._wakes = rows, waits, spawns, wakes
        self._threads, self._instances, self._tasks = threads, instances, tasks
        self.slices = 0

    def write(self, polls: Array, waits: Array, begun: Array, ended: npt.NDArray[np.uint64]) -> None:
        """Polls and waits on the instances' own tracks, where nothing nests but what is inlined: ENDs before BEGINs,
        and outer ones before inner ones, will do.

        A task gets its track when it begins, before its futures do, and is ready there from its spawn on.
        """
        poll_tracks, wait_tracks, new_tracks = self._tracks(polls, waits, begun, ended)
        polls, poll_tracks = pick(polls, poll_tracks != NO_TRACK), poll_tracks[poll_tracks != NO_TRACK]
        waits, wait_tracks = pick(waits, wait_tracks != NO_TRACK), wait_tracks[wait_tracks != NO_TRACK]
        is_new = (new_tracks != NO_TRACK) & (begun["spawned"] != 0)
        new, new_tracks = pick(begun, is_new), new_tracks[is_new]
        (waits, wait_tracks), (ready, ready_tracks) = split(waits, wait_tracks)
        self._write_wakes(ready)
        self._descriptors.flush()
        long_poll, long_wait = polls["end"] > polls["start"], waits["end"] > waits["start"]
        long_ready, long_new = ready["end"] > ready["start"], new["first"] > new["spawned"]
        long_waits, long_tracks = pick(waits, long_wait), wait_tracks[long_wait]
        inlined = self._waits.inlined(long_waits)
        below = np.count_nonzero(inlined, axis=1)
        ends = [polls["end"][long_poll], np.repeat(long_waits["end"], 1 + below)]
        ends += [ready["end"][long_ready], new["first"][long_new]]
        of_ends = [poll_tracks[long_poll], np.repeat(long_tracks, 1 + below)]
        of_ends += [ready_tracks[long_ready], new_tracks[long_new]]
        self._write(self._rows.ends(np.concatenate(ends), np.concatenate(of_ends)))
        for kind, which, which_waits, which_ready, which_new in (
            (INSTANT, ~long_poll, ~long_wait, ~long_ready, ~long_new),
            (BEGIN, long_poll, long_wait, long_ready, long_new),
        ):
            stints = list(self._stints(pick(polls, which), poll_tracks[which], kind))
            wait_rows = list(self._waits.waits(pick(waits, which_waits), wait_tracks[which_waits], kind))
            wait_rows += self._wakes.ready(pick(ready, which_ready), ready_tracks[which_ready], kind)
            wait_rows += self._spawns.ready(pick(new, which_new), new_tracks[which_new], kind)
            self._descriptors.flush()
            for rows in (*stints, *wait_rows):
                self._write(rows)
        nested = list(self._waits.of_inlined(long_waits, inlined, long_tracks))
        self._descriptors.flush()
        for rows in nested:
            self._write(rows)
        self.slices += len(polls) + len(waits) + len(ready) + len(new) + int(below.sum())

    def _tracks(self, polls: Array, waits: Array, begun: Array, ended: npt.NDArray[np.uint64]) -> list[Integers]:
        """Those of polls, of waits, and of the tasks that begin."""
        since = np.where(begun["spawned"] != 0, begun["spawned"], begun["first"])
        tids = np.concatenate([polls["tid"], waits["tid"], begun["tid"]])
        of_tasks = np.concatenate([polls["task"], waits["task"], begun["task"]])
        tracks = self._instances.lanes.assign(
            np.concatenate([polls["instance"], waits["instance"], begun["task"]]),
            self._processes(tids, of_tasks),
            np.concatenate([polls["function"], waits["function"], begun["function"]]).astype(np.int64),
            np.concatenate([polls["task"], waits["task"], np.zeros(len(begun), np.uint64)]),
            np.concatenate([polls["start"], waits["start"], since]),
            np.concatenate([polls["end"], waits["end"], begun["first"]]),
            ended,
        )
        return np.split(tracks, [len(polls), len(polls) + len(waits)])

    def _processes(self, tids: npt.NDArray[np.uint32], tasks: npt.NDArray[np.uint64]) -> Integers:
        """The process track of each of these threads, else of these live tasks; 0 when neither is known.

        Only memory told of a task that nobody polled: no thread did anything to it.
        """
        tracks = self._threads.processes(tids)
        open_ = np.flatnonzero(tracks == 0)
        at, known = locate(self._tasks.rows["task"], tasks[open_])
        tracks[open_[known]] = self._threads.numbered(self._tasks.rows["process"][at[known]])
        return tracks

    def _write_wakes(self, ready: Array) -> None:
        """The wakes of what became ready (dtype WAIT), on the threads' tracks."""
        ready = pick(ready, ready["woken_on"] != 0)  # else it was ready from before: nobody saw the wake
        if not len(ready):
            return
        rows = self._wakes.marks(ready, self._threads.tracks(ready["woken_on"]))
        self._descriptors.flush()
        self._write(rows)
        self.slices += len(ready)

    def _stints(self, polls: Array, tracks: Integers, kind: int) -> Iterator[npt.NDArray[np.uint8]]:
        """Polls on the instances' own tracks; the first one of a task tells where that was spawned, others by which
        wakes they came.
        """
        at, is_first = locate(self._tasks.rows["task"], polls["instance"])
        if len(self._tasks.rows):
            is_first &= (self._tasks.rows["first"][at] == polls["start"]) & (self._tasks.rows["spawned"][at] != 0)
        flows = self._wakes.flows(polls)
        is_woken = (flows["flow"] != 0) & ~is_first
        is_plain = ~is_first & ~is_woken
        yield self._rows.stints(pick(polls, is_plain), tracks[is_plain], kind)
        if is_woken.any():
            yield self._wakes.woken(pick(polls, is_woken), pick(flows, is_woken), tracks[is_woken], kind)
        if is_first.any():
            tasks = self._tasks.rows.take(at[is_first])
            yield from self._spawns.first(pick(polls, is_first), tasks, tracks[is_first], kind)
