"""What is said before anything is attached."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.probe.made import binary, function, task
from tracer.model import ExitKind, ExitMode, ExitSite, InstructionCost, Plan
from tracer.probe.calibration import Costs
from tracer.probe.expectation import expectation, expected_costs
from tracer.probe.plan import make_plan

COSTS = Costs(emulated=1_000, stepped=10_000, returned=500, silent=500)


def plan_of(mode: ExitMode) -> Plan:
    pushes = replace(task("task one", 0), entry_cost=InstructionCost.EMULATED)
    jump = ExitSite(90, ExitKind.TAIL, InstructionCost.EMULATED)
    two_ways = function("two ways", 64, exits=(ExitSite(95, ExitKind.RET), jump))
    return make_plan([binary(pushes, two_ways)], exit_mode=mode)


def test_a_poll_costs_its_entry_and_one_of_its_exits() -> None:
    plan = plan_of(ExitMode.DEFAULT)
    costs = dict(zip((one.name for one in plan.functions), expected_costs(plan, COSTS), strict=True))
    assert costs == pytest.approx({"task one": 1_000 + 500, "two ways": 10_000 + (10_000 + 1_000) / 2})


def test_a_future_without_exit_probes_costs_its_entry() -> None:
    assert min(expected_costs(plan_of(ExitMode.TASK), COSTS)) == pytest.approx(1_500)
    assert max(expected_costs(plan_of(ExitMode.TASK), COSTS)) == pytest.approx(10_000)


def test_the_words_have_the_costs_and_the_limit() -> None:
    words = expectation(plan_of(ExitMode.DEFAULT), COSTS, 0.05)
    assert "a poll of a task 1.5 µs (10,000 a second: 1.5 % of a processor)" in words
    assert "a poll of a future 15.5 µs" in words
    assert "held below 5 % (--max-overhead)" in words
    words = expectation(plan_of(ExitMode.DEFAULT), COSTS, 0.05, cpu_quota=0.1)
    assert "held below 5 % of the 0.1 processors that it may use (--max-overhead)" in words
    assert "held below 5 % (" in expectation(plan_of(ExitMode.DEFAULT), COSTS, 0.05, cpu_quota=2.0)
    assert "whatever that comes to" in expectation(plan_of(ExitMode.DEFAULT), COSTS, 1.0)
