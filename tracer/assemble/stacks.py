"""Which task polls the stacks were taken in: by thread and time.

A sample stands in the capture before the event that ends its poll.  It waits here until that poll is over.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tracer.assemble.arrays import Flags, Indexes
from tracer.assemble.state import State
from tracer.model import LOOK, Array, Spans, StackKind, StackSamples

_SHARED = ("time", "until", "tid", "stack", "kind")


def note_samples(state: State, told: StackSamples) -> State:
    """Keep them until their polls are over."""
    return replace(state, samples=np.concatenate([state.samples, told.samples]))


def with_looks(state: State, spans: Spans) -> tuple[State, Spans]:
    """Give each sample to the innermost task poll around it, once that is over.

    One of a thread that blocked is that of the row of OFF_CPU that began then, too; and blocked until it was woken.
    """
    if not len(state.samples):
        return state, spans
    state = replace(state, samples=_told_by_rows(state.samples, spans.off_cpu))
    polls = spans.polls[state.roles.is_task[spans.polls["function"]]]
    within = _within(state.samples, polls)
    found = np.flatnonzero(within >= 0)
    looks = np.zeros(len(found), LOOK)
    for name in _SHARED:
        looks[name] = state.samples[name][found]
    for name, of_poll in (("function", "function"), ("start", "start"), ("task", "instance")):
        looks[name] = polls[of_poll][within[found]]
    is_open = (looks["kind"] == StackKind.RUNNING) | (looks["until"] == 0)
    looks["until"] = np.where(is_open, polls["end"][within[found]], looks["until"])
    order = np.lexsort((looks["time"], within[found]))  # polls are in the order of their ends
    stays = (within < 0) & _may_have_a_poll(state)
    left = state.samples if stays.all() else state.samples[stays]
    tally = replace(state.tally, looks=state.tally.looks + len(looks))
    return replace(state, samples=left, tally=tally), replace(spans, looks=looks[order])


def _told_by_rows(samples: Array, off_cpu: Array) -> Array:
    """The samples with what rows of OFF_CPU tell of them; the rows are told of their stacks in place.

    The kernel stamps the stack and the record of the switch with one time.
    """
    is_blocked = samples["kind"] == StackKind.BLOCKED
    rows = np.flatnonzero(np.isin(off_cpu["start"], samples["time"][is_blocked])).tolist()
    if not rows:
        return samples
    told_of = np.flatnonzero(is_blocked & np.isin(samples["time"], off_cpu["start"][rows]))
    columns = (samples[name][told_of].tolist() for name in ("tid", "time"))
    at = dict(zip(zip(*columns, strict=True), told_of.tolist(), strict=True))
    told = samples.copy()
    for row, tid, time, woken in zip(
        rows, *(off_cpu[name][rows].tolist() for name in ("tid", "start", "woken")), strict=True
    ):
        place = at.get((tid, time))
        if place is not None:
            off_cpu["stack"][row] = samples["stack"][place]
            told["until"][place] = woken or samples["until"][place]
    return told


def _within(samples: Array, polls: Array) -> Indexes:
    """The index of each sample's poll, -1: none of these.

    Those of a poll that goes on for minutes are looked at again with each block: only those around which a poll may
    be are looked at one by one.
    """
    within = np.full(len(samples), -1)
    for tid in np.unique(polls["tid"]).tolist():
        of_thread = np.flatnonzero(samples["tid"] == tid)
        if not len(of_thread):
            continue
        own = np.flatnonzero(polls["tid"] == tid)
        own = own[np.argsort(polls["start"][own], kind="stable")]
        start, end = polls["start"][own], polls["end"][own]
        latest = np.maximum.accumulate(end)
        times = samples["time"][of_thread]
        begun = np.searchsorted(start, times, side="right") - 1
        may = (begun >= 0) & (latest[begun] >= times)
        for sample, time, at in zip(of_thread[may].tolist(), times[may].tolist(), begun[may].tolist(), strict=True):
            while at >= 0 and latest[at] >= time:
                if end[at] >= time:
                    within[sample] = own[at]
                    break
                at -= 1
    return within


def _may_have_a_poll(state: State) -> Flags:
    """Of the samples: a task poll around it is under way, or events of its time are still to come."""
    samples, threads = state.samples, state.threads
    may: Flags = np.ones(len(samples), np.bool_)
    at = np.minimum(np.searchsorted(threads.tid, samples["tid"]), max(len(threads.tid) - 1, 0))
    if len(threads.tid):
        is_known = threads.tid[at] == samples["tid"]
        may = ~is_known | (threads.last[at] <= samples["time"])
    frames = state.frames[state.roles.is_task[state.frames["function"]]]
    for tid, start in zip(frames["tid"].tolist(), frames["start"].tolist(), strict=True):
        may |= (samples["tid"] == tid) & (samples["time"] >= start)
    return may | np.isin(samples["tid"], state.in_poll)
