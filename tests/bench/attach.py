"""Attaching and detaching, against the number of functions, on the large program."""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace
from pathlib import Path

from tests.bench.table import print_table
from tracer import rust
from tracer.model import ExitMode, Process
from tracer.probe.plan import make_plan
from tracer.probe.session import ProbeSession
from tracer.target.elf import open_elf
from tracer.target.process import TargetProcess


def run(program: Path) -> None:
    """One row for each number of functions: compile and load, attach, detach."""
    with open_elf(program) as image:
        binary = rust.read_binary(image, display_path=str(program))
    running = subprocess.Popen([program], stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        target = TargetProcess.open(running.pid)
        process = Process(target.pid, target.start_time, target.name, (), str(program), 0, 0)
        rows = []
        for count in (10, 100, 1000, len(binary.functions)):
            few = replace(binary, functions=binary.functions[:count])
            plan = make_plan([few], exit_mode=ExitMode.DEFAULT)
            began = time.perf_counter()
            with ProbeSession(plan, [process], executables=[target.exe_path]) as session:
                loaded = time.perf_counter()
                session.attach()
                attached = time.perf_counter()
                session.detach()
                detached = time.perf_counter()
            rows.append(
                [count, len(plan.probes), loaded - began, (attached - loaded) * 1e3, (detached - attached) * 1e3]
            )
    finally:
        running.kill()
        running.wait()
    print_table("Attach and detach", ["functions", "probes", "compile + load s", "attach ms", "detach ms"], rows)
