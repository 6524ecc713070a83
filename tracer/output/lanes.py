"""Which track an instance's polls and waits go to: its own, or a lane that it shares with earlier ones."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tracer.assemble.lookup import distinct, locate

Integers = npt.NDArray[np.int64]
Group = tuple[int, int]
"""(the track that its tracks stand under, function)"""

NO_TRACK = 0


@dataclass(slots=True)
class _GroupLanes:
    max_own: int
    own: int = 0
    lanes: int = 0
    free: list[tuple[int, int]] = field(default_factory=list)  # heap of (end of its last slice, track)


class Lanes:
    """Gives tracks to instances, in bounded memory.

    The first instances of a function get tracks of their own; later ones share lanes.  A lane is free again
    when its instance has ended (or was not heard of for very long), and is given only to an instance that
    starts at or after the end of the lane's last slice, so that slices of two instances never overlap.
    sharing, lanes, without: how many instances share how many lanes for want of room, and how many have no track.
    """

    def __init__(
        self,
        new_track: Callable[[Group, int, bool, int], int],
        place: Callable[[int, int, int], tuple[Group, bool]],
        *,
        max_own: int,
        max_own_share: int,
        max_tracks: int,
        max_known: int,
    ) -> None:
        """new_track(group, number, is_lane, instance) makes a track.  place(process, function, task) says where those
        of an instance belong, and whether only lanes are wanted there.  max_own: own tracks in all, max_own_share:
        of one group; max_tracks: own tracks and lanes in all; max_known: instances remembered."""
        self._new_track, self._place = new_track, place
        self._max_own, self._max_own_share = max_own, max_own_share
        self._max_tracks, self._max_known = max_tracks, max_known
        self._groups: dict[Group, _GroupLanes] = {}
        self._own = 0
        self.tracks = 0
        self.lanes = 0
        self.sharing = 0
        self.without = 0
        self._ids = np.empty(0, np.uint64)  # sorted
        self._track_of = np.empty(0, np.int64)
        self._last = np.empty(0, np.int64)  # end of its last slice
        self._is_lane = np.empty(0, np.bool_)
        self._group_of: list[Group] = []
        self._group_index: dict[Group, int] = {}
        self._group = np.empty(0, np.int64)  # index into _group_of

    def assign(
        self,
        instances: npt.NDArray[np.uint64],
        processes: Integers,
        functions: Integers,
        tasks: npt.NDArray[np.uint64],
        starts: Integers,
        ends: Integers,
        ended: npt.NDArray[np.uint64],
    ) -> Integers:
        """The track of each slice, NO_TRACK where there are too many.

        ended: the instances of which no further slice comes, also ones of which none is drawn here.
        Slices of one instance do not overlap.
        """
        ids, inverse = distinct(instances)
        first = np.empty(len(ids), np.intp)
        first[inverse[::-1]] = np.arange(len(inverse))[::-1]  # of several the last one written, which is the first
        begin = np.full(len(ids), np.iinfo(np.int64).max)
        np.minimum.at(begin, inverse, starts)
        last = np.zeros(len(ids), np.int64)
        np.maximum.at(last, inverse, ends)
        ended = distinct(ended)[0]
        over = locate(ended, ids)[1]
        at, known = locate(self._ids, ids)
        tracks = np.zeros(len(ids), np.int64)
        lane = np.zeros(len(ids), np.bool_)
        group = np.zeros(len(ids), np.int64)
        tracks[known] = self._track_of[at[known]]
        lane[known] = self._is_lane[at[known]]
        group[known] = self._group[at[known]]
        self._last[at[known]] = np.maximum(self._last[at[known]], last[known])

        # Lanes change hands in the order of time.
        fresh = np.flatnonzero(~known)
        leaving = np.flatnonzero(known & over & lane)
        steps = np.concatenate([fresh, leaving])
        for one in steps[np.argsort(np.where(known[steps], last[steps], begin[steps]), kind="stable")].tolist():
            if known[one]:
                self._release(int(group[one]), int(last[one]), int(tracks[one]))
                continue
            some = first[one]
            key, lanes_only = self._place(int(processes[some]), int(functions[some]), int(tasks[some]))
            group[one] = self._index(key, 0 if lanes_only else self._max_own_share)
            tracks[one], lane[one] = self._take(key, int(begin[one]), int(ids[one]))
            if over[one] and lane[one]:
                self._release(int(group[one]), int(last[one]), int(tracks[one]))
        undrawn = ended[~locate(ids, ended)[1]]
        places, were_known = locate(self._ids, undrawn)
        silent = places[were_known]
        for place in silent[self._is_lane[silent]].tolist():
            self._release(int(self._group[place]), int(self._last[place]), int(self._track_of[place]))
        gone = np.concatenate([at[known & over], silent])
        self._remember(ids, tracks, last, lane, group, ~known & ~over, gone)
        return np.asarray(tracks[inverse])

    def _index(self, key: Group, max_own: int) -> int:
        index = self._group_index.get(key)
        if index is None:
            index = self._group_index[key] = len(self._group_of)
            self._group_of.append(key)
            self._groups[key] = _GroupLanes(max_own)
        return index

    def _take(self, key: Group, start: int, instance: int) -> tuple[int, bool]:
        """A track for an instance that starts at `start`: (track, whether it is a lane)."""
        group = self._groups[key]
        if self._own < self._max_own and group.own < group.max_own:
            self._own += 1
            self.tracks += 1
            group.own += 1
            return self._new_track(key, group.own, False, instance), False
        if group.free and group.free[0][0] <= start:
            self.sharing += group.max_own > 0
            return heapq.heappop(group.free)[1], True
        if self.tracks >= self._max_tracks:
            self.without += 1
            return NO_TRACK, False
        self.sharing += group.max_own > 0
        self.tracks += 1
        self.lanes += group.max_own > 0
        group.lanes += 1
        return self._new_track(key, group.lanes, True, instance), True

    def _release(self, group: int, end: int, track: int) -> None:
        heapq.heappush(self._groups[self._group_of[group]].free, (end, track))

    def _remember(
        self,
        ids: npt.NDArray[np.uint64],
        tracks: Integers,
        last: Integers,
        lane: npt.NDArray[np.bool_],
        group: Integers,
        new: npt.NDArray[np.bool_],
        gone: npt.NDArray[np.intp],
    ) -> None:
        keep = np.ones(len(self._ids), np.bool_)
        keep[gone] = False
        order_ids = np.concatenate([self._ids[keep], ids[new]])
        order = np.argsort(order_ids, kind="stable")
        self._ids = order_ids[order]
        self._track_of = np.concatenate([self._track_of[keep], tracks[new]])[order]
        self._last = np.concatenate([self._last[keep], last[new]])[order]
        self._is_lane = np.concatenate([self._is_lane[keep], lane[new]])[order]
        self._group = np.concatenate([self._group[keep], group[new]])[order]
        if len(self._ids) > self._max_known:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        """Forget the half that was silent the longest; should one of them come back, it gets another track."""
        old = np.zeros(len(self._ids), np.bool_)
        old[np.argsort(self._last, kind="stable")[: len(old) // 2]] = True
        for one in np.flatnonzero(old & self._is_lane).tolist():
            self._release(int(self._group[one]), int(self._last[one]), int(self._track_of[one]))
        kept = ~old
        self._ids, self._track_of, self._last = self._ids[kept], self._track_of[kept], self._last[kept]
        self._is_lane, self._group = self._is_lane[kept], self._group[kept]
