"""Files that root makes for whoever typed sudo: theirs, with their rights, and never through a planted link."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.folders import open_to_all
from tracer import ownership
from tracer.errors import OutputFailed
from tracer.output.files import OutputFile
from tracer.privileges import effective_capabilities

CALLER, GROUP, OTHER = 12345, 12346, 54321


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """As root under sudo of user CALLER: a folder like /tmp, whose files only their owners may take away."""
    if os.geteuid() != 0:
        pytest.fail("what root does for others is tested as root (sudo scripts/test)")
    monkeypatch.setenv("SUDO_UID", str(CALLER))
    monkeypatch.setenv("SUDO_GID", str(GROUP))
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    with open_to_all(tmp_path):
        yield shared


def write(path: Path, content: bytes = b"trace") -> None:
    file = OutputFile(path)
    file.write(content)
    file.commit()


def owner(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_uid, status.st_gid


def test_it_is_the_callers_from_the_begin(shared: Path) -> None:
    with OutputFile(shared / "trace"):
        assert owner(shared / "trace.partial") == (CALLER, GROUP)
    os.close(ownership.create_private(shared / "capture"))
    assert owner(shared / "capture") == (CALLER, GROUP)
    assert stat.S_IMODE((shared / "capture").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["trace", "trace.partial"])
def test_a_planted_link_loses_its_name_or_is_refused(shared: Path, tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    planted = shared / name
    planted.symlink_to(victim)
    os.lchown(planted, OTHER, OTHER)
    if name == "trace":
        with pytest.raises(OutputFailed):
            write(shared / "trace")
        assert planted.is_symlink()
    else:
        write(shared / "trace")
        assert (shared / "trace").read_bytes() == b"trace"
    assert victim.read_text() == "precious"
    with pytest.raises(FileExistsError):
        ownership.create_private(planted)


def test_a_folder_is_the_callers(shared: Path, tmp_path: Path) -> None:
    os.close(ownership.create_private_folder(shared / "ring"))
    assert owner(shared / "ring") == (CALLER, GROUP)
    assert stat.S_IMODE((shared / "ring").stat().st_mode) == 0o700
    with pytest.raises(FileExistsError):
        ownership.create_private_folder(shared / "ring")
    (shared / "link").symlink_to(tmp_path)
    with pytest.raises(FileExistsError):
        ownership.create_private_folder(shared / "link")
    folder = ownership.OutputFolder(shared)
    folder.remove_folder("ring")
    folder.remove_folder("ring")
    folder.close()
    assert not (shared / "ring").exists()
    own = tmp_path / "own"  # root's, where the caller cannot write
    own.mkdir(mode=0o755)
    os.close(ownership.create_private_folder(own / "ring"))
    assert owner(own / "ring") == (CALLER, GROUP)


def test_a_folder_that_is_put_in_its_place_stays_whose_it_is(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, others = shared / "mine", shared / "mine" / "others"
    others.mkdir(parents=True)
    os.chown(mine, CALLER, GROUP)
    os.chown(others, OTHER, OTHER)
    others.chmod(0o755)
    mkdir = os.mkdir

    def swapped(name: str, mode: int, *, dir_fd: int) -> None:
        mkdir(name, mode, dir_fd=dir_fd)
        (mine / name).rmdir()
        others.rename(mine / name)

    monkeypatch.setattr(os, "mkdir", swapped)
    with pytest.raises(PermissionError):
        ownership.create_private_folder(mine / "ring")
    assert owner(mine / "ring") == (OTHER, OTHER)
    assert stat.S_IMODE((mine / "ring").stat().st_mode) == 0o755


def test_a_planted_hard_link_is_not_written_to(shared: Path) -> None:
    (shared / "passwords").write_text("precious")
    os.link(shared / "passwords", shared / "trace.partial")
    write(shared / "trace")
    assert (shared / "passwords").read_text() == "precious"


def test_a_folder_that_is_a_link_leads_where_the_callers_rights_do(shared: Path, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (shared / "out").symlink_to(private)
    with pytest.raises(OutputFailed):
        OutputFile(shared / "out" / "trace")
    with pytest.raises(PermissionError):
        ownership.create_private(shared / "out" / "capture")
    assert list(private.iterdir()) == []


def test_a_folder_of_somebody_else(shared: Path) -> None:
    theirs = shared / "theirs"
    theirs.mkdir()
    os.chown(theirs, OTHER, OTHER)
    theirs.chmod(0o755)
    with pytest.raises(OutputFailed):
        OutputFile(theirs / "trace")
    assert list(theirs.iterdir()) == []


@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_roots_own_folder_is_written_as_root(shared: Path, tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "root"
    folder.mkdir()
    folder.chmod(mode)
    (folder / "trace.partial").write_text("of a run that was killed")
    write(folder / "trace")
    assert owner(folder / "trace") == (CALLER, GROUP)
    assert os.listdir(folder) == ["trace"]
    os.close(ownership.create_private(folder / "capture"))
    ownership.remove(folder / "capture")
    assert os.listdir(folder) == ["trace"]


def test_another_folder_put_in_its_place_gets_nothing(shared: Path) -> None:
    folder = shared / "folder"
    folder.mkdir()
    os.chown(folder, CALLER, GROUP)
    file = OutputFile(folder / "trace")
    folder.rename(shared / "moved")
    folder.mkdir()
    file.write(b"trace")
    file.commit()
    assert os.listdir(folder) == []
    assert (shared / "moved" / "trace").read_bytes() == b"trace"


def test_the_rights_of_the_caller_end_with_the_block(shared: Path) -> None:
    before = effective_capabilities(), os.getgroups()
    with ownership.callers_rights():
        status = dict(line.split(":\t", 1) for line in Path("/proc/thread-self/status").read_text().splitlines())
        assert status["Uid"].split() == ["0", "0", "0", str(CALLER)]
        assert status["Groups"].split() == [str(GROUP)]
        assert not int(status["CapEff"], 16) & 0b1111  # CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER
        with pytest.raises(PermissionError):
            os.open("/etc/shadow", os.O_RDONLY)
    assert (effective_capabilities(), os.getgroups()) == before
    os.close(os.open("/etc/shadow", os.O_RDONLY))
