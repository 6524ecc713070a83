"""Assembly of any input: equal to the reference, whatever the block size, and its invariants hold."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from tests.assembly_reference import Reference
from tests.captures import SITES, START, busy_plan, call_told, recording_of
from tracer.assemble import begin, finish, step
from tracer.model import (
    CHAIN_RECORD,
    EVENT,
    FIRST_SUSPEND,
    SPAWN_RECORD,
    SWITCH_IN_RECORD,
    SWITCH_OUT_RECORD,
    TASK_ID_RECORD,
    THREAD_OVER,
    WAKING_RECORD,
    Array,
    CaptureEnd,
    EventFlag,
    Group,
    Loss,
    OffCpuFlag,
    PlanChange,
    PollFlag,
    ProcessEnd,
    Spans,
    Tally,
    Thread,
    WaitFlag,
    exits_apart,
    functions_of,
)

PLAN = replace(busy_plan(), scheduling=True)
ENTRY_OF = {0: 0, 1: 2, 2: 5, 3: 7, 5: 9, 6: 10}
EXIT_OF = {0: 1, 1: 3, 2: 6, 6: 11}
TAIL_OF = {0: 14, 1: 4, 2: 12}
CAUGHT = 19
MADE = 21
WOKEN = (22, 23)
SCHEDULING = (SWITCH_OUT_RECORD, SWITCH_IN_RECORD, WAKING_RECORD)
EXITS = exits_apart(PLAN)
CALLS = [call_told(site.address) for site in SITES]

# ---------------------------------------------------------------- inputs


@st.composite
def noise(draw: st.DrawFn) -> list[Any]:
    """Events without any sense, among everything else that a capture can hold."""
    rows = draw(
        st.lists(
            st.tuples(
                st.one_of(st.just(0), st.integers(-20, 40)),  # time step
                st.sampled_from([100, 200, 300, 400, 2**64 - 1, 0x2_0001, CALLS[0]]),
                st.integers(0, 2),  # self
                st.integers(1, 3),  # tid
                st.sampled_from([*range(28), TASK_ID_RECORD, CHAIN_RECORD, SPAWN_RECORD, *SCHEDULING]),  # no 26, 27
                st.sampled_from([0, 1, 2, 3, 4, THREAD_OVER]),  # state
                st.integers(0, 63),  # flags
            ),
            max_size=60,
        )
    )
    time, items, waiting = START, [], []
    for step_, sp, self_, tid, probe, state, flags in rows:
        time = max(time + step_, 0)
        waiting.append((time, sp, self_, tid, 0, probe, 0, state, flags))
        other = draw(st.one_of(st.none(), st.none(), st.none(), st.none(), st.none(), other_items(time)))
        if other is not None:
            items += [np.array(waiting, EVENT), other]
            waiting = []
    return [*items, np.array(waiting, EVENT)]


def other_items(time: int) -> st.SearchStrategy[Any]:
    times = st.integers(max(time - 30, 0), time + 30)
    some_functions = st.frozensets(st.integers(0, 9))  # there are fewer
    return st.one_of(
        st.builds(PlanChange, times, st.frozensets(st.sampled_from(list(Group))), st.just(""), *[some_functions] * 2),
        st.builds(PlanChange, times, st.just(frozenset(Group)), st.just(""), *[some_functions] * 2),
        st.builds(Loss, st.just(0), st.just(1), st.one_of(st.none(), times), st.one_of(st.none(), times)),
        st.builds(ProcessEnd, times, st.integers(4, 6), st.just("")),
        st.lists(st.builds(Thread, st.integers(1, 3), st.integers(4, 6), st.just("t")), max_size=2),
    )


@dataclass
class Life:
    """A program that runs: what it does and, as it does it, what it should be seen to do.

    spread: how many stack pointers there are for what one poll calls; one where all is called by one function.
    """

    draw: Any
    time: int = START + 1
    events: list[tuple[int, ...]] = field(default_factory=list)
    states: dict[int, int] = field(default_factory=dict)
    ids: dict[int, int] = field(default_factory=dict)
    tasks: int = 0
    spread: int = 3

    def event(self, tid: int, sp: int, probe: int, self_: int, state: int, flags: int, after: int = 1) -> None:
        self.time += after
        self.events.append((self.time, sp, self_, tid, len(self.events), probe, 0, state, flags))

    def poll(self, tid: int, sp: int, depth: int) -> bool:
        """One poll with what it polls; True: ready."""
        function = self.draw(st.sampled_from([0, 5] if depth == 0 else [1, 2, 3, 6]))
        self_ = 16 * self.draw(st.integers(1, 4)) + function
        state = self.states.get(self_, 0)
        known = EventFlag.SELF | (EventFlag.STATE if function in (1, 2) else 0)
        if function == 6:
            if depth < 4:
                self.event(tid, sp, ENTRY_OF[6], self_, 0, known)
                return self.poll(tid, sp, 4)
            function = 2
        task_id, after = self.task_id(tid, self_) if depth == 0 else (0, 1)
        if function in (1, 2) and state >= FIRST_SUSPEND and self.draw(st.booleans()):
            self.event(tid, self.draw(st.integers(1, len(PLAN.places))), CHAIN_RECORD, self_, 0, EventFlag.SELF)
            after = 0
        self.event(tid, sp, ENTRY_OF[function], self_, state, known | task_id, after)
        for _ in range(self.draw(st.integers(0, 2)) if depth < 3 else 0):
            self.poll(tid, sp - 16 * self.draw(st.integers(1, self.spread)), depth + 1)
        if self.draw(st.integers(0, 4)) == 0:
            # Whoever catches has left what was called by then, by returning or unseen.
            distance = self.draw(st.sampled_from([-7, 0, 32]))
            self.event(tid, sp - 6, CAUGHT, distance & 2**64 - 1, 0, self.draw(st.sampled_from([0, EventFlag.SELF])))
        if self.draw(st.integers(0, 4)) == 0:
            self.end(tid, self_, function)
        if self.draw(st.integers(0, 4)) == 0:
            self.make(tid, sp - 8)
        if self.draw(st.integers(0, 2)) == 0:
            self.wake(tid, sp - 8)
        if self.draw(st.integers(0, 2)) == 0:
            self.leave_cpu(tid)
        ready: bool = self.draw(st.booleans())
        self.states[self_] = 0 if ready else FIRST_SUSPEND
        fate = self.draw(st.integers(0, 9))
        if function in EXIT_OF and fate < 8:
            result = EventFlag.RESULT | EventFlag.STATE | (0 if ready else EventFlag.PENDING)
            self.event(tid, sp, EXIT_OF[function], 0, 1 if ready else FIRST_SUSPEND, result)
        elif function in TAIL_OF and fate == 8:
            self.event(tid, sp, TAIL_OF[function], 0, 0, 0)
            return self.poll(tid, sp, 4) if depth else ready
        elif function in EXIT_OF:  # it unwound, and nobody polls it again
            self.states[self_] = 0
        return ready

    def make(self, tid: int, sp: int) -> None:
        """A task is made, by a call that is told or by one that is not."""
        header, after = 16 * self.draw(st.integers(1, 4)) + self.draw(st.sampled_from([0, 5])), 1
        told = self.draw(st.sampled_from([0, *CALLS, CALLS[0] + 1]))
        if told:
            self.event(tid, told, SPAWN_RECORD, header, 0, EventFlag.SELF)
            after = 0
        self.event(tid, sp, MADE, header, 0, EventFlag.SELF, after)

    def wake(self, tid: int, sp: int) -> None:
        """Some task is woken, with effect or without."""
        header = 16 * self.draw(st.integers(1, 4)) + self.draw(st.sampled_from([0, 5]))
        state = self.draw(st.sampled_from([0, 0, 1, 2, 4]))
        self.event(tid, sp, self.draw(st.sampled_from(WOKEN)), header, state, 3)

    def leave_cpu(self, tid: int) -> None:
        """The thread is off its CPU for a while: it waits, or another one has its turn."""
        state, early = self.draw(st.sampled_from([0, 1, 2])), self.draw(st.booleans())
        context, by = self.draw(st.sampled_from([(0, 3), (1, 0), (2, 0)]))
        wake = 0, WAKING_RECORD, by, context, EventFlag.STATE | (EventFlag.SELF if by else 0)
        if state and early:
            self.event(tid, *wake)
        self.event(tid, self.draw(st.sampled_from([202, 2**64 - 1])), SWITCH_OUT_RECORD, *self.ran(state))
        if state and not early:
            self.event(tid, *wake, after=self.draw(st.integers(1, 5)))
        if self.draw(st.integers(0, 9)) > 0:
            self.event(tid, 0, SWITCH_IN_RECORD, *self.ran(0), after=self.draw(st.integers(1, 5)))

    def ran(self, state: int) -> tuple[int, int, int]:
        """(self, state, flags) of a switch: for how long the thread has run, if that is known."""
        told = self.draw(st.sampled_from([None, 0, 3, 8, 2**63 - 1, 2**64 - 1]))
        flags = EventFlag.STATE if state else EventFlag(0)
        return told or 0, state, flags if told is None else flags | EventFlag.SELF

    def end(self, tid: int, self_: int, function: int) -> None:
        """Somebody's life ends, of this kind of future or of another."""
        probe = self.draw(st.sampled_from([15, 16] if function in (0, 5) else [17, 18]))
        other = 16 * self.draw(st.integers(1, 4)) + self.draw(st.integers(0, 3))
        self.event(
            tid,
            8,
            probe,
            self.draw(st.sampled_from([self_, other])),
            self.draw(st.integers(0, 4)),
            3,
        )

    def task_id(self, tid: int, header: int) -> tuple[int, int]:
        """Tell the id of the task there, an old or a new one, or nothing; yields the flags and the time step."""
        fate = self.draw(st.sampled_from(["same", "new", "again", "unread"]))
        if fate == "unread":
            return 0, 1
        if fate == "same" and header in self.ids:
            return int(EventFlag.TASK_ID), 1
        if fate == "new" or header not in self.ids:
            self.tasks += 1
            self.ids[header] = 1000 + self.tasks
        self.event(tid, self.ids[header], TASK_ID_RECORD, header, 0, EventFlag.SELF | EventFlag.TASK_ID)
        return int(EventFlag.TASK_ID | EventFlag.NEW_TASK_ID), 0


