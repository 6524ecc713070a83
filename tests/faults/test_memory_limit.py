"""A program whose cgroup has no memory left is not probed: the kernel would kill it for the pages of the probes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command import rat
from tests.e2e.trace import Trace
from tests.faults.deaths import CGROUPS, memory_cgroup
from tests.faults.endure import endure, untraced
from tests.faults.tracer import assert_unharmed
from tests.running import Targets
from tests.text import changed_bytes
from tracer.errors import ExitCode

pytestmark = pytest.mark.kernel


class Limited:
    """A cgroup."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        newer = folder.parent == CGROUPS
        self._limit = folder / ("memory.max" if newer else "memory.limit_in_bytes")
        self._used = folder / ("memory.current" if newer else "memory.usage_in_bytes")

    def leave(self, size: int) -> None:
        """Bytes, from now on."""
        self._limit.write_text(str(int(self._used.read_text()) + size))


@pytest.fixture
def limited() -> Iterator[Limited]:
    parent = memory_cgroup()
    if parent is None:
        pytest.skip("this machine has no cgroups with a memory limit")
    folder = parent / f"rat-limit-{os.getpid()}"
    folder.mkdir()
    yield Limited(folder)
    folder.rmdir()


def test_where_there_is_no_room_it_is_left_alone(targets: Targets, limited: Limited, tmp_path: Path) -> None:
    alone = untraced(targets)
    with endure(targets) as enduring:
        (limited.folder / "cgroup.procs").write_text(str(enduring.pid))
        enduring.ask("1")
        limited.leave(64 << 10)
        done = rat("--pid", enduring.pid, "-d", 0.5, "-o", tmp_path / "x.pftrace")
        assert done.code == ExitCode.NOT_TRACEABLE, done.err
        assert f"The memory limit of process {enduring.pid} (endure) leaves no room for probes" in done.err
        assert changed_bytes(enduring.pid) == 0
        limited.leave(8 << 20)
        enduring.ask("on")
        done = rat("--pid", enduring.pid, "-d", 0.5, "-o", tmp_path / "x.pftrace")
        assert done.code == 0, done.err
        assert_unharmed(enduring.ask("off"), alone)
        assert Trace(tmp_path / "x.pftrace").functions
        enduring.running.process.kill()
        enduring.running.process.wait()
