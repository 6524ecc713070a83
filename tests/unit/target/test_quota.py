"""What CPU quotas let a process use, by the files of the kernel as they are in containers and outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracer.target.quota import Throttled, ThrottleWatch, cpu_quota


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Of two processes, 7 in a/b and 8 in a, of both hierarchies; the newer one is mounted from a on."""
    proc = tmp_path / "proc"
    for pid, path in ((7, "/a/b"), (8, "/a")):
        (proc / str(pid)).mkdir(parents=True)
        (proc / str(pid) / "cgroup").write_text(f"5:memory:/x\n4:cpu,cpuacct:{path}\n0::{path}\n")
    (proc / "self").mkdir()
    (proc / "self" / "mountinfo").write_text(
        f"31 23 0:28 /a {tmp_path / 'new'} rw,relatime shared:1 - cgroup2 cgroup2 rw\n"
        f"32 23 0:29 / {tmp_path / 'old'} rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
        f"33 23 0:30 / {tmp_path / 'memory'} rw,relatime - cgroup cgroup rw,memory\n"
    )
    (tmp_path / "new" / "b").mkdir(parents=True)
    older(tmp_path / "old" / "a" / "b", -1)
    older(tmp_path / "old" / "a", -1)
    return proc


def older(folder: Path, quota: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")


def test_no_limit(proc: Path) -> None:
    assert cpu_quota([7, 8], proc) is None


def test_the_least_of_the_groups_around_it_counts(proc: Path) -> None:
    older(proc.parent / "old" / "a", 50_000)
    assert cpu_quota([7], proc) == pytest.approx(0.5)
    (proc.parent / "new" / "b" / "cpu.max").write_text("20000 100000\n")
    assert cpu_quota([7], proc) == pytest.approx(0.2)
    (proc.parent / "new" / "cpu.max").write_text("max 100000\n")
    assert cpu_quota([7], proc) == pytest.approx(0.2)


def test_of_several_processes_that_which_may_use_the_least_counts(proc: Path) -> None:
    older(proc.parent / "old" / "a" / "b", 250_000)
    assert cpu_quota([8], proc) is None
    assert cpu_quota([8, 7], proc) == pytest.approx(2.5)


@pytest.mark.parametrize("text", ["", "max", "1 0", "a b", "-5 100"])
def test_what_cannot_be_read_is_no_limit(proc: Path, text: str) -> None:
    (proc.parent / "new" / "b" / "cpu.max").write_text(text)
    assert cpu_quota([7], proc) is None


def test_one_that_is_gone_has_none(proc: Path) -> None:
    assert cpu_quota([9], proc) is None


def counted(folder: Path, periods: int, throttled: int, **lost: int) -> None:
    lines = {"nr_periods": periods, "nr_throttled": throttled, **lost}
    (folder / "cpu.stat").write_text("".join(f"{name} {value}\n" for name, value in lines.items()))


def test_how_often_a_limit_kept_it_from_running(proc: Path) -> None:
    """Of the group that was kept from it longest; the counts of both hierarchies."""
    older_, newer = proc.parent / "old" / "a", proc.parent / "new" / "b"
    older(older_, 50_000)
    counted(older_, 10, 3, throttled_time=7_000)
    (newer / "cpu.max").write_text("20000 100000\n")
    counted(newer, 100, 30, throttled_usec=500)
    watch = ThrottleWatch(7, proc)
    assert watch.since_last() is None
    counted(older_, 15, 5, throttled_time=9_000)
    assert watch.since_last() == Throttled(0.5, 5, 2, 2_000)
    counted(older_, 20, 6, throttled_time=9_500)
    counted(newer, 110, 31, throttled_usec=501)
    assert watch.since_last() == Throttled(0.2, 10, 1, 1_000)
    assert watch.since_last() is None


def test_groups_without_a_limit_or_counts_keep_nobody_from_running(proc: Path) -> None:
    folder = proc.parent / "old" / "a" / "b"
    counted(folder, 10, 3, throttled_time=7_000)
    watch = ThrottleWatch(7, proc)
    counted(folder, 20, 5, throttled_time=9_000)
    assert watch.since_last() is None
    older(folder, 50_000)
    (folder / "cpu.stat").write_text("nr_periods many\n")
    assert watch.since_last() is None