@st.composite
def lives(draw: st.DrawFn, spread: int = 3) -> Array:
    """The events of some threads that each run polls in turn; one thread's run into another's at times."""
    life = Life(draw, spread=spread)
    for _ in range(draw(st.integers(1, 10))):
        if draw(st.integers(0, 3)) == 0:
            life.make(draw(st.integers(1, 3)), 4096)
        if draw(st.integers(0, 2)) == 0:
            life.wake(draw(st.integers(1, 3)), 4096)
        if draw(st.integers(0, 2)) == 0:
            life.leave_cpu(draw(st.integers(1, 3)))
        life.poll(draw(st.integers(1, 3)), 4096, 0)
    return np.array(life.events, EVENT)


@st.composite
def damaged(draw: st.DrawFn) -> list[Any]:
    """A life, cut at both ends, with events lost and others late."""
    events = draw(lives())
    events = events[draw(st.integers(0, 3)) : len(events) - draw(st.integers(0, 3))]
    kept = np.array([draw(st.integers(0, 19)) > 0 for _ in events], np.bool_)
    lost = int(np.count_nonzero(~kept))
    events = events[kept]
    swap = draw(st.integers(0, max(len(events) - 2, 0)))
    if draw(st.booleans()) and len(events) > 1:
        events[[swap, swap + 1]] = events[[swap + 1, swap]]
    return [Loss(0, lost, None, None), events] if lost and draw(st.booleans()) else [events]


