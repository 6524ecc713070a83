"""Where the polls come from that identity is decided on: earlier blocks, open frames, this block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tracer.assemble.columns import Endings, Frames
from tracer.assemble.instances import STILL_OPEN, Identities, Polls, results_of
from tracer.assemble.sorting import stable_order
from tracer.assemble.state import FRAME, UNKNOWN, Flags, Indexes, Unsigned
from tracer.model import Array

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Polls of known futures, earlier ones first.

    old: sorts, by their beginning, the latest polls of earlier blocks, then the open frames of threads
    without events in this block (at `untouched` of those), then the carried frames (at `carried` of the
    stream's).  new: the frames that began in this block.
    """

    latest_count: int
    untouched: Indexes
    carried: Indexes
    old: Indexes
    new: Indexes

    def polls(self, latest: Array, untouched: Array, frames: Frames, endings: Endings, lost_until: int) -> Polls:
        """All of them as columns.  lost_until: events from before this time may be missing."""

        def join(of_latest: npt.NDArray[T], of_untouched: npt.NDArray[T], of_frames: npt.NDArray[T]) -> npt.NDArray[T]:
            old = np.concatenate([of_latest, of_untouched[self.untouched], of_frames[self.carried]])[self.old]
            return np.concatenate([old, of_frames[self.new]])

        def named(name: str) -> npt.NDArray[Any]:
            return join(latest[name], untouched[name], getattr(frames, name))

        def at_entry(name: str) -> npt.NDArray[Any]:
            return join(np.zeros(len(latest), FRAME[name]), untouched[name], getattr(frames, name))

        nothing = np.zeros(len(untouched), np.int64)
        unknown = np.full(len(untouched), UNKNOWN, np.uint8)
        result = results_of(endings.flags, endings.state_after, endings.seen, lost_until)
        gap = np.zeros(len(self.old) + len(self.new), np.bool_)
        gap[: len(self.old)] = np.concatenate(
            [latest["gap"], np.zeros(len(self.old) - len(latest), np.bool_)],
        )[self.old]
        return Polls(
            function=named("function"),
            self=named("self"),
            process=named("process"),
            tid=named("tid"),
            order=named("order"),
            id=named("id"),
            places=at_entry("places"),
            telling=at_entry("telling"),
            over=join(np.zeros(len(latest), np.uint64), np.full(len(untouched), STILL_OPEN), endings.over),
            start=at_entry("start"),
            end=join(latest["end"], nothing, endings.end),
            flags=at_entry("flags"),
            state=at_entry("state"),
            state_after=join(latest["state_after"], untouched["state_after"], endings.state_after),
            result=join(latest["result"], unknown, result),
            gap=gap,
            instance=named("instance"),
            old_count=len(self.old),
        )

    def tasks(self, latest: Array, untouched: Array, frames: Frames) -> Unsigned:
        """The tasks around all of the polls."""
        old = np.concatenate([latest["task"], untouched["task"][self.untouched], frames.task[self.carried]])[self.old]
        return np.concatenate([old, frames.task[self.new]])

    def write_back(self, identities: Identities, untouched: Array, frames: Frames) -> None:
        """Tell the frames their instances, tasks' ids and caps, in place."""
        frames.instance[self.new] = identities.instance[len(self.old) :]
        frames.id[self.new] = identities.id[len(self.old) :]
        is_new = identities.capped >= len(self.old)
        frames.cap[self.new[identities.capped[is_new] - len(self.old)]] = identities.cap[is_new]
        place = self.old[identities.capped[~is_new]] - self.latest_count
        in_untouched = place < len(self.untouched)
        cap = identities.cap[~is_new]
        untouched["cap"][self.untouched[place[in_untouched]]] = cap[in_untouched]
        frames.cap[self.carried[place[~in_untouched] - len(self.untouched)]] = cap[~in_untouched]


def choose(latest: Array, untouched: Array, frames: Frames, carried: Flags, new: Indexes) -> Candidates:
    """new: this block's frames in the order of their entries."""
    open_before = np.flatnonzero(carried & frames.known)
    elsewhere = np.flatnonzero(untouched["known"])
    order = np.concatenate([latest["order"], untouched["order"][elsewhere], frames.order[open_before]])
    return Candidates(len(latest), elsewhere, open_before, stable_order(order), new[frames.known[new]])
