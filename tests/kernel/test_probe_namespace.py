"""A tracer in a container sees the process ids of its own namespace."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.turns import EVENTS

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
    unshare = shutil.which("unshare")
    assert unshare is not None
    command = [unshare, "--pid", "--fork", "--mount-proc", sys.executable, "-c", SCRIPT, str(turns_executable)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    pid, count, tids, threads, emulated = json.loads(done.stdout)
    assert pid < 100, "the namespace counts anew"
    assert count == EVENTS
    assert tids == [pid]
    assert threads == [[pid, pid, "turns"]]
    assert emulated > 50