@st.composite
def thinned(draw: st.DrawFn) -> list[Any]:
    """A life of which some functions are not probed now and then: what they do then is not told."""
    events = draw(lives())
    cuts = sorted(draw(st.lists(st.integers(0, len(events)), max_size=4)))
    items: list[Any] = []
    unprobed: frozenset[int] = frozenset()
    for begin_, end_ in pairwise([0, *cuts, len(events)]):
        part = events[begin_:end_]
        told = np.array([not functions_of_event(event) & unprobed for event in part], np.bool_)
        items.append(part[told])
        if end_ == len(events):
            break
        unprobed = draw(st.frozensets(st.sampled_from([1, 2, 3, 6])))
        items.append(PlanChange(int(events["time"][end_ - 1]) if end_ else START, frozenset(Group), "", unprobed))
    return items


@st.composite
def blinded(draw: st.DrawFn) -> tuple[Array, list[Any]]:
    """A life, and the same when the exits of some functions are not probed now and then."""
    events = draw(lives(spread=1))
    cuts = sorted(draw(st.lists(st.integers(0, len(events)), max_size=4)))
    items: list[Any] = []
    blind: frozenset[int] = frozenset()
    for begin_, end_ in pairwise([0, *cuts, len(events)]):
        part = events[begin_:end_]
        items.append(part[~np.isin(part["probe"], [one for number in blind for one in EXITS[number]])])
        if end_ == len(events):
            break
        blind = draw(st.frozensets(st.sampled_from(sorted(EXITS))))
        time = int(events["time"][end_ - 1]) if end_ else START
        items.append(PlanChange(time, frozenset(Group), "", frozenset(), blind))
    return events, items


