"""Whether a future that is polled again is the one that waited, or another one at its address.

Of a future that was dropped unseen, as in a branch of `select!` that lost, nothing is left but its address, and the
next future of its type may be put there.  A coroutine tells by its state that it has been polled before; any other
future counts as the same one where the future around it polled it in its own latest poll before this one.  That holds
as far out as a task, which its runtime tells apart, or a coroutine.  Where it does not hold, the wait is ambiguous:
a future that was only passed over for a while looks no different.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tracer.assemble.arrays import Flags, Numbers, Small, Unsigned
from tracer.assemble.candidates import Candidates
from tracer.assemble.columns import Frames
from tracer.assemble.instances import BEGINS, CERTAIN, DOUBTFUL, FOLLOWS, Identities
from tracer.assemble.known_polls import Polls
from tracer.assemble.lookup import locate
from tracer.assemble.nesting import Nesting, enclosing_tasks
from tracer.assemble.roles import Roles
from tracer.assemble.state import FINISHED, UNKNOWN_STATE, State
from tracer.model import FIRST_SUSPEND, Array, WaitFlag

T = TypeVar("T", bound=np.generic)

_AMBIGUOUS = np.uint16(WaitFlag.AMBIGUOUS)
_EVER = np.iinfo(np.int64).min


def tell_inside(nesting: Nesting, frames: Frames, roles: Roles, carried: Flags) -> None:
    """Tell the new frames which lie in the memory of the tasks around them, in place."""
    if not roles.task_size.any():
        return
    is_task = roles.is_task[frames.function]
    numbers, around = np.arange(1, len(is_task) + 1, dtype=np.uint64), np.zeros(len(is_task), np.uint64)
    enclosing_tasks(nesting, is_task, numbers, around, np.zeros(len(is_task), np.bool_))
    new = np.flatnonzero(~carried & (around != 0))
    task = around[new].astype(np.intp) - 1
    header = np.where(frames.known[task], frames.self[task], np.uint64(0))
    frames.inside[new] = (header != 0) & (frames.self[new] - header < roles.task_size[frames.function[task]])


def elsewhere(polls: Polls, identities: Identities, task: Unsigned) -> Flags:
    """Which polls are certainly of other futures than the ones before them: those were part of another task.

    task: of every poll.
    """
    moved = np.zeros(len(task), np.bool_)
    unsure = np.flatnonzero((identities.claims == DOUBTFUL) | (identities.claims == FOLLOWS))
    before, own = identities.before[unsure], task[unsure]
    moved[unsure] = polls.inside[before] & (own != task[before]) & (own != 0) & (task[before] != 0)
    return moved


def doubt_waits(
    identities: Identities, known: Polls, candidates: Candidates, nesting: Nesting, frames: Frames, carried: Flags
) -> None:
    """Tell the waits that end with polls of this block which are ambiguous, and the frames since when they are the same
    future, in place."""
    follows = np.flatnonzero(identities.claims == CERTAIN)
    since = known.start.copy()
    since[follows] = known.start[identities.before[follows]]
    frames.since[candidates.new] = candidates.of_new(since)
    if frames.known.all() and not (identities.claims == FOLLOWS).any():
        return
    claims = np.full(len(frames.start), BEGINS, np.uint8)
    before = frames.start.copy()
    claims[candidates.new] = candidates.of_new(identities.claims)
    before[candidates.new] = known.start[candidates.of_new(identities.before)]
    broken = _follow(nesting, frames, claims, before, carried)
    is_broken = candidates.with_new(broken[candidates.new], np.False_)
    between = identities.since != _EVER
    waits = identities.waits
    waits["flags"] |= np.where(between & is_broken[identities.within], _AMBIGUOUS, np.uint16(0))


def _follow(nesting: Nesting, frames: Frames, claims: Small, before: Numbers, fixed: Flags) -> Flags:
    """Which polls only seem to follow another one; `frames.since`, in place.  fixed: those that know already."""
    broken = np.zeros(len(claims), np.bool_)
    for level in nesting.levels(fixed):
        parent = nesting.parent[level]
        bound = np.where(parent >= 0, frames.since[parent], _EVER)
        follows = claims[level] == FOLLOWS
        holds = follows & (before[level] >= bound)
        broken[level] = follows & ~holds
        since = np.where(holds, before[level], frames.since[level])
        # What has no address, or waits for nothing, tells nothing of what it polls.
        frames.since[level] = np.where(frames.known[level], since, bound)
    return broken


def doubt_open_waits(waits: Array, latest: Array, state: State) -> None:
    """Tell waits that nothing has ended (dtype WAIT, of these LATEST polls) which are ambiguous, in place.

    A coroutine waits as long as what is around it is there; any other future as long as it is polled in its polls.
    """
    if not len(waits):
        return
    live = _live(state)
    at, is_there = locate(live.instance, live.around)
    holds = is_there & ~live.is_over[at] & (live.is_coroutine | (~live.is_blind[at] & (live.start >= live.since[at])))
    holds |= live.is_open | (live.around == 0)
    up = np.where(is_there & ~live.is_open, at, np.arange(len(at)))
    for _ in range(len(up).bit_length()):  # twice as far out each time
        holds &= holds[up]
        up = up[up]
    own, _ = locate(live.instance, latest["instance"])
    waits["flags"] |= np.where(holds[own], np.uint16(0), _AMBIGUOUS)


@dataclass(frozen=True, slots=True)
class _Live:
    """The instances that may be polled again, by number.

    around: the future, else the task, that it is polled in; 0: none, or not known.  start: of the latest poll; since:
    from when on that is of the same future.  is_over: it has finished; is_blind: it was not traced for a while since.
    """

    instance: Unsigned
    around: Unsigned
    start: Numbers
    since: Numbers
    is_open: Flags
    is_over: Flags
    is_blind: Flags
    is_coroutine: Flags


def _live(state: State) -> _Live:
    frames, latest = state.frames, state.latest
    instance = np.concatenate([frames["instance"], latest["instance"]])
    since = np.concatenate([frames["since"], latest["start"]])
    is_open = np.arange(len(instance)) < len(frames)
    order = np.lexsort((since, ~is_open, instance))
    order = order[instance[order] != np.append(np.uint64(0), instance[order[:-1]])]  # of several polls the outermost

    def both(of_frames: npt.NDArray[T], of_latest: npt.NDArray[T]) -> npt.NDArray[T]:
        joined: npt.NDArray[T] = np.concatenate([of_frames, of_latest])[order]
        return joined

    nothing, after = np.zeros(len(frames), np.bool_), latest["state_after"]
    return _Live(
        instance=instance[order],
        around=both(_around(frames), _around(latest)),
        start=both(frames["start"], latest["start"]),
        since=since[order],
        is_open=is_open[order],
        is_over=both(nothing, latest["result"] == FINISHED),
        is_blind=both(nothing, latest["gap"]),
        # Below a future that is not told apart nobody knows whether what is around it is there.
        is_coroutine=both(nothing, (after >= FIRST_SUSPEND) & (after != UNKNOWN_STATE) & (latest["parent"] != 0)),
    )


def _around(polls: Array) -> Unsigned:
    """Of records (dtype FRAME or LATEST)."""
    return np.where(polls["parent"] != 0, polls["parent"], polls["task"])
