"""The guard's decisions, by a simulated load: no clock, no kernel."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from tests.unit.probe.made import binary, events, function, task
from tracer.model import EVENT, SWITCH_OUT_RECORD, ExitMode, Group, HeaderTest, InstructionCost, Plan, WakePoint
from tracer.probe.calibration import Costs
from tracer.probe.guard import Guard, Level, Step
from tracer.probe.plan import make_plan

COSTS = Costs(emulated=1_000, stepped=10_000, returned=1_000, scheduling=1_000)
BOTH = frozenset({Group.TASKS, Group.FUTURES})
EVERYTHING = BOTH | {Group.WAKES}
TASKS = frozenset({Group.TASKS})
TICK = 10_000_000


@dataclass
class Load:
    """Per second: polls of tasks and of futures, wakes, and records of scheduling, while they are attached; the
    program's own CPU share."""

    tasks: float
    futures: float
    cpu: float = 1.0
    wakes: float = 0.0
    switches: float = 0.0

    def rate(self, group: Group) -> float:
        return {Group.TASKS: self.tasks, Group.FUTURES: self.futures, Group.WAKES: self.wakes}[group]


class World:
    def __init__(self, plan: Plan, max_overhead: float, groups: frozenset[Group] = BOTH) -> None:
        self.guard = Guard(plan, COSTS, max_overhead)
        self.active = groups
        self.now = 1_000
        self.cpu = 0
        self.steps: list[tuple[float, Step]] = []
        self.cost = 0.0
        self.plan = plan

    def run(self, seconds: float, load: Load) -> list[Step]:
        begin = len(self.steps)
        for _ in range(int(seconds * 1e9 / TICK)):
            self.now += TICK
            parts = []
            for probe in self.plan.probes:
                if probe.group in self.active:
                    parts.append(events(probe.id, round(load.rate(probe.group) * TICK / 1e9)))
            batch = np.concatenate([np.zeros(0, EVENT), *parts])
            cost = sum(COSTS.of(self.plan.probes[i], self.plan) for i in batch["probe"].tolist())
            if Group.SCHEDULING in self.active:
                records = events(SWITCH_OUT_RECORD, round(load.switches * TICK / 1e9))
                batch = np.concatenate([batch, records])
                cost += len(records) * COSTS.scheduling
            self.cost += cost
            self.cpu += int(load.cpu * TICK + cost)
            step = self.guard.observe(self.now, batch, 0, self.cpu)
            if step is not None:
                self.active = step.active
                self.steps.append((self.now / 1e9, step))
        return [step for _, step in self.steps[begin:]]


@pytest.fixture
def plan() -> Plan:
    future = function("app::fetch", 0x100, entry_cost=InstructionCost.EMULATED)
    return make_plan([binary(future, task("raw::poll", 0x200))], exit_mode=ExitMode.DEFAULT)


def test_a_light_load_is_left_alone(plan: Plan) -> None:
    world = World(plan, 0.05)
    assert world.run(10, Load(tasks=1_000, futures=1_000)) == []
    assert world.guard.overhead == pytest.approx(0.022, rel=0.05)


def test_futures_go_first_when_that_is_enough(plan: Plan) -> None:
    world = World(plan, 0.05)
    steps = world.run(10, Load(tasks=2_000, futures=10_000))
    assert [step.active for step in steps] == [TASKS]
    assert "11.7 %" in steps[0].reason
    assert "5 %" in steps[0].reason
    assert world.steps[0][0] <= 0.3


@pytest.fixture
def with_wakes(plan: Plan) -> Plan:
    wake = WakePoint(0x10300, 0x300, "wake", HeaderTest(0, 6, 0), cost=InstructionCost.EMULATED)
    return make_plan([replace(plan.binaries[0], wakes=(wake,))], exit_mode=ExitMode.DEFAULT)


def test_wakes_go_before_futures(with_wakes: Plan) -> None:
    world = World(with_wakes, 0.05, EVERYTHING)
    steps = world.run(10, Load(tasks=2_000, futures=1_000, wakes=40_000))
    assert [step.active for step in steps] == [BOTH]
    assert steps[0].reason.endswith("no wakes from here on")
    assert world.guard.level is Level.NO_WAKES


def test_both_go_at_once_when_wakes_are_not_enough(with_wakes: Plan) -> None:
    world = World(with_wakes, 0.05, EVERYTHING)
    assert [step.active for step in world.run(10, Load(tasks=2_000, futures=10_000, wakes=2_000))] == [TASKS]


