"""Programs that wait before their exec."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracer.errors import NotTraceable, PermissionMissing, RatError, UsageError
from tracer.target.launch import caller_account, launch
from tracer.target.process import TargetProcess


def shell(script: str, *arguments: str) -> list[str]:
    return ["/bin/sh", "-c", script, "sh", *arguments]


def test_it_waits_until_it_is_released(tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    with launch(shell('echo "$$" > "$1"; exit 7', str(proof))) as program:
        assert program.executable == Path("/bin/sh").resolve()
        assert program.wait(0.05) is None
        assert not proof.exists()
        program.release()
        assert program.wait(5) == 7
        assert proof.read_text() == f"{program.pid}\n"
        assert program.poll() == program.wait() == 7


def test_release_returns_after_the_exec() -> None:
    with launch(["sleep", "60"]) as program:
        assert TargetProcess.open(program.pid).executable != str(program.executable)
        program.release()
        process = TargetProcess.open(program.pid)
        assert process.executable == str(program.executable)
        assert process.command == ("sleep", "60")
        os.kill(program.pid, signal.SIGTERM)
        assert program.wait(5) == 128 + signal.SIGTERM


def test_leaving_before_release_runs_nothing(tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    with launch(["touch", str(proof)]) as program:
        pass
    assert not proof.exists()
    assert not Path(f"/proc/{program.pid}").exists()


def test_leaving_after_release_leaves_it_running() -> None:
    with launch(["sleep", "60"]) as program:
        program.release()
    process = TargetProcess.open(program.pid)
    assert process.is_alive()
    os.kill(program.pid, signal.SIGKILL)
    assert program.wait(5) == 128 + signal.SIGKILL


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_the_end_of_the_tracer_ends_a_waiting_child(tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    read, write = os.pipe()
    tracer = os.fork()
    if tracer == 0:
        program = launch(["touch", str(proof)])
        os.write(write, str(program.pid).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(tracer, 0)
    child = int(os.read(read, 20))
    os.close(read)
    os.close(write)
    deadline = time.monotonic() + 5
    while Path(f"/proc/{child}/exe").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert not Path(f"/proc/{child}/exe").exists()
    assert not proof.exists()


def test_it_is_not_stopped_or_traced() -> None:
    with launch(["sleep", "60"]) as program:
        status = Path(f"/proc/{program.pid}/status").read_text()
        assert "TracerPid:\t0" in status
        assert "State:\tT" not in status


def test_a_waiting_child_that_is_killed() -> None:
    with launch(["sleep", "60"]) as program:
        os.kill(program.pid, signal.SIGKILL)
        assert program.wait(5) == 128 + signal.SIGKILL
        with pytest.raises(RatError, match="ended before it started") as caught:
            program.release()
        assert "SIGKILL" in caught.value.why


def test_its_signals_are_as_without_the_tracer(tmp_path: Path) -> None:
    """Handlers are gone, and what Python ignores for itself (SIGPIPE) is not."""
    proof = tmp_path / "status"
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        with launch(["cp", "/proc/self/status", str(proof)]) as program:
            program.release()
            assert program.wait(5) == 0
    finally:
        signal.signal(signal.SIGINT, before)
    lines = dict(line.split(":\t", 1) for line in proof.read_text().splitlines())
    # A shell's background job ignores some: so does what it starts.
    others = signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}
    ignored = sum(1 << one - 1 for one in others if signal.getsignal(one) is signal.SIG_IGN)
    assert (int(lines["SigBlk"], 16), int(lines["SigIgn"], 16)) == (0, ignored)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may write to; pytest's own are for one user."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


@pytest.fixture
def under_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    """As root with sudo's variables of the user `daemon`."""
    assert os.geteuid() == 0, "run the tests as root: sudo scripts/test"
    entry = pwd.getpwnam("daemon")
    for name, value in {
        "SUDO_UID": str(entry.pw_uid),
        "SUDO_GID": str(entry.pw_gid),
        "SUDO_USER": "daemon",
        "SUDO_COMMAND": "/usr/local/bin/rat-ebpf",
        "HOME": "/root",
        "KEPT": "as it was",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("under_sudo")
def test_as_the_user_behind_sudo(open_folder: Path) -> None:
    entry = pwd.getpwnam("daemon")
    proof = open_folder / "who"
    script = '{ id -un; id -Gn; echo "$HOME $USER $LOGNAME $KEPT"; env | grep -c ^SUDO_; } > "$1"'
    with launch(shell(script, str(proof))) as program:
        assert Path(f"/proc/{program.pid}").stat().st_uid in (0, entry.pw_uid)
        program.release()
        assert program.wait(5) == 1  # grep finds nothing
    expected = ["daemon", "daemon", f"{entry.pw_dir} daemon daemon as it was", "0"]
    assert proof.read_text().splitlines() == expected
    assert proof.stat().st_uid == entry.pw_uid


@pytest.mark.usefixtures("under_sudo")
def test_a_file_that_only_root_may_execute(open_folder: Path) -> None:
    program = open_folder / "program"
    shutil.copy("/bin/true", program)
    program.chmod(0o700)
    with pytest.raises(PermissionMissing, match="may not be executed"):
        launch([str(program)])


@pytest.mark.usefixtures("under_sudo")
def test_a_user_without_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SUDO_UID": "54321", "SUDO_GID": "54322", "SUDO_USER": "gone"}.items():
        monkeypatch.setenv(name, value)
    account = caller_account()
    assert (account.uid, account.gid, account.name, account.groups) == (54321, 54322, "gone", (54322,))


def test_without_sudo_nobody_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)
    assert caller_account().uid is None


@pytest.mark.parametrize(
    ("content", "mode", "kind", "words"),
    [
        (None, 0, UsageError, "no file"),
        (b"#!/bin/sh -e\nexit 0\n", 0o755, NotTraceable, "script for /bin/sh -e"),
        (b"\x7fELF and then nothing", 0o644, PermissionMissing, "may not be executed"),
        (b"\x7fELF and then nothing", 0o755, NotTraceable, "not a program"),
    ],
)
def test_files_that_are_no_program(
    tmp_path: Path, content: bytes | None, mode: int, kind: type[RatError], words: str
) -> None:
    path = tmp_path / "program"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)

    def start() -> None:
        with launch([str(path)]) as program:
            program.release()

    with pytest.raises(kind, match=words) as caught:
        start()
    assert caught.value.fix


def test_a_name_that_is_not_in_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="in PATH"):
        launch(["no-such-program"])
    (tmp_path / "here").write_bytes(b"")
    with pytest.raises(UsageError) as caught:
        launch(["here"])
    assert caught.value.fix == "rat-ebpf -- ./here"
    with pytest.raises(UsageError, match="folder"):
        launch([str(tmp_path)])


def test_no_descriptor_is_left_open() -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = count()
    for _ in range(3):
        with launch(["true"]) as program:
            program.release()
            program.wait()
        with launch(["true"]):
            pass
    assert count() == before
