"""What memory tells at the begin and the end of a recording: tasks that nobody polled, and where open waits are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tracer.assemble.arrays import Flags, Indexes, Unsigned
from tracer.assemble.chains import checked
from tracer.assemble.lookup import locate
from tracer.assemble.marks import ends_of_unpolled
from tracer.assemble.state import DROPPED, NO_CAP, PENDING, UNKNOWN, State, Threads
from tracer.model import FIRST_SUSPEND, PARKED, WAIT, Array, MemoryReading, TaskAtRest, WaitFlag

_STATE, _AMBIGUOUS = np.uint16(WaitFlag.STATE), np.uint16(WaitFlag.AMBIGUOUS)
_START_UNKNOWN = np.uint16(WaitFlag.START_UNKNOWN)
WOKEN = np.uint8(255)
"""In State.resting: it waited at the begin, and was woken since."""


def note_reading(state: State, reading: MemoryReading) -> State:
    """Take in what memory told; records that make no sense are left out."""
    parked = reading.parked[reading.parked["function"] < len(state.roles.is_task)]
    parked = parked[(parked["process"] < max(len(state.pids), 1)) & (parked["task"] <= max(TaskAtRest))]
    process = frozenset({reading.process})
    if reading.is_last:
        parked = np.concatenate([state.parked, parked])
        until = max(state.parked_until, reading.time + reading.duration)
        at_end = state.read_at_end | process
        return replace(state, parked=parked, parked_at=reading.time, parked_until=until, read_at_end=at_end)
    is_task = state.roles.is_task[parked["function"]]
    tasks, inside = parked[is_task], parked[~is_task & (parked["state"] >= FIRST_SUSPEND)]
    # What was polled before this reading began is known by its polls.
    known = pairs(state.latest["process"], state.latest["self"])
    fresh = ~np.isin(pairs(tasks["process"], tasks["self"]), known)
    polled = tasks[fresh & (tasks["task"] == TaskAtRest.RUNNING)]["places"].astype(np.uint32)
    return replace(
        state,
        resting=np.concatenate([state.resting, tasks[fresh]]),
        rested_at=max(state.rested_at, reading.time + reading.duration),
        inside=np.concatenate([state.inside, inside]),
        read_at_start=state.read_at_start | (process if reading.time >= state.start else frozenset()),
        in_poll=np.concatenate([state.in_poll, polled[polled != 0]]),
    )


def still_resting(state: State, events: Array, threads: Threads) -> tuple[Array, Array]:
    """State.resting and State.dropped after these events: a task is told by what befalls it from then on.

    One that was only woken is still to be polled, but does not wait any more.  What was ready had perhaps been polled
    before anybody could see it, and waited until that wake.  One that is dropped had been there all the time, if no
    poll of it could be missed.
    """
    roles, resting = state.roles, state.resting
    probe = np.minimum(events["probe"], len(roles.enters) - 1)
    is_wake = roles.wakes[probe] >= 0
    told = np.flatnonzero(roles.is_usable[probe] & ~is_wake)
    is_told = np.isin(resting["self"], events["self"][told])
    left: Array = resting[~is_told]
    woken = np.isin(left["self"], events["self"][is_wake])
    left["task"][woken & (left["task"] == TaskAtRest.WAITING)] = WOKEN
    kept: Array = left[~woken | (left["task"] != TaskAtRest.READY)]
    over = resting[is_told]
    if not len(over):
        return kept, state.dropped
    told = told[np.isin(events["self"][told], over["self"])]
    wakes = np.flatnonzero(is_wake & np.isin(events["self"], over["self"]))
    first, first_wake = _first(events["self"], told), _first(events["self"], wakes)
    before = [header for header, at in first_wake.items() if at < first[header]]
    woken = np.isin(over["self"], np.array(before, np.uint64))
    over = over[~woken | (over["task"] != TaskAtRest.READY)]
    rows = np.sort(np.fromiter(first.values(), np.intp))
    return kept, np.concatenate([state.dropped, _dropped(over, state, events, rows, threads)])


def _first(headers: Unsigned, rows: Indexes) -> dict[int, int]:
    """By header the first of these rows that has it."""
    found, at = np.unique(headers[rows], return_index=True)
    return dict(zip(found.tolist(), rows[at].tolist(), strict=True))


def _dropped(resting: Array, state: State, events: Array, first: Indexes, threads: Threads) -> Array:
    """Those of these tasks (dtype PARKED, of State.resting) that the first event of each tells to have been dropped."""
    first = first[ends_of_unpolled(events, first, state.roles)]
    resting = resting[never_seen(resting, state) & (resting["task"] != TaskAtRest.RUNNING)]
    place, known = threads.places(events["tid"][first])
    first, process = first[known], threads.process[place[known]]
    ends = np.zeros(len(first), PARKED)
    ends["self"], ends["process"] = events["self"][first], process
    rows, at = _paired(ends, resting)
    dropped = np.zeros(len(rows), DROPPED)
    for name in PARKED.names or ():
        dropped[name] = resting[name][at]
    dropped["task"][dropped["task"] == WOKEN] = TaskAtRest.WAITING  # by whom is not known any more
    dropped["time"] = np.minimum(events["time"][first[rows]], np.uint64(NO_CAP))
    dropped["tid"] = events["tid"][first[rows]]
    return dropped


def _paired(ours: Array, theirs: Array) -> tuple[Indexes, Indexes]:
    """Indexes into both of what has the same address and process in both, where that is one of `theirs`."""
    mine, others = pairs(ours["process"], ours["self"]), pairs(theirs["process"], theirs["self"])
    numbers, at, counts = np.unique(others, return_index=True, return_counts=True)
    place, known = locate(numbers, mine)
    rows = np.flatnonzero(known)
    rows = rows[counts[place[rows]] == 1]
    return rows, at[place[rows]]


def never_seen(resting: Array, state: State) -> Flags:
    """Of which of these tasks (dtype PARKED, of State.resting) no poll can have been missed, from when memory had them
    on.
    """
    function = resting["function"]
    sure = seen_all_along(function, state) & state.probed[function] & (state.lost_until <= state.start)
    known: Flags = sure & np.isin(resting["process"], list(state.read_at_start))
    return known


def still_in_poll(state: State, events: Array) -> npt.NDArray[np.uint32]:
    """State.in_poll after these events."""
    roles = state.roles
    probe = np.minimum(events["probe"], len(roles.enters) - 1)
    is_task = np.append(roles.is_task, False)  # of -1: no function
    told = events["tid"][is_task[roles.enters[probe]] | is_task[roles.leaves[probe]]]
    left: npt.NDArray[np.uint32] = state.in_poll[~np.isin(state.in_poll, told)]
    return left


def first_waits(begun: Array, state: State) -> tuple[Array, Indexes]:
    """(the waits, dtype WAIT, before the first polls of tasks that memory told at the begin; indexes into `begun`).

    begun: dtype TASK, whose first polls are seen to begin.  Only by its id is a task known to be the same one.  Where
    its polls were not seen for some time since then, nobody knows what it did.  Those that were polled while memory was
    read may have come, or been polled, before that and since the begin.
    """
    none = np.empty(0, WAIT), np.empty(0, np.intp)
    if not len(state.resting) or not len(begun) or state.lost_until > state.start:
        return none
    at = by_identity(_as_parked(begun, "header"), state.resting, state.roles.key)
    ids = state.resting["id"][np.maximum(at, 0)]
    since = max(state.start, state.rested_at)
    rested = np.flatnonzero((at >= 0) & (ids != 0) & (ids == begun["id"]) & (begun["first"] > since))
    rested = rested[np.isin(state.resting["task"][at[rested]], (int(TaskAtRest.WAITING), int(WOKEN)))]
    rested = rested[seen_all_along(begun["function"][rested], state)]
    _, first = np.unique(at[rested], return_index=True)
    rested = rested[np.sort(first)]
    waits = np.zeros(len(rested), WAIT)
    waits["start"], waits["flags"] = state.start, _START_UNKNOWN
    for name, column in (("end", "first"), ("self", "header"), ("instance", "task")):
        waits[name] = begun[column][rested]
    for name in ("function", "tid"):
        waits[name] = begun[name][rested]
    return waits, rested


def as_told(latest: Array, state: State) -> Array:
    """LATEST polls of which nothing tells the result, with what memory tells: their future waits."""
    unknown = np.flatnonzero((latest["result"] == UNKNOWN) & (latest["end"] <= state.parked_at))
    parked = _at_rest(state.parked)
    if not len(parked) or not len(unknown):
        return latest
    waits = by_identity(_as_parked(latest[unknown]), parked, state.roles.key) >= 0
    # Another future can be at the address of one that is no task.
    waits &= state.roles.is_task[latest["function"][unknown]] & (latest["id"][unknown] != 0)
    latest = latest.copy()
    latest["result"][unknown[waits]] = PENDING
    return latest


def tasks_at_rest(over: Array, state: State) -> tuple[Flags, Flags]:
    """Which of these tasks (dtype TASK) memory had at the end, after their last polls: those that waited, or were
    ready; and those that were being polled.  Only by its id is a task known to be the same one.
    """
    at = by_identity(_as_parked(over, "header"), state.parked, state.roles.key)
    there = state.parked[np.maximum(at, 0)]
    known = (at >= 0) & (over["id"] != 0) & (there["id"] == over["id"]) & (over["last"] <= state.parked_at)
    is_polled = there["task"] == TaskAtRest.RUNNING
    return known & ~is_polled, known & is_polled


def place_open_waits(waits: Array, latest: Array, state: State) -> None:
    """Tell open waits (dtype WAIT, of these LATEST polls) where memory shows that they are, in place."""
    parked = _at_rest(state.parked)
    if not len(parked) or not len(waits):
        return
    key = state.roles.key
    at = by_identity(_as_parked(latest), parked, key)
    rows = np.flatnonzero((at >= 0) & (waits["start"] <= state.parked_at))
    told = parked[at[rows]]
    # A state other than the one after its last poll is that of another future, or of a later poll.
    has_state = (waits["flags"][rows] & _STATE) != 0
    agrees = ~has_state | (told["state"] == waits["state"][rows])
    rows, told = rows[agrees], told[agrees]
    suspended = told["state"] >= FIRST_SUSPEND
    waits["state"][rows[suspended]] = told["state"][suspended]
    waits["flags"][rows[suspended]] |= _STATE
    sure = rows[suspended & (waits["start"][rows] >= state.lost_until)]
    waits["flags"][sure] &= ~_AMBIGUOUS
    places = checked(told["places"], state.roles.places)
    waits["places"][rows[places != 0]] = places[places != 0]


def seen_all_along(function: Array, state: State) -> Flags:
    """Which of these functions have been probed ever since the begin."""
    seen: Flags = np.array(state.since)[state.batch[function]] <= state.start
    return seen


def _at_rest(parked: Array) -> Array:
    """Without the tasks that were being polled."""
    found: Array = parked[parked["task"] != TaskAtRest.RUNNING]
    return found


def _as_parked(records: Array, own: str = "self") -> Array:
    """own: the field that has the address."""
    parked = np.zeros(len(records), PARKED)
    for name in ("id", "function", "process"):
        parked[name] = records[name]
    parked["self"] = records[own]
    return parked


def by_identity(ours: Array, theirs: Array, key: npt.NDArray[np.uint32] | None = None) -> Indexes:
    """Of each record of `ours` the index of the same future in `theirs`; -1: none, or several."""
    function = [one["function"] if key is None else key[one["function"]] for one in (ours, theirs)]
    columns = [
        np.stack([one["self"], one["process"].astype(np.uint64), of.astype(np.uint64)], axis=1)
        for one, of in zip((ours, theirs), function, strict=True)
    ]
    both = np.concatenate(columns)
    if not len(both):
        return np.empty(0, np.intp)
    _, number, counts = np.unique(both, axis=0, return_inverse=True, return_counts=True)
    mine, others = number[: len(ours)], number[len(ours) :]
    place = np.full(len(counts), -1, np.intp)
    place[others] = np.arange(len(theirs))
    place[np.bincount(others, minlength=len(counts)) > 1] = -1
    found = place[mine]
    ids = theirs["id"][np.maximum(found, 0)] if len(theirs) else np.zeros(len(ours), np.uint64)
    differs: Flags = (ids != 0) & (ours["id"] != 0) & (ids != ours["id"])
    found[differs] = -1
    return found


def pairs(process: Array, number: Unsigned) -> Unsigned:
    """One number for an address, or an id, in a process."""
    mixed: Unsigned = number ^ (process.astype(np.uint64) << np.uint64(48))
    return mixed