def functions_of_event(event: Any) -> frozenset[int]:
    if event["probe"] >= len(PLAN.probes):
        return frozenset()
    probe = PLAN.probes[event["probe"]]
    return functions_of(probe, PLAN) if probe.group is Group.FUTURES else frozenset()


inputs = st.one_of(
    noise(), damaged(), lives().map(lambda events: [events]), thinned(), blinded().map(lambda both: both[1])
)
ends = st.one_of(st.none(), st.builds(CaptureEnd, st.integers(0, START + 500), st.just(""), st.just(0), st.just(0)))

TOLD_AGAIN = [
    np.array(
        [
            (1028, 4096, 16, 1, 28, 0, 0, 3, 17),
            (1040, 8, 16, 1, 40, 15, 0, 2, 3),
            (1043, 4096, 0, 1, 43, 1, 0, 3, 14),
            (1048, 8, 16, 1, 48, 15, 0, 0, 3),
        ],
        EVENT,
    )
]
"""A task that ends while it is polled; after that poll its memory tells nothing about it."""
POLLED_AFTER_A_PANIC = [
    Loss(0, 1, None, None),
    np.array(
        [
            (1003, 4096, 37, 2, 2, 9, 0, 0, 49),
            (1011, 4090, 35, 2, 10, 19, 0, 0, 3),
            (1028, 4096, 37, 3, 27, 9, 0, 0, 17),
            (1040, 4096, 0, 2, 42, 1, 0, 1, 6),
            (1056, 4096, 0, 3, 58, 1, 0, 3, 14),
            (1057, 4096, 37, 2, 59, 9, 0, 3, 1),
        ],
        EVENT,
    ),
]
"""Polls of one task at once, of which the first panics, and another one behind both."""
ENDED_UNCERTAINLY = [
    Loss(0, 1, None, START),
    np.array(
        [
            (START + 10, 300, 16, 1, 0, 0, 0, 0, 1),
            (START + 20, 400, 32, 1, 1, 0, 0, 0, 1),
            (START + 30, 8, 16, 1, 2, 15, 0, 0, 3),
        ],
        EVENT,
    ),
]
"""A task whose poll was left unseen, some time after a loss, and that ended then."""
SHUT_DOWN_WHILE_IT_WAITED = [
    np.array(
        [
            (START + 10, 300, 16, 1, 0, 24, 0, 0, 1),
            (START + 20, 300, 0, 1, 1, 25, 0, 0, 12),
            (START + 30, 8, 16, 2, 2, 16, 0, 0, 3),
        ],
        EVENT,
    )
]
"""A task that is of another kind than the plan's first one."""

