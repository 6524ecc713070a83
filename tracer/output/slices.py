"""Polls, waits and merged polls as rows of TracePacket bytes.

Field numbers are those of perfetto_trace.proto (v52): TracePacket timestamp 8, trusted_packet_sequence_id 10,
track_event 11, sequence_flags 13; TrackEvent category_iids 3, debug_annotations 4, type 9, name_iid 10,
track_uuid 11, source_location_iid 34, correlation_id 52; DebugAnnotation name_iid 1, uint_value 3,
pointer_value 7, string_value_iid 17.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tracer.assemble.lookup import distinct, locate
from tracer.model import Array, FunctionKind, Plan, PollFlag, Stacks, WaitFlag
from tracer.output.awaits import layout_words
from tracer.output.blockers import blocker_of, frame_words, stack_of, stack_words
from tracer.output.descriptors import NEEDS_STATE, SEQUENCE, Descriptors
from tracer.output.labels import (
    UNSURE_WAIT,
    category,
    kind_words,
    poll_notes,
    short_name,
    wait_notes,
)
from tracer.output.poll_stacks import PollStacks
from tracer.output.records import pick
from tracer.output.rows import Part, RowFormat, Rows, Varint, field, message
from tracer.output.whereabouts import CHAIN, STATES, UNKNOWN_STATE, Whereabouts, states_of

Integers = npt.NDArray[np.int64]

BEGIN, END, INSTANT = 1, 2, 3
"""TrackEvent.Type; a poll of no length is an instant, which trace_processor stores as a slice of no length."""

READY_COLOR = 2
"""One for all that is ready."""

_SELF, _TASK, _NOTE, _RANGE, _PLACE, _TASK_ID, _STACK, _SCHEDULED = 1, 2, 4, 8, 16, 32, 64, 128
_AWAIT, _MACRO, _AWAITEE, _LAYOUT = 64, 128, 256, 512
_LINKS = 12
"""The bits from here on of what is known of a wait: how many links its chain has."""
_POLL_NOTES = PollFlag.START_UNKNOWN | PollFlag.END_UNKNOWN | PollFlag.UNWOUND | PollFlag.INFERRED_END | PollFlag.TAIL
_POLL_NOTES |= PollFlag.ABORTED | PollFlag.PANICKED
_WAIT_NOTES = (
    WaitFlag.START_UNKNOWN | WaitFlag.END_UNKNOWN | WaitFlag.AMBIGUOUS | WaitFlag.CANCELLED | WaitFlag.REPLACED
)


def event(kind: int, *fields: list[Part]) -> RowFormat:
    """A TracePacket with one TrackEvent."""
    return RowFormat(
        field(8, Varint("time", 9)),
        field(10, SEQUENCE),
        field(13, NEEDS_STATE),
        message(11, field(9, kind), field(11, Varint("track", 4)), *fields),
    )


class SliceRows:
    """Encodes polls and waits; knows the intern ids of every function, state and note.

    stacks: is told what stacks were taken in the polls, before they are encoded.
    """

    def __init__(self, descriptors: Descriptors, plan: Plan, stacks: Stacks | None = None) -> None:
        functions = plan.functions
        self.stacks = PollStacks(stacks)
        self._told_stacks = stacks
        self._own_folders = plan.own_folders
        self._stack_iids: dict[int, tuple[int, int]] = {}
        self._descriptors = descriptors
        self._functions = functions
        self._end = event(END)
        string, name = descriptors.string, descriptors.name
        self.whereabouts = Whereabouts(descriptors, plan)
        self._result_iid = np.array([string(words) for words in ("unknown", "ready", "pending")])
        self._stint_iid = np.array(
            [name("running" if one.kind is FunctionKind.TASK else "poll") for one in functions] or [0]
        )
        self._layout_iid = np.array([string(layout_words(one)) if one.layout_source else 0 for one in functions] or [0])
        self._unsure_iid = name(UNSURE_WAIT)
        self._is_task = np.array([one.kind is FunctionKind.TASK for one in functions] or [False])
        self._poll_note_iid: dict[int, int] = {}
        self._wait_note_iid: dict[int, int] = {}
        # No function: a row for indices that no plan has keeps the arrays from being empty.
        self._function_columns = {
            "name": np.array([name(short_name(one)) for one in functions] or [0]),
            "location": np.array(
                [descriptors.location(one.name, one.location) if one.location else 0 for one in functions] or [0]
            ),
            "function": np.array([string(one.name) for one in functions] or [0]),
            "place": np.array([string(str(one.location)) if one.location else 0 for one in functions] or [0]),
            "crate": np.array([string(one.crate or "unknown") for one in functions] or [0]),
            "kind": np.array([string(kind_words(one)) for one in functions] or [0]),
            "category": np.array([descriptors.category(category(one)) for one in functions] or [0]),
        }
        self._poll_formats: dict[tuple[int, int], tuple[RowFormat, Rows]] = {}
        self._wait_category = descriptors.category("wait")
        self._stint = {kind: self.stint_format(kind) for kind in (BEGIN, INSTANT)}
        self._wait_formats: dict[tuple[int, int], RowFormat] = {}
        self._inlined = event(
            BEGIN, field(3, descriptors.category("inlined")), field(10, Varint("name", 4)), field(52, 1)
        )

    # ---- formats

    def text(self, key: str, column: str) -> list[Part]:
        """An argument whose value is the intern id of a string."""
        return message(4, field(1, self._descriptors.key(key)), field(17, Varint(column, 3)))

    def number(self, key: str, column: str, width: int = 9) -> list[Part]:
        """An argument that is an unsigned number of so many groups of seven bits."""
        return message(4, field(1, self._descriptors.key(key)), field(3, Varint(column, width)))

    def _pointer(self, key: str, column: str) -> list[Part]:
        return message(4, field(1, self._descriptors.key(key)), field(7, Varint(column, 10)))

    def _poll_format(self, kind: int, known: int) -> tuple[RowFormat, Rows]:
        """The format of a poll on its thread's track, and one row a function with all that the function decides."""
        if (kind, known) in self._poll_formats:
            return self._poll_formats[kind, known]
        fields = [
            field(3, Varint("category", 1)),
            field(10, Varint("name", 3)),
            field(52, Varint("color", 10)),
            self.text("function", "function"),
            self.text("crate", "crate"),
            self.text("kind", "kind"),
            self.text("state", "state"),
            self.text("result", "result"),
        ]
        if known & _PLACE:
            fields += [field(34, Varint("location", 3)), self.text("location", "place")]
        if known & _SELF:
            fields += [self._pointer("self", "self"), self.number("instance", "instance", 10)]
        if known & _TASK:
            fields.append(self.number("task number", "task", 10))
        if known & _TASK_ID:
            fields.append(self.number("task", "task_id", 10))
        if known & _NOTE:
            fields.append(self.text("note", "note"))
        if known & _RANGE:
            fields.append(self.number("may have ended later by (ns)", "late"))
        if known & _SCHEDULED:
            fields += [self.number(f"{key} (ns)", key) for key in ("on CPU", "runnable", "blocked")]
        if known & _STACK:
            fields += [self.text("blocker", "blocker"), self.text("stack", "stack")]
        row = event(kind, *fields)
        columns = {key: values for key, values in self._function_columns.items() if row.has(key)}
        templates = row.encode(len(columns["name"]), **columns)
        self._poll_formats[kind, known] = row, templates
        return row, templates

    def stint_format(self, kind: int, *more: list[Part]) -> RowFormat:
        """The format of a poll on its instance's track, with further arguments."""
        return event(
            kind,
            field(3, Varint("category", 1)),
            field(10, Varint("name", 3)),
            field(52, Varint("color", 10)),
            self.number("thread", "thread", 5),
            self.number("instance", "instance", 10),
            self.text("state", "state"),
            self.text("result", "result"),
            *more,
        )

    def _wait_format(self, kind: int, known: int) -> RowFormat:
        if (kind, known) in self._wait_formats:
            return self._wait_formats[kind, known]
        row = self._wait_formats[kind, known] = event(kind, field(3, self._wait_category), *self.wait_fields(known))
        return row

    def wait_fields(self, known: int) -> list[list[Part]]:
        """What a slice tells of a wait, but for its category; known: as wait_columns has it."""
        fields = [
            field(10, Varint("name", 3)),
            field(52, Varint("color", 10)),
            self.text("function", "function"),
            self.text("state", "state"),
        ]
        if known & _SELF:
            fields.append(self.number("instance", "instance", 10))
        if known & _TASK:
            fields.append(self.number("task number", "task", 10))
        if known & _AWAIT:
            fields += [field(34, Varint("line", 3)), self.text("await", "await")]
        if known & _MACRO:
            fields.append(self.text("await in a macro", "macro"))
        if known & _AWAITEE:
            fields.append(self.text("awaitee", "awaitee"))
        if known & _LAYOUT:
            fields.append(self.text("layout", "layout"))
        if known & _PLACE:
            fields.append(self.text("location", "place"))
        if known >> _LINKS:
            links = [message(12, field(17, Varint(column, 3))) for column in CHAIN[: known >> _LINKS]]
            fields.append(message(4, field(1, self._descriptors.key("chain")), *links))
        if known & _NOTE:
            fields.append(self.text("note", "note"))
        return fields

    # ---- rows

    def ends(self, times: Integers, tracks: Integers) -> Rows:
        """The ends of slices of any sort."""
        return self._end.encode(len(times), time=times, track=tracks)

    def polls(self, polls: Array, tracks: Integers, kind: int, alive: Array) -> Iterator[tuple[Integers, Rows]]:
        """The beginnings of polls (POLL) on thread tracks: (indices into polls, their rows), each index once.

        alive: dtype TASK, by number: the tasks whose ids are known.
        """
        task = self._tasks(polls)
        task_id = _ids(alive, task)
        stacks = self.stacks.of(polls, self._is_task)
        known = self._known(polls, task, task_id) | np.where(stacks != 0, _STACK, 0).astype(np.uint8)
        for one in np.unique(known).tolist():
            chosen = np.flatnonzero(known == one)
            some = polls if len(chosen) == len(polls) else polls.take(chosen)
            row, templates = self._poll_format(kind, one)
            rows = templates.take(some["function"].astype(np.intp), axis=0)
            columns: dict[str, npt.ArrayLike] = {
                "time": some["start"],
                "track": tracks[chosen],
                "color": _colors(some),
                "state": self._states(some),
                "result": self._results(some),
            }
            if one & _SELF:
                columns |= {"self": some["self"], "instance": some["instance"]}
            if one & _TASK:
                columns["task"] = task[chosen]
            if one & _TASK_ID:
                columns["task_id"] = task_id[chosen]
            if one & _NOTE:
                columns["note"] = self._notes(some["flags"], int(_POLL_NOTES), self._poll_note_iid, poll_notes)
            if one & _RANGE:
                columns["late"] = some["end_latest"] - some["end"]
            if one & _SCHEDULED:
                columns |= {"runnable": some["runnable"], "blocked": some["blocked"]}
                columns["on CPU"] = some["end"] - some["start"] - some["runnable"] - some["blocked"]
            if one & _STACK:
                columns |= self.stack_columns(stacks[chosen])
            yield chosen, row.fill(rows, **columns)

    def stack_columns(self, numbers: Integers) -> dict[str, npt.ArrayLike]:
        """Of stacks by number: what blocks there, and all of it."""
        told = np.array([self._stack_words(number) for number in numbers.tolist()], np.int64).reshape(-1, 2)
        return {"blocker": told[:, 0], "stack": told[:, 1]}

    def _stack_words(self, number: int) -> tuple[int, int]:
        if number not in self._stack_iids:
            stack = stack_of(self._told_stacks, number)
            frame = blocker_of(stack, self._own_folders) if stack is not None else None
            self._stack_iids[number] = (
                self._descriptors.string(frame_words(frame) if frame is not None else "unknown"),
                self._descriptors.lines(stack_words(stack) if stack is not None else ("unknown",)),
            )
        return self._stack_iids[number]

    def stints(self, polls: Array, tracks: Integers, kind: int) -> Rows:
        """The beginnings of polls (POLL) on instance tracks, which leave the details to the thread's track."""
        return self._stint[kind].encode(len(polls), track=tracks, **self.stint_columns(polls))

    def stint_columns(self, polls: Array) -> dict[str, npt.NDArray[np.integer]]:
        """The columns of stint_format, but for the track and what more there is."""
        return {
            "time": polls["start"],
            "color": _colors(polls),
            "category": self._function_columns["category"][polls["function"]],
            "name": self._stint_iid[polls["function"]],
            "thread": polls["tid"],
            "instance": polls["instance"],
            "state": self._states(polls),
            "result": self._results(polls),
        }

    def waits(self, waits: Array, tracks: Integers, kind: int) -> Iterator[Rows]:
        """The beginnings of waits (WAIT) on instance tracks."""
        for chosen, known, columns in self.wait_columns(waits):
            row = self._wait_format(kind, known)
            columns = {key: values for key, values in columns.items() if row.has(key)}
            yield row.encode(len(chosen), track=tracks[chosen], **columns)

    def wait_columns(self, waits: Array) -> Iterator[tuple[Integers, int, dict[str, npt.ArrayLike]]]:
        """(indices into waits, what is known of them, what there is to tell): each index once."""
        function, state = waits["function"].astype(np.int64), states_of(waits, WaitFlag.STATE)
        awaits, about = self.whereabouts.of(waits)
        place = self._function_columns["place"][function]
        told = {key: values[awaits] for key, values in about.items()}
        # Without a table of awaits the function's own word holds for all of its states.
        told["layout"] = np.where(told["layout"] != 0, told["layout"], self._layout_iid[function])
        is_unsure = (waits["flags"] & int(WaitFlag.AMBIGUOUS)) != 0
        is_unsure &= (state == UNKNOWN_STATE) & (waits["places"] == 0) & ~self._is_task[function]
        told["name"] = np.where(is_unsure, self._unsure_iid, told["name"])
        task = np.where(self._is_task[function], waits["instance"], waits["task"])
        known = told["links"] << _LINKS
        known |= np.where(waits["instance"] != 0, _SELF, 0) | np.where(task != 0, _TASK, 0)
        known |= np.where(waits["flags"] & int(_WAIT_NOTES), _NOTE, 0) | np.where(place != 0, _PLACE, 0)
        for bit, column in ((_AWAIT, "await"), (_MACRO, "macro"), (_AWAITEE, "awaitee"), (_LAYOUT, "layout")):
            known |= np.where(told[column] != 0, bit, 0)
        for one in np.unique(known).tolist():
            chosen = np.flatnonzero(known == one)
            some = pick(waits, known == one)
            columns: dict[str, npt.ArrayLike] = {
                "time": some["start"],
                # One colour for each await of each function: names that differ by a digit only share theirs.
                "color": function[chosen] * STATES + state[chosen] + 1,
                "place": place[chosen],
                "function": self._function_columns["function"][function[chosen]],
                "instance": some["instance"],
                "task": task[chosen],
                **{key: values[chosen] for key, values in told.items()},
            }
            if one & _NOTE:
                columns["note"] = self._notes(some["flags"], int(_WAIT_NOTES), self._wait_note_iid, wait_notes)
            yield chosen, one, columns

    def inlined(self, waits: Array, tracks: Integers) -> Iterator[Rows]:
        """The beginnings of what lies below waits (WAIT) on instance tracks: the futures on the way to what is waited
        for that have no function of their own, outer ones first.  How many each wait has: inlined_below()."""
        names = self.whereabouts.below(waits)
        for level in range(names.shape[1]):
            some = np.flatnonzero(names[:, level])
            yield self._inlined.encode(
                len(some), time=waits["start"][some], track=tracks[some], name=names[some, level]
            )

    def inlined_below(self, waits: Array) -> Integers:
        """How many futures without a function of their own lie below each wait."""
        return np.asarray(np.count_nonzero(self.whereabouts.below(waits), axis=1))

    # ---- columns

    def _tasks(self, polls: Array) -> npt.NDArray[np.uint64]:
        """The number of the task that each poll is of, or in; 0 without one."""
        return np.where(self._is_task[polls["function"]], polls["instance"], polls["task"])

    def _known(
        self, polls: Array, task: npt.NDArray[np.uint64], task_id: npt.NDArray[np.uint64]
    ) -> npt.NDArray[np.uint8]:
        known = np.where(polls["instance"] != 0, _SELF, 0)
        known |= np.where(self._function_columns["place"][polls["function"]] != 0, _PLACE, 0)
        known |= np.where(task != 0, _TASK, 0)
        known |= np.where(task_id != 0, _TASK_ID, 0)
        known |= np.where(polls["flags"] & int(_POLL_NOTES), _NOTE, 0)
        known |= np.where(polls["end_latest"] > polls["end"], _RANGE, 0)
        known |= np.where(polls["flags"] & int(PollFlag.SCHEDULED), _SCHEDULED, 0)
        return known.astype(np.uint8)

    def _states(self, polls: Array) -> Integers:
        return self.whereabouts.details(polls["function"].astype(np.intp), states_of(polls, PollFlag.STATE))

    def _results(self, polls: Array) -> npt.NDArray[np.int64]:
        flags = polls["flags"]
        known = (flags & int(PollFlag.RESULT)) != 0
        pending = (flags & int(PollFlag.PENDING)) != 0
        return np.asarray(self._result_iid[np.where(known, 1 + pending, 0)])

    def _notes(self, flags: npt.NDArray[np.uint16], mask: int, known: dict[int, int], words: object) -> Integers:
        found, inverse = distinct(flags & mask)
        for one in found.tolist():
            if one not in known:
                known[one] = self._descriptors.string(words(one))  # type: ignore[operator]
        return np.array([known[one] for one in found.tolist()])[inverse]


def _ids(alive: Array, tasks: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The runtime's ids of tasks (by number), 0 where unknown."""
    at, known = locate(alive["task"], tasks)
    return np.where(known, alive["id"][at], np.uint64(0)) if len(alive) else np.zeros(len(tasks), np.uint64)


def _colors(polls: Array) -> npt.NDArray[np.uint64]:
    """One colour a task; outside of tasks one a future."""
    return np.where(polls["task"] != 0, polls["task"], polls["instance"])
