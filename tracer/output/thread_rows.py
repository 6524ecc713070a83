"""Polls on their threads' tracks, nested, each in its place among those that begin or end at the same time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tracer.model import POLL, Array, PollFlag
from tracer.output.descriptors import Descriptors
from tracer.output.histogram import Integers
from tracer.output.live_tasks import LiveTasks
from tracer.output.merged_rows import MergedRows
from tracer.output.order import Due, Holder, tied, tied_events
from tracer.output.records import join, pick
from tracer.output.slices import BEGIN, END, INSTANT, SliceRows
from tracer.output.thinning import Selection
from tracer.output.thread_tracks import ThreadTracks


class ThreadRows:
    """write: takes the packets.  start: no poll ends before it (ns).

    slices: how many were written.  held: polls that are not written yet (dtype POLL).
    """

    def __init__(
        self,
        write: Callable[[bytes | npt.NDArray[np.uint8]], None],
        descriptors: Descriptors,
        rows: SliceRows,
        merged: MergedRows,
        threads: ThreadTracks,
        tasks: LiveTasks,
        start: int,
    ) -> None:
        self._write = write
        self._descriptors = descriptors
        self._rows = rows
        self._merged = merged
        self._threads = threads
        self._tasks = tasks
        self._holder = Holder(start)
        self.slices = 0

    @property
    def held(self) -> Array:
        return self._holder.held

    def write(self, polls: Array) -> None:
        """The polls (merged ones too) that nothing can come before any more are written."""
        self._write_due(self._holder.due(polls))

    def close(self) -> None:
        """Write what was held back."""
        self._write_due(self._holder.rest())

    def _write_due(self, due: Due) -> None:
        if not len(due.polls):
            return
        tracks = self._threads.tracks(due.polls["tid"])
        exact = tied(due.polls)
        if exact.any():
            self._write_tied(due, tracks, np.flatnonzero(exact))
        empty = due.polls["start"] == due.polls["end"]
        ends = due.ends & ~exact
        self._write(self._rows.ends(due.polls["end"][ends], tracks[ends]))
        for kind, which in ((INSTANT, empty), (BEGIN, ~empty)):
            which = which & due.begins & ~exact
            for _, rows in self._begins(pick(due.polls, which), tracks[which], kind):
                self._write(rows)
        self.slices += int(np.count_nonzero(due.begins))

    def _write_tied(self, due: Due, tracks: Integers, which: Integers) -> None:
        """The few polls for which the order of equal times matters, event by event."""
        begin: dict[int, bytes] = {}
        empty = due.polls["start"] == due.polls["end"]
        for kind, sort in ((INSTANT, empty), (BEGIN, ~empty)):
            places = which[sort[which]]
            for chosen, rows in self._begins(due.polls.take(places), tracks[places], kind):
                begin |= {place: row.tobytes() for place, row in zip(places[chosen].tolist(), rows, strict=True)}
        rows = self._rows.ends(due.polls["end"][which], tracks[which])
        end = {place: row.tobytes() for place, row in zip(which.tolist(), rows, strict=True)}
        self._write(b"".join((end if kind == END else begin)[index] for index, kind in tied_events(due, which)))

    def _begins(self, polls: Array, tracks: Integers, kind: int) -> list[tuple[Integers, npt.NDArray[np.uint8]]]:
        """The beginnings of polls and of merged slices, with the interned strings they need already written."""
        merged = (polls["flags"] & int(PollFlag.MERGED)) != 0
        plain, runs = np.flatnonzero(~merged), np.flatnonzero(merged)
        plain_rows = self._rows.polls(pick(polls, ~merged), tracks[plain], kind, self._tasks.rows)
        rows = [(plain[chosen], encoded) for chosen, encoded in plain_rows]
        if len(runs):
            of_runs = self._merged.begins(polls.take(runs), tracks[runs])
            rows += [(runs[chosen], encoded) for chosen, encoded in of_runs]
        self._descriptors.flush()
        return rows


def with_merged(polls: Array, chosen: Selection) -> Array:
    """The thread's slices in order of arrival: polls that are drawn, and merged ones at their last poll's place."""
    drawn = np.flatnonzero(chosen.polls | chosen.singles)
    if not len(chosen.merged):
        return pick(polls, chosen.polls | chosen.singles)
    places = np.concatenate([drawn, chosen.position])
    return join([polls.take(drawn), chosen.merged], POLL).take(np.argsort(places, kind="stable"))
