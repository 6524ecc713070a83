"""What CPU quotas let a process use, by the files of the kernel as they are in containers and outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracer.target.quota import cpu_quota


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
