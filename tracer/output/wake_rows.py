"""By which wakes tasks became ready, as rows of TracePacket bytes.

Field numbers are those of perfetto_trace.proto (v52): TrackEvent flow_ids 47, terminating_flow_ids 48.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from tracer.model import Array, Plan, WakeOrigin
from tracer.output.descriptors import Descriptors
from tracer.output.histogram import Integers
from tracer.output.labels import short_name
from tracer.output.records import join, pick
from tracer.output.rows import Fixed, Part, Rows, Varint, field, fixed
from tracer.output.slices import INSTANT, READY_COLOR, SliceRows, event
from tracer.output.wait_rows import WaitRows
from tracer.output.wake_words import NO_TASK, OWN

_BY, _BY_ID = 1, 2
_FIRST_FLOW = 1 << 63
"""Flows of spawns have the numbers of tasks, which are lower."""
_MIXER = np.uint64(0x9E3779B97F4A7C15)

FLOW = np.dtype([("key", "<u8"), ("instance", "<u8"), ("start", "<i8"), ("flow", "<u8"), ("delay", "<i8")])
"""From a wake to the poll of this instance that begins then."""


def split(waits: Array, tracks: Integers) -> tuple[tuple[Array, Integers], tuple[Array, Integers]]:
    """What they waited, and what they were ready (both dtype WAIT), each with its tracks.

    Of a wait whose wake is not known the first is all; one that was ready all the time has no first.
    """
    is_woken = waits["woken"] != 0
    waited = ~is_woken | (waits["woken"] > waits["start"])
    # Copies, also of all of them: each is given times of its own.
    ready, waiting = waits.take(np.flatnonzero(is_woken)), waits.take(np.flatnonzero(waited))
    ready["start"] = np.maximum(ready["start"], ready["woken"])
    waiting["end"] = np.where(waiting["woken"] != 0, waiting["woken"], waiting["end"])
    return (waiting, tracks[waited]), (ready, tracks[is_woken])


class WakeRows:
    """Encodes wakes on threads' tracks, and what they led to on the tasks' own.  thread_words: as
    SpawnRows has them."""

    def __init__(
        self,
        descriptors: Descriptors,
        plan: Plan,
        slices: SliceRows,
        waits: WaitRows,
        thread_words: Callable[[npt.NDArray[np.uint32]], Integers],
    ) -> None:
        self._slices = slices
        self._waits = waits
        self._thread_words = thread_words
        functions = plan.functions
        string, name = descriptors.string, descriptors.name
        self._name = np.array([name(f"wake {short_name(f).removeprefix('task ')}") for f in functions] or [0])
        self._function = np.array([string(f.name) for f in functions] or [0])
        self._ready, self._own = name("ready"), string(OWN)
        self._no_task = np.array([string(NO_TASK[origin]) for origin in WakeOrigin])
        self._wake_category = descriptors.category("wake")
        self._ready_category = descriptors.category("ready")
        self._next_flow = _FIRST_FLOW
        self._flows = np.empty(0, FLOW)

    def ready(self, ready: Array, tracks: Integers, kind: int) -> Iterator[Rows]:
        """The beginnings of what split() yields as ready."""
        has_task, has_id = ready["woken_by"] != 0, ready["woken_by_id"] != 0
        by = np.where(has_task, self._function[ready["woken_by_function"]], self._no_task[ready["woken_from"]])
        by = np.where(ready["woken_by"] == ready["instance"], self._own, by)
        on = self._thread_words(ready["woken_on"])
        more = np.where(has_task, _BY, 0) | np.where(has_id, _BY_ID, 0)
        for chosen, known, told in self._waits.told_of(ready):
            for one in np.unique(more[chosen]).tolist():
                some = more[chosen] == one
                which = chosen[some]
                rows = ready.take(which)
                own: list[list[Part]] = [
                    self._slices.text("woken by", "by"),
                    self._slices.text("woken on", "on"),
                    self._slices.number("ready for (ns)", "delay"),
                ]
                columns: dict[str, npt.ArrayLike] = {"by": by[which], "on": on[which]}
                columns["delay"] = rows["end"] - rows["start"]
                if one & _BY:
                    own.append(self._slices.number("woken by task number", "by_number", 10))
                    columns["by_number"] = rows["woken_by"]
                if one & _BY_ID:
                    own.append(self._slices.number("woken by task", "by_id", 10))
                    columns["by_id"] = rows["woken_by_id"]
                row = event(kind, field(3, self._ready_category), *self._waits.fields(known), *own)
                told_of_some = told.of(some).instead(name=self._ready, color=READY_COLOR)
                yield told_of_some.rows(row, **columns, track=tracks[which])

    def marks(self, ready: Array, tracks: Integers) -> Rows:
        """The wakes, as instants that lead to the polls.  tracks: of the threads."""
        flows = np.zeros(len(ready), FLOW)
        flows["instance"], flows["start"] = ready["instance"], ready["end"]
        flows["key"] = _keys(ready["instance"], ready["end"])
        flows["delay"] = ready["end"] - ready["start"]
        flows["flow"] = np.arange(len(ready), dtype=np.uint64) + np.uint64(self._next_flow)
        self._next_flow += len(ready)
        self._flows = join([self._flows, flows], FLOW)
        row = event(
            INSTANT,
            field(3, self._wake_category),
            field(10, Varint("name", 3)),
            self._slices.number("task number", "number", 10),
            fixed(47, Fixed("flow")),
        )
        return row.encode(
            len(ready),
            time=ready["woken"],
            track=tracks,
            name=self._name[ready["function"]],
            number=ready["instance"],
            flow=flows["flow"],
        )

    def flows(self, polls: Array) -> Array:
        """dtype FLOW, of each poll (POLL) that which leads to it; flow 0, and anything else: none does."""
        if not len(self._flows) or not len(polls):
            return np.zeros(len(polls), FLOW)
        at, is_it = self._leading_to(polls)
        found = self._flows.take(at)
        np.copyto(found["flow"], np.uint64(0), where=~is_it)
        return found

    def _leading_to(self, polls: Array) -> tuple[Integers, npt.NDArray[np.bool_]]:
        """Of each poll the place in the flows, of which there are some; and whether that one does lead to it."""
        order = np.argsort(self._flows["key"])
        keys = self._flows["key"][order]
        at = order[np.minimum(np.searchsorted(keys, _keys(polls["instance"], polls["start"])), len(keys) - 1)]
        is_it = (self._flows["instance"][at] == polls["instance"]) & (self._flows["start"][at] == polls["start"])
        return at, is_it

    def woken(self, polls: Array, flows: Array, tracks: Integers, kind: int) -> Rows:
        """The beginnings of polls (POLL) on tasks' own tracks, as SliceRows.stints has others; flows: of each."""
        row = self._slices.stint_format(kind, self._slices.number("ready for (ns)", "delay"), fixed(48, Fixed("flow")))
        told = self._slices.told_of_stints(polls)
        return told.rows(row, track=tracks, delay=flows["delay"], flow=flows["flow"])

    def forget(self, polls: Array, over: npt.NDArray[np.uint64]) -> None:
        """Polls that have been written, or never will be; and tasks that are over."""
        if not len(self._flows):
            return
        at, is_it = self._leading_to(polls)
        left = ~np.isin(self._flows["instance"], over)
        left[at[is_it]] = False
        self._flows = pick(self._flows, left)


def _keys(instance: npt.NDArray[np.uint64], start: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    return np.asarray(instance * _MIXER + start.astype(np.uint64))
