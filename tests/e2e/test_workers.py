"""Of a program that has forked: who names the parent learns that its children are processes of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.command import Done, rat
from tests.faults.endure import endure
from tests.running import Targets

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]


def test_the_parent_of_workers_names_them(targets: Targets, tmp_path: Path) -> None:
    with endure(targets) as parent:
        assert parent.ask("1").wrong == 0
        own = f"process {parent.pid} run"
        for done in (recorded(parent.pid, tmp_path), rat("ps", parent.pid)):
            assert (own in done.err, done.code) == (False, 0), done.err
        child = parent.ask("fork").child
        words = f"a child of {own}s the same program, and is a process of its own: {child}"
        for done in (recorded(parent.pid, tmp_path), rat("ps", parent.pid)):
            assert (words in " ".join(done.err.split()), done.code) == (True, 0), done.err
        assert "the same program" not in recorded(child, tmp_path).err
        assert parent.ask("reap").wrong == 0


def recorded(pid: int, folder: Path) -> Done:
    return rat("--pid", pid, "-d", 0.5, "-o", folder / "x.pftrace")
