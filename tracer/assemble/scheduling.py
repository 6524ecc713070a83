"""When threads were on their CPUs: what the kernel tells of it becomes a clock for each thread, and rows of OFF_CPU.

A thread leaves its CPU, is woken, and gets a CPU again; in between it was blocked until the wake, and from then on
runnable.  Polls read their thread's clock where they begin and where they end, on the CPU both times: what it went on
by in between is theirs.  From when on the clock is right is known as well: a thread of which nothing was told was on
its CPU all the time, and what does not fit together tells that something is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracer.assemble.arrays import Flags, Indexes, Numbers, Small, Unsigned
from tracer.assemble.columns import joined, pick
from tracer.assemble.lookup import locate
from tracer.assemble.schedule import CLOCK, EVER, LATEST, NEVER, NO_READING, SWITCH, Schedule, Tids
from tracer.assemble.sorting import stable_order
from tracer.model import (
    OFF_CPU,
    SWITCH_IN_RECORD,
    SWITCH_OUT_RECORD,
    THREAD_OVER,
    UNKNOWN_SYSCALL,
    WAKING_RECORD,
    Array,
    EventFlag,
    OffCpuFlag,
    WakingContext,
)


@dataclass(frozen=True, slots=True)
class Readings:
    """Of threads' clocks, as CLOCK has them.  is_on: the thread was on its CPU, as it should be."""

    known: Numbers
    runnable: Numbers
    blocked: Numbers
    got: Numbers
    is_on: Flags


@dataclass(frozen=True, slots=True)
class Account:
    """What one block told.  rows: dtype SWITCH, by thread; keys, after: for each, its place and the clock after it.

    unpaired: how often a thread left its CPU of which was not told that it had got one.
    """

    rows: Array
    keys: Unsigned
    after: Readings
    schedule: Schedule
    before: Schedule
    unpaired: int

    @property
    def is_needed(self) -> bool:
        """Whether there is a clock to be read."""
        return self.before.since != NEVER

    def at(self, tids: Tids, hits: Indexes) -> Readings:
        """The clocks at some of the block's hits (their numbers), on these threads."""
        clocks = _clocks_of(self.before, tids)
        pending = self.before.pending
        carried = Readings(
            known=clocks["known"],
            runnable=clocks["runnable"],
            blocked=clocks["blocked"],
            got=clocks["got"],
            is_on=~np.isin(tids, pending["tid"][pending["kind"] == SWITCH_OUT_RECORD]),
        )
        if not len(self.rows):
            return carried
        place = np.searchsorted(self.keys, _keys(tids, hits), side="right") - 1
        at = np.maximum(place, 0)
        is_told = (place >= 0) & (self.rows["tid"][at] == tids)
        return Readings(
            *(np.where(is_told, getattr(self.after, n)[at], getattr(carried, n)) for n in Readings.__slots__)
        )


def _keys(tids: Tids, hits: Indexes) -> Unsigned:
    return tids.astype(np.uint64) << np.uint64(32) | (hits + 1).astype(np.uint64)


def _clocks_of(schedule: Schedule, tids: Tids) -> Array:
    """dtype CLOCK, of each of these threads."""
    at, is_it = locate(schedule.clocks["tid"], tids)
    found = schedule.clocks.take(at) if len(schedule.clocks) else np.zeros(len(tids), CLOCK)
    others = np.flatnonzero(~is_it)
    nothing = {"known": schedule.since, "runnable": 0, "blocked": 0, "got": EVER, "ran": NO_READING, "last": EVER}
    for name, value in nothing.items():
        found[name][others] = value
    found["tid"] = tids
    return found


def switches_of(events: Array, before: Indexes) -> Array:
    """These records (dtype EVENT) as SWITCH, but for the polls that they are in.  before: as SWITCH has it."""
    rows = np.zeros(len(events), SWITCH)
    rows["time"] = np.minimum(events["time"], LATEST)
    rows["before"], rows["kind"], rows["tid"], rows["cpu"] = before, events["probe"], events["tid"], events["cpu"]
    rows["state"] = events["state"]
    number = events["sp"].astype(np.int64)
    is_number = (number >= UNKNOWN_SYSCALL) & (number <= np.iinfo(np.int16).max)
    rows["syscall"] = np.where(is_number, number, UNKNOWN_SYSCALL)
    is_waking = events["probe"] == WAKING_RECORD
    is_told = (events["flags"] & np.uint8(EventFlag.SELF)) != 0
    rows["by"] = np.where(is_waking & is_told, events["self"], np.uint64(0))
    has_ran = ~is_waking & is_told & (events["self"] <= LATEST)
    rows["ran"] = np.where(has_ran, events["self"].astype(np.int64), NO_READING)
    by_interrupt = is_waking & (events["state"] == WakingContext.INTERRUPT)
    rows["flags"] = np.where(by_interrupt, np.uint8(OffCpuFlag.BY_INTERRUPT), np.uint8(0))
    return rows


