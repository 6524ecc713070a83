"""The guard's decisions, by a simulated load: no clock, no kernel."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.probe.made import binary, events, function, task
from tracer.model import (
    EVENT,
    SWITCH_OUT_RECORD,
    ExitKind,
    ExitMode,
    ExitSite,
    Group,
    HeaderTest,
    InstructionCost,
    Plan,
    Probe,
    WakeOrigin,
    WakePoint,
    functions_of,
)
from tracer.probe.calibration import Costs
from tracer.probe.guard import Guard, Step
from tracer.probe.plan import make_plan
from tracer.probe.silent import Unseen

COSTS = Costs(emulated=1_000, stepped=10_000, returned=1_000, silent=500, scheduling=1_000)
BOTH = frozenset({Group.TASKS, Group.FUTURES})
TASKS = frozenset({Group.TASKS})
NONE = frozenset[int]()
TICK = 10_000_000


@dataclass
class Load:
    """Per second: polls of tasks and of the futures by number, wakes, records of scheduling, and what else passes the
    exits of the futures, while they are attached; the program's own CPU share."""

    tasks: float = 0.0
    futures: tuple[float, ...] = ()
    cpu: float = 1.0
    wakes: float = 0.0
    switches: float = 0.0
    passing: tuple[float, ...] = ()


class World:
    def __init__(self, plan: Plan, max_overhead: float = 0.05, processors: float = 1.0) -> None:
        self.guard = Guard(plan, COSTS, max_overhead, 1_000, 0, processors)
        self.active, self.unprobed, self.entries_only = plan.groups, frozenset[int](), frozenset[int]()
        self.now = 1_000
        self.cpu = 0
        self.steps: list[tuple[float, Step]] = []
        self.cost = 0.0
        self.plan = plan

    def rate(self, probe: Probe, load: Load) -> float:
        if probe.group not in self.active or functions_of(probe, self.plan) & self.unprobed:
            return 0.0
        if probe.leaves in self.entries_only:
            return 0.0
        if probe.group is not Group.FUTURES:
            return load.tasks if probe.group is Group.TASKS else load.wakes
        function = min(functions_of(probe, self.plan))
        return load.futures[function] if function < len(load.futures) else 0.0

    def silent(self, load: Load) -> Unseen:
        """What sends nothing in a tick."""
        silent = Unseen.none(len(self.plan.probes))
        for probe in self.plan.probes:
            if self.rate(probe, load) and probe.leaves is not None and probe.leaves < len(load.passing):
                silent.passed[probe.id] = round(load.passing[probe.leaves] * TICK / 1e9)
        return silent

    def run(self, seconds: float, load: Load) -> list[Step]:
        begin = len(self.steps)
        for _ in range(int(seconds * 1e9 / TICK)):
            self.now += TICK
            counts = {probe.id: round(self.rate(probe, load) * TICK / 1e9) for probe in self.plan.probes}
            batch = np.concatenate([np.zeros(0, EVENT), *(events(one, count) for one, count in counts.items())])
            cost = sum(COSTS.of(self.plan.probes[one], self.plan) * count for one, count in counts.items())
            if Group.SCHEDULING in self.active:
                records = events(SWITCH_OUT_RECORD, round(load.switches * TICK / 1e9))
                batch = np.concatenate([batch, records])
                cost += len(records) * COSTS.scheduling
            silent = self.silent(load)
            cost += sum(COSTS.of_silent(self.plan.probes[one], self.plan) * silent.passed[one] for one in counts)
            self.cost += cost
            self.cpu += int(load.cpu * TICK + cost)
            step = self.guard.observe(self.now, batch, 0, silent, self.cpu)
            if step is not None:
                self.active, self.unprobed, self.entries_only = step.active, step.unprobed, step.entries_only
                self.steps.append((self.now / 1e9, step))
        return [step for _, step in self.steps[begin:]]

    @property
    def share(self) -> float:
        """What the probes took of the program's own time."""
        return self.cost / (self.cpu - self.cost)