# ---------------------------------------------------------------- running


def split(items: list[Any], sizes: list[int]) -> list[Any]:
    """The same items with the events in other blocks."""
    blocks, turn = [], 0
    for item in items:
        if not isinstance(item, np.ndarray):
            blocks.append(item)
            continue
        at = 0
        while at < len(item):
            size = sizes[turn % len(sizes)]
            blocks.append(item[at : at + size])
            at, turn = at + size, turn + 1
    return blocks


def assemble(items: list[Any], end: CaptureEnd | None, processes: int = 1) -> tuple[Array, Array, Tally]:
    spans, tally = whole(items, end, processes)
    return spans.polls, spans.waits, tally


def whole(items: list[Any], end: CaptureEnd | None, processes: int = 1) -> tuple[Spans, Tally]:
    """Everything that assembly yields, joined."""
    state, parts = begin(recording_of(PLAN, processes)), []
    for item in items:
        state, spans = step(state, item)
        parts.append(spans)
    state, spans = finish(state, end)
    parts.append(spans)
    names = ("polls", "waits", "begun", "over", "off_cpu")
    joined = {name: np.concatenate([getattr(one, name) for one in parts]) for name in names}
    return Spans(**joined), state.tally


def judge(items: list[Any], end: CaptureEnd | None, processes: int = 1) -> Reference:
    reference = Reference(recording_of(PLAN, processes))
    for item in items:
        reference.step(item)
    reference.finish(end)
    return reference


# ---------------------------------------------------------------- properties


@given(inputs, st.lists(st.integers(1, 9), min_size=1, max_size=4), ends, st.integers(1, 2))
@example(TOLD_AGAIN, [2], None, 1)
@example(POLLED_AFTER_A_PANIC, [5], None, 1)
@example(ENDED_UNCERTAINLY, [9], None, 1)
@example(SHUT_DOWN_WHILE_IT_WAITED, [2], None, 1)
def test_it_equals_the_reference_in_blocks_of_any_size(
    items: list[Any], sizes: list[int], end: CaptureEnd | None, processes: int
) -> None:
    reference = judge(items, end, processes)
    for blocks in (items, split(items, sizes), split(items, [1])):
        spans, tally = whole(blocks, end, processes)
        assert sorted(spans.polls.tolist()) == sorted(reference.polls)
        assert sorted(spans.waits.tolist()) == sorted(reference.waits)
        assert sorted(spans.over.tolist()) == sorted(task.row() for task in reference.tasks.values())
        assert spans.begun["task"].tolist() == sorted(reference.tasks)
        assert sorted(spans.off_cpu.tolist()) == sorted(reference.off_cpu)
        assert tally == reference.tally()


def ends_with_another(poll: Any, polls: Array) -> Array:
    """The polls with which it ends, which are inside it, where nobody saw its own end."""
    is_inside = (polls["tid"] == poll["tid"]) & (polls["depth"] > poll["depth"]) & (polls["start"] >= poll["start"])
    found: Array = polls[is_inside & (polls["end"] == poll["end"]) & (poll["flags"] & PollFlag.END_UNKNOWN != 0)]
    return found


