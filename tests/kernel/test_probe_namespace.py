"""A tracer in a container sees the process ids of its own namespace."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel.turns import EVENTS, in_a_namespace

pytestmark = pytest.mark.kernel

SCRIPT = """
import json, sys
from pathlib import Path
from tests.kernel.turns import describe, started
from tracer.model import ExitMode
from tracer.probe.plan import make_plan
from tracer.probe.session import ProbeSession

path = Path(sys.argv[1])
plan = make_plan([describe(path)], exit_mode=ExitMode.DEFAULT)
with started(path) as turns, ProbeSession(plan, [turns.process], executables=[turns.exe]) as session:
    costs = session.calibrate()
    session.attach()
    turns.run()
    events = session.detach().events
    threads = [(thread.tid, thread.pid, thread.name) for thread in session.threads()]
    tids = sorted({int(tid) for tid in events["tid"]})
    print(json.dumps([turns.pid, len(events), tids, threads, costs.emulated]))
"""


def test_pids_are_those_of_the_tracers_namespace(turns_executable: Path) -> None:
    pid, count, tids, threads, emulated = in_a_namespace(SCRIPT, turns_executable)
    assert pid < 100, "the namespace counts anew"
    assert count == EVENTS
    assert tids == [pid]
    assert threads == [[pid, pid, "turns"]]
    assert emulated > 50
