"""Others count the same hits: bpftrace, and the targets that keep a log."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.bpftrace import bpftrace_count
from tests.kernel.turns import TURN_POLLS, YIELD_POLLS, Turns
from tests.running import Targets
from tracer.model import Binary, ExitMode, Process, Source
from tracer.probe.plan import make_plan
from tracer.probe.session import ProbeSession
from tracer.rust import read_binary
from tracer.target.elf import open_elf
from tracer.target.process import TargetProcess

pytestmark = pytest.mark.kernel


def test_bpftrace_counts_the_same(turns: Turns, turns_binary: Binary) -> None:
    plan = make_plan([turns_binary], exit_mode=ExitMode.DEFAULT)
    addresses = {function.address: function.name for function in turns_binary.functions}
    with (
        bpftrace_count(turns.executable, addresses, turns.pid) as counting,
        ProbeSession(plan, [turns.process], executables=[turns.exe]) as session,
    ):
        session.attach()
        turns.run("go 3")
        events = session.detach().events
    entries = Counter(
        plan.functions[index].address for event in events if (index := plan.probes[event["probe"]].enters) is not None
    )
    assert dict(entries) == {address: count for address, count in counting.counts.items() if count}
    assert sorted(entries.values()) == [3 * TURN_POLLS, 3 * YIELD_POLLS]


@pytest.mark.parametrize("mode", [ExitMode.DEFAULT, ExitMode.RET, ExitMode.TASK])
def test_a_tokio_program_counts_the_same(targets: Targets, mode: ExitMode) -> None:
    with targets.run("tokio_multi", "release-debug") as running:
        target = TargetProcess.open(running.pid)
        with open_elf(target.exe_path) as image:
            binary = read_binary(image, display_path=target.executable)
            bias = target.load_bias(image)
        process = Process(target.pid, target.start_time, target.name, tuple(target.command), target.executable, 0, bias)
        plan = make_plan([binary], exit_mode=mode)
        with ProbeSession(plan, [process], executables=[target.exe_path]) as session:
            session.attach()
            assert session.refusals == ()
            running.go()
            result = running.wait()
            events = session.detach().events
            assert session.received == session.sent == len(events)
            threads = {thread.name for thread in session.threads()}
    assert result.returncode == 0
    assert result.totals is not None
    assert any(name.startswith("tokio-rt-worker") for name in threads)
    counted: Counter[str] = Counter()
    for event in events[events["probe"] < len(plan.probes)]:
        index = plan.probes[event["probe"]].enters
        if index is not None and plan.functions[index].source is Source.DWARF:
            counted[plan.functions[index].name] += 1
    compared = result.totals.polls.keys() & counted.keys()
    assert compared
    assert {name: counted[name] for name in compared} == {name: result.totals.polls[name] for name in compared}