@given(thinned())
def test_nothing_is_told_of_functions_while_they_are_not_probed(items: list[Any]) -> None:
    polls, waits, tally = assemble(items, None)
    latest = max([START, *(int(item["time"].max()) for item in items if isinstance(item, np.ndarray) and len(item))])
    changes = [item for item in items if isinstance(item, PlanChange)]
    for change, next_ in pairwise([*changes, PlanChange(latest, frozenset(), "")]):
        for spans in (polls, waits):
            mine = spans[np.isin(spans["function"], sorted(change.unprobed))]
            told = (mine["start"] < next_.time) & (mine["end"] > change.time)
            if spans is polls:  # but for what has one inside it that goes on, or had left to one that does
                goes_on = mine["flags"] & (PollFlag.INFERRED_END | PollFlag.TAIL) != 0
                goes_on |= np.array([len(ends_with_another(poll, polls)) > 0 for poll in mine], np.bool_)
                told &= ~goes_on | (mine["start"] > change.time)
            assert not np.any(told)
    cut = polls[np.isin(polls["end"], [change.time for change in changes])]
    # What ends with one whose exit was seen is not cut off, whatever time that is.
    cut = cut[[bool(np.all(ends_with_another(poll, polls)["flags"] & PollFlag.END_UNKNOWN)) for poll in cut]]
    assert tally.open_at_end >= int(np.count_nonzero(cut["flags"] & PollFlag.END_UNKNOWN))


@given(blinded())
def test_without_exits_the_same_is_told_with_bounds(both: tuple[Array, list[Any]]) -> None:
    """Every poll is there; its end is as exact as before, or lies between the two times that are told.  No panic is
    made up, no result, and no wait."""
    events, items = both
    end = CaptureEnd(int(events["time"].max(initial=START)) + 1, "", 0, 0)
    whole, waits, tally = assemble([events], end)
    polls, fewer_waits, less = assemble(items, end)
    assert (less.unmatched_exits, less.open_at_start) == (tally.unmatched_exits, tally.open_at_start)
    known = {(int(poll["tid"]), int(poll["start"])): poll for poll in whole}
    assert len(polls) == len(known) == len(whole)
    bounded = PollFlag.UNWOUND | PollFlag.INFERRED_END | PollFlag.END_UNKNOWN | PollFlag.TAIL
    for poll in polls:
        true, flags = known[int(poll["tid"]), int(poll["start"])], int(poll["flags"])
        assert (true["function"], true["state"]) == (poll["function"], poll["state"])
        for flag in (PollFlag.UNWOUND, PollFlag.RESULT):
            assert not flags & flag or int(true["flags"]) & flag
        if flags & PollFlag.PANICKED and not int(true["flags"]) & PollFlag.PANICKED:
            # The tail jump to what was unwound was not seen, so that it looks like the task's own future.
            inside = whole[(whole["tid"] == poll["tid"]) & (whole["start"] >= true["start"])]
            inside = inside[inside["end"] <= true["end"]]
            assert np.any(inside["flags"] & PollFlag.UNWOUND)
        if int(true["flags"]) & bounded:
            continue
        if flags & PollFlag.END_UNKNOWN:  # what is inside it was unwound, and only its own exit would have told
            assert true["end"] <= poll["end"]
        elif flags & bounded:
            assert poll["end"] <= true["end"] <= poll["end_latest"]
        else:
            assert (poll["end"], poll["end_latest"]) == (true["end"], true["end_latest"])
            assert flags & (PollFlag.RESULT | PollFlag.PENDING) == int(true["flags"]) & (
                PollFlag.RESULT | PollFlag.PENDING
            )
    told = {(int(wait["function"]), int(wait["self"]), int(wait["end"])) for wait in waits}
    # What panicked here is polled again as a task, or dropped with any state, which is not so in programs.
    unsure = WaitFlag.AMBIGUOUS | WaitFlag.END_UNKNOWN | WaitFlag.CANCELLED
    sure = fewer_waits[(fewer_waits["flags"] & unsure == 0) & ~np.isin(fewer_waits["function"], (0, 5))]
    assert told >= {(int(wait["function"]), int(wait["self"]), int(wait["end"])) for wait in sure}


