"""Events become polls and waits: pure functions, block by block, in memory bounded by what is alive.

    state = begin(recording)
    for item in capture:
        state, spans = step(state, item)
    state, spans = finish(state, end)

Nothing here raises, whatever the events: what fits nothing is counted in state.tally.  Any division of
the events into blocks gives the same polls and waits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tracer.assemble.block import step_events
from tracer.assemble.chains import settled_places
from tracer.assemble.changes import change_plan, end_everything, end_process, learn_threads
from tracer.assemble.losses import come_to_bear, first_behind, note_loss
from tracer.assemble.resting import note_reading
from tracer.assemble.sorting import stable_order
from tracer.assemble.stacks import note_samples, with_looks
from tracer.assemble.state import NO_SPANS, State, first_state
from tracer.model import (
    Array,
    CaptureEnd,
    Halt,
    Loss,
    MemoryReading,
    PlanChange,
    ProcessEnd,
    Recording,
    Spans,
    StackSamples,
    Thread,
)

__all__ = ["BLOCK", "State", "begin", "finish", "step"]

BLOCK = 1 << 17
"""At most so many events are looked at together: it bounds the memory of a step."""


def begin(recording: Recording) -> State:
    """The state before the first event."""
    return first_state(recording, settled_places(recording.plan))


def step(
    state: State, item: Array | list[Thread] | PlanChange | Loss | ProcessEnd | MemoryReading | Halt | StackSamples
) -> tuple[State, Spans]:
    """Take in the next item of a capture; an array is of dtype EVENT.  Spans: what it brought to an end."""
    if isinstance(item, np.ndarray):
        return with_looks(*_step_blocks(state, item))
    if isinstance(item, PlanChange):
        return _behind_losses(state, item.time, lambda state: change_plan(state, item))
    if isinstance(item, ProcessEnd):
        return _behind_losses(state, item.time, lambda state: end_process(state, item))
    if isinstance(item, StackSamples):
        return note_samples(state, item), NO_SPANS
    if isinstance(item, MemoryReading):
        return note_reading(state, item), NO_SPANS
    if isinstance(item, Loss):
        return with_looks(*note_loss(state, item))
    if isinstance(item, Halt):
        return state, NO_SPANS
    return learn_threads(state, item), NO_SPANS


def finish(state: State, end: CaptureEnd | None) -> tuple[State, Spans]:
    """End what is still open, at the time of `end`, or of the latest event when the capture has no end."""
    time = state.now if end is None else end.time
    return _behind_losses(state, time, lambda state: end_everything(state, time), every=True)


def _step_blocks(state: State, events: Array) -> tuple[State, Spans]:
    if not len(events):
        return state, NO_SPANS
    if len(events) <= BLOCK and not state.losses:
        return step_events(state, events)
    parts: list[Spans] = []
    while len(events):
        size = first_behind(state.losses, events[:BLOCK])
        state, spans = step_events(state, events[:size]) if size else come_to_bear(state)
        parts.append(spans)
        events = events[size:]
    return state, _together(parts)


def _behind_losses(
    state: State, time: int, then: Callable[[State], tuple[State, Spans]], *, every: bool = False
) -> tuple[State, Spans]:
    """What happens at a time, after the losses behind which nothing is seen before it; or after every loss."""
    parts = []
    while state.losses and (every or state.losses[0][0] < time):
        state, spans = come_to_bear(state, time)
        parts.append(spans)
    state, spans = then(state)
    return with_looks(state, _together([*parts, spans]))


def _together(parts: list[Spans]) -> Spans:
    """The spans of several steps as those of one."""
    if len(parts) == 1:
        return parts[0]
    polls = np.concatenate([part.polls for part in parts])
    waits = np.concatenate([part.waits for part in parts])
    begun, over = np.concatenate([part.begun for part in parts]), np.concatenate([part.over for part in parts])
    over = over[np.argsort(over["task"], kind="stable")]
    off_cpu = np.concatenate([part.off_cpu for part in parts])
    return Spans(
        polls[stable_order(polls["end"])],
        waits[stable_order(waits["end"])],
        begun,
        over,
        off_cpu=off_cpu[stable_order(off_cpu["end"])],
    )
