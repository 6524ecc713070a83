"""A user with three capabilities records as root does, and is told what is missing where they do not suffice."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command import rat
from tests.e2e.test_bad_input import assert_helpful
from tests.e2e.test_truth import assert_counts, traced
from tests.e2e.trace import functions_of
from tests.running import Targets
from tracer.errors import ExitCode

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

USER = 61234
"""No entry in /etc/passwd, no home."""

CAPTURE = Path(__file__).parents[1] / "golden" / "format-1.ratcap"
PROGRAM, PROFILE = "tokio_multi", "release-debug"


def with_rights(*capabilities: str) -> list[str]:
    """A command that runs another one as USER with these capabilities and no more."""
    setpriv = shutil.which("setpriv")
    assert setpriv is not None
    chosen = "".join(f",+{name}" for name in capabilities)
    sets = [f"--{name}=-all{chosen}" for name in ("inh-caps", "ambient-caps", "bounding-set")]
    return [setpriv, f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *sets]


THREE = with_rights("bpf", "perfmon", "sys_ptrace")


@pytest.fixture
def own_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rights-") as folder:
        os.chown(folder, USER, USER)
        yield Path(folder)


@pytest.mark.parametrize("transport", ["ring", "perf"])
def test_three_capabilities_are_as_good_as_root(targets: Targets, own_folder: Path, transport: str) -> None:
    """... without a home, so that nothing is kept between runs.  The target is root's."""
    output = own_folder / "trace.pftrace"
    with targets.run(PROGRAM, PROFILE) as running:
        options = ("--transport", transport)
        trace, result = traced(running, output, *options, through=THREE, env={"HOME": "/nonexistent"})
    assert result.returncode == 0
    assert assert_counts(trace, result, functions_of(targets.path(PROGRAM, PROFILE))) > 5
    assert trace.notes() == {}
    assert (output.stat().st_uid, output.stat().st_gid) == (USER, USER)
    assert [path.name for path in own_folder.iterdir()] == [output.name]


def test_what_was_found_is_kept_in_the_users_own_cache(targets: Targets, own_folder: Path) -> None:
    env = {"XDG_CACHE_HOME": str(own_folder / "cache")}
    with targets.run(PROGRAM, PROFILE) as running:
        for _ in range(2):
            done = rat("list", running.pid, "--json", through=THREE, env=env)
            assert done.code == 0, done.err
        assert json.loads(done.out) == json.loads(rat("list", running.pid, "--json").out)
    kept = list((own_folder / "cache" / "rat-ebpf").glob("*.bin"))
    assert [path.stat().st_uid for path in kept] == [USER]


@pytest.mark.parametrize("lacking", ["bpf", "perfmon", "sys_ptrace"])
def test_which_capability_is_missing_and_what_to_type(targets: Targets, own_folder: Path, lacking: str) -> None:
    there = {"bpf", "perfmon", "sys_ptrace"} - {lacking}
    with targets.run(PROGRAM, PROFILE) as running:
        arguments = ("--pid", running.pid, "-o", own_folder / "trace.pftrace")
        done = rat(*arguments, through=with_rights(*there))
    assert_helpful(done, ExitCode.NO_PERMISSION, f"CAP_{lacking.upper()}")
    assert "sudo rat-ebpf --pid " + str(running.pid) in done.err


def test_a_program_that_only_root_may_read(targets: Targets, own_folder: Path) -> None:
    """Its memory could be read with CAP_SYS_PTRACE, its file cannot."""
    secret = own_folder / "secret"
    shutil.copy(targets.path(PROGRAM, PROFILE), secret)
    secret.chmod(stat.S_IRWXU)
    with targets.start(secret) as running:
        arguments = ("--pid", running.pid, "-o", own_folder / "trace.pftrace", "-d", "1")
        done = rat(*arguments, through=THREE)
    assert_helpful(done, ExitCode.NO_PERMISSION, "CAP_DAC_READ_SEARCH")
    assert f"sudo rat-ebpf --pid {running.pid} -o {own_folder}/trace.pftrace -d 1" in done.err


def test_an_output_folder_that_may_not_be_entered(targets: Targets, own_folder: Path) -> None:
    own_folder.chmod(0o700)
    os.chown(own_folder, 0, 0)
    with targets.run(PROGRAM, PROFILE) as running:
        done = rat("--pid", running.pid, "-o", own_folder / "x.pftrace", through=THREE)
    assert_helpful(done, ExitCode.OUTPUT_FAILED, "you may not enter its folder")


@pytest.mark.parametrize("is_roots", [False, True], ids=["in-their-folder", "in-roots-folder"])
def test_under_sudo_a_trace_is_the_callers_wherever_it_is_made(own_folder: Path, is_roots: bool) -> None:
    """Rights are given up before the capture is read; what is left must do for both."""
    if is_roots:
        own_folder.chmod(0o700)
        os.chown(own_folder, 0, 0)
    capture = own_folder / "old.ratcap"
    shutil.copy(CAPTURE, capture)
    env = {"SUDO_UID": str(USER), "SUDO_GID": str(USER)}
    done = rat("convert", capture, env=env)
    assert done.code == 0, done.err
    made = (own_folder / "old.pftrace").stat()
    assert (made.st_uid, made.st_gid, stat.S_IMODE(made.st_mode)) == (USER, USER, 0o644)
    assert sorted(path.name for path in own_folder.iterdir()) == ["old.pftrace", "old.ratcap"]
    assert rat("report", own_folder / "old.pftrace", env=env).code == 0
