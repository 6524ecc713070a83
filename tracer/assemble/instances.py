"""Which polls are polls of the same future, and the waits between them.

A future is known by its function and its address; the address is used again after it is freed, so
that a new instance begins when the previous poll there was the last one, or this one is a first one.
A task is known by its address alone, and by the runtime's own id where that is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tracer.assemble.arrays import Flags, Indexes, Numbers, Small, Unsigned
from tracer.assemble.columns import Frames, records_of
from tracer.assemble.known_polls import STILL_OPEN, Polls
from tracer.assemble.marks import Marks
from tracer.assemble.sorting import by_address, hashes_of, stable_order
from tracer.assemble.state import FINISHED, LATEST, LOST, NOT_READ, PENDING, SAME, TOLD, UNKNOWN, UNKNOWN_STATE, State
from tracer.assemble.waits import Pairs, waits_between
from tracer.model import FIRST_SUSPEND, PANICKED, RETURNED, UNRESUMED, Array, PollFlag

_PROCESS_SHIFT = np.uint64(32)
_STATE, _START_UNKNOWN = np.uint16(PollFlag.STATE), np.uint16(PollFlag.START_UNKNOWN)
_ABORTED, _PANICKED = np.uint16(PollFlag.ABORTED), np.uint16(PollFlag.PANICKED)

_RESULT_OF_STATE = np.full(256, PENDING, np.uint8)
_RESULT_OF_STATE[[UNRESUMED, UNKNOWN_STATE]] = UNKNOWN
_RESULT_OF_STATE[[RETURNED, PANICKED]] = FINISHED

_TABLE_BITS = 21

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Identities:
    """instance, id (of the task, where it is a task's poll): of every poll.  begun: the first polls of new
    instances.  waits: their tasks are still missing.  within: polls in whose tasks the waits are.  since: when the
    poll before each wait began; until: the number of the row in which the one after it did.  Of a wait that has no
    such polls: the least time, and 0.
    idle: marks of futures that were certainly not being polled; again: of such that had ended; late: and were not being
    polled any more, so that their memory may have been another's since.
    capped, cap: polls that were over by a certain time, whatever their exits say.
    remembered: polls that are over, the latest of their future, and can be followed by another one.
    claims, before: of every poll, BEGINS and so on, and the one before it at its address, where it begins nothing.
    new: number of new instances.
    """

    instance: Unsigned
    id: Unsigned
    begun: Indexes
    capped: Indexes
    cap: Numbers
    remembered: Indexes
    waits: Array
    within: Indexes
    since: Numbers
    until: Unsigned
    idle: Flags
    again: Flags
    late: Flags
    claims: Small
    before: Indexes
    new: int


BEGINS, DOUBTFUL, FOLLOWS, CERTAIN = range(4)
"""Whether a poll is of the same future as the one before it at its address: it is not, or there is none; nobody knows
whether that one was over; it is, unless that future was dropped unseen; it is certainly."""


def results_of(flags: npt.NDArray[np.uint16], state_after: Small, start: Numbers, lost_until: int) -> Small:
    """What is known of the ends of polls: by the return value, else by the coroutine's own state.

    A future whose poll a panic ended is finished, unless it was only that the exit was lost: of a poll that began
    before `lost_until` it may be missing.
    """
    # The state that a frame had when it left by a tail jump was not final yet.
    by_state = np.where(flags & np.uint16(PollFlag.TAIL), np.uint8(UNKNOWN), _RESULT_OF_STATE[state_after])
    panicked = ((flags & np.uint16(PollFlag.UNWOUND)) != 0) & (start >= lost_until)
    by_state = np.where(panicked, np.uint8(FINISHED), by_state)
    by_value = np.where(flags & np.uint16(PollFlag.PENDING), np.uint8(PENDING), np.uint8(FINISHED))
    result = np.where(flags & np.uint16(PollFlag.RESULT), by_value, by_state)
    return np.where(flags & (_ABORTED | _PANICKED), np.uint8(FINISHED), result)


def identify(polls: Polls, state: State, moved: Flags | None = None) -> Identities:
    """Number the instances, from state.next_instance on in the order of their first polls, and find the waits.

    moved: polls that are not of the same future as the one before them, whatever that one says.
    """
    roles = state.roles
    order, same = by_address(polls.self, _where(roles.key[polls.function], polls.process))
    count = len(order)
    starts, overs, flags, states = polls.start[order], polls.over[order], polls.flags[order], polls.state[order]
    results, function, fresh = polls.result[order], polls.function[order], order >= polls.old_count
    is_mark = polls.is_mark[order]
    has_state = (flags & _STATE) != 0
    suspended = has_state & (states >= FIRST_SUSPEND)
    # What the poll before, of the same future, says; `over` and what is made of it only where there is one.
    over = same & (_before(overs) <= polls.order[order])
    in_time = _before(polls.end[order]) <= starts
    finished = over & (_before(results) == FINISHED)
    gap = over & _before(polls.gap[order] | ~state.probed[function])
    # A task poll gives the task back before it returns; and an end that is inferred is seen late.
    clash = same & ~(over & in_time) & ~(roles.is_task[function] | _before(polls.blind[order]))
    # While nobody looked, the future may have gone and another one come to its place: only a task's id could tell.
    is_next = gap | clash | (has_state & (states == UNRESUMED))
    if moved is not None:
        is_next |= moved[order]
    another = ~same | finished | (_before(function) != function)  # the key of all task polls is one
    begins = fresh & (another | is_next)
    ids, changed, certain = _by_id(polls, order, np.flatnonzero(roles.is_task[function] & ~is_mark), another, begins)
    begins = ((begins & ~certain) | (fresh & changed)) & ~is_mark
    instance, new = _number(polls, order, begins, is_mark & ~same, state.next_instance)

    waited = same & over & in_time & ~gap & fresh
    fits = _fits(_before(results), has_state, suspended)
    fits |= polls.undone[order] & (_before(results) == UNKNOWN) & (_before(polls.end[order]) >= state.lost_until)
    dropped = np.flatnonzero(waited & is_mark & fits)
    replaced = np.flatnonzero(waited & begins & (_before(results) == PENDING))
    entered = fresh & ~is_mark & ((flags & _START_UNKNOWN) == 0)
    continued = entered & same & ~begins
    seen = np.flatnonzero(continued & over & in_time & ~gap)
    unseen = entered & suspended & (~same | finished | gap)
    if unseen.any():
        batch = state.batch[function]
        unseen &= state.probed[function]
        unseen &= (starts >= np.array(state.since)[batch]) & ~np.array(state.lossy)[batch]
    # On one thread it may as well be inside the poll before, at an address that several futures have.
    tid = polls.tid[order]
    overlapped = np.flatnonzero(continued & ~over & (_before(tid) != tid))
    is_latest = np.ones(count, np.bool_)
    is_latest[:-1] = ~same[1:]
    # A finished poll is still needed while an earlier one is open, which would be taken for the latest.
    future = np.cumsum(same == 0) - 1
    still_open = np.zeros(count, np.bool_)
    still_open[future[overs == STILL_OPEN]] = True
    remembered = is_latest & (overs != STILL_OPEN) & ((results != FINISHED) | still_open[future])
    identified = np.zeros(count, np.bool_)
    identified[order] = certain
    id_ = np.empty(count, np.uint64)
    id_[order] = ids
    idle = np.zeros(count, np.bool_)
    again, late = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    again[order] = is_mark & finished
    if again.any():
        late[order] = again[order] & ~_being_polled(instance[order], overs, polls.order[order])
    idle[order] = is_mark & over & ~gap & (_before(polls.end[order]) >= state.lost_until)
    idle &= ~again
    pairs = Pairs(order, seen, np.flatnonzero(unseen), dropped, replaced)
    claims, before = np.full(count, BEGINS, np.uint8), np.empty(count, np.intp)
    is_told = (suspended | certain | roles.is_task[function])[seen]
    is_pending = _before(results)[seen] == PENDING
    claims[order[seen]] = np.where(is_told, CERTAIN, np.where(is_pending, FOLLOWS, DOUBTFUL))
    before[order[1:]], before[order[:1]] = order[:-1], order[-1:]
    waits, within, since, until = waits_between(polls, state, instance, identified, pairs)
    return Identities(
        instance=instance,
        id=id_,
        begun=order[begins],
        capped=order[overlapped - 1],
        cap=starts[overlapped],
        remembered=order[remembered],
        waits=waits,
        within=within,
        since=since,
        until=until,
        idle=idle,
        again=again,
        late=late,
        claims=claims,
        before=before,
        new=new,
    )


def _being_polled(instance: Unsigned, over: Unsigned, at: Unsigned) -> Flags:
    """Whether, of the polls before each one's place, another of the same instance was not over by the row `at`."""
    by_over = stable_order(over)
    rank = np.empty(len(over), np.intp)
    rank[by_over] = np.arange(len(over))
    base = np.cumsum(instance != _before(instance)) * len(over)
    latest = np.maximum.accumulate(base + rank) - base
    polled: Flags = over[by_over[latest]] > at
    return polled


def _fits(before: Small, has_state: Flags, suspended: Flags) -> Flags:
    """Whether what is dropped was waiting: the poll before said so, or the coroutine's own state does."""
    fits: Flags = np.where(has_state, suspended & (before != FINISHED), before == PENDING)
    return fits


def _by_id(
    polls: Polls, order: Indexes, tasks: Indexes, another: Flags, begins: Flags
) -> tuple[Unsigned, Flags, Flags]:
    """By the runtime's ids, for the polls in that order, of which `tasks` are those of tasks: their ids, which are
    of another task than the poll before, and which are certainly of the same.

    another: which are of another one whatever their id; begins: which begin an instance by all else.
    """
    ids = np.zeros(len(order), np.uint64)
    changed, certain = np.zeros(len(order), np.bool_), np.zeros(len(order), np.bool_)
    if not len(tasks):
        return ids, changed, certain
    at, another = order[tasks], another[tasks]
    telling = polls.telling[at]
    tells = (telling >= TOLD) | (at < polls.old_count) | another | (begins[tasks] & (telling == NOT_READ))
    spread = _spread(polls.id[at], tells)
    told = ~another & (telling == TOLD)
    equal = told & (_before(spread) == spread)
    ids[tasks] = spread
    changed[tasks] = (told & ~equal) | (~another & (telling == LOST))
    certain[tasks] = equal | (~another & (telling == SAME))
    return ids, changed, certain


def _spread(values: Unsigned, known: Flags) -> Unsigned:
    """Each value that is not known becomes the last one before it that is."""
    if not len(values):
        return values
    spread: Unsigned = values[np.maximum.accumulate(np.where(known, np.arange(len(values)), 0))]
    return spread


def _before(values: npt.NDArray[T]) -> npt.NDArray[T]:
    """Each one's predecessor; of the first anything."""
    shifted = np.empty_like(values)
    shifted[1:], shifted[:1] = values[:-1], values[-1:]
    return shifted


def _where(function: npt.NDArray[np.uint32], process: npt.NDArray[np.uint16]) -> Unsigned:
    return function | (process.astype(np.uint64) << _PROCESS_SHIFT)


def may_be_among(latest: Array, others: Sequence[Array | Frames | Marks], key: npt.NDArray[np.uint32]) -> Flags:
    """Which of the LATEST polls may be of a future of the other polls (dtype FRAME, or columns): all that
    are, and few more.
    """
    table = np.zeros(1 << _TABLE_BITS, np.bool_)
    for other in others:
        known, self, function, process = (
            (other["known"], other["self"], other["function"], other["process"])
            if isinstance(other, np.ndarray)
            else (other.known, other.self, other.function, other.process)
        )
        table[_table_place(self, key[function], process)[known]] = True
    return table[_table_place(latest["self"], key[latest["function"]], latest["process"])]


def _table_place(self: Unsigned, function: npt.NDArray[np.uint32], process: npt.NDArray[np.uint16]) -> Indexes:
    return (hashes_of(self, _where(function, process)) >> np.uint64(48 - _TABLE_BITS)).astype(np.intp)


def _number(polls: Polls, order: Indexes, begins: Flags, orphans: Flags, next_instance: int) -> tuple[Unsigned, int]:
    """orphans: marks of futures of which nothing is known; they have no instance."""
    instance = polls.instance.copy()
    first = np.zeros(len(order), np.bool_)
    first[order[begins]] = True
    new = int(np.count_nonzero(first))
    instance[first] = np.arange(next_instance, next_instance + new, dtype=np.uint64)
    known = begins | orphans | (order < polls.old_count)
    source = np.maximum.accumulate(np.where(known, np.arange(len(order)), 0))
    instance[order] = instance[order[source]]
    return instance, new


def latest_of(polls: Polls, identities: Identities, task: Unsigned, parent: Unsigned, probed: Flags) -> Array:
    """What to remember of these polls, which are in these tasks and futures: dtype LATEST.  probed: as State has it."""
    kept = identities.remembered
    columns = {name: getattr(polls, name) for name in LATEST.names or () if name not in ("task", "parent")}
    columns |= {"task": task, "parent": parent, "instance": identities.instance, "id": identities.id}
    latest = records_of(LATEST, len(kept), columns, kept)
    latest["gap"] |= ~probed[latest["function"]]
    return latest
