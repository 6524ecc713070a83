"""What probes cost the program, measured in what they may: hits times what one hit takes.

The parts of a plan that come and go by themselves are its units: each function of Group.FUTURES, Group.WAKES,
Group.SCHEDULING, and Group.TASKS as a whole.  With ExitMode.AUTO the exits of a function are a unit of their own.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tracer.model import Array, ExitMode, Group, Plan, exits_apart, functions_of, is_scheduling
from tracer.probe.calibration import Costs
from tracer.probe.silent import Unseen

Cost = npt.NDArray[np.float64]
"""Nanoseconds of the program's CPU time, by unit."""

_LEAST_OWN = 0.01
"""Of the CPU time used is the program's own, whatever we think that the probes took: costs are estimates."""


class Units:
    """Numbers for the units of a plan: those of functions are their indexes into Plan.functions.

    function_of: of each unit of exits its function's, without which it cannot be.  leaving: no part of the plan, but
    what its probes take for nothing while they are attached and detached.
    """

    def __init__(self, plan: Plan, costs: Costs) -> None:
        count = len(plan.functions)
        self.wakes, self.scheduling, self.tasks, self.leaving = range(count, count + 4)
        exits = exits_apart(plan) if plan.exit_mode is ExitMode.AUTO else {}
        self.function_of = dict(enumerate(exits, count + 4))
        self.count = count + 4 + len(exits)
        self._groups = plan.groups
        self._cost = np.array([costs.of(probe, plan) for probe in plan.probes])
        self._cost_of_silent = np.array([costs.of_silent(probe, plan) for probe in plan.probes])
        self._cost_of_scheduling = costs.scheduling
        of_group = {Group.TASKS: self.tasks, Group.WAKES: self.wakes}
        self._unit = np.array(
            [of_group[one.group] if one.group in of_group else min(functions_of(one, plan)) for one in plan.probes]
        )
        self.functions = sorted({int(unit) for unit in self._unit if unit < count})
        for unit, function in self.function_of.items():
            self._unit[list(exits[function])] = unit

    @property
    def droppable(self) -> list[int]:
        """All but the tasks; exits before their functions."""
        groups = {Group.WAKES: self.wakes, Group.SCHEDULING: self.scheduling}
        return [*self.function_of, *self.functions, *(unit for group, unit in groups.items() if group in self._groups)]

    def cost(self, events: Array, lost: int, unseen: Unseen) -> Cost:
        """What these took, and `lost` more of the kind of the events.  events: dtype EVENT."""
        cost = self._cost_of_events(events) * (1 + lost / max(1, len(events)))
        cost += np.bincount(self._unit, unseen.passed * self._cost_of_silent, self.count)
        cost[self.leaving] += unseen.leaving @ self._cost_of_silent
        cost[self.scheduling] += unseen.stacks  # most are taken of threads that leave their CPU
        return cost

    def _cost_of_events(self, events: Array) -> Cost:
        probes = events["probe"]
        known = len(self._cost)
        hits = np.bincount(np.minimum(probes, known), minlength=known + 1)[:known]
        cost = np.zeros(self.count)
        cost += np.bincount(self._unit, hits * self._cost, self.count)
        cost[self.scheduling] = int(np.count_nonzero(is_scheduling(probes))) * self._cost_of_scheduling
        return cost

    def attached(self, dropped: frozenset[int]) -> tuple[frozenset[Group], frozenset[int], frozenset[int]]:
        """(groups, functions that are not probed although their group is, others whose exits are not) without these
        units."""
        gone = {Group.WAKES: self.wakes in dropped, Group.SCHEDULING: self.scheduling in dropped}
        functions = dropped.intersection(self.functions)
        gone[Group.FUTURES] = len(functions) == len(self.functions)
        groups = frozenset(group for group in self._groups if not gone.get(group, False))
        if Group.FUTURES not in groups:
            return groups, frozenset(), frozenset()
        blind = frozenset(function for unit, function in self.function_of.items() if unit in dropped)
        return groups, functions, blind - functions


class Meter:
    """What the probes and the program used since `start`.  budget, processors: as the guard has them."""

    def __init__(self, start: int, cpu: int, units: Units, budget: float, processors: float) -> None:
        self.start = start
        self._cpu = cpu
        self._budget = budget
        self._processors = processors
        self.cost: Cost = np.zeros(units.count)

    @property
    def spent(self) -> float:
        return float(self.cost.sum())

    def allowance(self, now: int, cpu: int) -> float:
        """What the probes may take: a share of the program's own CPU time, or of one processor where that is more,
        for a share of what a program uses that mostly sleeps is nothing.  Of a processor it may use but a part."""
        return max(1.0, self._budget * max(self._own(cpu), self._of_processors(now)))

    def _own(self, cpu: int) -> float:
        used = cpu - self._cpu
        return max(1.0, used * _LEAST_OWN, used - self.spent)

    def _of_processors(self, now: int) -> float:
        return (now - self.start) * self._processors

    def load(self, now: int, cpu: int) -> float:
        """What the probes took, as a multiple of what they may take."""
        return self.spent / self.allowance(now, cpu)

    def share(self, cpu: int) -> float | None:
        """The probes' share of what the program used; None before it used any.

        The cost of a hit is an estimate and the CPU time is measured: the share of a program that does nothing
        but hit probes could come out above 1 and is cut there.
        """
        return min(1.0, self.spent / (cpu - self._cpu)) if cpu > self._cpu else None

    def of_processor(self, now: int) -> float | None:
        """The probes' share of one processor's time; None before any was."""
        return self.spent / (now - self.start) if now > self.start else None

    def words(self, now: int, cpu: int) -> str:
        """The cost for people: in CPU time, and as the share by which it is held."""
        rate = self.spent / max(1, now - self.start)
        whole, words = self._own(cpu), "the program's own"
        if self._of_processors(now) > whole:
            whole = self._of_processors(now)
            few = self._processors < 1
            words = f"the {self._processors:.3g} processors that it may use" if few else "one processor"
        return f"the probes cost {rate * 1000:,.0f} ms of CPU time a second, {percent(self.spent / whole)} of {words}"


def percent(share: float) -> str:
    """A share for people."""
    return f"{share * 100:.3g} %" if share < 1 else f"{share * 100:,.0f} %"
