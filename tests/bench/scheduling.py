"""What it costs a server under load to tell what woke its tasks, and when its threads were on their CPUs."""

from __future__ import annotations

import re
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from statistics import median

from tests.bench.table import print_table
from tests.running import Targets
from tracer import rust
from tracer.model import ExitMode, Plan, Process, is_scheduling
from tracer.probe.plan import make_plan
from tracer.probe.session import ProbeSession
from tracer.target.elf import open_elf
from tracer.target.process import TargetProcess

ROUNDS = 5
SECONDS, RATE = "3", "2000"


def run(targets: Targets) -> None:
    """The server, release with symbols only, at a rate that leaves its CPUs some rest; rounds take turns."""
    path = targets.path("server", "release")
    with open_elf(path) as image:
        binary = rust.read_binary(image, display_path=str(path))
    polls, wakes = (make_plan([one], exit_mode=ExitMode.TASK) for one in (replace(binary, wakes=()), binary))
    plans = {
        "untraced": None,
        "polls": polls,
        "polls and wakes": wakes,
        "polls and scheduling": replace(polls, scheduling=True),
        "all": replace(wakes, scheduling=True),
    }
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in plans}
    for _ in range(ROUNDS):
        for name, plan in plans.items():
            measured[name].append(_per_request(targets, path, plan))
    cost = {name: median(one for one, _ in found) for name, found in measured.items()}
    added = {name: one - cost["untraced"] for name, one in cost.items()}
    rows = [
        [
            name,
            cost[name] / 1000,
            added[name] / 1000,
            added[name] / added["polls"],
            median(n for _, n in measured[name]),
        ]
        for name in plans
    ]
    head = ["recorded", "us of CPU per request", "added us", "added, x that of polls", "records of scheduling"]
    print_table("A server's wakes and scheduling", head, rows, "Records: per request.")


def _per_request(targets: Targets, path: Path, plan: Plan | None) -> tuple[float, float]:
    """(The server's CPU time in ns, records of scheduling) per request."""
    with targets.run("server", "release") as running:
        target = TargetProcess.open(running.pid)
        if plan is None:
            return _under_load(targets, running.ready["port"], target), 0.0
        with open_elf(path) as image:
            process = Process(running.pid, 0, "server", (), str(path), 0, target.load_bias(image))
        with ProbeSession(plan, [process], executables=[target.exe_path]) as session:
            session.attach()
            done, counts = threading.Event(), [0]
            reader = threading.Thread(target=_read, args=(session, done, counts))
            reader.start()
            try:
                cost = _under_load(targets, running.ready["port"], target)
            finally:
                done.set()
                reader.join()
            return cost, counts[0] / (float(SECONDS) * int(RATE))


def _under_load(targets: Targets, port: int, target: TargetProcess) -> float:
    command = [str(targets.path("load", "release")), f"127.0.0.1:{port}", "8", SECONDS, RATE, "plain"]
    before = target.cpu_time_ns()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    used = target.cpu_time_ns() - before
    match = re.search(r'"requests": (\d+)', done.stdout)
    assert match is not None, done.stdout
    return used / int(match[1])


def _read(session: ProbeSession, done: threading.Event, counts: list[int]) -> None:
    while not done.wait(0.02):
        counts[0] += int(is_scheduling(session.read().events["probe"]).sum())
