"""Holds the cost of the probes below a stated share of the target's own CPU time.

A hundredth of one processor is always allowed: nobody feels it, and a program that mostly sleeps
uses so little itself that any share of that would be nothing.

Hits are counted as they arrive and multiplied by what one costs on this machine.  When the share
is too high, the guard steps down: first the probes of wakes are detached, then what tells of scheduling, then the
futures' probes, then what is left is attached only in short windows, as often as the budget allows.  It steps up
again when the measured load fits, more and more reluctantly if that turns out wrong.

The decisions know no clock and no kernel: time, hits and CPU time are arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from tracer.model import Array, Group, Plan, is_scheduling
from tracer.probe.calibration import Costs
from tracer.probe.session import ProbeSession

_INTERVAL = 250_000_000
"""Nanoseconds from one decision to the next."""
_ALARM_INTERVAL = 50_000_000
_ALARM = 4.0
"""Times the allowance: so high a load is acted upon after the alarm interval."""
_LEAST_OWN = 0.01
"""Of the CPU time used is the program's own, whatever we think that the probes took: costs are estimates."""
_WINDOW = 100_000_000
_LONGEST_PAUSE = 20_000_000_000
_MARGIN = 0.7
"""Share of the allowance that a richer plan must fit into before the guard steps up to it."""
_PATIENCE = 2_000_000_000
_LONGEST_PATIENCE = 60_000_000_000


def calibrate(session: ProbeSession) -> Costs:
    """Measure what a hit costs on this machine; before session.attach().  Raises AttachFailed."""
    return session.calibrate()


class Level(Enum):
    ALL = "everything"
    NO_WAKES = "everything but wakes"
    POLLS = "polls only"
    TASKS = "task polls only"
    WINDOWS = "sampled windows"


@dataclass(frozen=True, slots=True)
class Step:
    """What shall be attached from now on, and why, in a sentence for people."""

    active: frozenset[Group]
    reason: str


class _Meter:
    """What the probes and the program used since `start`."""

    def __init__(self, start: int, cpu: int) -> None:
        self.start = start
        self.cpu = cpu
        self.cost = dict.fromkeys(Group, 0.0)

    def add(self, cost: Mapping[Group, float]) -> None:
        for group, one in cost.items():
            self.cost[group] += one

    def own(self, cpu: int) -> float:
        """CPU time that the program used for itself."""
        used = cpu - self.cpu
        return max(1.0, used * _LEAST_OWN, used - self.spent)

    @property
    def spent(self) -> float:
        return sum(self.cost.values())

    def load(self, now: int, cpu: int, budget: float) -> float:
        """What the probes took, as a multiple of what they may take.

        The budget is a share of the program's own CPU time, or of one processor where that is more: a share of
        what a program uses that mostly sleeps is nothing.
        """
        return self.spent / max(1.0, budget * max(self.own(cpu), now - self.start))