def test_futures_come_back_before_wakes(with_wakes: Plan) -> None:
    world = World(with_wakes, 0.05, EVERYTHING)
    world.run(3, Load(tasks=2_000, futures=10_000, wakes=20_000))
    assert world.active == TASKS
    steps = world.run(20, Load(tasks=100, futures=500, wakes=1_000))
    assert [step.active for step in steps] == [BOTH, EVERYTHING]


def test_scheduling_goes_after_wakes_and_before_futures(with_wakes: Plan) -> None:
    plan = replace(with_wakes, scheduling=True)
    world = World(plan, 0.05, plan.groups)
    assert [step.active for step in world.run(10, Load(2_000, 1_000, wakes=40_000, switches=5_000))] == [
        BOTH | {Group.SCHEDULING}
    ]
    world = World(plan, 0.05, plan.groups)
    steps = world.run(10, Load(tasks=2_000, futures=1_000, wakes=1_000, switches=80_000))
    assert [(step.active, world.guard.level) for step in steps] == [(BOTH, Level.POLLS)]
    assert steps[0].reason.endswith("polls only from here on")


def test_windows_have_no_wakes(with_wakes: Plan) -> None:
    world = World(with_wakes, 0.05, EVERYTHING)
    steps = world.run(20, Load(tasks=100_000, futures=1_000, wakes=100_000))
    assert {step.active for step in steps} == {frozenset(), TASKS}


def test_a_heavy_load_is_sampled_within_the_budget(plan: Plan) -> None:
    world = World(plan, 0.05)
    steps = world.run(30, Load(tasks=100_000, futures=100_000))
    assert world.steps[0][0] < 0.1, "so high a share is no matter of the ordinary interval"
    assert {step.active for step in steps} == {frozenset(), TASKS}
    assert world.guard.level is Level.WINDOWS
    assert world.guard.overhead is not None
    assert world.guard.overhead < 0.06


def test_the_guard_can_be_told_to_let_everything_pass(plan: Plan) -> None:
    world = World(plan, 1.0)
    assert world.run(5, Load(tasks=100_000, futures=100_000)) == []
    assert world.guard.overhead is not None
    assert 0.5 < world.guard.overhead <= 1


def test_it_steps_up_when_the_load_has_fallen(plan: Plan) -> None:
    world = World(plan, 0.05)
    world.run(3, Load(tasks=2_000, futures=10_000))
    assert world.active == TASKS
    steps = world.run(10, Load(tasks=100, futures=500))
    assert [step.active for step in steps] == [BOTH]
    world = World(plan, 0.05)
    world.run(3, Load(tasks=100_000, futures=0))
    world.run(60, Load(tasks=100, futures=0))
    assert world.active == BOTH


def test_it_does_not_flap(plan: Plan) -> None:
    """Tasks alone look cheap, but as soon as futures are attached again they cost too much."""
    world = World(plan, 0.05)
    for _ in range(30):
        world.run(2, Load(tasks=200, futures=100))
        world.run(2, Load(tasks=200, futures=20_000))
    ups = [at for at, step in world.steps if step.active == BOTH]
    assert len(ups) <= 8


def test_a_plan_of_futures_only_is_sampled(plan: Plan) -> None:
    only = make_plan([binary(plan.functions[0])], exit_mode=ExitMode.RET)
    world = World(only, 0.05, frozenset({Group.FUTURES}))
    steps = world.run(20, Load(tasks=0, futures=50_000))
    assert {step.active for step in steps} == {frozenset(), frozenset({Group.FUTURES})}


def test_lost_hits_cost_as_much(plan: Plan) -> None:
    guard = Guard(plan, COSTS, 0.05)
    guard.observe(0, events(0, 0), 0, 0)
    step = guard.observe(300_000_000, events(0, 1_000), 99_000, 300_000_000)
    assert step is not None


def test_reading_a_state_costs_more() -> None:
    future = function("app::fetch", 0x100, state_offset=0x20)
    plan = make_plan([binary(future, task("raw::poll", 0x200))], exit_mode=ExitMode.RET)
    costs = Costs(emulated=1_000, stepped=10_000, returned=900, state=300)
    assert [costs.of(probe, plan) for probe in plan.probes] == [10_300, 10_300, 10_000, 10_000]
