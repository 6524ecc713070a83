"""What memory limits leave, by the files of the kernel as they are in containers and outside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tracer.errors import NoRoom
from tracer.target.cgroups import mounts_of
from tracer.target.memory_limit import CONTROLLER, require_room, rooms_of

MIB = 1 << 20


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Of one process, 7, in a/b of both hierarchies; the newer one is mounted from a on."""
    proc = tmp_path / "proc"
    (proc / "7").mkdir(parents=True)
    (proc / "self").mkdir()
    (proc / "7" / "cgroup").write_text("5:cpu:/x\n4:memory,blkio:/a/b\n0::/a/b\n")
    (proc / "self" / "mountinfo").write_text(
        "23 1 0:1 / /proc rw - proc proc rw\n"
        f"31 23 0:28 /a {tmp_path / 'new'} rw,relatime shared:1 - cgroup2 cgroup2 rw\n"
        f"32 23 0:29 / {tmp_path / 'old'} rw,relatime - cgroup cgroup rw,memory,blkio\n"
        f"33 23 0:30 / {tmp_path / 'cpu'} rw,relatime - cgroup cgroup rw,cpu\n"
    )
    newer(tmp_path / "new" / "b", "max", 50 * MIB)
    newer(tmp_path / "new", "max", 60 * MIB)
    older(tmp_path / "old" / "a" / "b", 0x7FFFFFFFFFFFF000, 50 * MIB)
    older(tmp_path / "old" / "a", 0x7FFFFFFFFFFFF000, 60 * MIB)
    older(tmp_path / "old", 0x7FFFFFFFFFFFF000, 900 * MIB)
    return proc


def newer(folder: Path, limit: str, used: int, files: int = 0, mapped: int = 0, unused: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(
        f"anon 1\ninactive_file {unused}\nactive_file {files}\nfile_mapped {mapped}\nfile_dirty 0\nfile_writeback 0\n"
    )


def older(folder: Path, limit: int, used: int, files: int = 0, mapped: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(
        "inactive_file 1\nactive_file 1\nmapped_file 1\ndirty 1\nwriteback 1\n"
        f"total_inactive_file 0\ntotal_active_file {files}\ntotal_mapped_file {mapped}\ntotal_dirty 0\n"
        "total_writeback 0\n"
    )


def test_a_group_of_any_name_is_one(proc: Path, tmp_path: Path) -> None:
    """The kernel wants no line breaks in it; Python takes more for such, and wants UTF-8."""
    name = b"\xff\xc2\x85 \xe2\x80\xa8:"
    mounted = tmp_path / "a blank"
    newer(mounted / os.fsdecode(name), str(55 * MIB), 50 * MIB)
    (proc / "7" / "cgroup").write_bytes(b"0::/" + name + b"\n")
    folder = str(mounted).replace(" ", "\\040")
    (proc / "self" / "mountinfo").write_text(f"31 23 0:28 / {folder} rw,relatime - cgroup2 cgroup2 rw\n")
    assert memory_room(7, proc) == 5 * MIB


def memory_room(pid: int, proc: Path) -> int | None:
    return min(rooms_of(pid, mounts_of(CONTROLLER, proc), proc).values(), default=None)


def test_no_limit(proc: Path) -> None:
    assert memory_room(7, proc) is None
    require_room([(7, "server", 1 << 30)], proc)


def test_the_nearest_limit_counts(proc: Path, tmp_path: Path) -> None:
    newer(tmp_path / "new" / "b", str(70 * MIB), 50 * MIB)
    assert memory_room(7, proc) == 20 * MIB
    newer(tmp_path / "new", str(64 * MIB), 60 * MIB)
    assert memory_room(7, proc) == 4 * MIB
    older(tmp_path / "old" / "a", 63 * MIB, 60 * MIB)
    assert memory_room(7, proc) == 3 * MIB
    older(tmp_path / "old", 899 * MIB, 900 * MIB)
    assert memory_room(7, proc) == -MIB


@pytest.mark.parametrize("hierarchy", ["new", "old"])
def test_half_of_what_can_be_dropped_is_free(proc: Path, tmp_path: Path, hierarchy: str) -> None:
    if hierarchy == "new":
        newer(tmp_path / "new" / "b", str(50 * MIB), 50 * MIB, files=30 * MIB, mapped=10 * MIB)
    else:
        older(tmp_path / "old" / "a" / "b", 50 * MIB, 50 * MIB, files=30 * MIB, mapped=10 * MIB)
    assert memory_room(7, proc) == 10 * MIB


def test_what_is_mapped_and_long_unused_can_be_dropped(proc: Path, tmp_path: Path) -> None:
    newer(tmp_path / "new" / "b", str(50 * MIB), 50 * MIB, unused=30 * MIB, mapped=30 * MIB)
    assert memory_room(7, proc) == 15 * MIB


def test_the_pages_must_fit_and_some_stay_free(proc: Path, tmp_path: Path) -> None:
    newer(tmp_path / "new" / "b", str(52 * MIB), 50 * MIB)
    require_room([(7, "server", 256)], proc)
    with pytest.raises(NoRoom) as refused:
        require_room([(7, "server", 257)], proc)
    assert refused.value.what == "The memory limit of process 7 (server) leaves no room for probes."
    assert "they take 1,028 KiB, 1,024 KiB more are to stay free, and 2,048 KiB are" in refused.value.why


def test_processes_of_one_cgroup_share_its_room(proc: Path, tmp_path: Path) -> None:
    (proc / "8").mkdir()
    (proc / "8" / "cgroup").write_text("0::/a\n")
    newer(tmp_path / "new", str(64 * MIB), 60 * MIB)
    needs = [(7, "server", 512), (8, "helper", 256)]
    require_room(needs, proc)
    with pytest.raises(NoRoom, match=r"process 8 \(helper\)"):
        require_room([*needs[:1], (8, "helper", 257)], proc)


@pytest.mark.parametrize(
    "cgroup", ["", "0::/elsewhere\n", "0::/ab\n", "0::/../x\n", "4:memory:/a/gone\n"], ids=lambda text: text.strip()
)
def test_what_is_not_to_be_seen_is_not_known(proc: Path, cgroup: str) -> None:
    (proc / "7" / "cgroup").write_text(cgroup)
    assert memory_room(7, proc) is None


def test_a_process_that_has_ended(proc: Path) -> None:
    assert memory_room(8, proc) is None
