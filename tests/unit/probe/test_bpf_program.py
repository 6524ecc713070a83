"""What is said when BCC or rights are missing; what is kept of a compiled program."""

from __future__ import annotations

import errno
import os
import sys
import zlib
from pathlib import Path
from types import ModuleType

import pytest

from tracer.errors import AttachFailed, MissingDependency
from tracer.probe import bpf_program
from tracer.probe.bpf_program import BpfProgram
from tracer.probe.compiled import Compiled, KeptPrograms, MapShape, with_maps
from tracer.probe.permission import missing_capabilities
from tracer.probe.sources import bpf_folder
from tracer.target.own_files import OwnFiles


def test_without_bcc_the_distributions_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bcc", None)
    with pytest.raises(MissingDependency) as caught:
        BpfProgram(bpf_folder() / "poll.c", {}, tmp_path)
    assert "python3-bpfcc" in caught.value.fix
    assert "PyPI" in caught.value.why


def test_another_package_of_that_name_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bcc", ModuleType("bcc"))
    with pytest.raises(MissingDependency, match="not BCC") as caught:
        BpfProgram(bpf_folder() / "poll.c", {}, tmp_path)
    assert "pip uninstall bcc" in caught.value.fix


CODE = bytes.fromhex("1811000007000000 0000000000000000 1802000007000000 0000000018110000 9500000000000000")
"""r1 = the map 7; r2 = a number whose upper half looks like that; exit."""
KEPT = Compiled((MapShape("probes", 2, 4, 56, 1, 0),), {"at_entry": CODE})
NAME = "ab" * 32


@pytest.mark.parametrize("rooms", [{}, {Path("/sys/fs/cgroup/small"): 4096, Path("/sys/fs/cgroup"): 1 << 30}])
def test_the_memory_limit_of_the_cgroup_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rooms: dict[Path, int]
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(bpf_program, "compiled_program", lambda *_: KEPT)
    monkeypatch.setattr(bpf_program, "create_map", refuse)
    monkeypatch.setattr(bpf_program, "rooms_of", lambda *_: rooms)
    with pytest.raises(AttachFailed) as caught:
        BpfProgram(bpf_folder() / "poll.c", {}, tmp_path)
    assert "map probes" in caught.value.why
    assert f"memory limit of {'/sys/fs/cgroup/small' if rooms else 'the cgroup'}" in caught.value.why
    assert "memory" in caught.value.fix


def test_maps_are_renumbered_and_nothing_else() -> None:
    expected = bytearray(CODE)
    expected[4] = 9
    assert with_maps(CODE, {7: 9}) == expected
    with pytest.raises(KeyError):
        with_maps(CODE, {6: 9})
    with pytest.raises(ValueError, match="more than maps"):
        with_maps(b"\x18\x31" + CODE[2:], {7: 9})


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    kept = KeptPrograms(OwnFiles(tmp_path, ".bpf"))
    assert kept.load(NAME) is None
    kept.store(NAME, KEPT)
    assert kept.load(NAME) == KEPT
    assert kept.load("cd" * 32) is None


@pytest.mark.parametrize("damage", ["cut", "text", "other", "writable", "link"])
def test_what_is_damaged_or_could_be_anothers_is_not_believed(tmp_path: Path, damage: str) -> None:
    kept = KeptPrograms(OwnFiles(tmp_path, ".bpf"))
    kept.store(NAME, KEPT)
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    if damage == "cut":
        file.write_bytes(content[:-3])
    elif damage == "text":
        file.write_bytes(zlib.compress(b"[[[1, 2]], {}]"))
    elif damage == "other":
        file.write_bytes(zlib.compress(b'[[], {"at_entry": "?"}]'))
    elif damage == "writable":
        file.chmod(0o666)
    else:
        file.rename(tmp_path / "elsewhere")
        file.symlink_to(tmp_path / "elsewhere")
    assert kept.load(NAME) is None


@pytest.mark.parametrize(
    ("effective", "missing"),
    [
        ("000001ffffffffff", []),
        ("0000000000000000", ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE"]),
        ("000000c000080000", []),
        ("0000000000200000", ["CAP_SYS_PTRACE"]),
        ("0000008000080000", ["CAP_PERFMON"]),
    ],
)
def test_missing_capabilities(tmp_path: Path, effective: str, missing: list[str]) -> None:
    status = tmp_path / "status"
    status.write_text(f"Name:\tcat\nCapPrm:\t{effective}\nCapEff:\t{effective}\n", encoding="ascii")
    assert missing_capabilities(status) == missing