def account(schedule: Schedule, switches: Array, lost_until: int) -> tuple[Account, Array]:
    """Take in what a block told (dtype SWITCH, in the order of the file); yields the OFF_CPU rows that it ended too.

    lost_until: what was told from before may lack something.
    """
    if not len(switches) or schedule.since == NEVER:
        switches = switches[:0]
        nothing = np.empty(0, np.int64)
        readings = Readings(nothing, nothing, nothing, nothing, np.empty(0, np.bool_))
        return Account(switches, np.empty(0, np.uint64), readings, schedule, schedule, 0), np.empty(0, OFF_CPU)
    rows = joined(schedule.pending, switches)
    rows = rows.take(stable_order(rows["tid"].astype(np.uint64)))
    begins = np.flatnonzero(np.append(True, rows["tid"][1:] != rows["tid"][:-1]))
    thread = np.cumsum(np.bincount(begins, minlength=len(rows))) - 1
    clocks = _clocks_of(schedule, rows["tid"][begins])
    time = _never_back(rows, clocks["last"], begins, thread)
    rows["time"] = time

    number, begin = np.arange(len(rows)), begins[thread]
    is_out, is_in = rows["kind"] == SWITCH_OUT_RECORD, rows["kind"] == SWITCH_IN_RECORD
    is_waking = ~(is_out | is_in)
    switch = _latest_before(~is_waking, begin)  # -1: none on this thread
    woken = _latest_before(is_waking, begin)
    out = np.where(is_in & (switch >= 0) & is_out[switch], switch, -1)
    out = np.where((out >= 0) & (rows["state"][out] != THREAD_OVER) & (time[out] >= lost_until), out, -1)
    ends = np.flatnonzero(out >= 0)
    start = out[ends]
    twice = is_out & (switch >= 0) & is_out[switch]
    wake = _wakes(ends, start, np.where(twice, number, switch), woken, is_waking, rows["state"])
    off = _off_cpu(rows, start, time[ends], wake)

    is_split = off["woken"] != 0
    blocked, runnable = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    blocked[ends] = np.where(is_split, off["woken"] - off["start"], 0)
    runnable[ends] = np.where(is_split, off["end"] - off["woken"], 0)
    fits = np.zeros(len(rows), np.bool_)
    fits[ends] = is_split
    # It got a CPU and had not left one, or left one twice; or nobody knows who woke it.
    again = (is_in & ~fits) | twice
    again |= is_out & (rows["state"] == THREAD_OVER)
    restart = _latest(again, begin)
    got = _latest(is_in, begin)
    last_switch = _latest(~is_waking, begin)
    after = Readings(
        known=np.where(restart >= 0, np.maximum(time[restart], lost_until), clocks["known"][thread]),
        runnable=_summed(runnable, begins, thread) + clocks["runnable"][thread],
        blocked=_summed(blocked, begins, thread) + clocks["blocked"][thread],
        got=np.where(got >= 0, time[got], clocks["got"][thread]),
        is_on=~((last_switch >= 0) & is_out[last_switch]),
    )
    ran = np.where(got >= 0, rows["ran"][got], clocks["ran"][thread])
    _since(off, after.known[start], after.got[start], rows["ran"][start], ran[start])
    off["cpu_after"] = rows["cpu"][ends]
    ended = np.append(begins[1:], len(rows)) - 1
    for name in ("known", "runnable", "blocked", "got"):
        clocks[name] = getattr(after, name)[ended]
    clocks["ran"] = ran[ended]
    clocks["last"] = np.maximum(clocks["last"], time[ended])  # of a wake that was not kept
    left = _pending(number, ended[thread], last_switch, np.where(twice, number, switch), is_out, is_waking)
    pending = pick(rows, left)
    pending["before"] = -1
    told = Schedule(schedule.since, _merged(schedule.clocks, clocks), pending)
    unpaired = int(np.count_nonzero(twice))
    return Account(rows, _keys(rows["tid"], rows["before"]), after, told, schedule, unpaired), off


