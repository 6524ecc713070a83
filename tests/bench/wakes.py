"""What it costs the target to tell by whom its tasks are woken: the same probes with those of wakes and without."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

from tests.bench.chains import ROUNDS, per_turn
from tests.bench.table import print_table
from tests.running import Targets
from tracer import rust
from tracer.model import ExitMode
from tracer.probe.plan import make_plan
from tracer.target.elf import open_elf


def run(targets: Targets) -> None:
    """The nested spinner, whose one task wakes itself in each of its polls, release with symbols only."""
    path = targets.path("spin", "release")
    with open_elf(path) as image:
        binary = rust.read_binary(image, display_path=str(path))
    rows = []
    for mode in (ExitMode.TASK, ExitMode.DEFAULT):
        plan, plain = (make_plan([one], exit_mode=mode) for one in (binary, replace(binary, wakes=())))
        probes = [probe.id for probe in plan.probes if probe.wakes is not None]
        with_wakes, without = [], []
        for _ in range(ROUNDS):
            without.append(per_turn(targets, path, plain, probes)[0])
            with_wakes.append(per_turn(targets, path, plan, probes))
        before, after = median(without), median(one for one, _ in with_wakes)
        wakes = median(count for _, count in with_wakes)
        rows.append([str(mode), before, after, after / before, after - before, wakes])
    head = ["--exits", "ns per task poll", "with wakes", "x without", "added ns", "wakes per task poll"]
    print_table(
        "Wakes",
        head,
        rows,
        "The probe of a wake is where the kernel can emulate the instruction, if the code has such a place.",
    )
