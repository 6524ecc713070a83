"""Events that were lost: nothing that was open before them is known to be open behind them.

A poll's exit can be among them, and the entry of another one at the same place: what comes next on that thread, even an
exit that would fit, may be that one's.  So all that is open is cut off where a loss begins, and once more where it ends
what began meanwhile (on another CPU, or with its entry the last one that was not lost).

A capture tells a loss before the events that were read together with it, and most of those happened before it.
It waits here until the first event behind it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tracer.assemble.arrays import Indexes
from tracer.assemble.cuts import cut, in_order, interrupted, newest, none_inside
from tracer.assemble.state import NO_CAP, NO_SPANS, State
from tracer.assemble.tasks import polled, with_spans, without_over
from tracer.model import Array, Loss, Spans

_EVER = int(np.iinfo(np.int64).min)

_MOST_EDGES = 64
"""Of losses that wait.  Each is a step of its own; between more than that hardly anything is certain, and they count
as one."""


def note_loss(state: State, loss: Loss) -> tuple[State, Spans]:
    """Take in a loss; of one of which it is not known since when, everything from now on may lack something."""
    after = _EVER if loss.after is None else min(loss.after, NO_CAP - 1)
    until = max(state.now, after) if loss.before is None else min(loss.before, NO_CAP)
    edges = {*state.losses, *_edges(after, until)}
    if len(edges) > _MOST_EDGES:
        edges = _edges(min(begin for begin, _ in edges), max(end for _, end in edges))
    state = replace(state, losses=tuple(sorted(edges)))
    return come_to_bear(state) if loss.after is None else (state, NO_SPANS)


def _edges(after: int, until: int) -> set[tuple[int, int]]:
    return {(after, until), (max(after, until - 1), until)}


def first_behind(losses: tuple[tuple[int, int], ...], events: Array) -> int:
    """The index of the first of these events (dtype EVENT) that is behind one of State.losses; their number: none."""
    if not losses:
        return len(events)
    behind: Indexes = np.flatnonzero(events["time"] > np.uint64(max(losses[0][0], 0)))
    return int(behind[0]) if len(behind) else len(events)


def come_to_bear(state: State, time: int = NO_CAP) -> tuple[State, Spans]:
    """Let the first of State.losses be: its events are missing from here on.

    An exit without an entry then proves nothing, nor does a wait that began before the loss ended.  time: ns, no later
    than which the polls end that it cuts off.
    """
    (after, until), *others = state.losses
    gone = state.frames["start"] < until
    gone &= none_inside(state, ~gone)
    left, polls = cut(state, gone, min(after, time))
    lost_until = max(state.lost_until, until)
    # Of a task no wait is made up from there to its next poll: by its id that is known to be its own without.
    gap = state.roles.is_task[polls["function"]] & (state.frames["id"][gone] != 0)
    latest = np.concatenate([state.latest, interrupted(state.frames[gone], polls, lost_until, gap)])
    latest = newest(latest, state.roles.key)
    tasks = with_spans(state.tasks, polls, NO_SPANS.waits, state.roles.is_task)
    # Told as what they are: polls whose exits were lost, perhaps.
    tally, lost = state.tally, left.tally.open_at_end - state.tally.open_at_end
    state = replace(
        left,
        latest=latest,
        losses=tuple(others),
        lossy=(True,) * len(state.lossy),
        lost_until=lost_until,
        schedule=state.schedule.restarted(lost_until),
        tally=replace(left.tally, open_at_end=tally.open_at_end, unwound=tally.unwound + lost),
    )
    tasks, over = without_over(tasks, polled(left.frames, state.roles.is_task), latest, state)
    return replace(state, tasks=tasks), in_order(polls, NO_SPANS.waits, over, NO_SPANS.off_cpu)
