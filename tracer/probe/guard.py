"""Holds the cost of the probes below a stated share of the target's own CPU time.

A hundredth of one processor is always allowed: nobody feels it, and a program that mostly sleeps
uses so little itself that any share of that would be nothing.

Hits are counted, those that send nothing as well, and multiplied by what one costs on this machine.  When the share
is too high, the dearest of what can be done without is detached first, until the rest fits: single
functions, the probes of wakes, what tells of scheduling.  With ExitMode.AUTO a function first loses only its exits,
which are its dearest part, and is dropped when that is not enough.  Whole tasks come last: where they alone cost
too much, they are attached only in short windows, as often as the budget allows.

What was detached comes back when it would fit, by what it cost when it was last seen beside the tasks' polls.
That may have changed meanwhile: now and then, ever more rarely, it is tried.  What exits would cost is known, as
long as the entries are seen.

The decisions know no clock and no kernel: time, hits and CPU time are arguments.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tracer.model import Array, Group, Plan
from tracer.probe.calibration import Costs
from tracer.probe.load import Meter, Units, percent
from tracer.probe.session import ProbeSession
from tracer.probe.silent import Unseen

_INTERVAL = 250_000_000
"""Nanoseconds from one decision to the next."""
_ALARM_INTERVAL = 50_000_000
_ALARM = 4.0
"""Times the allowance: so high a load is acted upon after the alarm interval."""
_WINDOW = 100_000_000
_LONGEST_PAUSE = 20_000_000_000
_TARGET = 0.9
"""Share of the allowance that is left to what stays."""
_MARGIN = 0.7
"""Share of the allowance that a richer plan must fit into before the guard steps up to it."""
_PATIENCE = 2_000_000_000
_LONGEST_PATIENCE = 60_000_000_000
_TRIAL = 5
"""Times its patience: after that a unit is tried that should not fit."""
_NAMED = 3
"""Functions that a reason names."""


def calibrate(session: ProbeSession) -> Costs:
    """Measure what a hit costs on this machine; before session.attach().  Raises AttachFailed."""
    return session.calibrate()


@dataclass(frozen=True, slots=True)
class Step:
    """What shall be attached from now on, and why, in a sentence for people.

    unprobed: functions that shall not be probed although Group.FUTURES is.
    entries_only: others of that group of which the exits shall not be.
    """

    active: frozenset[Group]
    reason: str
    unprobed: frozenset[int] = frozenset()
    entries_only: frozenset[int] = frozenset()


@dataclass(slots=True)
class _Dropped:
    """rate: ns a ns that it cost when it was last seen.  relative: ... for each ns that the tasks cost, or its
    function's entries; None: those cost nothing.  fits_since: since when it seems to fit."""

    rate: float
    relative: float | None
    trial_at: int
    fits_since: int | None = None


