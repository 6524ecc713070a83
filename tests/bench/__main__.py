"""`scripts/bench [PART …]`: the tables of these parts; else of all."""

from __future__ import annotations

import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
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

_CACHE = Path(__file__).parents[2] / ".cache" / "bench"


@dataclass(frozen=True, slots=True)
class Bench:
    """What the parts share: the programs of tests/targets, and a folder that is empty."""

    targets: Targets
    scratch: Path

    @property
    def big(self) -> Path:
        """The program of more than 100 MB."""
        return big.build(_CACHE)


def _discovery(bench: Bench) -> None:
    small = [bench.targets.path("spin", "release"), bench.targets.path("tokio_multi", "release-debug")]
    discovery.run([*small, bench.targets.path("server", "dev"), bench.big])


PARTS: dict[str, Callable[[Bench], None]] = {
    "discovery": _discovery,
    "attach": lambda bench: attach.run(bench.big),
    "start": lambda bench: start.run(bench.targets, bench.big, bench.scratch),
    "polls": lambda bench: polls.run(bench.targets),
    "chains": lambda bench: chains.run(bench.targets),
    "wakes": lambda bench: wakes.run(bench.targets),
    "scheduling": lambda bench: scheduling.run(bench.targets),
    "budget": lambda bench: budget.run(bench.targets),
    "events": lambda bench: events.run(bench.targets),
    "throughput": lambda bench: throughput.run(bench.targets),
    "snapshots": lambda bench: snapshots.run(bench.targets),
    "samples": lambda bench: samples.run(bench.targets),
    "peers": lambda bench: peers.run(bench.targets, _CACHE / "peers", bench.scratch),
}


def main(parts: list[str]) -> int:
    """Print the tables of the named parts."""
    unknown = set(parts) - set(PARTS)
    if unknown:
        print(f"no part called {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    cores = len([line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")])
    print(f"Linux {platform.release()}, {cores} cores")
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Targets(Path(scratch), Builds()), Path(scratch))
        for name in parts or PARTS:
            PARTS[name](bench)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
