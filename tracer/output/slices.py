"""Polls as rows of TracePacket bytes, and what rows of all slices have in common.

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
from tracer.model import Array, FunctionKind, Plan, PollFlag, Stacks
from tracer.output.blockers import blocker_of, frame_words, stack_of, stack_words
from tracer.output.descriptors import NEEDS_STATE, SEQUENCE, Descriptors
from tracer.output.histogram import Integers
from tracer.output.labels import category, kind_words, poll_notes, short_name
from tracer.output.poll_stacks import PollStacks
from tracer.output.rows import Part, RowFormat, Rows, Varint, field, message
from tracer.output.told import FlagWords, Told
from tracer.output.whereabouts import STATES, Whereabouts, states_of

BEGIN, END, INSTANT = 1, 2, 3
"""TrackEvent.Type; a poll of no length is an instant, which trace_processor stores as a slice of no length."""

READY_COLOR = 2
"""One for all that is ready."""

_SELF, _TASK, _NOTE, _RANGE, _PLACE, _TASK_ID, _STACK, _SCHEDULED = 1, 2, 4, 8, 16, 32, 64, 128
_POLL_NOTES = PollFlag.START_UNKNOWN | PollFlag.END_UNKNOWN | PollFlag.UNWOUND | PollFlag.INFERRED_END | PollFlag.TAIL
_POLL_NOTES |= PollFlag.ABORTED | PollFlag.PANICKED


def event(kind: int, *fields: list[Part]) -> RowFormat:
    """A TracePacket with one TrackEvent."""
    return RowFormat(
        field(8, Varint("time", 9)),
        field(10, SEQUENCE),
        field(13, NEEDS_STATE),
        message(11, field(9, kind), field(11, Varint("track", 4)), *fields),
    )


class SliceRows:
    """Encodes polls; knows the intern ids of every function, state and note.

    is_task, function_columns: by function.
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
        stint_names = [name("running" if one.kind is FunctionKind.TASK else "poll") for one in functions] or [0]
        self.is_task = np.array([one.kind is FunctionKind.TASK for one in functions] or [False])
        self._notes = FlagWords(descriptors, int(_POLL_NOTES), poll_notes)
        # No function: a row for indices that no plan has keeps the arrays from being empty.
        self.function_columns = {
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
        self._stint_columns = {"name": np.array(stint_names), "category": self.function_columns["category"]}
        self._poll_formats: dict[tuple[int, int], RowFormat] = {}
        self._stint = {kind: self.stint_format(kind) for kind in (BEGIN, INSTANT)}

    # ---- formats

    def text(self, key: str, column: str) -> list[Part]:
        """An argument whose value is the intern id of a string."""
        return message(4, field(1, self._descriptors.key(key)), field(17, Varint(column, 3)))

    def number(self, key: str, column: str, width: int = 9) -> list[Part]:
        """An argument that is an unsigned number of so many groups of seven bits."""
        return message(4, field(1, self._descriptors.key(key)), field(3, Varint(column, width)))

    def _pointer(self, key: str, column: str) -> list[Part]:
        return message(4, field(1, self._descriptors.key(key)), field(7, Varint(column, 10)))

    def _poll_format(self, kind: int, known: int) -> RowFormat:
        """The format of a poll on its thread's track."""
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
        row = self._poll_formats[kind, known] = event(kind, *fields)
        return row

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
        stacks = self.stacks.of(polls, self.is_task)
        known = self._known(polls, task, task_id) | np.where(stacks != 0, _STACK, 0).astype(np.uint8)
        told = self._told_of_polls(polls, self.function_columns)
        for one in np.unique(known).tolist():
            chosen = np.flatnonzero(known == one)
            some = polls if len(chosen) == len(polls) else polls.take(chosen)
            columns: dict[str, npt.ArrayLike] = {}
            if one & _SELF:
                columns |= {"self": some["self"], "instance": some["instance"]}
            if one & _TASK:
                columns["task"] = task[chosen]
            if one & _TASK_ID:
                columns["task_id"] = task_id[chosen]
            if one & _NOTE:
                columns["note"] = self._notes.of(some["flags"])
            if one & _RANGE:
                columns["late"] = some["end_latest"] - some["end"]
            if one & _SCHEDULED:
                columns |= {"runnable": some["runnable"], "blocked": some["blocked"]}
                columns["on CPU"] = some["end"] - some["start"] - some["runnable"] - some["blocked"]
            if one & _STACK:
                columns |= self.stack_columns(stacks[chosen])
            columns |= {"time": some["start"], "track": tracks[chosen], "color": _colors(some)}
            yield chosen, told.of(chosen).rows(self._poll_format(kind, one), **columns)

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
        return self.told_of_stints(polls).rows(self._stint[kind], track=tracks)

    def told_of_stints(self, polls: Array) -> Told:
        """What stint_format tells, but for the track and what more there is."""
        own = {"time": polls["start"], "color": _colors(polls), "thread": polls["tid"], "instance": polls["instance"]}
        return self._told_of_polls(polls, self._stint_columns, **own)

    def _told_of_polls(self, polls: Array, by_function: dict[str, Integers], **own: npt.ArrayLike) -> Told:
        flags = polls["flags"]
        result = np.where(flags & int(PollFlag.RESULT), np.where(flags & int(PollFlag.PENDING), 2, 1), 0)
        known = polls["function"].astype(np.int64) * STATES + states_of(polls, PollFlag.STATE)
        patterns, pattern = distinct(known * len(self._result_iid) + result)
        known, result = np.divmod(patterns, len(self._result_iid))
        function, state = np.divmod(known, STATES)
        table = {key: values[function] for key, values in by_function.items()}
        table["state"], table["result"] = self.whereabouts.details(function, state), self._result_iid[result]
        return Told(table, pattern, own)

    # ---- columns

    def _tasks(self, polls: Array) -> npt.NDArray[np.uint64]:
        """The number of the task that each poll is of, or in; 0 without one."""
        return np.where(self.is_task[polls["function"]], polls["instance"], polls["task"])

    def _known(
        self, polls: Array, task: npt.NDArray[np.uint64], task_id: npt.NDArray[np.uint64]
    ) -> npt.NDArray[np.uint8]:
        known = np.where(polls["instance"] != 0, _SELF, 0)
        known |= np.where(self.function_columns["place"][polls["function"]] != 0, _PLACE, 0)
        known |= np.where(task != 0, _TASK, 0)
        known |= np.where(task_id != 0, _TASK_ID, 0)
        known |= np.where(polls["flags"] & int(_POLL_NOTES), _NOTE, 0)
        known |= np.where(polls["end_latest"] > polls["end"], _RANGE, 0)
        known |= np.where(polls["flags"] & int(PollFlag.SCHEDULED), _SCHEDULED, 0)
        return known.astype(np.uint8)


def _ids(alive: Array, tasks: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The runtime's ids of tasks (by number), 0 where unknown."""
    at, known = locate(alive["task"], tasks)
    return np.where(known, alive["id"][at], np.uint64(0)) if len(alive) else np.zeros(len(tasks), np.uint64)


def _colors(polls: Array) -> npt.NDArray[np.uint64]:
    """One colour a task; outside of tasks one a future."""
    return np.where(polls["task"] != 0, polls["task"], polls["instance"])