def still_off(schedule: Schedule, which: Flags, time: int, lost_until: int) -> Array:
    """The OFF_CPU rows of threads that are off their CPU until nothing more is seen of them, at `time`.

    which: of the pending ones.
    """
    pending = schedule.pending
    number = np.arange(len(pending))
    is_off = which & (pending["kind"] == SWITCH_OUT_RECORD) & (pending["state"] != THREAD_OVER)
    start = np.flatnonzero(is_off & (pending["time"] >= lost_until))
    if not len(start):
        return np.empty(0, OFF_CPU)
    after = np.minimum(start + 1, len(pending) - 1)
    is_woken = (after > start) & (pending["tid"][after] == pending["tid"][start]) & (pending["state"][start] != 0)
    clocks = _clocks_of(schedule, pending["tid"][start])
    off = _off_cpu(pending, start, np.maximum(clocks["last"], time), np.where(is_woken, number[after], -1))
    _since(off, clocks["known"], clocks["got"], pending["ran"][start], clocks["ran"])
    off["flags"] |= np.uint8(OffCpuFlag.END_UNKNOWN)
    return off


def cut_off(schedule: Schedule, tids: Tids, times: Numbers, lost_until: int) -> Readings:
    """The clocks of these threads at these times, at which nothing more is seen of them.

    is_on: they are on their CPU, or it is known how they left it.
    """
    clocks = _clocks_of(schedule, tids)
    is_on = times >= clocks["last"]
    runnable, blocked = clocks["runnable"].copy(), clocks["blocked"].copy()
    off = still_off(schedule, np.ones(len(schedule.pending), np.bool_), EVER, lost_until)
    gone = schedule.pending["tid"][schedule.pending["kind"] == SWITCH_OUT_RECORD]
    is_on &= ~np.isin(tids, gone) | np.isin(tids, off["tid"])
    if len(off):
        at = np.minimum(np.searchsorted(off["tid"], tids), len(off) - 1)
        is_off = is_on & (off["tid"][at] == tids)
        woken = np.where(off["woken"][at] != 0, off["woken"][at], times)
        blocked += np.where(is_off, woken - off["start"][at], 0)
        runnable += np.where(is_off, times - woken, 0)
    return Readings(clocks["known"], runnable, blocked, clocks["got"], is_on)


def of_polls(
    at_start: tuple[Numbers, Numbers], at_end: Readings, start: Numbers, end: Numbers
) -> tuple[Flags, Numbers, Numbers]:
    """(of which polls it is known, how long their threads were runnable, and blocked), from what their clocks had.

    at_start: (runnable, blocked), NO_READING where the thread was not on its CPU.
    """
    runnable, blocked = at_end.runnable - at_start[0], at_end.blocked - at_start[1]
    known = (at_start[0] != NO_READING) & at_end.is_on & (at_end.known <= start)
    known &= at_end.got <= end  # else it was off its CPU after this end, which was seen elsewhere
    known &= (runnable >= 0) & (blocked >= 0) & (runnable + blocked <= end - start)
    return known, np.where(known, runnable, 0), np.where(known, blocked, 0)


def _never_back(rows: Array, last: Numbers, begins: Indexes, thread: Indexes) -> Numbers:
    """Each thread's times, made to rise: they do unless the capture was tampered with, or records came late."""
    time: Numbers = rows["time"].copy()
    is_old = rows["before"] < 0  # was made to before
    time = np.where(is_old, time, np.maximum(time, last[thread]))
    back = (time[1:] < time[:-1]) & (thread[1:] == thread[:-1])
    ends = np.append(begins[1:], len(rows))
    for one in np.unique(thread[1:][back]).tolist():
        time[begins[one] : ends[one]] = np.maximum.accumulate(time[begins[one] : ends[one]])
    return time


def _latest(which: Flags, begin: Indexes) -> Indexes:
    """For each row the latest one of these on its thread, up to itself; -1: there is none."""
    number = np.arange(len(which))
    found = np.maximum.accumulate(np.where(which, number, -1))
    return np.where(found >= begin, found, -1)


