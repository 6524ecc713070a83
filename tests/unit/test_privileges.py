"""What reads files that others made has no rights, and can do nothing but answer."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.folders import open_to_all
from tracer.errors import NotTraceable, TwinRefused
from tracer.privileges import Capability, effective_capabilities, landlock_version, run_without_privileges

ROOT = Path(__file__).parents[2]
CALLER, GROUP = 12345, 12346

GIVING_UP = """
import sys
from pathlib import Path
from tracer.privileges import give_up_privileges
reads, own, other = map(Path, sys.argv[1:])
import numpy  # which has threads of its own
give_up_privileges(reads=reads, writes_to=own)
numpy.ones((500, 500)) @ numpy.ones((500, 500))
threads = [path.read_text() for path in Path("/proc/self/task").glob("*/status")]
assert len({text[text.index("CapInh"):text.index("Speculation")] for text in threads}) == 1, threads
status = dict(line.split(":\\t") for line in Path("/proc/self/status").read_text().splitlines() if ":\\t" in line)
def may(action):
    try:
        action()
    except OSError:
        return 0
    return 1
print(status["Uid"].split()[1], status["Gid"].split()[1], status["CapPrm"], status["NoNewPrivs"],
      may(reads.read_bytes), may((own / "new").touch), may((other / "new").touch), may((own / "new").unlink))
"""


@pytest.fixture(autouse=True)
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.fail("what root gives up is tested as root (sudo scripts/test)")
    monkeypatch.delenv("SUDO_UID", raising=False)


@pytest.fixture
def open_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that everybody may write."""
    made = tmp_path / "open"
    made.mkdir()
    made.chmod(0o777)
    with open_to_all(tmp_path):
        yield made


def status_here() -> dict[str, str]:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return dict(line.split(":\t") for line in lines if ":\t" in line)


def in_child(action: Callable[[], object]) -> str:
    return run_without_privileges(lambda: str(action()).encode()).decode()


def may(action: Callable[[], object]) -> bool:
    try:
        action()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("left", ["+bpf,+perfmon,+sys_ptrace", "+setuid,+setgid", "+setgid", "+setuid"])