class Guard:
    """max_overhead: share of the target's own CPU time, or of one processor where that is more, that the probes
    may cost; from 1.0 on it never acts.  processors: what of one processor the target may use at most.

    Call observe() with every batch while all that the plan has, or what the last Step said, is attached.
    now, cpu: as observe() has them, when it was.
    """

    def __init__(
        self, plan: Plan, costs: Costs, max_overhead: float, now: int, cpu: int, processors: float = 1.0
    ) -> None:
        self._names = [function.name for function in plan.functions]
        self._units = Units(plan, costs)
        self._has_tasks = Group.TASKS in plan.groups
        self._windowed = frozenset({Group.TASKS}) if self._has_tasks else frozenset({Group.FUTURES})
        self._budget, self._processors = max_overhead, processors
        self._whole = self._start_meter(now, cpu)
        self._meter = self._start_meter(now, cpu)  # since the last decision; in windows, since one began
        self._window: Meter | None = None  # while one is open
        self._in_windows = False
        self._turned_at = 0  # when a window began or ended
        self._last_time, self._last_cpu = now, cpu
        self._dropped: dict[int, _Dropped] = {}
        self._patience: dict[int, int] = {}
        self._came_at: dict[int, int] = {}

    @property
    def in_windows(self) -> bool:
        """The tasks alone cost too much."""
        return self._in_windows

    @property
    def overhead(self) -> float | None:
        """The probes' share of the CPU time that the program used since the begin; None before it used any."""
        return self._whole.share(self._last_cpu)

    @property
    def of_processor(self) -> float | None:
        """The same as a share of one processor's time."""
        return self._whole.of_processor(self._last_time)

    def observe(self, now: int, events: Array, lost: int, unseen: Unseen, cpu: int) -> Step | None:
        """Count a batch; returns what to attach when that changes.

        now: ns, any steady clock.  events: dtype EVENT.  lost: events in this batch's time for which there was no
        room.  unseen: what else cost, in that time.  cpu: CPU time of all traced processes so far, ns.
        """
        self._last_cpu, self._last_time = cpu, now
        cost = self._units.cost(events, lost, unseen)
        for meter in (self._whole, self._meter, self._window):
            if meter is not None:
                meter.cost += cost
        if self._budget >= 1.0:
            return None
        if self._in_windows:
            return self._turn(now, cpu)
        elapsed, load = now - self._meter.start, self._meter.load(now, cpu)
        if elapsed < _ALARM_INTERVAL or (elapsed < _INTERVAL and load < _ALARM):
            return None
        step = self._step_down(now, cpu) if load > 1 else self._step_up(now, cpu, load)
        if not self._in_windows:  # else the first pause waits until what was spent is paid for
            self._meter = self._start_meter(now, cpu)
        return step

    def _start_meter(self, now: int, cpu: int) -> Meter:
        return Meter(now, cpu, self._units, self._budget, self._processors)

    # ---- less

    def _step_down(self, now: int, cpu: int) -> Step | None:
        """None: it is too much only with what is leaving."""
        cost, allowance = self._meter.cost, self._meter.allowance(now, cpu)
        there = [unit for unit in self._units.droppable if unit not in self._dropped]
        costly = {unit for unit in there if cost[unit]}
        gone: list[int] = []
        left = self._meter.spent - float(cost[self._units.leaving])
        if left <= allowance:
            return None
        # What is seen of a function without its exits goes after them.
        exits = Counter(self._units.function_of.get(unit) for unit in costly)
        dearest = [(-float(cost[unit]), unit) for unit in costly if not exits[unit]]
        heapq.heapify(dearest)
        while dearest and left > _TARGET * allowance:
            _, unit = heapq.heappop(dearest)
            costly.remove(unit)
            gone.append(unit)
            left -= float(cost[unit])
            function = self._units.function_of.get(unit)
            exits[function] -= 1
            if function in costly and not exits[function]:
                heapq.heappush(dearest, (-float(cost[function]), function))
        told = f"{self._meter.words(now, cpu)}, over {percent(self._budget)}"
        if left > allowance or (not self._has_tasks and not costly):
            self._drop(there, now)
            self._in_windows, self._turned_at = True, now
            return Step(frozenset(), f"{told}: sampled in windows of {_WINDOW // 1_000_000} ms from here on")
        # Exits that were not hit go with their functions.
        already = set(gone)
        gone += [unit for unit in there if self._units.function_of.get(unit) in already and unit not in already]
        self._drop(gone, now)
        return self._step(f"{told}: {self._gone_words(gone)} from here on")

    def _drop(self, units: Sequence[int], now: int) -> None:
        cost, elapsed = self._meter.cost, max(1, now - self._meter.start)
        for unit in units:
            patience = self._patience.get(unit, _PATIENCE)
            came_at = self._came_at.get(unit)
            is_soon = came_at is not None and now - came_at < 2 * patience
            patience = min(2 * patience, _LONGEST_PATIENCE) if is_soon else _PATIENCE
            self._patience[unit] = patience
            mine = float(cost[unit])
            beside = float(cost[self._units.function_of.get(unit, self._units.tasks)])
            relative = mine / beside if beside else None
            self._dropped[unit] = _Dropped(mine / elapsed, relative, now + _TRIAL * patience)

    # ---- more

    def _step_up(self, now: int, cpu: int, load: float) -> Step | None:
        """What fits, the cheapest first; else one that is to be tried."""
        elapsed, allowance = now - self._meter.start, self._meter.allowance(now, cpu)
        tasks = float(self._meter.cost[self._units.tasks])
        expected: dict[int, float] = {}
        for unit in sorted(self._dropped):  # functions before their exits
            one = self._dropped[unit]
            function = self._units.function_of.get(unit)
            if one.relative is None:
                spent = one.rate * elapsed
            elif function is None:
                spent = one.relative * tasks
            elif function in self._dropped:
                spent = one.relative * expected[function] * allowance
            else:
                spent = one.relative * float(self._meter.cost[function])
            expected[unit] = spent / allowance

        def whole(unit: int) -> float:
            """With the function that has to be there before."""
            function = self._units.function_of.get(unit)
            return expected[unit] + (expected.get(function, 0.0) if function is not None else 0.0)

        due: list[int] = []
        for unit in sorted(expected, key=whole):
            one = self._dropped[unit]
            load += expected[unit]
            if load > _MARGIN:
                one.fits_since = None
                continue
            if one.fits_since is None:
                one.fits_since = now
            if now - one.fits_since >= self._patience[unit] and self._has_function(unit, due):
                due.append(unit)
        if not due and self._meter.load(now, cpu) <= _MARGIN:
            due = sorted(
                (unit for unit, one in self._dropped.items() if one.trial_at <= now and self._is_guess(unit)),
                key=lambda unit: self._dropped[unit].trial_at,
            )[:1]
        if not due:
            return None
        for unit in due:
            del self._dropped[unit]
            self._came_at[unit] = now
        return self._step(f"{self._meter.words(now, cpu)}: {self._come_words(due)} again")

    def _has_function(self, unit: int, due: Sequence[int]) -> bool:
        """What it cannot be without is there, or comes with it."""
        function = self._units.function_of.get(unit)
        return function is None or function not in self._dropped or function in due

    def _is_guess(self, unit: int) -> bool:
        """Nothing that is seen now tells what it would cost."""
        function = self._units.function_of.get(unit)
        return function is None or (function not in self._dropped and self._dropped[unit].relative is None)

    # ---- windows

    def _turn(self, now: int, cpu: int) -> Step | None:
        """Open or close a window when its time has come.

        The next one opens when what the last one cost, with all that came while it was being
        closed, is within the budget again.
        """
        since = now - self._turned_at
        if self._window is None:
            if since < _WINDOW or (since < _LONGEST_PAUSE and self._meter.load(now, cpu) > 1):
                return None
            self._meter, self._window = self._start_meter(now, cpu), self._start_meter(now, cpu)
            self._turned_at = now
            return Step(self._windowed, "a sampled window begins")
        if since < _WINDOW:
            return None
        load, told = self._window.load(now, cpu), self._window.words(now, cpu)
        self._window, self._turned_at = None, now
        if load > _MARGIN:
            return Step(frozenset(), f"a sampled window ends: {told}")
        self._in_windows = False
        self._meter = self._start_meter(now, cpu)
        if not self._has_tasks:
            of_futures = {*self._units.functions, *self._units.function_of}
            self._dropped = {unit: one for unit, one in self._dropped.items() if unit not in of_futures}
        return self._step(f"{told}: attached throughout again")

    # ---- words

    def _step(self, reason: str) -> Step:
        active, unprobed, entries_only = self._units.attached(frozenset(self._dropped))
        return Step(active, reason, unprobed, entries_only)

    def _gone_words(self, gone: Sequence[int]) -> str:
        """What is not probed any more, and of what the entries still are."""
        of = self._units.function_of
        wholly = [unit for unit in gone if unit not in of]
        blind = [of[unit] for unit in gone if unit in of and of[unit] not in wholly]
        told = [f"{self._words(wholly)} not probed"] if wholly else []
        told += [f"only entries of {self._words(blind)} probed"] if blind else []
        return ", ".join(told)

    def _come_words(self, due: Sequence[int]) -> str:
        of = self._units.function_of
        exits = [of[unit] for unit in due if unit in of]
        units = [unit for unit in due if unit not in of]
        blind = [unit for unit in units if unit in of.values() and unit not in exits]
        wholly = [unit for unit in units if unit not in blind]
        apart = [function for function in exits if function not in units]
        told = [f"{self._words(wholly)} probed"] if wholly else []
        told += [f"entries of {self._words(blind)} probed"] if blind else []
        told += [f"exits of {self._words(apart)} probed"] if apart else []
        return ", ".join(told)

    def _words(self, units: Sequence[int]) -> str:
        """The dearest of them by name."""
        of_groups = {self._units.wakes: "wakes", self._units.scheduling: "scheduling"}
        names = [of_groups.get(unit) or self._names[unit] for unit in units]
        more = [f"{len(names) - _NAMED:,} more functions"] if len(names) > _NAMED else []
        *first, last = [*names[:_NAMED], *more]
        return f"{', '.join(first)} and {last}" if first else last
