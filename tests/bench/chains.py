"""What it costs the target to tell where a poll had been waiting: the same probes with walks and without."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from tests.bench.table import print_table
from tests.running import Targets
from tracer import rust
from tracer.model import CHAIN_RECORD, ExitMode, FunctionKind, Plan, Process
from tracer.probe.plan import make_plan
from tracer.probe.session import ProbeSession
from tracer.target.elf import open_elf

SECONDS = "2"
ROUNDS = 3


def run(targets: Targets) -> None:
    """The nested spinner, one task on one worker, with debug information: task polls only, then everything."""
    path = targets.path("spin", "release-debug")
    with open_elf(path) as image:
        binary = rust.read_binary(image, display_path=str(path))
    everything = make_plan([binary], exit_mode=ExitMode.TASK)
    tasks = make_plan(
        [replace(binary, functions=tuple(one for one in binary.functions if one.kind is FunctionKind.TASK))],
        exit_mode=ExitMode.TASK,
    )
    rows = []
    for name, plan in (("task polls", tasks), ("all polls", everything)):
        with_walks, without = [], []
        for _ in range(ROUNDS):
            without.append(per_turn(targets, path, _without_walks(plan), [CHAIN_RECORD]))
            with_walks.append(per_turn(targets, path, plan, [CHAIN_RECORD]))
        plain, walked = median(one for one, _ in without), median(one for one, _ in with_walks)
        records = median(count for _, count in with_walks)
        rows.append([name, plain, walked, walked / plain, walked - plain, records])
    head = ["probed", "ns per task poll", "with chains", "x without", "added ns", "records per task poll"]
    print_table("Chains", head, rows, "A task poll of the spinner has polls of four futures in it.")


def _without_walks(plan: Plan) -> Plan:
    return replace(plan, functions=tuple(replace(one, layout=None) for one in plan.functions))


def per_turn(targets: Targets, path: Path, plan: Plan, counted_probes: list[int]) -> tuple[float, float]:
    """(Nanoseconds of wall time, events of these probes) per task poll of the nested spinner."""
    with targets.start(path, "nested", SECONDS, "1", "1") as running:
        executable = Path(f"/proc/{running.pid}/exe")
        process = Process(running.pid, 0, "spin", (), str(path), 0, 0)
        with ProbeSession(plan, [process], executables=[executable]) as session:
            session.attach()
            done = threading.Event()
            counted: list[int] = []
            reader = threading.Thread(target=_read, args=(session, done, counted_probes, counted))
            reader.start()
            running.go()
            result = running.wait()
            done.set()
            reader.join()
    totals = [json.loads(line) for line in result.stdout.splitlines() if line.startswith('{"begin"')][-1]
    turns = totals["polls"]["task"]
    return float((totals["end"] - totals["begin"]) / turns), sum(counted) / turns


def _read(session: ProbeSession, done: threading.Event, probes: list[int], counted: list[int]) -> None:
    while not done.wait(0.02):
        events = session.read().events
        counted.append(int(np.count_nonzero(np.isin(events["probe"], probes))))
