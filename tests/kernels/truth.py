"""A recording has the program's own counts; read without trace_processor, whose kept code is for one CPU only.

No test by its name: `scripts/kernels` alone runs it, and builds the one program beforehand.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.building import Builds
from tests.e2e.command import recording
from tests.e2e.trace import functions_of
from tests.running import Targets


@pytest.fixture(scope="session")
def builds() -> Iterator[Builds]:
    """In place of the one that builds all programs of a profile at once."""
    builds = Builds()
    yield builds
    builds.close()


def test_a_recording_has_the_programs_own_counts(targets: Targets, tmp_path: Path) -> None:
    output = tmp_path / "trace.json"
    options = ("-o", output, "--format", "chrome", "--max-overhead", 100)
    with targets.run("tokio_multi", "release-debug") as running, recording("--pid", running.pid, *options) as rec:
        running.go()
        result = running.wait()
        done = rec.wait()
    assert done.code == 0, done.err
    assert result.totals is not None
    events = json.loads(output.read_text())["traceEvents"]
    seen = Counter(event["args"].get("function") for event in events if event["ph"] == "X")
    expected: dict[frozenset[str], int] = {}
    found = functions_of(targets.path("tokio_multi", "release-debug"))
    for function, count in result.totals.polls.items():
        if function in found and count:
            names = frozenset(found[function])
            expected[names] = expected.get(names, 0) + count
    assert {names: sum(seen[name] for name in names) for names in expected} == expected
    assert len(expected) > 5
