"""Holds the cost of the probes below a stated share of the target's CPU time.

Hits are counted as they arrive and multiplied by what one costs on this machine.  When the share
is too high, the guard steps down: first the futures' probes are detached, then what is left is
attached only in short windows, as often as the budget allows.  It steps up again when the
measured load fits, more and more reluctantly if that turns out wrong.

The decisions know no clock and no kernel: time, hits and CPU time are arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from tracer.model import Array, Group, Plan
from tracer.probe.calibration import Costs
from tracer.probe.session import ProbeSession

_INTERVAL = 250_000_000
"""Nanoseconds from one decision to the next."""
_ALARM_INTERVAL = 50_000_000
_ALARM = 4.0
"""Times the budget: so high a share is acted upon after the alarm interval."""
_WINDOW = 100_000_000
_LONGEST_PAUSE = 20_000_000_000
_MARGIN = 0.7
"""Share of the budget that a richer plan must fit into before the guard steps up to it."""
_PATIENCE = 2_000_000_000
_LONGEST_PATIENCE = 60_000_000_000


def calibrate(session: ProbeSession) -> Costs:
    """Measure what a hit costs on this machine; before session.attach().  Raises AttachFailed."""
    return session.calibrate()


class Level(Enum):
    ALL = "everything"
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

    def share(self, cpu: int) -> float:
        """Of the CPU time that the program used for itself."""
        total = sum(self.cost.values())
        return total / max(1.0, cpu - self.cpu - total)


class Guard:
    """max_overhead: share of the target's own CPU time that the probes may cost; from 1.0 on it never acts.

    Call observe() with every batch while the plan's groups, or what the last Step said, are attached.
    """

    def __init__(self, plan: Plan, costs: Costs, max_overhead: float) -> None:
        self._cost = np.array([costs.of(probe) for probe in plan.probes])
        self._is_task = np.array([probe.group is Group.TASKS for probe in plan.probes], dtype=bool)
        self._groups = frozenset(probe.group for probe in plan.probes)
        self._budget = max_overhead
        self._level = Level.ALL
        self._is_open = True  # within WINDOWS: attached just now
        self._turn_at = 0  # ... and until when it stays so
        self._meter: _Meter | None = None
        self._started: _Meter | None = None
        self._last_cpu = 0
        self._total = 0.0
        self._growth = 1.0  # cost of ALL per cost of TASKS, when last measured
        self._fits_since: int | None = None
        self._stepped_up_at: int | None = None
        self._patience = _PATIENCE

    @property
    def level(self) -> Level:
        return self._level

    @property
    def overhead(self) -> float | None:
        """The share over the whole recording so far; None before the first interval."""
        if self._started is None or self._last_cpu == self._started.cpu:
            return None
        return self._total / max(1.0, self._last_cpu - self._started.cpu - self._total)

    def observe(self, now: int, events: Array, lost: int, cpu: int) -> Step | None:
        """Count a batch; returns what to attach when that changes.

        now: ns, any steady clock.  events: dtype EVENT.  lost: hits in this batch's time that left
        no event.  cpu: CPU time of all traced processes so far, ns.
        """
        if self._meter is None or self._started is None:
            # What this batch holds was spent before the CPU time was first read.
            self._meter = self._started = _Meter(now, cpu)
            return None
        self._last_cpu = cpu
        self._count(events, lost)
        if self._budget >= 1.0:
            return None
        if self._level is Level.WINDOWS:
            return self._turn(now, cpu)
        elapsed = now - self._meter.start
        share = self._meter.share(cpu)
        if elapsed < _ALARM_INTERVAL or (elapsed < _INTERVAL and share < _ALARM * self._budget):
            return None
        step = self._step_down(now, share) if share > self._budget else self._step_up(now, share)
        self._meter = _Meter(now, cpu)
        return step

    def _count(self, events: Array, lost: int) -> None:
        assert self._meter is not None
        if not len(events):
            return
        hits = np.bincount(events["probe"], minlength=len(self._cost))
        cost = hits * self._cost * (1 + lost / len(events))
        tasks, everything = float(cost[self._is_task].sum()), float(cost.sum())
        self._meter.cost[Group.TASKS] += tasks
        self._meter.cost[Group.FUTURES] += everything - tasks
        self._total += everything

    def _step_down(self, now: int, share: float) -> Step:
        """The step that is expected to fit; a futures-only plan has no cheaper one than windows."""
        assert self._meter is not None
        if self._stepped_up_at is not None and now - self._stepped_up_at < 2 * self._patience:
            self._patience = min(2 * self._patience, _LONGEST_PATIENCE)
        self._stepped_up_at = self._fits_since = None
        told = f"the probes cost {_percent(share)} of the program's CPU time, more than {_percent(self._budget)}"
        if self._level is Level.ALL and self._groups == frozenset(Group):
            tasks = self._meter.cost[Group.TASKS]
            self._growth = sum(self._meter.cost.values()) / tasks if tasks else 1.0
            if share / self._growth <= self._budget or not tasks:
                self._level = Level.TASKS
                return Step(frozenset({Group.TASKS}), f"{told}: task polls only from here on")
            share /= self._growth
        self._level = Level.WINDOWS
        self._is_open = False
        self._turn_at = now + self._pause(share)
        return Step(frozenset(), f"{told}: sampled in windows of {_WINDOW // 1_000_000} ms from here on")

    def _step_up(self, now: int, share: float) -> Step | None:
        if self._level is Level.ALL:
            return None
        if share * self._growth > _MARGIN * self._budget:
            self._fits_since = None
            return None
        if self._fits_since is None:
            self._fits_since = now
        if now - self._fits_since < self._patience:
            return None
        self._level = Level.ALL
        self._stepped_up_at, self._fits_since = now, None
        expected = _percent(share * self._growth)
        return Step(self._groups, f"the load has fallen, {expected} expected with all probes: all attached again")

    def _turn(self, now: int, cpu: int) -> Step | None:
        """Open or close a window when its time has come."""
        assert self._meter is not None
        if now < self._turn_at:
            return None
        windowed = self._windowed()
        if not self._is_open:
            self._is_open = True
            self._turn_at = now + _WINDOW
            self._meter = _Meter(now, cpu)
            return Step(windowed, "a sampled window begins")
        share = self._meter.share(cpu)
        if share <= _MARGIN * self._budget:
            self._level = Level.TASKS if windowed != self._groups else Level.ALL
            self._fits_since = None
            self._meter = _Meter(now, cpu)
            return Step(windowed, f"the load has fallen, the probes cost {_percent(share)}: attached throughout again")
        self._is_open = False
        pause = self._pause(share)
        self._turn_at = now + pause
        return Step(frozenset(), f"a sampled window ends, {_percent(share)} in it: the next in {pause / 1e9:.1f} s")

    def _windowed(self) -> frozenset[Group]:
        return frozenset({Group.TASKS}) if Group.TASKS in self._groups else self._groups

    def _pause(self, share: float) -> int:
        """So long that a window of this share, and the pause after it, cost what the budget allows."""
        return min(_LONGEST_PAUSE, max(_WINDOW, int(_WINDOW * (share / self._budget - 1))))


def _percent(share: float) -> str:
    return f"{share * 100:.3g} %"
