"""What keeps a process from running, by the files of /proc and of control groups as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracer.model import HaltKind, Standstill
from tracer.target.standstill import StandstillWatch


class Proc:
    """Process 7 with the threads 7 and 8, in group a of both hierarchies; 9 is gdb."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "proc"
        self.newer, self.older = folder / "new" / "a", folder / "old" / "a"
        for path in (self.folder / "7" / "task", self.folder / "9", self.folder / "self", self.newer, self.older):
            path.mkdir(parents=True)
        (self.folder / "9" / "comm").write_text("gdb\n")
        (self.folder / "7" / "cgroup").write_text("3:freezer:/a\n0::/a\n")
        (self.folder / "self" / "mountinfo").write_text(
            f"31 23 0:28 / {self.newer.parent} rw - cgroup2 cgroup2 rw\n"
            f"32 23 0:29 / {self.older.parent} rw - cgroup cgroup rw,freezer\n"
        )
        self.set("S (sleeping)")

    def set(self, *states: str, tracer: int = 0, left: int = 5) -> None:
        """States of both threads."""
        for tid, state in zip((7, 8), states * 2, strict=False):
            text = (
                f"Name:\tx\nState:\t{state}\nTracerPid:\t{tracer}\n"
                f"voluntary_ctxt_switches:\t{left}\nnonvoluntary_ctxt_switches:\t1\n"
            )
            (self.folder / "7" / "task" / str(tid)).mkdir(exist_ok=True)
            (self.folder / "7" / "task" / str(tid) / "status").write_text(text)
        (self.folder / "7" / "status").write_text((self.folder / "7" / "task" / "7" / "status").read_text())

    def look(self) -> Standstill | None:
        return StandstillWatch(7, self.folder).look()


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def test_one_that_waits_is_not_kept_from_running(proc: Proc) -> None:
    assert proc.look() is None
    (proc.newer / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    (proc.older / "freezer.state").write_text("THAWED\n")
    assert proc.look() is None


def test_a_signal(proc: Proc) -> None:
    proc.set("T (stopped)")
    there = proc.look()
    assert there == Standstill(HaltKind.STOPPED, "", ("5", "1"))
    proc.set("T (stopped)", left=6)
    assert proc.look() != there


def test_a_debugger_stops_all_threads(proc: Proc) -> None:
    proc.set("t (tracing stop)", tracer=9)
    assert proc.look() == Standstill(HaltKind.TRACED, "gdb (9)", ("5", "1"))
    proc.set("t (tracing stop)", "S (sleeping)", tracer=9)
    assert proc.look() is None
    proc.set("t (tracing stop)", tracer=10)  # it is gone, or of another user
    assert proc.look() == Standstill(HaltKind.TRACED, "", ("5", "1"))


def test_a_freezer_of_either_hierarchy(proc: Proc) -> None:
    (proc.newer / "cgroup.events").write_text("populated 1\nfrozen 1\n")
    assert proc.look() == Standstill(HaltKind.FROZEN, "", ("5", "1"))
    (proc.newer / "cgroup.events").unlink()
    (proc.older / "freezer.state").write_text("FROZEN\n")
    assert proc.look() == Standstill(HaltKind.FROZEN, "", ("5", "1"))


def test_of_one_that_is_gone_nothing_is_said(proc: Proc) -> None:
    assert StandstillWatch(99, proc.folder).look() is None
    (proc.folder / "7" / "status").write_text("Name:\tx\n")
    assert proc.look() is None
