"""`scripts/bench [PART …]`: discovery, attach, start, polls, chains, wakes, scheduling, events,
throughput, snapshots, samples, peers, budget; else all."""

from __future__ import annotations

import platform
import sys
import tempfile
from pathlib import Path

from tests.bench import (
    attach,
    big,
    budget,
    chains,
    discovery,
    events,
    peers,
    polls,
    samples,
    scheduling,
    snapshots,
    start,
    throughput,
    wakes,
)
from tests.building import Builds
from tests.running import Targets

PARTS = (
    "discovery",
    "attach",
    "start",
    "polls",
    "chains",
    "wakes",
    "scheduling",
    "events",
    "throughput",
    "snapshots",
    "samples",
    "peers",
    "budget",
)


def main(parts: list[str]) -> int:
    """Print the tables of the named parts."""
    unknown = set(parts) - set(PARTS)
    if unknown:
        print(f"no part called {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    wanted = parts or list(PARTS)
    cores = len([line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")])
    print(f"Linux {platform.release()}, {cores} cores")
    with tempfile.TemporaryDirectory() as scratch:
        targets = Targets(Path(scratch), Builds())
        program = (
            big.build(Path(__file__).parents[2] / ".cache" / "bench")
            if {"discovery", "attach", "start"} & {*wanted}
            else None
        )
        if "discovery" in wanted and program is not None:
            small = [targets.path("spin", "release"), targets.path("tokio_multi", "release-debug")]
            discovery.run([*small, targets.path("server", "dev"), program])
        if "attach" in wanted and program is not None:
            attach.run(program)
        if "start" in wanted and program is not None:
            start.run(targets, program, Path(scratch))
        if "polls" in wanted:
            polls.run(targets)
        if "chains" in wanted:
            chains.run(targets)
        if "wakes" in wanted:
            wakes.run(targets)
        if "scheduling" in wanted:
            scheduling.run(targets)
        if "events" in wanted:
            events.run(targets)
        if "throughput" in wanted:
            throughput.run(targets)
        if "snapshots" in wanted:
            snapshots.run(targets)
        if "samples" in wanted:
            samples.run(targets)
        if "peers" in wanted:
            peers.run(targets, Path(__file__).parents[2] / ".cache" / "bench" / "peers", Path(scratch))
        if "budget" in wanted:
            budget.run(targets)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