@given(inputs, ends)
def test_the_polls_of_a_thread_nest(items: list[Any], end: CaptureEnd | None) -> None:
    polls, _, _ = assemble(items, end)
    assert np.all(polls["start"] <= polls["end"])
    assert np.all(polls["end"] <= polls["end_latest"])
    for tid in np.unique(polls["tid"]):
        mine = polls[polls["tid"] == tid]
        open_ends: list[int] = []
        for start, end_ in sorted(zip(mine["start"].tolist(), mine["end"].tolist(), strict=True), key=outer_first):
            while open_ends and open_ends[-1] <= start:
                open_ends.pop()
            assert not open_ends or end_ <= open_ends[-1]
            open_ends.append(end_)


def outer_first(interval: tuple[int, int]) -> tuple[int, int]:
    return interval[0], -interval[1]


@given(inputs, ends)
def test_no_future_has_two_polls_at_once(items: list[Any], end: CaptureEnd | None) -> None:
    polls, waits, _ = assemble(items, end)
    exclusive = ~np.isin(polls["function"], [0, 3, 5])  # the others may be seen to end late
    intervals = defaultdict(list)
    for poll in polls[exclusive & (polls["instance"] != 0)]:
        intervals[int(poll["instance"])].append((int(poll["start"]), int(poll["end"])))
    for wait in waits[~np.isin(waits["function"], [0, 3, 5])]:
        if not wait["flags"] & 1:
            intervals[int(wait["instance"])].append((int(wait["start"]), int(wait["end"])))
    for instance in intervals.values():
        for (_, before), (after, _) in pairwise(sorted(instance)):
            assert before <= after


@given(inputs, ends)
def test_every_event_is_in_one_poll_or_unmatched(items: list[Any], end: CaptureEnd | None) -> None:
    polls, waits, tally = assemble(items, end)
    events = [event for item in items if isinstance(item, np.ndarray) for event in item]
    entries = exits = nothing = 0
    for event in events:
        if event["probe"] >= WAKING_RECORD:
            continue
        if event["probe"] >= len(PLAN.probes) or event["sp"] == 2**64 - 1:
            nothing += 1
            continue
        probe = PLAN.probes[event["probe"]]
        if probe.ends is not None or event["probe"] in (MADE, *WOKEN):
            continue
        entries += probe.enters is not None
        exits += probe.leaves is not None
        nothing += probe.enters is None and probe.leaves is None
    begun = int(np.count_nonzero(polls["flags"] & PollFlag.START_UNKNOWN))
    assert tally.events == len(events)
    assert tally.polls == len(polls) == entries + begun
    assert tally.waits == len(waits)
    assert nothing <= tally.unmatched_exits <= exits + nothing
    assert tally.open_at_start == begun
    assert tally.ends == sum(is_end(event) for event in events)
    assert tally.task_ids == sum(int(event["probe"]) == TASK_ID_RECORD for event in events)
    assert tally.chains == sum(int(event["probe"]) == CHAIN_RECORD for event in events)
    assert tally.spawn_calls == sum(int(event["probe"]) == SPAWN_RECORD for event in events)
    assert tally.switches == sum(event["probe"] in SCHEDULING for event in events)
    assert tally.spawns == sum(event["probe"] == MADE and event["sp"] != 2**64 - 1 for event in events)
    woken = [event for event in events if event["probe"] in WOKEN and event["sp"] != 2**64 - 1]
    assert tally.wakes == len(woken)
    assert tally.self_wakes <= tally.wakes - tally.idle_wakes
    answered = (waits["woken"] != 0) & ((waits["flags"] & WaitFlag.END_UNKNOWN) == 0)
    assert np.count_nonzero(answered) + tally.idle_wakes + tally.unanswered_wakes <= tally.wakes


