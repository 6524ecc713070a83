"""Where tasks were spawned and by which task, and how long they were ready then, as rows of TracePacket bytes.

Field numbers are those of perfetto_trace.proto (v52): TrackEvent flow_ids 47, terminating_flow_ids 48.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from tracer.model import Array, Plan, SourceLocation
from tracer.output.delays import is_unpolled
from tracer.output.descriptors import Descriptors
from tracer.output.histogram import Integers
from tracer.output.labels import short_name
from tracer.output.rows import Fixed, Part, Rows, Varint, field, fixed
from tracer.output.slices import INSTANT, READY_COLOR, SliceRows, event
from tracer.output.spawn_words import NO_TASK, unknown_site

_AT, _BY, _BY_ID, _TASK_ID = 1, 2, 4, 8

Told = tuple[list[list[Part]], dict[str, npt.ArrayLike]]
"""Arguments, and the columns that they are filled from."""


class SpawnRows:
    """Encodes spawns on the threads' tracks, and what comes of them on the tasks' tracks.  thread_words: of threads'
    ids, the intern ids of what they are called."""

    def __init__(
        self,
        descriptors: Descriptors,
        plan: Plan,
        slices: SliceRows,
        thread_words: Callable[[npt.NDArray[np.uint32]], Integers],
    ) -> None:
        self._descriptors = descriptors
        self._sites = plan.sites
        self._slices = slices
        self._thread_words = thread_words
        functions = plan.functions
        string, name = descriptors.string, descriptors.name
        self._name = np.array([name(f"spawn {short_name(f).removeprefix('task ')}") for f in functions] or [0])
        self._function = np.array([string(f.name) for f in functions] or [0])
        self._unknown = np.array([string(unknown_site(f)) for f in functions] or [0])
        self._no_task = string(NO_TASK)
        self._category = descriptors.category("spawn")
        self._ready = np.array([name("queued" if f.is_job else "ready") for f in functions] or [0])
        category = descriptors.category
        self._ready_category = np.array([category("queued" if f.is_job else "ready") for f in functions] or [0])
        self._site: dict[int, tuple[int, int]] = {}

    def marks(self, tasks: Array, tracks: Integers) -> Iterator[Rows]:
        """The spawns of these tasks (dtype TASK), as instants.  tracks: of the threads."""
        at, location = self._places(tasks)
        known = np.where(location != 0, _AT, 0) | np.where(tasks["id"] != 0, _TASK_ID, 0)
        for one in np.unique(known).tolist():
            chosen = np.flatnonzero(known == one)
            some = tasks.take(chosen)
            fields = [
                field(3, self._category),
                field(10, Varint("name", 3)),
                self._slices.text("spawned at", "at"),
                self._slices.number("task number", "number", 10),
                fixed(47, Fixed("flow")),
            ]
            columns = {"at": at[chosen], "number": some["task"], "flow": some["task"]}
            if one & _AT:
                fields.append(field(34, Varint("location", 3)))
                columns["location"] = location[chosen]
            if one & _TASK_ID:
                fields.append(self._slices.number("task", "id", 10))
                columns["id"] = some["id"]
            yield event(INSTANT, *fields).encode(
                len(some), time=some["spawned"], track=tracks[chosen], name=self._name[some["function"]], **columns
            )

    def first(self, polls: Array, tasks: Array, tracks: Integers, kind: int) -> Iterator[Rows]:
        """The beginnings of first polls (POLL) of these tasks on their own tracks, as SliceRows.stints has others."""
        for chosen, (fields, columns) in self._told(tasks):
            some = tasks.take(chosen)
            fields += [self._slices.number("spawned before by (ns)", "before"), fixed(48, Fixed("flow"))]
            columns |= {"before": some["first"] - some["spawned"], "flow": some["task"]}
            told = self._slices.told_of_stints(polls.take(chosen))
            yield told.rows(self._slices.stint_format(kind, *fields), track=tracks[chosen], **columns)

    def ready(self, tasks: Array, tracks: Integers, kind: int) -> Iterator[Rows]:
        """The beginnings of what these tasks are from their spawns to their first polls, on their own tracks; of those
        that no poll followed, where their spawns lead to."""
        unpolled = is_unpolled(tasks)
        for which in (np.flatnonzero(~unpolled), np.flatnonzero(unpolled)):
            yield from self._ready_rows(tasks.take(which), tracks[which], kind)

    def _ready_rows(self, tasks: Array, tracks: Integers, kind: int) -> Iterator[Rows]:
        """Of tasks that are all alike in that."""
        for chosen, (fields, columns) in self._told(tasks):
            some = tasks.take(chosen)
            if is_unpolled(some).any():
                fields.append(fixed(48, Fixed("flow")))
                columns["flow"] = some["task"]
            fields += [self._slices.text("spawned on", "on"), self._slices.number("ready for (ns)", "delay")]
            columns |= {"on": self._thread_words(some["spawned_on"]), "delay": some["first"] - some["spawned"]}
            row = event(
                kind,
                field(3, Varint("category", 1)),
                field(10, Varint("name", 3)),
                field(52, READY_COLOR),
                self._slices.text("function", "function"),
                self._slices.number("instance", "instance", 10),
                self._slices.number("task number", "number", 10),
                *fields,
            )
            function = some["function"]
            columns |= {"name": self._ready[function], "category": self._ready_category[function]}
            columns |= {"function": self._function[function], "instance": some["task"], "number": some["task"]}
            yield row.encode(len(some), time=some["spawned"], track=tracks[chosen], **columns)

    def _told(self, tasks: Array) -> Iterator[tuple[npt.NDArray[np.intp], Told]]:
        """By whom and where tasks were spawned: (indices into tasks, what is known of them), each index once."""
        at, _ = self._places(tasks)
        known = np.where(tasks["spawned_by"] != 0, _BY, 0) | np.where(tasks["spawned_by_id"] != 0, _BY_ID, 0)
        by = np.where(tasks["spawned_by"] != 0, self._function[tasks["spawned_by_function"]], self._no_task)
        for one in np.unique(known).tolist():
            chosen = np.flatnonzero(known == one)
            some = tasks.take(chosen)
            fields = [self._slices.text("spawned at", "at"), self._slices.text("spawned by", "by")]
            columns: dict[str, npt.ArrayLike] = {"at": at[chosen], "by": by[chosen]}
            if one & _BY:
                fields.append(self._slices.number("spawned by task number", "by_number", 10))
                columns["by_number"] = some["spawned_by"]
            if one & _BY_ID:
                fields.append(self._slices.number("spawned by task", "by_id", 10))
                columns["by_id"] = some["spawned_by_id"]
            yield chosen, (fields, columns)

    def _places(self, tasks: Array) -> tuple[Integers, npt.NDArray[np.int64]]:
        """The intern ids of where they were spawned: as an argument; as a location, 0 where it is not known."""
        distinct, inverse = np.unique(tasks["spawned_at"], return_inverse=True)
        for number in distinct.tolist():
            if number and number not in self._site:
                site = self._sites[number - 1]
                place = self._descriptors.location("", SourceLocation(site.file, site.line))
                self._site[number] = self._descriptors.string(str(site)), place
        pairs = np.array([self._site.get(number, (0, 0)) for number in distinct.tolist()], np.int64).reshape(-1, 2)
        at = pairs[inverse, 0]
        return np.where(at != 0, at, self._unknown[tasks["function"]]), pairs[inverse, 1]
