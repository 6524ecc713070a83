"""A block of events as rows in thread order, between what was open before and what stays open.

One row is one entry, one exit, or the catch of a panic.  Each thread's rows are: its open frames again, as entries; its
events; an end row, above every stack.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tracer.assemble.arrays import Flags, Indexes, Numbers, Small, Unsigned
from tracer.assemble.births import Births, births_of
from tracer.assemble.columns import pick
from tracer.assemble.marks import Catches, Marks, marks_of
from tracer.assemble.records import take_records
from tracer.assemble.roles import Roles
from tracer.assemble.schedule import SWITCH
from tracer.assemble.scheduling import switches_of
from tracer.assemble.state import ABOVE_ALL, HANDED_ON, NOT_HANDED, State, Threads
from tracer.assemble.task_ids import take_ids
from tracer.assemble.wakes import Wakes, wakes_of
from tracer.model import CHAIN_RECORD, EVENT, SPAWN_RECORD, SWITCH_OUT_RECORD, TASK_ID_RECORD, Array, is_scheduling

END, ENTRY, CATCH, EXIT, TAIL, SPENT_TAIL, MARK = 0, 1, 2, 3, 4, 5, 6
"""Kinds of row.  SPENT_TAIL: a tail jump of an earlier block, not followed by its callee's entry.  CATCH: of a panic,
which has unwound all that was called from here.  MARK: no row of a stack, but numbered as one: the end of a life, its
begin, or a wake."""

_LATEST = np.iinfo(np.int64).max
NO_SWITCHES = np.empty(0, SWITCH)


@dataclass(frozen=True, slots=True)
class Rows:
    """Columns of equal length.

    time: ns, never falling within a thread.  thread: index into `Stream.threads`.
    source: index into the events, or, of a carried row, into the carried frames; -1 of an end row.
    begun_before: the entry of a poll that was under way when its function was attached.
    """

    kind: Small
    sp: Unsigned
    function: npt.NDArray[np.int32]
    time: Numbers
    thread: Indexes
    source: Indexes
    begun_before: Flags


@dataclass(frozen=True, slots=True)
class Stream:
    """Rows in thread order.

    ids, telling: of each event, as tracer.assemble.task_ids has them.  places: where its record says that it waited.
    place: where the row stands in file order: first the carried rows, then the events' rows (and marks), then the ends.
    threads: as they are after these rows.
    """

    rows: Rows
    place: Indexes
    carried_rows: int
    event_rows: int
    events: Array
    ids: Unsigned | None
    telling: Small | None
    places: Unsigned | None
    frames: Array
    threads: Threads


@dataclass(frozen=True, slots=True)
class Opening:
    """What make_stream yields.

    untouched: the open frames of threads without events.  rejected: number of events that nobody can read.
    task_ids: number of events that told a task's id.  records: those to be remembered.  chain_count, chains: the
    same of the events that told places; call_count, calls: ... by which call a task was made.
    marks: the ends of lives; catches: of panics; ends: number of events that told them.
    births: of tasks; made: number of events that told them.  wakes: of tasks; woken: number of events that told them.
    switches: dtype SWITCH, what was told of scheduling; leaving: in which stacks threads left their CPUs.
    """

    stream: Stream
    untouched: Array
    rejected: int
    task_ids: int
    records: Array
    chain_count: int
    chains: Array
    call_count: int
    calls: Array
    births: Births
    made: int
    wakes: Wakes
    woken: int
    marks: Marks
    catches: Catches
    ends: int
    switches: Array
    leaving: Catches


def make_stream(state: State, events: Array) -> Opening:
    """Join the open frames and the events (dtype EVENT)."""
    roles = state.roles
    of_scheduling = is_scheduling(events["probe"])
    switches = NO_SWITCHES
    if of_scheduling.any():
        switches = switches_of(pick(events, of_scheduling), _hits_before(events, roles)[of_scheduling])
        events = pick(events, ~of_scheduling)
    called = take_records(events, state.calls, SPAWN_RECORD)
    walked = take_records(called.hits, state.chains, CHAIN_RECORD)
    told = take_ids(walked.hits, state.records)
    call_count = len(events) - len(called.hits)
    chain_count = len(called.hits) - len(walked.hits)
    task_ids = len(walked.hits) - len(told.hits)
    events, ids, telling = told.hits, told.ids, told.telling
    is_hit = walked.hits["probe"] != TASK_ID_RECORD
    places = None if walked.told is None else walked.told[is_hit]
    calls = None if called.told is None else called.told[called.hits["probe"] != CHAIN_RECORD][is_hit]
    # As numpy's own indexes: it converts all others at each use.
    probe = np.minimum(events["probe"], len(roles.enters) - 1).astype(np.intp)
    usable = roles.is_usable[probe] & (events["sp"] != ABOVE_ALL)
    rejected = len(events) - int(np.count_nonzero(usable))
    if rejected:
        events, probe = events[usable], probe[usable]
        if ids is not None and telling is not None:
            ids, telling = ids[usable], telling[usable]
        places = None if places is None else places[usable]
        calls = None if calls is None else calls[usable]
    tids = np.ascontiguousarray(events["tid"])
    threads, thread = state.threads.including(tids, state)
    rows = _event_rows(state, threads, events, probe, thread)
    count, is_mark = len(rows.kind), rows.kind == MARK
    marked = np.flatnonzero(is_mark | (rows.kind == CATCH))
    at = rows.source[marked]
    is_birth, is_wake = roles.makes[probe[at]], roles.wakes[probe[at]] >= 0
    is_ending = ~(is_birth | is_wake)
    born, ended, of_born, of_ended = marked[is_birth], marked[is_ending], at[is_birth], at[is_ending]
    woken, of_woken = marked[is_wake], at[is_wake]
    marks, catches = marks_of(events, of_ended, ended, roles, threads, thread[of_ended], state.next_order)
    wakes = wakes_of(events, of_woken, woken, roles, threads, thread[of_woken], state.next_order)
    births = births_of(
        events, of_born, born, calls, roles.sites, roles.queues, threads, thread[of_born], state.next_order
    )
    numbers = np.flatnonzero(~is_mark)
    leaving = _leaving(switches, rows, threads)
    if len(numbers) < count:
        rows = _only(rows, numbers)
    present = np.flatnonzero(np.bincount(rows.thread, minlength=len(threads.tid)))

    frame_thread = np.searchsorted(threads.tid, state.frames["tid"])
    needed = np.concatenate([catches.thread, births.where.thread, wakes.where.thread, leaving.thread])
    if len(needed):
        present = np.union1d(present, frame_thread[np.isin(frame_thread, needed)])
    touched = np.isin(frame_thread, present)
    frames = state.frames[touched]
    carried = _carried_rows(frames, frame_thread[touched], threads)
    stream = _in_thread_order(threads, present, (carried, rows, _end_rows(present)), events, frames)
    if len(numbers) < count:
        first = len(carried.kind)
        own = np.concatenate([np.arange(first), first + numbers, first + count + np.arange(len(present))])
        stream = replace(stream, place=own[stream.place], event_rows=count)
    if len(events):
        stream = replace(stream, ids=ids, telling=telling, places=places)
    else:  # only threads left their CPUs: their open frames are there, and look at some event as all frames do
        stream = replace(stream, events=np.zeros(1, EVENT))
    return Opening(
        stream=stream,
        untouched=state.frames[~touched],
        rejected=rejected,
        task_ids=task_ids,
        records=told.records,
        chain_count=chain_count,
        chains=walked.records,
        call_count=call_count,
        calls=called.records,
        births=births,
        made=len(born),
        wakes=wakes,
        woken=len(woken),
        marks=marks,
        catches=catches,
        ends=len(ended),
        switches=switches,
        leaving=leaving,
    )


def row_order(state: State, stream: Stream, row: Indexes) -> Unsigned:
    """The numbers of event rows among all rows of the capture."""
    return (stream.place[row] + (state.next_order - stream.carried_rows)).astype(np.uint64)


def begins_of(state: State, stream: Stream, row: Indexes) -> Numbers:
    """When polls were surely under way of which only the ends were seen, by the rows of their entries."""
    rows = stream.rows
    since = stream.threads.since[state.batch[rows.function[row]], rows.thread[row]]
    begins: Numbers = np.minimum(rows.time[row], since)
    return begins


def _hits_before(events: Array, roles: Roles) -> Indexes:
    """How many of the events before each are hits that somebody can read."""
    probe = np.minimum(events["probe"], len(roles.enters) - 1)  # the last one is that of records, and of nothing
    is_hit = roles.is_usable[probe] & (events["sp"] != ABOVE_ALL)
    before: Indexes = np.cumsum(is_hit) - is_hit
    return before


def _leaving(switches: Array, rows: Rows, threads: Threads) -> Catches:
    """Where threads that are known left their CPUs, in the order of `switches`.  rows: in the order of the file."""
    out = np.flatnonzero(switches["kind"] == SWITCH_OUT_RECORD)
    thread, is_known = threads.places(switches["tid"][out])
    row = np.searchsorted(rows.source, switches["before"][out])
    return Catches(thread[is_known], row[is_known], np.zeros(int(np.count_nonzero(is_known)), np.uint64))


def _only(rows: Rows, which: Indexes) -> Rows:
    return Rows(*(getattr(rows, name)[which] for name in Rows.__slots__))


def _event_rows(state: State, threads: Threads, events: Array, probe: Indexes, thread: Indexes) -> Rows:
    roles = state.roles
    kinds = _kinds(roles)
    kind, function = kinds[probe], np.where(roles.enters >= 0, roles.enters, roles.leaves)[probe]
    sp = np.ascontiguousarray(events["sp"])
    time = np.minimum(events["time"], np.uint64(_LATEST)).astype(np.int64)
    begun = _begun_before(state, threads, thread, sp, kind, probe)
    source: Indexes = np.arange(len(events))
    twice = begun | ((roles.enters >= 0) & (roles.leaves >= 0))[probe]
    if not twice.any():
        return Rows(kind, sp, function, time, thread, source, begun)
    # An entry and an exit in one event are two rows.
    source = np.repeat(source, 1 + twice)
    second = np.zeros(len(source), np.bool_)
    second[1:] = source[1:] == source[:-1]
    first = twice[source] & ~second
    exit_kind = np.where(roles.is_tail, np.uint8(TAIL), np.uint8(EXIT))[probe]
    kind = np.where(first, np.uint8(ENTRY), np.where(second, exit_kind[source], kind[source]))
    function = np.where(second, roles.leaves[probe][source], function[source])
    return Rows(kind, sp[source], function, time[source], thread[source], source, begun[source] & first)


def _kinds(roles: Roles) -> Small:
    """Of the row that each probe makes; of an entry and an exit in one that of the first of two."""
    exits = np.where(roles.is_tail, np.uint8(TAIL), np.uint8(EXIT))
    others = np.where(roles.is_catch, np.uint8(CATCH), np.where(roles.is_mark, np.uint8(MARK), exits))
    return np.where(roles.enters >= 0, np.uint8(ENTRY), others)


def _begun_before(state: State, threads: Threads, thread: Indexes, sp: Unsigned, kind: Small, probe: Indexes) -> Flags:
    """Which exits belong to polls that were under way when their function was attached.

    Those higher on the stack than anything seen on their thread since: a frame below something seen
    was entered later, so that its entry was lost.  After a loss nobody can tell.
    """
    leaves = state.roles.leaves
    batch = state.batch[leaves][probe]  # of what leaves nothing that of the last function: it is no exit
    begun: Flags = ((kind == EXIT) | (kind == TAIL)) & (sp > threads.top.take(batch * len(threads.tid) + thread))
    if not begun.any():
        return begun
    begun &= state.probed[leaves][probe]
    if state.is_lossy:
        begun &= ~np.array(state.lossy)[batch]
    for number in np.unique(thread[begun]):
        rows = np.flatnonzero(thread == number)
        highest = np.maximum.accumulate(np.where(kind[rows] == MARK, np.uint64(0), sp[rows]))
        begun[rows[1:]] &= sp[rows[1:]] > highest[:-1]
    return begun


def _carried_rows(frames: Array, thread: Indexes, threads: Threads) -> Rows:
    """The open frames as rows: an entry each, and the tail jump of those that made one."""
    handing = frames["handing"]
    source = np.repeat(np.arange(len(frames)), 1 + (handing != NOT_HANDED))
    kind = np.full(len(source), ENTRY, np.uint8)
    second = np.flatnonzero(source[1:] == source[:-1]) + 1
    kind[second] = np.where(handing[source[second]] == HANDED_ON, SPENT_TAIL, TAIL)
    return Rows(
        kind=kind,
        sp=frames["sp"][source],
        function=frames["function"][source].astype(np.int32),
        time=threads.last[thread[source]],
        thread=thread[source],
        source=source,
        begun_before=np.zeros(len(source), np.bool_),
    )


def _end_rows(present: Indexes) -> Rows:
    count = len(present)
    return Rows(
        kind=np.full(count, END, np.uint8),
        sp=np.full(count, ABOVE_ALL),
        function=np.full(count, -1, np.int32),
        time=np.full(count, _LATEST),
        thread=present,
        source=np.full(count, -1),
        begun_before=np.zeros(count, np.bool_),
    )


def _in_thread_order(
    threads: Threads, present: Indexes, parts: tuple[Rows, Rows, Rows], events: Array, frames: Array
) -> Stream:
    thread = np.concatenate([part.thread for part in parts])
    narrow = thread.astype(np.uint16) if len(threads.tid) <= 1 << 16 else thread
    place = np.argsort(narrow, kind="stable")  # a radix sort when 16 bits wide
    thread = thread[place]
    time = np.concatenate([part.time for part in parts])[place]
    _never_back(time, thread, threads)
    rows = Rows(
        kind=np.concatenate([part.kind for part in parts])[place],
        sp=np.concatenate([part.sp for part in parts])[place],
        function=np.concatenate([part.function for part in parts])[place],
        time=time,
        thread=thread,
        source=np.concatenate([part.source for part in parts])[place],
        begun_before=np.concatenate([part.begun_before for part in parts])[place],
    )
    carried = len(parts[0].thread)
    return Stream(
        rows=rows,
        place=place,
        carried_rows=carried,
        event_rows=len(parts[1].thread),
        events=events,
        ids=None,
        telling=None,
        places=None,
        frames=frames,
        threads=_seen(threads, present, rows, place < carried),
    )


def _never_back(time: Numbers, thread: Indexes, threads: Threads) -> None:
    """Make each thread's times rise, in place: they do already unless the capture was tampered with."""
    if not len(thread):
        return
    starts = np.concatenate([[0], np.flatnonzero(thread[1:] != thread[:-1]) + 1])
    time[starts] = np.maximum(time[starts], threads.last[thread[starts]])
    back = (time[1:] < time[:-1]) & (thread[1:] == thread[:-1])
    for number in np.unique(thread[1:][back]):
        begin, end = np.searchsorted(thread, [number, number + 1])
        time[begin:end] = np.maximum.accumulate(time[begin:end])


def _seen(threads: Threads, present: Indexes, rows: Rows, is_carried: Flags) -> Threads:
    """The threads after these rows."""
    if not len(present):
        return threads
    ends = np.flatnonzero(rows.kind == END)
    starts = np.concatenate([[0], ends[:-1] + 1])
    is_event = ~is_carried & (rows.kind != END)
    top, since, last = threads.top.copy(), threads.since.copy(), threads.last.copy()
    highest = np.maximum.reduceat(np.where(is_event, rows.sp, np.uint64(0)), starts)
    earliest = np.minimum.reduceat(np.where(is_event, rows.time, _LATEST), starts)
    top[:, present] = np.maximum(top[:, present], highest)
    since[:, present] = np.minimum(since[:, present], earliest)
    last[present] = rows.time[ends - 1]
    return Threads(threads.tid, last, top, since, threads.process)
