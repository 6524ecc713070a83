"""A process ends, and another gets its number before the tracer looks again: nothing of it is recorded, or harmed.

All of it happens in a pid namespace of its own, where the next number can be chosen.
"""

from __future__ import annotations

import pytest

from tests.faults.endure import untraced
from tests.faults.figures import Figures
from tests.kernel.turns import in_a_namespace
from tests.running import Targets

pytestmark = pytest.mark.kernel

SCRIPT = """
import json, os, signal, sys, tempfile, time
from pathlib import Path
from tests.faults.bpf_objects import unheld
from tests.faults.captured import read, unaccounted
from tests.faults.endure import endure
from tests.faults.place import Place
from tests.faults.tracer import assert_nothing_left, tracer
from tests.running import Targets

class Built(Targets):
    def path(self, name, profile="dev"):
        return Path(sys.argv[1])

scratch = Path(tempfile.mkdtemp())
targets, before = Built(scratch, None), unheld()
with endure(targets) as first, tracer(first.pid, scratch, name="x.ratcap") as tracing:
    tracing.until_attached()
    first.ask("5")
    os.kill(tracing.process.pid, signal.SIGSTOP)
    first.running.process.kill()
    first.running.process.wait()
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(first.pid - 1))
    with endure(targets) as second:
        assert second.pid == first.pid, (second.pid, first.pid)
        second.ask("5")
        os.kill(tracing.process.pid, signal.SIGCONT)
        second.ask("5")
        code = tracing.wait()
        assert_nothing_left(tracing, second.pid, before)
        work = second.ask("5")
    captured = read(tracing.output)
    seen = max(len(captured.entries[name]) / first.polls[name] for name in captured.entries.keys() & first.polls)
    chunks, missing = unaccounted(captured, first)
    print(json.dumps([code, seen, chunks, missing, work.chunks, work.wrong, work.checksum]))
"""


def test_another_process_gets_its_number(targets: Targets, figures: Figures) -> None:
    executable = targets.path("endure", "release")
    code, seen, chunks, missing, done, wrong, checksum = in_a_namespace(SCRIPT, executable)
    assert code == 0
    assert (seen, chunks, missing) == (5, 5, 0), "the first's polls, all of them, and none of the second's"
    assert (done, wrong, checksum) == (15, 0, untraced(targets).checksum)
    figures.add("the program ends, and another gets its number", "while it records", chunks)