def futures_plan(count: int, *, tasks: bool = True, exit_mode: ExitMode = ExitMode.DEFAULT) -> Plan:
    futures = [function(f"app::f{n}", 0x100 * (n + 1), entry_cost=InstructionCost.EMULATED) for n in range(count)]
    every = [*futures, task("raw::poll", 0x100 * (count + 1))] if tasks else futures
    return make_plan([binary(*every)], exit_mode=exit_mode)


def with_wakes(plan: Plan) -> Plan:
    wake = WakePoint(0x18000, 0x8000, "wake", HeaderTest(0, 6, 0), cost=InstructionCost.EMULATED)
    return make_plan([replace(plan.binaries[0], wakes=(wake,))], exit_mode=plan.exit_mode)


@pytest.fixture
def plan() -> Plan:
    return futures_plan(1)


def test_a_light_load_is_left_alone(plan: Plan) -> None:
    world = World(plan)
    assert world.run(10, Load(1_000, (1_000,))) == []
    assert world.guard.overhead == pytest.approx(0.022, rel=0.05)


def test_of_a_program_that_may_use_a_tenth_of_a_processor_a_share_of_that_is_taken(plan: Plan) -> None:
    load = Load(100, (400,), cpu=0.06)
    assert World(plan).run(10, load) == []
    world = World(plan, processors=0.1)
    steps = world.run(10, load)
    assert [step.active for step in steps] == [TASKS]
    assert "% of the 0.1 processors that it may use, over 5 %: " in steps[0].reason
    assert world.guard.of_processor is not None
    assert world.guard.of_processor < 0.05 * 0.1


def test_the_hottest_function_goes_first_and_alone() -> None:
    world = World(futures_plan(4))
    steps = world.run(8, Load(2_000, (500, 9_000, 1_000, 300)))
    assert [(step.active, step.unprobed) for step in steps] == [(BOTH, frozenset({1}))]
    assert "the probes cost 141 ms of CPU time a second, 14.1 % of the program's own, over 5 %" in steps[0].reason
    assert steps[0].reason.endswith("over 5 %: app::f1 not probed from here on")
    assert world.steps[0][0] <= 0.3


def test_as_many_go_as_must_and_the_rest_fits() -> None:
    world = World(futures_plan(6))
    steps = world.run(8, Load(2_000, (3_000, 9_000, 6_000, 300, 200, 1_000)))
    assert [step.unprobed for step in steps] == [{0, 1, 2}]
    assert "app::f1, app::f2 and app::f0 not probed" in steps[0].reason


def test_all_futures_may_have_to_go(plan: Plan) -> None:
    world = World(plan)
    assert [(step.active, step.unprobed) for step in world.run(8, Load(2_000, (10_000,)))] == [(TASKS, frozenset())]


def test_it_comes_back_when_it_calms_down() -> None:
    """By what it costs beside the tasks, as long as that says that it fits."""
    world = World(futures_plan(2))
    world.run(3, Load(2_000, (9_000, 100)))
    assert world.unprobed == {0}
    steps = world.run(4, Load(200, (900, 10)))
    assert [(step.active, step.unprobed) for step in steps] == [(BOTH, frozenset())]
    assert steps[0].reason.endswith("app::f0 probed again")


def test_it_is_tried_when_only_it_calmed_down() -> None:
    """The tasks are as busy as before: nothing tells that the function is not, until it is tried."""
    world = World(futures_plan(2))
    world.run(3, Load(2_000, (9_000, 100)))
    steps = world.run(15, Load(2_000, (100, 100)))
    assert [step.unprobed for step in steps] == [frozenset()]
    assert world.run(60, Load(2_000, (100, 100))) == []