def _latest_before(which: Flags, begin: Indexes) -> Indexes:
    """The same without the row itself."""
    found = np.append(-1, np.maximum.accumulate(np.where(which, np.arange(len(which)), -1))[:-1])
    return np.where(found >= begin, found, -1)


def _wakes(ends: Indexes, start: Indexes, switch: Indexes, woken: Indexes, is_waking: Flags, state: Small) -> Indexes:
    """The wake of each time between two switches (rows `start`, `ends`), -1: none.

    The first one after it left; else the last one before, since it got the CPU: it was about to wait and had looked
    for the last time when that came.  switch: of each row the one before, after which a wake has to come.
    """
    number = np.arange(len(is_waking))
    following = np.minimum.accumulate(np.where(is_waking, number, len(number))[::-1])[::-1]
    after = np.append(following, len(number))[start + 1]
    early = np.where(woken[start] > switch[start], woken[start], -1)
    found = np.where(after < ends, after, early)
    return np.where(state[start] != 0, found, -1)


def _off_cpu(rows: Array, start: Indexes, end: Numbers, wake: Indexes) -> Array:
    """dtype OFF_CPU.  start: rows that leave; wake: those that wake them, -1: none."""
    off = np.zeros(len(start), OFF_CPU)
    left, by = rows.take(start), rows.take(np.maximum(wake, 0)) if len(rows) else rows
    is_woken = wake >= 0
    off["start"], off["end"] = left["time"], end
    # One that would have run on needed no wake; and whoever was woken early did not wait at all.
    off["woken"] = np.where(is_woken, np.maximum(by["time"], left["time"]), 0)
    off["woken"] = np.where(left["state"] == 0, left["time"], off["woken"])
    off["woken_by"] = np.where(is_woken, by["by"], np.uint32(0))
    off["flags"] = left["flags"] | np.where(is_woken, by["flags"], np.uint8(0))
    for name in ("instance", "task", "function", "tid", "syscall", "cpu", "state"):
        off[name] = left[name]
    return off


def _since(off: Array, known: Numbers, got: Numbers, ran: Numbers, ran_before: Numbers) -> None:
    """Tell these rows (OFF_CPU, in place) of the time on a CPU before them.

    known, got: as clocks have them; ran_before, ran: for how long it had run when it got that CPU, and when it left it.
    """
    off["since"] = np.minimum(np.maximum(known, got), off["start"])
    is_whole = (got >= known) & (got <= off["start"]) & (ran_before != NO_READING) & (ran >= ran_before)
    length = off["start"] - off["since"]
    off["stolen"] = np.where(is_whole, np.maximum(length - (ran - ran_before), 0), NO_READING)


def _summed(values: Numbers, begins: Indexes, thread: Indexes) -> Numbers:
    """Running sums, each thread's by itself."""
    total = np.cumsum(values)
    sums: Numbers = total - (total - values)[begins][thread]
    return sums


def _pending(
    number: Indexes, end: Indexes, last_switch: Indexes, switch: Indexes, is_out: Flags, is_waking: Flags
) -> Flags:
    """The rows that what is still to come needs: of a thread that is off its CPU how it left and who woke it; the last
    wake of one that is on it, or was when it left."""
    last = last_switch[end]
    is_off = (last >= 0) & is_out[last]
    leaving = is_off & (number == last)
    before = np.where(is_off, switch[last], last)  # the switch that the last wake has to come after
    until = np.where(is_off, last, len(number))
    early = is_waking & (number > before) & (number < until)
    # Of these only the last one of a thread, and of those after it left only the first one.
    is_last = early.copy()
    following = np.append(np.minimum.accumulate(np.where(early, number, len(number))[::-1])[::-1][1:], len(number))
    is_last &= ~((following <= end) & (following < until))
    late = is_waking & is_off & (number > last)
    previous = np.append(-1, np.maximum.accumulate(np.where(late, number, -1))[:-1])
    is_first = late & ~(previous > last)
    needed: Flags = leaving | is_last | is_first
    return needed


def _merged(clocks: Array, new: Array) -> Array:
    """By tid; the new ones replace those of the same threads."""
    old = clocks[~np.isin(clocks["tid"], new["tid"])] if len(clocks) else clocks
    merged = np.concatenate([old, new])
    return merged[np.argsort(merged["tid"], kind="stable")]
