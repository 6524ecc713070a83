"""Where the polls come from that identity is decided on: earlier blocks, open frames, this block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tracer.assemble.arrays import Flags, Indexes, Unsigned
from tracer.assemble.columns import Endings, Frames
from tracer.assemble.instances import Identities, results_of
from tracer.assemble.known_polls import STILL_OPEN, Polls
from tracer.assemble.marks import Marks
from tracer.assemble.sorting import stable_order
from tracer.assemble.state import FINISHED, FRAME, NOT_READ, UNDONE, UNKNOWN, UNKNOWN_STATE
from tracer.model import Array, PollFlag

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Polls of known futures, earlier ones first.

    old: sorts, by their beginning, the latest polls of earlier blocks, then the open frames of threads
    without events in this block (at `untouched` of those), then the carried frames (at `carried` of the
    stream's).  new: the frames that began in this block.  places: where those stand, and then the marks, among all
    that is new, in the order of the file.
    """

    latest_count: int
    untouched: Indexes
    carried: Indexes
    old: Indexes
    new: Indexes
    places: Indexes

    def polls(
        self, latest: Array, untouched: Array, frames: Frames, endings: Endings, marks: Marks, lost_until: int
    ) -> Polls:
        """All of them as columns.  lost_until: events from before this time may be missing."""

        def join(
            of_latest: npt.NDArray[T],
            of_untouched: npt.NDArray[T],
            of_frames: npt.NDArray[T],
            of_marks: npt.NDArray[Any] | int,
        ) -> npt.NDArray[T]:
            old = np.concatenate([of_latest, of_untouched[self.untouched], of_frames[self.carried]])[self.old]
            if len(self.places) == len(self.new):
                return np.concatenate([old, of_frames[self.new]])
            new = np.empty(len(self.places), of_frames.dtype)
            new[self.places[: len(self.new)]] = of_frames[self.new]
            new[self.places[len(self.new) :]] = of_marks
            return np.concatenate([old, new])

        def named(name: str, of_marks: npt.NDArray[Any] | int) -> npt.NDArray[Any]:
            return join(latest[name], untouched[name], getattr(frames, name), of_marks)

        def at_entry(name: str, of_marks: npt.NDArray[Any] | int) -> npt.NDArray[Any]:
            return join(np.zeros(len(latest), FRAME[name]), untouched[name], getattr(frames, name), of_marks)

        nothing = np.zeros(len(untouched), np.int64)
        unknown = np.full(len(untouched), UNKNOWN, np.uint8)
        result = results_of(endings.flags, endings.state_after, frames.start, lost_until)
        gap = join(latest["gap"], untouched["leaving"], frames.leaving, False)
        is_mark, undone = np.zeros(len(gap), np.bool_), np.zeros(len(gap), np.bool_)
        at_marks = len(self.old) + self.places[len(self.new) :]
        is_mark[at_marks] = True
        undone[at_marks] = marks.if_idle | (marks.says == UNDONE)
        return Polls(
            function=named("function", marks.function),
            self=named("self", marks.self),
            process=named("process", marks.process),
            tid=named("tid", marks.tid),
            order=named("order", marks.order),
            id=named("id", 0),
            places=at_entry("places", 0),
            telling=at_entry("telling", NOT_READ),
            over=join(np.zeros(len(latest), np.uint64), np.full(len(untouched), STILL_OPEN), endings.over, marks.order),
            start=named("start", marks.time),
            end=join(latest["end"], nothing, endings.end, marks.time),
            flags=at_entry("flags", np.where(marks.has_state, np.uint16(PollFlag.STATE), np.uint16(0))),
            state=at_entry("state", marks.state),
            state_after=join(latest["state_after"], untouched["state_after"], endings.state_after, UNKNOWN_STATE),
            result=join(latest["result"], unknown, result, FINISHED),
            gap=gap,
            blind=named("blind", False),
            inside=named("inside", False),
            instance=named("instance", 0),
            is_mark=is_mark,
            undone=undone,
            old_count=len(self.old),
        )

    def around(self, name: str, latest: Array, untouched: Array, frames: Frames) -> Unsigned:
        """The tasks ("task"), or the futures in the same ("parent"), around all of the polls; of a mark 0."""
        own: Unsigned = getattr(frames, name)
        old = np.concatenate([latest[name], untouched[name][self.untouched], own[self.carried]])[self.old]
        new = np.zeros(len(self.places), np.uint64)
        new[self.places[: len(self.new)]] = own[self.new]
        return np.concatenate([old, new])

    def of_new(self, values: npt.NDArray[T]) -> npt.NDArray[T]:
        """Of values for all of the polls those for the new frames."""
        return values[len(self.old) + self.places[: len(self.new)]]

    def with_new(self, values: npt.NDArray[T], otherwise: T) -> npt.NDArray[T]:
        """Values of the new frames as ones for all of the polls."""
        every = np.full(len(self.old) + len(self.places), otherwise)
        every[len(self.old) + self.places[: len(self.new)]] = values
        return every

    def of_marks(self, values: npt.NDArray[T]) -> npt.NDArray[T]:
        """Of values for all of the polls those for the marks."""
        return values[len(self.old) + self.places[len(self.new) :]]

    def write_back(self, identities: Identities, untouched: Array, frames: Frames) -> None:
        """Tell the frames their instances, tasks' ids and caps, in place."""
        places = len(self.old) + self.places[: len(self.new)]
        frames.instance[self.new] = self.of_new(identities.instance)
        frames.id[self.new] = self.of_new(identities.id)
        is_new = identities.capped >= len(self.old)
        at = np.searchsorted(places, identities.capped[is_new])  # never a mark
        frames.cap[self.new[at]] = identities.cap[is_new]
        place = self.old[identities.capped[~is_new]] - self.latest_count
        in_untouched = place < len(self.untouched)
        cap = identities.cap[~is_new]
        untouched["cap"][self.untouched[place[in_untouched]]] = cap[in_untouched]
        frames.cap[self.carried[place[~in_untouched] - len(self.untouched)]] = cap[~in_untouched]


def choose(latest: Array, untouched: Array, frames: Frames, carried: Flags, new: Indexes, marks: Marks) -> Candidates:
    """new: this block's frames in the order of their entries."""
    open_before = np.flatnonzero(carried & frames.known)
    elsewhere = np.flatnonzero(untouched["known"])
    order = np.concatenate([latest["order"], untouched["order"][elsewhere], frames.order[open_before]])
    new = new[frames.known[new]]
    places = np.empty(len(new) + len(marks.order), np.intp)
    places[stable_order(np.concatenate([frames.order[new], marks.order]))] = np.arange(len(places))
    return Candidates(len(latest), elsewhere, open_before, stable_order(order), new, places)
