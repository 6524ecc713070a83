"""What the kernel side sends too much of while probes come, go, or move from one link to another.

Programs at probes cannot all be switched at one moment, but a recording needs one: of probes that
leave, nothing counts from the moment on at which they were told to; of those that come, nothing
before the last of them was there.

A link that takes over from another one is switched on before the other one is switched off, so that
no hit is missed.  In between each hit is sent twice, by programs that run one after the other, that of
the later link first (the kernel puts a new consumer of a uprobe before the others): the two events are
neighbours on their thread, of one probe and one stack pointer, and an even link sent one of them, an
odd one the other.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from tracer.model import CHAIN_RECORD, EVENT, SPAWN_RECORD, Array, is_scheduling

ODD_LINK = np.uint8(64)
"""EVENT_ODD_LINK of bpf/events.h."""

_WHILE = 500_000_000
"""Nanoseconds: no program is kept that long from sending what it has begun to."""

Flags = npt.NDArray[np.bool_]


class Pauses:
    """Takes out what was sent by probes while they were not to be heard.  probes: how many there are."""

    def __init__(self, probes: int) -> None:
        self._none, self._scheduling = probes, probes + 1
        self._begin = np.zeros(probes + 2, np.uint64)
        self._end = np.zeros(probes + 2, np.uint64)
        self._changed = 0

    def begin(self, probes: Collection[int], time: int, *, scheduling: bool = False) -> None:
        """Nothing later than `time` counts.  scheduling: records of it neither."""
        at = [*probes, self._scheduling] if scheduling else list(probes)
        self._begin[at], self._end[at], self._changed = time, np.iinfo(np.uint64).max, time

    def end(self, probes: Collection[int], time: int, *, scheduling: bool = False) -> None:
        """What is of `time` or later counts again."""
        at = [*probes, self._scheduling] if scheduling else list(probes)
        self._end[at], self._changed = time, time

    def without(self, events: Array) -> Array:
        """events: dtype EVENT, by time."""
        if not len(events) or int(events["time"][0]) > self._changed + _WHILE:
            return events
        probe = np.minimum(events["probe"], self._none)
        probe[is_scheduling(events["probe"])] = self._scheduling
        is_out = (events["time"] > self._begin[probe]) & (events["time"] < self._end[probe])
        return _left(events, is_out)


class Handover:
    """Takes out one event of two that are of one hit, and the mark that tells them apart."""

    def __init__(self, probes: int) -> None:
        self._is_odd = np.zeros(probes, np.bool_)  # of each, its latest link
        self._until: int | None = None
        self._has_odd = False
        self._last = np.zeros(0, EVENT)  # of each thread its last hit, whose double may be still to come

    def begin(self, probes: Collection[int], time: int, *, is_odd: bool) -> None:
        """A link, odd or even, has taken over these from others shortly before `time`."""
        self._is_odd[list(probes)] = is_odd
        self._until, self._has_odd = time + _WHILE, True

    def without_doubles(self, events: Array) -> Array:
        """events: dtype EVENT, by time; batch after batch."""
        if not self._has_odd or not len(events):
            return events
        if self._until is not None:
            is_over = int(events["time"][0]) > self._until
            events = _left(events, self._doubles(events)) if not is_over else events
            if is_over:
                self._until, self._last = None, self._last[:0]
        events = events if events.flags.writeable else events.copy()
        events["flags"] &= ~ODD_LINK
        return events

    def _doubles(self, events: Array) -> Flags:
        """Which have a neighbour before them that is of the same hit."""
        is_hit = events["probe"] < len(self._is_odd)
        hits = np.concatenate([self._last, events[is_hit]])
        order = np.argsort(hits["tid"], kind="stable")
        tid, probe, sp = (hits[name][order] for name in ("tid", "probe", "sp"))
        is_later = ((hits["flags"][order] & ODD_LINK) != 0) == self._is_odd[probe]
        doubles = np.zeros(len(hits), np.bool_)
        alike = (tid[1:] == tid[:-1]) & (probe[1:] == probe[:-1]) & (sp[1:] == sp[:-1])
        doubles[order[1:]] = alike & is_later[:-1] & ~is_later[1:]
        is_last = np.ones(len(hits), np.bool_)
        is_last[:-1] = tid[1:] != tid[:-1]
        known = len(self._last)
        self._last = hits[np.sort(order[is_last])]
        found = np.zeros(len(events), np.bool_)
        found[is_hit] = doubles[known:]
        return found


def _left(events: Array, is_out: Flags) -> Array:
    """Without these, and without the records that belong to them: those have their times and threads."""
    if not is_out.any():
        return events
    is_record = (events["probe"] == CHAIN_RECORD) | (events["probe"] == SPAWN_RECORD)
    out = events[is_out]
    is_record &= np.isin(events["time"], out["time"]) & np.isin(events["tid"], out["tid"])
    left: Array = events[~(is_out | is_record)]
    return left
