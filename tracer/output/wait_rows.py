"""What futures wait for, on their own tracks, as rows of TracePacket bytes.

Field numbers are those of perfetto_trace.proto (v52): TrackEvent category_iids 3, debug_annotations 4, name_iid 10,
source_location_iid 34, correlation_id 52; DebugAnnotation name_iid 1, array_values 12, string_value_iid 17.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tracer.assemble.lookup import distinct
from tracer.model import Array, Plan, WaitFlag
from tracer.output.awaits import layout_words
from tracer.output.descriptors import Descriptors
from tracer.output.histogram import Integers
from tracer.output.labels import UNSURE_WAIT, wait_notes
from tracer.output.rows import Part, RowFormat, Rows, Varint, field, message
from tracer.output.slices import BEGIN, SliceRows, event
from tracer.output.told import FlagWords, Told
from tracer.output.whereabouts import CHAIN, STATES, UNKNOWN_STATE, states_of

_SELF, _TASK, _NOTE, _PLACE, _AWAIT, _MACRO, _AWAITEE, _LAYOUT = 1, 2, 4, 8, 16, 32, 64, 128
_COLUMNS = {_PLACE: "place", _AWAIT: "await", _MACRO: "macro", _AWAITEE: "awaitee", _LAYOUT: "layout"}
_LINKS = 8
"""The bits from here on of what is known of a wait: how many links its chain has."""
_NOTES = WaitFlag.START_UNKNOWN | WaitFlag.END_UNKNOWN | WaitFlag.AMBIGUOUS | WaitFlag.CANCELLED | WaitFlag.REPLACED


class WaitRows:
    """Encodes waits; knows what there is to tell of them by function, state and places."""

    def __init__(self, descriptors: Descriptors, plan: Plan, slices: SliceRows) -> None:
        self._descriptors = descriptors
        self._slices = slices
        self._whereabouts = slices.whereabouts
        string = descriptors.string
        self._layout = np.array(
            [string(layout_words(one)) if one.layout_source else 0 for one in plan.functions] or [0]
        )
        self._unsure = descriptors.name(UNSURE_WAIT)
        self._notes = FlagWords(descriptors, int(_NOTES), wait_notes)
        self._category = descriptors.category("wait")
        self._formats: dict[tuple[int, int], RowFormat] = {}
        self._inlined = event(
            BEGIN, field(3, descriptors.category("inlined")), field(10, Varint("name", 4)), field(52, 1)
        )

    def waits(self, waits: Array, tracks: Integers, kind: int) -> Iterator[Rows]:
        """The beginnings of waits (WAIT) on instance tracks."""
        for chosen, known, told in self.told_of(waits):
            yield told.rows(self._format(kind, known), track=tracks[chosen])

    def inlined(self, waits: Array) -> Integers:
        """What lies below each wait (WAIT): the intern ids of the futures on the way to what is waited for that have no
        function of their own, outer ones first; 0: none.  Shape (waits, deepest)."""
        return self._whereabouts.below(waits)

    def of_inlined(self, waits: Array, names: Integers, tracks: Integers) -> Iterator[Rows]:
        """The beginnings of what lies below waits (WAIT) on instance tracks; names: as inlined() has them."""
        for level in range(names.shape[1]):
            some = np.flatnonzero(names[:, level])
            yield self._inlined.encode(
                len(some), time=waits["start"][some], track=tracks[some], name=names[some, level]
            )

    def told_of(self, waits: Array) -> Iterator[tuple[Integers, int, Told]]:
        """(indices into waits, what is known of them, what there is to tell): each index once."""
        function, state = waits["function"].astype(np.int64), states_of(waits, WaitFlag.STATE)
        awaits, about = self._whereabouts.of(waits)
        is_task = self._slices.is_task[function]
        is_unsure = (waits["flags"] & int(WaitFlag.AMBIGUOUS)) != 0
        is_unsure &= (state == UNKNOWN_STATE) & (waits["places"] == 0) & ~is_task
        task = np.where(is_task, waits["instance"], waits["task"])

        # The function, its state and the places below it tell all but whose wait it is.
        of_places = awaits - self._whereabouts.first_walked
        keys = np.where(of_places < 0, function * STATES + state, len(self._layout) * STATES + of_places)
        patterns, pattern = distinct(keys * 2 + is_unsure)
        example = np.empty(len(patterns), np.intp)
        example[pattern] = np.arange(len(pattern))
        function, state = function[example], state[example]
        table = {key: values[awaits[example]] for key, values in about.items()}
        table |= {key: self._slices.function_columns[key][function] for key in ("place", "function")}
        # Without a table of awaits the function's own word holds for all of its states.
        table["layout"] = np.where(table["layout"] != 0, table["layout"], self._layout[function])
        table["name"] = np.where(is_unsure[example], self._unsure, table["name"])
        # One colour for each await of each function: names that differ by a digit only share theirs.
        table["color"] = function * STATES + state + 1
        known_of = table["links"] << _LINKS
        for bit, column in _COLUMNS.items():
            known_of |= np.where(table[column] != 0, bit, 0)

        known = known_of[pattern] | np.where(waits["instance"] != 0, _SELF, 0) | np.where(task != 0, _TASK, 0)
        known |= np.where(waits["flags"] & int(_NOTES), _NOTE, 0)
        sorts, sort = distinct(known)
        for number, one in enumerate(sorts.tolist()):
            chosen = np.flatnonzero(sort == number)
            own = {"time": waits["start"][chosen], "instance": waits["instance"][chosen], "task": task[chosen]}
            if one & _NOTE:
                own["note"] = self._notes.of(waits["flags"][chosen])
            yield chosen, one, Told(table, pattern[chosen], own)

    def fields(self, known: int) -> list[list[Part]]:
        """What a slice tells of a wait, but for its category; known: as told_of has it."""
        text, number = self._slices.text, self._slices.number
        fields = [
            field(10, Varint("name", 3)),
            field(52, Varint("color", 10)),
            text("function", "function"),
            text("state", "state"),
        ]
        if known & _SELF:
            fields.append(number("instance", "instance", 10))
        if known & _TASK:
            fields.append(number("task number", "task", 10))
        if known & _AWAIT:
            fields += [field(34, Varint("line", 3)), text("await", "await")]
        if known & _MACRO:
            fields.append(text("await in a macro", "macro"))
        if known & _AWAITEE:
            fields.append(text("awaitee", "awaitee"))
        if known & _LAYOUT:
            fields.append(text("layout", "layout"))
        if known & _PLACE:
            fields.append(text("location", "place"))
        if known >> _LINKS:
            links = [message(12, field(17, Varint(column, 3))) for column in CHAIN[: known >> _LINKS]]
            fields.append(message(4, field(1, self._descriptors.key("chain")), *links))
        if known & _NOTE:
            fields.append(text("note", "note"))
        return fields

    def _format(self, kind: int, known: int) -> RowFormat:
        if (kind, known) in self._formats:
            return self._formats[kind, known]
        row = self._formats[kind, known] = event(kind, field(3, self._category), *self.fields(known))
        return row
