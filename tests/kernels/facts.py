"""What rat-ebpf finds that the running kernel has, into a file as JSON; prints the tests for it, for a shell.

Compiles the programs, too, so that no test waits for that longer than it may.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

from tests.kernels.table import tests_for
from tracer.model import ExitMode, Plan
from tracer.probe.program import PollProgram
from tracer.probe.variant import Variant
from tracer.target.own_files import default_cache


def main(file: Path) -> None:
    """file: of the facts."""
    nothing = Plan((), (), (), (), (), ExitMode.DEFAULT)
    variants = [Variant.of_kernel(transport) for transport in ("auto", "perf")]
    for variant in variants:
        PollProgram(nothing, variant, ring_pages=64, cache=default_cache()).bpf.close()
    facts = {
        "links": variants[0].support.name,
        "ring": variants[0].is_ring,
        "stacks": variants[0].no_stacks,
        "scheduling": variants[0].no_scheduling,
    }
    file.write_text(json.dumps(facts))
    print(shlex.join(tests_for(facts)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
