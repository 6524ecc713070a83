"""The kernel's scheduling of a program that waits for each line, works, and waits again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.kernel.turns import EVENTS, Turns, in_a_namespace
from tracer.model import (
    NO_SYSCALL,
    SWITCH_IN_RECORD,
    SWITCH_OUT_RECORD,
    WAKING_RECORD,
    Array,
    Binary,
    EventFlag,
    ExitMode,
    Group,
    Plan,
    WakingContext,
    is_scheduling,
)
from tracer.probe.plan import make_plan
from tracer.probe.scheduling import Unavailable
from tracer.probe.session import ProbeSession

pytestmark = pytest.mark.kernel

READ, INTERRUPTIBLE = 0, 1
ROUNDS = 50

WAYS = [
    pytest.param({"transport": "ring"}, id="ring"),
    pytest.param({"transport": "perf"}, id="perf"),
    pytest.param({"transport": "ring", "by_bcc": True}, id="bcc"),
]


@pytest.fixture
def plan(turns_binary: Binary) -> Plan:
    return make_plan([turns_binary], exit_mode=ExitMode.DEFAULT, scheduling=True)


def wait_until_it_waits(turns: Turns) -> None:
    deadline = time.monotonic() + 10
    while Path(f"/proc/{turns.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "S":
        assert time.monotonic() < deadline
        time.sleep(0.001)


def of(events: Array, record: int) -> Array:
    chosen: Array = events[events["probe"] == record]
    return chosen


@pytest.mark.parametrize("options", WAYS)
def test_every_wait_for_a_line_is_seen(turns: Turns, plan: Plan, options: dict[str, Any]) -> None:
    with ProbeSession(plan, [turns.process], executables=[turns.exe], **options) as session:
        assert session.no_scheduling is None
        session.attach()
        assert Group.SCHEDULING in session.active
        parts = []
        for _ in range(ROUNDS):
            turns.run()
            wait_until_it_waits(turns)
            parts.append(session.read().events)  # all of them on one CPU would be more than its perf buffer holds
        events = np.concatenate([*parts, session.detach().events])
        assert (session.lost, session.received) == (0, session.sent)
    assert np.all(events["time"][1:] >= events["time"][:-1])
    switches = events[is_scheduling(events["probe"])]
    assert len(events) - len(switches) == ROUNDS * EVENTS
    assert set(switches["tid"].tolist()) == {turns.pid}
    out, wakings = of(switches, SWITCH_OUT_RECORD), of(switches, WAKING_RECORD)
    waits = out[out["state"] == INTERRUPTIBLE]
    assert len(waits) == ROUNDS
    assert set(waits["sp"].astype(np.int64).tolist()) == {READ}
    assert set(out["sp"].astype(np.int64).tolist()) <= {READ, 1, NO_SYSCALL}, "read, write, or in the program itself"
    by_us = wakings[wakings["self"] == os.getpid()]
    assert len(by_us) == ROUNDS
    assert set(by_us["state"].tolist()) == {WakingContext.THREAD}
    # It gets the CPU once for each time that it leaves; less often where whoever leaves it then is hidden from
    # programs, as a machine's agent may be.
    kinds = [int(one) for one in switches["probe"] if one != WAKING_RECORD]
    assert (SWITCH_IN_RECORD, SWITCH_IN_RECORD) not in pairwise(kinds)
    assert len(of(switches, SWITCH_IN_RECORD)) >= 0.9 * len(out)


def test_the_kernel_counts_as_many_switches(turns: Turns, plan: Plan) -> None:
    """By its own counters of the thread."""
    with ProbeSession(plan, [turns.process], executables=[turns.exe]) as session:
        session.attach()
        wait_until_it_waits(turns)
        session.read()
        before = kernel_counts(turns)
        for _ in range(ROUNDS):
            turns.run()
        wait_until_it_waits(turns)
        counted = kernel_counts(turns) - before
        events = session.read().events
    assert counted > ROUNDS / 2
    assert len(of(events, SWITCH_OUT_RECORD)) == counted


def test_how_long_it_ran_is_as_the_kernel_says(turns: Turns, plan: Plan) -> None:
    """To the nanosecond, by its own account of the thread, which is right while that waits."""
    with ProbeSession(plan, [turns.process], executables=[turns.exe]) as session:
        session.attach()
        for _ in range(ROUNDS):
            turns.run()
        wait_until_it_waits(turns)
        counted = int(Path(f"/proc/{turns.pid}/schedstat").read_text(encoding="ascii").split()[0])
        events = session.read().events
    switches = events[np.isin(events["probe"], [SWITCH_OUT_RECORD, SWITCH_IN_RECORD])]
    assert np.all(switches["flags"] & EventFlag.SELF)
    assert int(switches["self"][-1]) == counted
    ran = switches["self"].astype(np.int64)
    is_stretch = (switches["probe"][1:] == SWITCH_OUT_RECORD) & (switches["probe"][:-1] == SWITCH_IN_RECORD)
    assert np.count_nonzero(is_stretch) >= ROUNDS / 10  # of the others one end was hidden, see above
    assert np.all(np.diff(ran) >= 0)
    is_off = (switches["probe"][1:] == SWITCH_IN_RECORD) & (switches["probe"][:-1] == SWITCH_OUT_RECORD)
    assert not np.any(np.diff(ran)[is_off]), "it runs on a CPU only"


def kernel_counts(turns: Turns) -> int:
    status = Path(f"/proc/{turns.pid}/status").read_text(encoding="ascii", errors="replace")
    return sum(int(line.split()[1]) for line in status.splitlines() if "ctxt_switches" in line)


def test_a_timer_is_no_thread(turns_executable: Path) -> None:
    """A thread that sleeps is woken by an interrupt, whoever runs at that time."""
    command = [sys.executable, "-c", "import time\ninput()\nfor _ in range(50): time.sleep(0.002)"]
    from tests.kernel.turns import describe

    plan = make_plan([describe(turns_executable)], exit_mode=ExitMode.DEFAULT, scheduling=True)
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE) as sleeper,
        subprocess.Popen([turns_executable], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running,
    ):
        turns = Turns(running, turns_executable)
        assert turns.answer() == "ready"
        process = replace(turns.process, pid=sleeper.pid)
        with ProbeSession(plan, [process], executables=[turns.exe]) as session:
            session.attach()
            assert sleeper.stdin is not None
            sleeper.stdin.write(b"\n")
            sleeper.stdin.close()
            sleeper.wait(10)
            events = session.detach().events
        running.kill()
    wakings = of(events, WAKING_RECORD)
    by_timer = wakings[wakings["state"] == WakingContext.INTERRUPT]
    assert len(by_timer) >= 40, "nobody is woken by a timer that is over before it is slept for"
    assert not by_timer["self"].any()


def test_it_can_be_left_out_and_taken_up_again(turns: Turns, plan: Plan) -> None:
    with ProbeSession(plan, [turns.process], executables=[turns.exe]) as session:
        session.attach()
        session.set_active(plan.groups - {Group.SCHEDULING})
        session.read()
        turns.run()
        assert not is_scheduling(session.read().events["probe"]).any()
        session.set_active(plan.groups)
        turns.run()
        assert is_scheduling(session.detach().events["probe"]).any()


def test_its_cost_is_measured(turns: Turns, plan: Plan) -> None:
    with ProbeSession(plan, [turns.process], executables=[turns.exe]) as session:
        costs = session.calibrate()
        assert 10 < costs.scheduling < 20_000
        assert (session.sent, session.received) == (0, 0)
        assert os.sched_getaffinity(0) == os.sched_getaffinity(os.getppid())


def test_a_kernel_that_does_not_tell_is_recorded_without(
    turns: Turns, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(_: object) -> dict[str, int | None]:
        raise Unavailable("it has no BTF")

    monkeypatch.setattr("tracer.probe.variant.scheduling_defines", nothing)
    with ProbeSession(plan, [turns.process], executables=[turns.exe]) as session:
        assert session.no_scheduling == "it has no BTF"
        assert session.calibrate().scheduling == 0
        session.attach()
        assert Group.SCHEDULING not in session.active
        turns.run()
        assert len(session.detach().events) == session.sent == EVENTS


SCRIPT = """
import json, sys
from pathlib import Path
from tests.kernel.turns import describe, started
from tracer.model import ExitMode, is_scheduling
from tracer.probe.plan import make_plan
from tracer.probe.session import ProbeSession

path = Path(sys.argv[1])
plan = make_plan([describe(path)], exit_mode=ExitMode.DEFAULT, scheduling=True)
with started(path) as turns, ProbeSession(plan, [turns.process], executables=[turns.exe]) as session:
    session.attach()
    for _ in range(10):
        turns.run()
    events = session.detach().events
    switches = events[is_scheduling(events["probe"])]
    print(json.dumps([turns.pid, [[int(one["probe"]), int(one["tid"])] for one in switches]]))
"""


def test_threads_have_the_ids_of_the_tracers_namespace(turns_executable: Path) -> None:
    pid, switches = in_a_namespace(SCRIPT, turns_executable)
    assert pid < 100, "the namespace counts anew"
    assert {tid for _, tid in switches} == {pid}
    counts = [sum(one[0] == record for one in switches) for record in (SWITCH_OUT_RECORD, SWITCH_IN_RECORD)]
    # The first time that it gets a CPU nobody knows yet who it is; and where the next line is there already when it
    # looks, it does not sleep.
    assert counts[0] >= 5
    assert abs(counts[1] - counts[0]) <= 3