def test_in_a_container_root_may_lack_any_right(left: str) -> None:
    """As of `--cap-drop=all --cap-add=…`: it reads as who it is, and leaves no process behind."""
    code = (
        "import os\n"
        "from tracer.privileges import run_without_privileges\n"
        "print(run_without_privileges(lambda: str(os.getresuid()).encode()).decode())\n"
        "try:\n"
        "    os.waitpid(-1, 0)\n"
        "except ChildProcessError:\n"
        "    print('none left')\n"
    )
    command = ["setpriv", f"--bounding-set=-all,{left}", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    nobody = pwd.getpwnam("nobody").pw_uid
    user = nobody if left == "+setuid,+setgid" else 0
    assert (done.stdout, done.returncode) == (f"({user}, {user}, {user})\nnone left\n", 0), done.stderr


def test_the_child_is_nobody_without_capabilities() -> None:
    before = effective_capabilities()
    keys = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs")
    user, group, groups, *capabilities, cannot_gain = run_without_privileges(
        lambda: "|".join(status_here()[key].strip() for key in keys).encode()
    ).split(b"|")
    nobody = pwd.getpwnam("nobody")
    assert user.split() == [str(nobody.pw_uid).encode()] * 4
    assert group.split() == [str(nobody.pw_gid).encode()] * 4
    assert groups == b""
    assert set(capabilities) == {b"0000000000000000"}
    assert cannot_gain == b"1"
    assert effective_capabilities() == before
    assert os.geteuid() == 0


def test_nothing_is_open_in_the_child(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w", encoding="ascii"):
        opened = in_child(lambda: len(os.listdir("/proc/self/fd")))
    assert opened == "5"  # the standard ones, its answer's, and the one that lists them


def test_under_sudo_the_child_is_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", str(CALLER))
    monkeypatch.setenv("SUDO_GID", str(GROUP))
    assert in_child(lambda: (os.getresuid(), os.getresgid())) == str(((CALLER,) * 3, (GROUP,) * 3))


def test_whoever_cannot_read_our_code_stays_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert in_child(lambda: (os.geteuid(), effective_capabilities())) == "(0, 0)"


def test_the_child_changes_nothing(open_folder: Path) -> None:
    kept = open_folder / "kept"
    kept.write_text("precious", encoding="ascii")
    kept.chmod(0o666)
    actions = ((open_folder / "new").touch, lambda: kept.write_text("lost"), kept.unlink)
    confined = landlock_version() > 0
    for action in actions if confined else ():
        assert in_child(lambda action=action: may(action)) == "False"  # type: ignore[misc]
    assert kept.read_text(encoding="ascii") == "precious"
    closed = open_folder.parent / "closed"
    closed.mkdir(mode=0o755)
    assert in_child(lambda: may((closed / "new").touch)) == "False"


@pytest.mark.skipif(landlock_version() < 6, reason="the kernel's Landlock knows of no network and no signals")
def test_the_child_reaches_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        assert may(lambda: socket.create_connection(address).close())
        assert in_child(lambda: may(lambda: socket.create_connection(address).close())) == "False"
    assert in_child(lambda: may(lambda: subprocess.run(["/bin/true"], check=True))) == "False"
    nobodys = subprocess.Popen(["/bin/sleep", "60"], user=pwd.getpwnam("nobody").pw_uid)
    try:
        assert in_child(lambda: may(lambda: os.kill(nobodys.pid, 0))) == "False"
    finally:
        nobodys.kill()
        nobodys.wait()


def refuse() -> bytes:
    raise TwinRefused("It is not.", why="It differs.", fix="build it")


def test_its_errors_are_ours() -> None:
    with pytest.raises(TwinRefused) as caught:
        run_without_privileges(refuse)
    assert (caught.value.what, caught.value.why, caught.value.fix) == ("It is not.", "It differs.", "build it")
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        run_without_privileges(lambda: bytes(1 // 0))
    with pytest.raises(MemoryError):
        run_without_privileges(lambda: bytes(1 << 60))


def test_an_end_without_an_answer_is_said() -> None:
    def crash() -> bytes:
        os.kill(os.getpid(), signal.SIGUSR1)
        return b""

    with pytest.raises(NotTraceable) as caught:
        run_without_privileges(crash)
    assert "SIGUSR1" in caught.value.why


def test_a_large_answer_arrives_whole() -> None:
    assert run_without_privileges(lambda: b"12345678" * (1 << 20)) == b"12345678" * (1 << 20)


def test_no_answer_is_endless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracer.privileges.MAX_ANSWER", 1 << 20)
    with pytest.raises(NotTraceable):
        run_without_privileges(lambda: bytes(1 << 24))


def given_up(reads: Path, own: Path, other: Path, sudo: bool) -> list[str]:
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    env |= {"SUDO_UID": str(CALLER), "SUDO_GID": str(GROUP)} if sudo else {}
    command = [sys.executable, "-c", GIVING_UP, *map(str, (reads, own, other))]
    done = subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("sudo", "in_own", "expected"),
    [
        (True, False, [str(CALLER), str(GROUP), "0000000000000000"]),
        (True, True, ["0", "0", f"{sum(1 << c for c in (0, 1, 6, 7)):016x}"]),
        (False, False, ["0", "0", f"{1 << Capability.DAC_OVERRIDE | 1 << Capability.FOWNER:016x}"]),
    ],
    ids=["sudo", "sudo-into-roots-folder", "root"],
)
def test_whoever_writes_the_trace_writes_nothing_else(
    open_folder: Path, sudo: bool, in_own: bool, expected: list[str]
) -> None:
    own, other = open_folder / "own", open_folder / "other"
    for folder in (own, other):
        folder.mkdir()
        folder.chmod(0o700 if in_own and folder is own else 0o777)
    reads = own / "capture"
    reads.touch()
    elsewhere = "0" if landlock_version() else "1"
    assert given_up(reads, own, other, sudo) == [*expected, "1", "1", "1", elsewhere, "1"]
