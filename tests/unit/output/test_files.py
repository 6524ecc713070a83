"""An output file is there whole under its name, or not at all."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tracer.commands.outputs import output_path
from tracer.errors import ExitCode, OutputFailed
from tracer.output.files import OutputFile


def test_it_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text("older")
    file = OutputFile(path)
    file.write(b"new ")
    assert path.read_text() == "older"
    assert stat.S_IMODE((tmp_path / "trace.partial").stat().st_mode) == 0o600
    file.write(memoryview(b"content"))
    file.commit()
    assert path.read_text() == "new content"
    assert file.size == len("new content")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(tmp_path) == ["trace"]


def test_abort_leaves_nothing(tmp_path: Path) -> None:
    with OutputFile(tmp_path / "trace") as file:
        file.write(b"something")
    assert os.listdir(tmp_path) == []


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "trace.partial").symlink_to(victim)
    with OutputFile(tmp_path / "trace") as file:
        file.write(b"x" * 100)
        file.commit()
    assert victim.read_text() == "precious"
    assert not (tmp_path / "trace").is_symlink()


@pytest.mark.parametrize("is_link", [False, True], ids=["itself", "link"])
def test_a_device_keeps_its_name(tmp_path: Path, is_link: bool) -> None:
    """`-o /dev/null` as root would put a file in the device's place, for the whole machine."""
    device = tmp_path / "pipe"
    os.mkfifo(device)
    named = device
    if is_link:
        named = tmp_path / "link"
        named.symlink_to(device)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(OutputFailed) as caught:
        OutputFile(named)
    assert "pipe" in caught.value.why
    assert stat.S_ISFIFO(device.lstat().st_mode)
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(("name", "why"), [("no/such/trace", "does not exist"), ("", "folder")])
def test_the_error_says_why(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(OutputFailed) as caught:
        OutputFile(tmp_path / name)
    assert why in caught.value.why
    assert caught.value.fix
    assert caught.value.code is ExitCode.OUTPUT_FAILED


@pytest.mark.parametrize("size", [20_000, 200_000], ids=["at the end", "at once"])
def test_a_limit_on_the_size(tmp_path: Path, size: int) -> None:
    """A file that must not grow: said, whenever it is found, and nothing stays behind."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))

    def write() -> None:
        file = OutputFile(tmp_path / "trace")
        file.write(bytes(size))
        file.commit()

    try:
        with pytest.raises(OutputFailed, match="cannot write"):
            write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []


FILL_THE_DISK = """
import os, sys
from pathlib import Path
from tracer.commands.outputs import output_path
from tracer.errors import OutputFailed
from tracer.output.files import OutputFile
folder = Path(sys.argv[1])
file = OutputFile(folder / "trace")
try:
    for _ in range(1000):
        file.write(bytes(10_000))
except OutputFailed as error:
    print(error.why, os.listdir(folder))
"""


def test_a_full_disk(tmp_path: Path) -> None:
    """A real file system of 200 KB, in a mount namespace of its own."""
    command = f'mount -t tmpfs -o size=200k none "{tmp_path}" && exec "{sys.executable}" -c "$0" "{tmp_path}"'
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    run = subprocess.run(
        ["unshare", *user, "--mount", "sh", "-c", command, FILL_THE_DISK],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert run.stdout == "the disk is full []\n"


def test_under_sudo_it_belongs_to_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root with sudo's variables; anybody else keeps what is theirs."""
    monkeypatch.setenv("SUDO_UID", "12345")
    monkeypatch.setenv("SUDO_GID", "12346")
    file = OutputFile(tmp_path / "trace")
    file.commit()
    status = (tmp_path / "trace").stat()
    expected = (12345, 12346) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    assert (status.st_uid, status.st_gid) == expected


@pytest.mark.parametrize("target", ["/proc/self/fd/1", "streams/1"])
def test_a_link_to_a_stream_is_left_alone(tmp_path: Path, target: str) -> None:
    (tmp_path / "streams").symlink_to("/proc/self/fd")
    path = tmp_path / "stdout"
    path.symlink_to(target)
    with pytest.raises(OutputFailed, match="cannot write"):
        OutputFile(path)
    with pytest.raises(OutputFailed, match="device, pipe or socket"):
        output_path(path, ".pftrace", "x", 1)
    assert path.is_symlink()


def test_a_link_to_a_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "yesterday").write_text("kept")
    (tmp_path / "latest").symlink_to("yesterday")
    with OutputFile(output_path(tmp_path / "latest", ".pftrace", "x", 1)) as file:
        file.commit()
    assert not (tmp_path / "latest").is_symlink()
    assert (tmp_path / "yesterday").read_text() == "kept"