def test_trials_become_rare_and_cost_little() -> None:
    world = World(futures_plan(2))
    load = Load(2_000, (9_000, 100))
    world.run(3, load)
    cost, own = world.cost, world.cpu - world.cost
    steps = world.run(600, load)
    assert [step.unprobed for step in steps] == [frozenset(), {0}] * (len(steps) // 2)
    assert 3 <= len(steps) // 2 <= 8
    assert (world.cost - cost) / (world.cpu - world.cost - own) < 0.03


def test_those_that_fit_come_back_together_the_cheapest_first() -> None:
    world = World(futures_plan(4))
    world.run(3, Load(3_000, (20_000, 4_000, 5_000, 100)))
    assert world.unprobed == {0, 1, 2}
    steps = world.run(6, Load(500, (20_000, 667, 833, 25)))
    assert [step.unprobed for step in steps] == [{0}]


def test_it_does_not_flap(plan: Plan) -> None:
    """Tasks alone look cheap, but as soon as futures are attached again they cost too much."""
    world = World(plan)
    for _ in range(30):
        world.run(2, Load(200, (100,)))
        world.run(2, Load(200, (20_000,)))
    ups = [at for at, step in world.steps if step.active == BOTH]
    assert len(ups) <= 8


def test_wakes_and_scheduling_go_when_they_are_the_dearest() -> None:
    plan = replace(with_wakes(futures_plan(1)), scheduling=True)
    everything = BOTH | {Group.WAKES, Group.SCHEDULING}
    world = World(plan)
    steps = world.run(8, Load(2_000, (1_000,), wakes=40_000, switches=5_000))
    assert [step.active for step in steps] == [everything - {Group.WAKES}]
    assert steps[0].reason.endswith("wakes not probed from here on")
    world = World(plan)
    steps = world.run(8, Load(2_000, (1_000,), wakes=1_000, switches=80_000))
    assert [step.active for step in steps] == [everything - {Group.SCHEDULING}]
    world = World(plan)
    assert [step.active for step in world.run(8, Load(2_000, (10_000,), wakes=2_000))] == [everything - {Group.FUTURES}]


def test_a_heavy_load_is_sampled_within_the_budget() -> None:
    world = World(with_wakes(futures_plan(2)))
    steps = world.run(30, Load(100_000, (100_000, 100), wakes=100_000))
    assert world.steps[0][0] < 0.1, "so high a share is no matter of the ordinary interval"
    assert {step.active for step in steps} == {frozenset(), TASKS}
    assert world.guard.in_windows
    assert world.guard.overhead is not None
    assert world.guard.overhead < 0.06
    world.run(60, Load(100, (0, 0)))
    assert (world.active, world.unprobed) == (plan_groups(world), frozenset())


def plan_groups(world: World) -> frozenset[Group]:
    return world.plan.groups


def test_the_guard_can_be_told_to_let_everything_pass(plan: Plan) -> None:
    world = World(plan, 1.0)
    assert world.run(5, Load(100_000, (100_000,))) == []
    assert world.guard.overhead is not None
    assert 0.5 < world.guard.overhead <= 1


def test_the_last_function_of_a_plan_without_tasks_is_sampled() -> None:
    world = World(futures_plan(1, tasks=False))
    steps = world.run(20, Load(futures=(50_000,)))
    assert {step.active for step in steps} == {frozenset(), frozenset({Group.FUTURES})}
    world = World(futures_plan(2, tasks=False))
    steps = world.run(8, Load(futures=(50_000, 100)))
    assert [(step.active, step.unprobed) for step in steps] == [(frozenset({Group.FUTURES}), frozenset({0}))]


def test_a_function_loses_its_exits_first() -> None:
    """They are stepped, its entry is not: without them it fits."""
    world = World(futures_plan(4, exit_mode=ExitMode.AUTO))
    steps = world.run(8, Load(2_000, (500, 9_000, 300, 300)))
    assert [(step.active, step.unprobed, step.entries_only) for step in steps] == [(BOTH, NONE, frozenset({1}))]
    assert steps[0].reason.endswith("over 5 %: only entries of app::f1 probed from here on")


def test_it_is_dropped_when_its_entries_alone_cost_too_much_and_comes_back_in_the_other_order() -> None:
    world = World(futures_plan(4, exit_mode=ExitMode.AUTO))
    steps = world.run(3, Load(2_000, (500, 60_000, 600, 300)))
    assert [(step.active, step.unprobed, step.entries_only) for step in steps] == [(BOTH, frozenset({1}), NONE)]
    assert steps[0].reason.endswith(": app::f1 not probed from here on")
    # By what it cost beside the tasks, now only its entries would fit.
    steps = world.run(4, Load(200, (100, 20_000, 100, 100)))
    assert [(step.unprobed, step.entries_only) for step in steps] == [(NONE, frozenset({1}))]
    assert steps[0].reason.endswith(": entries of app::f1 probed again")
    # The tasks are as busy; but that it calmed down its entries tell, so that nothing needs to be tried.
    steps = world.run(4, Load(200, (100, 1_000, 100, 100)))
    assert [(step.unprobed, step.entries_only) for step in steps] == [(NONE, NONE)]
    assert steps[0].reason.endswith(": exits of app::f1 probed again")


def test_exits_that_would_not_fit_are_not_tried() -> None:
    """Their cost is known by the entries."""
    world = World(futures_plan(2, exit_mode=ExitMode.AUTO))
    steps = world.run(120, Load(2_000, (9_000, 100)))
    assert [(step.unprobed, step.entries_only) for step in steps] == [(NONE, frozenset({0}))]


def test_what_is_dearest_goes_next_whether_exits_or_a_whole_function() -> None:
    world = World(futures_plan(3, exit_mode=ExitMode.AUTO))
    steps = world.run(3, Load(1_000, (30_000, 1_500, 1_000)))
    # The exits of f0 (300 ms a second), then its entries (30 ms): before the exits of f1 (15 ms).
    assert [(step.unprobed, step.entries_only) for step in steps] == [(frozenset({0}), NONE)]
    world = World(futures_plan(3, exit_mode=ExitMode.AUTO))
    steps = world.run(3, Load(1_000, (15_000, 2_500, 1_000)))
    # Here the exits of f1 (25 ms) go before the entries of f0 (15 ms), and that is enough.
    assert [(step.unprobed, step.entries_only) for step in steps] == [(NONE, frozenset({0, 1}))]
    assert steps[0].reason.endswith("only entries of app::f0 and app::f1 probed from here on")


def test_both_kinds_in_one_sentence() -> None:
    world = World(futures_plan(3, exit_mode=ExitMode.AUTO))
    steps = world.run(3, Load(2_000, (40_000, 3_000, 300)))
    assert [(step.unprobed, step.entries_only) for step in steps] == [(frozenset({0}), frozenset({1}))]
    assert steps[0].reason.endswith(": app::f0 not probed, only entries of app::f1 probed from here on")


def test_tasks_keep_their_exits_until_all_futures_are_gone() -> None:
    world = World(futures_plan(3, exit_mode=ExitMode.AUTO))
    world.run(30, Load(100_000, (100_000, 50_000, 100)))
    assert world.guard.in_windows
    for _, step in world.steps:
        assert not step.entries_only or Group.TASKS in step.active
        assert step.active in (NONE, TASKS)
    world.run(90, Load(100, (0, 0, 0)))
    assert (world.active, world.unprobed, world.entries_only) == (BOTH, NONE, NONE)


@settings(max_examples=20)
@given(
    st.lists(st.tuples(*[st.integers(0, 40_000)] * 5, st.sampled_from([0.05, 0.5, 2.0])), min_size=1, max_size=4),
    st.sampled_from([ExitMode.DEFAULT, ExitMode.AUTO]),
)
def test_any_load_is_held(loads: list[tuple[float, ...]], exit_mode: ExitMode) -> None:
    """What changes all the time costs a little more: it is noticed when it has been spent."""
    world = World(with_wakes(futures_plan(3, exit_mode=exit_mode)))
    for tasks, *futures, wakes, cpu in loads:
        world.run(20, Load(tasks, tuple(futures), cpu, wakes))
    own = (world.cpu - world.cost) / max(1e-9, world.now)
    assert world.cost / world.now <= 0.07 * max(1.0, own) + 0.02
    for _, step in world.steps:
        assert step.active <= world.plan.groups
        assert not step.unprobed or Group.FUTURES in step.active
        assert not step.entries_only or (Group.FUTURES in step.active and exit_mode is ExitMode.AUTO)
        assert not step.entries_only & step.unprobed


def test_lost_hits_cost_as_much(plan: Plan) -> None:
    guard = Guard(plan, COSTS, 0.05, 0, 0)
    step = guard.observe(300_000_000, events(0, 1_000), 99_000, Unseen.none(len(plan.probes)), 300_000_000)
    assert step is not None


def test_hits_that_send_nothing_cost_as_well() -> None:
    """A future's exit is looked for where the program passes for other reasons."""
    returned = ExitSite(0x2000, ExitKind.RETURNED, InstructionCost.EMULATED)
    futures = [
        function("app::f0", 0x100, returned=(returned,), entry_cost=InstructionCost.EMULATED),
        function("app::f1", 0x200, entry_cost=InstructionCost.EMULATED),
    ]
    program = binary(*futures, task("raw::poll", 0x300))
    load = Load(1_000, (100, 100), passing=(1_000_000, 0))
    world = World(make_plan([program], exit_mode=ExitMode.DEFAULT))
    steps = world.run(5, load)
    assert [(step.active, step.unprobed) for step in steps] == [(BOTH, frozenset({0}))]
    assert steps[0].reason.endswith("over 5 %: app::f0 not probed from here on")
    assert world.steps[0][0] <= 0.07
    world = World(make_plan([program], exit_mode=ExitMode.AUTO))
    steps = world.run(5, load)
    assert [(step.unprobed, step.entries_only) for step in steps] == [(NONE, frozenset({0}))]


def test_what_is_leaving_costs_but_nothing_goes_for_its_sake(plan: Plan) -> None:
    guard = Guard(plan, COSTS, 0.05, 0, 0)
    silent = Unseen.none(len(plan.probes))
    silent.leaving[:] = 1_000_000
    assert guard.observe(300_000_000, events(0, 1_000), 0, silent, 10**10) is None
    assert guard.overhead is not None
    assert guard.overhead > 0.05


def test_stacks_cost_and_go_with_the_scheduling() -> None:
    plan = replace(futures_plan(1), scheduling=True)
    guard = Guard(plan, COSTS, 0.05, 0, 0)
    unseen = replace(Unseen.none(len(plan.probes)), stacks=50_000_000)
    step = guard.observe(300_000_000, events(0, 10), 0, unseen, 300_000_000)
    assert step is not None
    assert (step.active, step.reason.rpartition(": ")[2]) == (BOTH, "scheduling not probed from here on")


def test_a_call_that_is_only_remembered_costs_as_an_event_does() -> None:
    tokio = replace(
        binary(task("raw::poll", 0x300)),
        wakes=(WakePoint(0x18000, 0x8000, "turn", HeaderTest(0, 6, 0), begins=WakeOrigin.IO),),
    )
    plan = make_plan([tokio], exit_mode=ExitMode.DEFAULT)
    wake, entry = plan.probes[-1], plan.probes[0]
    assert COSTS.of_silent(wake, plan) == COSTS.of(wake, plan)
    assert COSTS.of_silent(entry, plan) == COSTS.silent + COSTS.stepped - COSTS.emulated


def test_reading_a_state_costs_more() -> None:
    future = function("app::fetch", 0x100, state_offset=0x20)
    plan = make_plan([binary(future, task("raw::poll", 0x200))], exit_mode=ExitMode.RET)
    costs = Costs(emulated=1_000, stepped=10_000, returned=900, silent=500, state=300)
    assert [costs.of(probe, plan) for probe in plan.probes] == [10_300, 10_300, 10_000, 10_000]
