"""What a poll will cost the program, before anything is attached."""

from __future__ import annotations

from statistics import median

from tracer.model import FunctionKind, Plan, costs_by_function
from tracer.probe.calibration import Costs

_RATE = 10_000
"""Polls a second for which the share is told."""


def expected_costs(plan: Plan, costs: Costs) -> list[float]:
    """Nanoseconds of the program's CPU time that one poll of each function takes: its entry and its exit.  Where one
    of them can be seen in several places, which differ, the mean."""
    ways_in, ways_out = costs_by_function(plan, [costs.of(probe, plan) for probe in plan.probes])
    return [entry + leaving for entry, leaving in zip(ways_in, ways_out, strict=True)]


def expectation(plan: Plan, costs: Costs, max_overhead: float, cpu_quota: float | None = None) -> str:
    """The same in a sentence for people.  max_overhead: as the guard has it.  cpu_quota: as Recording has it."""
    expected = list(zip(plan.functions, expected_costs(plan, costs), strict=True))
    tasks = [cost for one, cost in expected if one.kind is FunctionKind.TASK]
    futures = [cost for one, cost in expected if one.kind in (FunctionKind.COROUTINE, FunctionKind.FUTURE)]
    told = []
    for name, some in (("a poll of a task", tasks), ("a poll of a future", futures)):
        if some:
            middle = median(some)
            share = middle * _RATE / 1e7
            told.append(f"{name} {middle / 1000:.1f} µs ({_RATE:,} a second: {share:.2g} % of a processor)")
    of = f" of the {cpu_quota:.3g} processors that it may use" if cpu_quota is not None and cpu_quota < 1 else ""
    limit = "whatever that comes to"
    if max_overhead < 1:
        limit = f"held below {max_overhead * 100:.3g} %{of} (--max-overhead)"
    return f"expected to cost it: {', '.join(told)}; {limit}"
