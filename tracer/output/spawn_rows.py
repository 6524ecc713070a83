"""Where tasks were spawned and by which task, as rows of TracePacket bytes.

Field numbers are those of perfetto_trace.proto (v52): TrackEvent flow_ids 47, terminating_flow_ids 48.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tracer.model import Array, Plan, SourceLocation
from tracer.output.descriptors import Descriptors
from tracer.output.labels import short_name
from tracer.output.rows import Fixed, Part, Rows, Varint, field, fixed
from tracer.output.slices import INSTANT, Integers, SliceRows, event
from tracer.output.spawn_words import NO_TASK, unknown_site

_AT, _BY, _BY_ID, _TASK_ID = 1, 2, 4, 8


class SpawnRows:
    """Encodes spawns on the threads' tracks, and the first polls that come of them on the tasks' tracks."""

    def __init__(self, descriptors: Descriptors, plan: Plan, slices: SliceRows) -> None:
        self._descriptors = descriptors
        self._sites = plan.sites
        self._slices = slices
        functions = plan.functions
        string, name = descriptors.string, descriptors.name
        self._name = np.array([name(f"spawn {short_name(f).removeprefix('task ')}") for f in functions] or [0])
        self._function = np.array([string(f.name) for f in functions] or [0])
        self._unknown = np.array([string(unknown_site(f)) for f in functions] or [0])
        self._no_task = string(NO_TASK)
        self._category = descriptors.category("spawn")
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
        at, _ = self._places(tasks)
        known = np.where(tasks["spawned_by"] != 0, _BY, 0) | np.where(tasks["spawned_by_id"] != 0, _BY_ID, 0)
        by = np.where(tasks["spawned_by"] != 0, self._function[tasks["spawned_by_function"]], self._no_task)
        for one in np.unique(known).tolist():
            chosen = np.flatnonzero(known == one)
            some = tasks.take(chosen)
            fields: list[list[Part]] = [
                self._slices.text("spawned at", "at"),
                self._slices.text("spawned by", "by"),
                self._slices.number("spawned before by (ns)", "before"),
                fixed(48, Fixed("flow")),
            ]
            columns = {"at": at[chosen], "by": by[chosen], "flow": some["task"]}
            columns["before"] = some["first"] - some["spawned"]
            if one & _BY:
                fields.append(self._slices.number("spawned by task number", "by_number", 10))
                columns["by_number"] = some["spawned_by"]
            if one & _BY_ID:
                fields.append(self._slices.number("spawned by task", "by_id", 10))
                columns["by_id"] = some["spawned_by_id"]
            yield self._slices.stint_format(kind, *fields).encode(
                len(some), **self._slices.stint_columns(polls.take(chosen)), track=tracks[chosen], **columns
            )

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