@given(inputs, ends)
def test_a_wake_lies_between_the_polls_that_it_is_between(items: list[Any], end: CaptureEnd | None) -> None:
    polls, waits, _ = assemble(items, end)
    for wait in waits[waits["woken"] != 0]:
        own = np.sort(polls["start"][polls["instance"] == wait["instance"]])
        before = own[np.searchsorted(own, wait["end"]) - 1] if wait["start"] < wait["end"] else own[0]
        assert wait["function"] in (0, 5)
        assert before <= wait["woken"] <= wait["end"]


@given(inputs, ends)
def test_a_poll_was_on_its_cpu_for_what_is_left_of_it(items: list[Any], end: CaptureEnd | None) -> None:
    spans, _ = whole(items, end)
    polls, off = spans.polls, spans.off_cpu
    scheduled = (polls["flags"] & PollFlag.SCHEDULED) != 0
    assert not polls["runnable"][~scheduled].any()
    assert not polls["blocked"][~scheduled].any()
    assert np.all((polls["runnable"] >= 0) & (polls["blocked"] >= 0))
    assert np.all((polls["runnable"] + polls["blocked"])[scheduled] <= (polls["end"] - polls["start"])[scheduled])
    told = off["woken"] != 0
    assert np.all(off["start"] <= off["end"])
    assert np.all((off["woken"] >= off["start"])[told] & (off["woken"] <= off["end"])[told])
    assert not off["function"][(off["flags"] & OffCpuFlag.IN_POLL) == 0].any()


@given(lives())
def test_what_a_poll_lacks_is_in_the_rows_of_its_thread(events: Array) -> None:
    spans, _ = whole([events], None)
    off = spans.off_cpu
    for poll in spans.polls[(spans.polls["flags"] & PollFlag.SCHEDULED) != 0]:
        inside = off[(off["tid"] == poll["tid"]) & (off["start"] >= poll["start"]) & (off["end"] <= poll["end"])]
        woken = np.where(inside["woken"] != 0, inside["woken"], inside["end"])
        assert poll["blocked"] == int((woken - inside["start"]).sum())
        assert poll["runnable"] == int((inside["end"] - woken).sum())


def is_end(event: Any) -> bool:
    known = event["probe"] < len(PLAN.probes) and event["sp"] != 2**64 - 1
    return known and PLAN.probes[event["probe"]].ends is not None


@given(lives())
def test_a_whole_life_leaves_nothing_unmatched(events: Array) -> None:
    polls, _, tally = assemble([events], None)
    assert tally.unmatched_exits == 0
    assert tally.open_at_start == 0
    assert not np.any(polls["flags"] & PollFlag.START_UNKNOWN)


@given(lives())
def test_tasks_with_ids_of_their_own_are_told_apart(events: Array) -> None:
    """Every id told is that of one task, or of several only because the address had another's in between."""
    spans, _ = whole([events], None)
    told = set(events["sp"][events["probe"] == TASK_ID_RECORD].tolist())
    assert set(spans.begun["id"].tolist()) - {0} == told
    assert int(spans.over["polls"].sum()) == int(np.count_nonzero(np.isin(spans.polls["function"], [0, 5])))


@given(inputs)
def test_a_step_changes_neither_its_state_nor_its_input(items: list[Any]) -> None:
    state = begin(recording_of(PLAN))
    for item in items:
        if isinstance(item, np.ndarray):
            item = item.copy()
            item.flags.writeable = False
        first, first_spans = step(state, item)
        second, second_spans = step(state, item)
        assert first.tally == second.tally
        assert first_spans.polls.tolist() == second_spans.polls.tolist()
        assert first_spans.waits.tolist() == second_spans.waits.tolist()
        state = first
