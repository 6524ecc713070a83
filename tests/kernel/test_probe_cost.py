"""What probes cost is measured, and held below a limit, on live programs."""

from __future__ import annotations

import time

import pytest

from tests.kernel.turns import EVENTS, TURN_POLLS, YIELD_POLLS, Turns
from tracer.model import Binary, ExitMode, Group
from tracer.probe.expectation import expected_costs
from tracer.probe.guard import Guard, calibrate
from tracer.probe.plan import make_plan
from tracer.probe.session import ProbeSession

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("options", [{"transport": "ring"}, {"transport": "perf"}, {"by_bcc": True}])
def test_costs_are_measured_and_leave_no_trace(turns: Turns, turns_binary: Binary, options: dict[str, object]) -> None:
    plan = make_plan([turns_binary], exit_mode=ExitMode.DEFAULT)
    with ProbeSession(plan, [turns.process], executables=[turns.exe], **options) as session:  # type: ignore[arg-type]
        before = time.monotonic()
        costs = calibrate(session)
        assert time.monotonic() - before < 2
        assert 50 < costs.emulated < 100_000
        assert 50 < costs.returned < 100_000
        assert 50 < costs.stepped < 1_000_000
        assert 50 < costs.silent < 1.2 * costs.emulated
        assert 0 <= costs.state < 100_000
        assert (session.sent, session.lost, session.received, session.threads()) == (0, 0, 0, [])
        session.attach()
        assert turns.run() == (TURN_POLLS, YIELD_POLLS)
        assert len(session.detach().events) == session.sent == EVENTS
        assert [thread.tid for thread in session.threads()] == [turns.pid]


def test_what_polls_cost_is_what_was_expected(turns: Turns, turns_binary: Binary) -> None:
    """By order of magnitude: other processes, and the hypervisor, have their say.  The figures are printed."""
    plan = make_plan([turns_binary], exit_mode=ExitMode.DEFAULT)
    with ProbeSession(plan, [turns.process], executables=[turns.exe]) as session:
        costs = calibrate(session)
        expected = dict(zip((one.name for one in plan.functions), expected_costs(plan, costs), strict=True))

        def cpu_of_a_round() -> float:
            before = time.clock_gettime_ns(~turns.pid << 3 | 2)
            turns.send("go 50")
            turns.answer()
            return (time.clock_gettime_ns(~turns.pid << 3 | 2) - before) / 50

        bare = min(cpu_of_a_round() for _ in range(3))
        session.attach()
        traced = min(cpu_of_a_round() for _ in range(3))
        session.detach()
    told = TURN_POLLS * expected["turns"] + YIELD_POLLS * expected["yield"]
    print(f"a round of {TURN_POLLS + YIELD_POLLS:,} polls: expected +{told:,.0f} ns, measured +{traced - bare:,.0f} ns")
    assert 1 / 3 < (traced - bare) / told < 3


def test_a_program_that_only_polls_is_sampled(turns: Turns, turns_binary: Binary) -> None:
    """Nothing but polls of some nanoseconds: no share of its own time could pay for all the probes."""
    plan = make_plan([turns_binary], exit_mode=ExitMode.DEFAULT)
    with ProbeSession(plan, [turns.process], executables=[turns.exe]) as session:
        costs = calibrate(session)
        session.attach()
        guard = Guard(plan, costs, 0.05, time.monotonic_ns(), time.clock_gettime_ns(~turns.pid << 3 | 2))
        turns.send("go 10000000")  # more than it can do in the time
        began = time.monotonic()
        first_step = None
        while time.monotonic() - began < 2:
            batch = session.read()
            lost, unseen = sum(loss.count for loss in batch.losses), session.unseen()
            cpu = time.clock_gettime_ns(~turns.pid << 3 | 2)
            step = guard.observe(time.monotonic_ns(), batch.events, lost, unseen, cpu)
            if step is not None:
                first_step = first_step or time.monotonic() - began
                session.set_active(step.active, step.unprobed)
                assert session.active == step.active <= {Group.FUTURES}
            time.sleep(0.01)
        assert first_step is not None
        assert first_step < 0.5
        assert guard.in_windows
