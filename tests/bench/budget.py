"""What a recording by default leaves of a server's throughput, and gives up for that; a poll beside bpftrace."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from tests.bench.peers import cpu_of, load_on
from tests.bench.polls import polls_traced, polls_with_bpftrace
from tests.bench.table import print_table
from tests.e2e.command import recording
from tests.running import Running, Targets
from tracer import rust
from tracer.model import FunctionKind, InstructionCost, PollFunction
from tracer.target.elf import open_elf

ROUNDS, SECONDS = 3, "5"
_LOADS = {"flat out": "1e9", "4,000 a second": "4000"}
_BUILDS = (("server", "release"), ("server", "dev"), ("spin", "release"), ("tokio_multi", "release-debug"))


def run(targets: Targets) -> None:
    """Three tables, everything in turns."""
    _throughput(targets)
    _polls(targets)
    _emulated(targets)


def _throughput(targets: Targets) -> None:
    rows = []
    for name, rate in _LOADS.items():
        untraced, traced, said = [], [], []
        for _ in range(ROUNDS):
            with targets.run("server", "release") as server:
                untraced.append(_requests(targets, server, rate))
            with targets.run("server", "release") as server, tempfile.TemporaryDirectory() as folder:
                options = ("--pid", server.pid, "-o", Path(folder) / "x.pftrace", "--json")
                with recording(*options) as rec:
                    traced.append(_requests(targets, server, rate))
                    done = rec.stop()
            said.append(json.loads(done.out))
        last = said[-1]
        polls = median(sum(kind["polls"] for kind in one["task_kinds"]) / float(SECONDS) for one in said)
        windows = sum("window" in change["reason"] for one in said for change in one["plan_changes"])
        most = [row["not_probed"] / 1e9 / last["seconds"] for row in last["not_always_probed"]]
        left_out = f"{len(most)} functions, up to {max(most, default=0):.0%} of the time"
        rates = [after[0] / before[0] for after, before in zip(traced, untraced, strict=True)]
        cpu = [before[1] / after[1] for after, before in zip(traced, untraced, strict=True)]
        lost = sum(one["lost"] for one in said)
        base = median(requests for requests, _ in untraced) / float(SECONDS)
        rows.append([name, base, _spread(rates), _spread(cpu), polls, lost, windows, left_out])
    head = ["load", "requests/s", "x untraced", "by CPU", "task polls/s", "lost", "windows", "not probed"]
    note = (
        f"Medians of {ROUNDS} turns; the release server by default options, the load beside it on the same machine."
        "  By CPU: requests a CPU second of the server."
    )
    print_table("The sample server within the budget", head, rows, note)


def _requests(targets: Targets, server: Running, rate: str) -> tuple[int, float]:
    """How many there were, and the server's CPU seconds for each."""
    before = cpu_of(server.pid)
    requests = load_on(targets, server.ready["port"], ("8", SECONDS, rate, "plain"))["requests"]
    return requests, (cpu_of(server.pid) - before) / requests


def _spread(ratios: Sequence[float]) -> str:
    return f"{median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def _polls(targets: Targets) -> None:
    rows = []
    for mode in ("nested", "bare"):
        with open_elf(targets.path("spin", "release")) as image:
            functions = rust.read_binary(image, display_path="spin").functions
        ways: dict[str, Callable[[], float]] = {
            "untraced": partial(_per_poll, targets, mode, None),
            "--exits task": partial(_per_poll, targets, mode, ("--exits", "task")),
            "default": partial(_per_poll, targets, mode, ()),
            "bpftrace": partial(polls_with_bpftrace, targets, mode, functions),
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                found[name].append(way())
        cost = {name: median(some) for name, some in found.items()}
        added = {name: some - cost["untraced"] for name, some in cost.items()}
        rows += [[mode, name, cost[name], added[name], added[name] / added["bpftrace"]] for name in ways]
    note = "bpftrace: entry and return of the same functions, a histogram of each. One task, so ns are of wall time."
    print_table("A poll beside bpftrace", ["target", "by", "ns per poll", "added ns", "x bpftrace's"], rows, note)


def _per_poll(targets: Targets, mode: str, options: tuple[str, ...] | None) -> float:
    return polls_traced(targets, mode, options)[0]


def _emulated(targets: Targets) -> None:
    rows = []
    for target, profile in _BUILDS:
        with open_elf(targets.path(target, profile)) as image:
            functions = rust.read_binary(image, display_path=target).functions
        futures = [one for one in functions if one.kind in (FunctionKind.COROUTINE, FunctionKind.FUTURE)]
        entries = sum(one.entry_cost is InstructionCost.EMULATED for one in futures)
        exits = sum(map(_has_emulated_exits, futures))
        shares = (f"{some / len(futures):.0%}" for some in (entries, exits))
        rows.append([f"{target}, {profile}", len(futures), *shares])
    head = ["program", "futures", "entry emulated", "all exits emulated"]
    print_table("Where the kernel need not single-step", head, rows, "Task polls have a return probe instead.")


def _has_emulated_exits(function: PollFunction) -> bool:
    return all(site.cost is InstructionCost.EMULATED for site in function.exits)