class Guard:
    """max_overhead: share of the target's own CPU time, or of one processor where that is more, that the probes
    may cost; from 1.0 on it never acts.

    Call observe() with every batch while the plan's groups, or what the last Step said, are attached.
    """

    def __init__(self, plan: Plan, costs: Costs, max_overhead: float) -> None:
        self._cost = np.array([costs.of(probe, plan) for probe in plan.probes])
        self._is_of = {g: np.array([probe.group is g for probe in plan.probes], dtype=bool) for g in Group}
        self._cost_of_scheduling = costs.scheduling
        self._ladder = _ladder(plan.groups)
        self._budget = max_overhead
        self._level = Level.ALL
        self._whole: _Meter | None = None
        self._meter: _Meter | None = None  # since the last decision; in WINDOWS, since a window began
        self._window: _Meter | None = None  # in WINDOWS, while one is open
        self._turned_at = 0  # in WINDOWS, when one began or ended
        self._last_cpu = 0
        # What each group costs per cost of TASKS, when last measured.
        self._relative = {group: 1.0 if group is Group.TASKS else 0.0 for group in Group}
        self._fits_since: int | None = None
        self._stepped_up_at: int | None = None
        self._patience = _PATIENCE

    @property
    def level(self) -> Level:
        return self._level

    @property
    def overhead(self) -> float | None:
        """The probes' share of the CPU time that the program used, over the whole recording; None before it used any.

        The cost of a hit is an estimate and the CPU time is measured: the share of a program that does nothing
        but hit probes could come out above 1 and is cut there.
        """
        if self._whole is None or self._last_cpu <= self._whole.cpu:
            return None
        return min(1.0, self._whole.spent / (self._last_cpu - self._whole.cpu))

    def observe(self, now: int, events: Array, lost: int, cpu: int) -> Step | None:
        """Count a batch; returns what to attach when that changes.

        now: ns, any steady clock.  events: dtype EVENT.  lost: hits in this batch's time that left
        no event.  cpu: CPU time of all traced processes so far, ns.
        """
        if self._meter is None or self._whole is None:
            # What this batch holds was spent before the CPU time was first read.
            self._meter, self._whole = _Meter(now, cpu), _Meter(now, cpu)
            return None
        self._last_cpu = cpu
        self._count(events, lost)
        if self._budget >= 1.0:
            return None
        if self._level is Level.WINDOWS:
            return self._turn(now, cpu)
        elapsed = now - self._meter.start
        load = self._meter.load(now, cpu, self._budget)
        if elapsed < _ALARM_INTERVAL or (elapsed < _INTERVAL and load < _ALARM):
            return None
        step = self._step_down(now, cpu, load) if load > 1 else self._step_up(now, cpu, load)
        if step is None or step.active:  # else the first pause waits until what was spent is paid for
            self._meter = _Meter(now, cpu)
        return step

    def _count(self, events: Array, lost: int) -> None:
        assert self._meter is not None
        if not len(events):
            return
        probes = events["probe"]
        hits = np.bincount(probes[probes < len(self._cost)], minlength=len(self._cost))
        more = 1 + lost / len(events)
        cost = hits * self._cost * more
        by_group = {group: float(cost[of].sum()) for group, of in self._is_of.items()}
        records = int(np.count_nonzero(is_scheduling(probes)))
        by_group[Group.SCHEDULING] = records * self._cost_of_scheduling * more
        for meter in (self._whole, self._meter, self._window):
            if meter is not None:
                meter.add(by_group)

    def _step_down(self, now: int, cpu: int, load: float) -> Step:
        """The step that is expected to fit; a futures-only plan has no cheaper one than windows."""
        assert self._meter is not None
        if self._stepped_up_at is not None and now - self._stepped_up_at < 2 * self._patience:
            self._patience = min(2 * self._patience, _LONGEST_PATIENCE)
        self._stepped_up_at = self._fits_since = None
        told = f"{_told(self._meter, now, cpu)}, over {_percent(self._budget)}"
        at, cost = self._rung, self._meter.cost
        if cost[Group.TASKS]:
            self._relative |= {group: cost[group] / cost[Group.TASKS] for group in self._ladder[at][1]}
        for level, groups in self._ladder[at + 1 :]:
            left = sum(cost[group] for group in groups)
            if not left or load * left / max(self._meter.spent, left) <= 1:
                self._level = level
                return Step(groups, f"{told}: {_ONLY[level]} from here on")
        self._level = Level.WINDOWS
        self._turned_at = now
        return Step(frozenset(), f"{told}: sampled in windows of {_WINDOW // 1_000_000} ms from here on")

    def _step_up(self, now: int, cpu: int, load: float) -> Step | None:
        assert self._meter is not None
        if self._level is Level.ALL:
            return None
        above, groups = self._ladder[self._rung - 1]
        if load * self._growth(groups) > _MARGIN:
            self._fits_since = None
            return None
        if self._fits_since is None:
            self._fits_since = now
        if now - self._fits_since < self._patience:
            return None
        self._level = above
        self._stepped_up_at, self._fits_since = now, None
        return Step(groups, f"{_told(self._meter, now, cpu)}: {above.value} is attached again")

    @property
    def _rung(self) -> int:
        """The place of the level, which is not WINDOWS, in the ladder."""
        return [level for level, _ in self._ladder].index(self._level)

    def _growth(self, groups: frozenset[Group]) -> float:
        """The cost of these groups per cost of what is attached, as far as it was measured."""
        now = sum(self._relative[group] for group in self._ladder[self._rung][1])
        return sum(self._relative[group] for group in groups) / now if now else 1.0

    def _turn(self, now: int, cpu: int) -> Step | None:
        """Open or close a window when its time has come.

        The next one opens when what the last one cost, with all that came while it was being
        closed, is within the budget again.
        """
        assert self._meter is not None
        since = now - self._turned_at
        level, windowed = self._ladder[-1]
        if self._window is None:
            if since < _WINDOW or (since < _LONGEST_PAUSE and self._meter.load(now, cpu, self._budget) > 1):
                return None
            self._meter, self._window, self._turned_at = _Meter(now, cpu), _Meter(now, cpu), now
            return Step(windowed, "a sampled window begins")
        if since < _WINDOW:
            return None
        load, told = self._window.load(now, cpu, self._budget), _told(self._window, now, cpu)
        self._window, self._turned_at = None, now
        if load > _MARGIN:
            return Step(frozenset(), f"a sampled window ends: {told}")
        self._level = level
        self._fits_since = None
        self._meter = _Meter(now, cpu)
        return Step(windowed, f"{told}: attached throughout again")


_ONLY = {Level.NO_WAKES: "no wakes", Level.POLLS: "polls only", Level.TASKS: "task polls only"}
"""What is left of a plan, in words."""


def _ladder(groups: frozenset[Group]) -> list[tuple[Level, frozenset[Group]]]:
    """What can be attached of a plan with these groups, the richest first; the last one is what windows have."""
    rungs = [(Level.ALL, groups)]
    without_wakes, polls = groups - {Group.WAKES}, groups & {Group.TASKS, Group.FUTURES}
    lower = ((Level.NO_WAKES, without_wakes), (Level.POLLS, polls), (Level.TASKS, groups & {Group.TASKS}))
    for level, fewer in lower:
        if fewer and fewer != rungs[-1][1]:
            rungs.append((level, fewer))
    return rungs


def _told(meter: _Meter, now: int, cpu: int) -> str:
    """The cost in words: of a processor, and of what the program used, probes included."""
    rate = meter.spent / max(1, now - meter.start)
    share = _percent(min(1.0, meter.spent / max(1, cpu - meter.cpu)))
    return f"the probes cost {rate * 1000:,.0f} ms of CPU time a second, {share} of what the program used"


def _percent(share: float) -> str:
    return f"{share * 100:.3g} %" if share < 1 else f"{share * 100:,.0f} %"
