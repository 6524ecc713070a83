"""The tracer beside a program in a container: what the container keeps from it is said, or does not matter."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path

import pytest

from tests.e2e.command import rat
from tests.e2e.test_bad_input import assert_helpful
from tests.e2e.test_rights import THREE, own_folder
from tests.running import Targets
from tracer.errors import ExitCode

__all__ = ["own_folder"]  # a fixture

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

PERF_EVENT_OPEN, BPF = 298, 321
"""Numbers of system calls on x86-64."""

NOEXEC = Path("/proc/sys/vm/memfd_noexec")

REFUSE = """
import ctypes, os, struct, sys
call, error = map(int, sys.argv[1:3])
# A = the call's number; if it is the one: the error, else: allow (linux/filter.h, linux/seccomp.h)
filter = struct.pack("<HBBI HBBI HBBI HBBI", 0x20, 0, 0, 0, 0x15, 0, 1, call,
                     0x06, 0, 0, 0x00050000 | error, 0x06, 0, 0, 0x7FFF0000)
code = ctypes.create_string_buffer(filter, len(filter))
program = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", 4, ctypes.addressof(code)), 16)
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(22, 2, program, 0, 0) == 0, os.strerror(ctypes.get_errno())  # PR_SET_SECCOMP
os.execvp(sys.argv[3], sys.argv[3:])
"""


def refusing(call: int, error: int) -> list[str]:
    """A command that runs another one to which a seccomp profile refuses a system call."""
    return [sys.executable, "-c", REFUSE, str(call), str(error)]


ANOTHER_USER_NAMESPACE = ["unshare", "--user", "--map-root-user"]
WITHOUT_BPF = [
    pytest.param(refusing(BPF, errno.EPERM), "seccomp", id="seccomp"),
    pytest.param(refusing(BPF, errno.ENOSYS), "seccomp", id="seccomp-nosys"),
    pytest.param(ANOTHER_USER_NAMESPACE, "user namespace", id="user-namespace"),
]


@pytest.mark.parametrize(("through", "cause"), WITHOUT_BPF)
def test_bpf_is_refused_although_all_capabilities_are_there(
    targets: Targets, tmp_path: Path, through: list[str], cause: str
) -> None:
    program = targets.path("spin", "release")
    done = rat("-o", tmp_path / "x.pftrace", "--", program, "bare", "1", through=through)
    assert_helpful(done, ExitCode.NO_PERMISSION, "refuses bpf()")
    assert cause in done.err


@pytest.mark.parametrize(("through", "cause"), WITHOUT_BPF)
def test_doctor_says_so_too(through: list[str], cause: str) -> None:
    """... and says nothing about what the kernel has, which it could not ask."""
    done = rat("doctor", "--json", through=through)
    assert done.code == ExitCode.MISSING_DEPENDENCY
    findings = {one["name"]: one for one in json.loads(done.out)["findings"]}
    assert findings["CAP_BPF"]["status"] == "ok"
    assert findings["bpf()"]["status"] == "missing"
    assert cause in findings["bpf()"]["detail"]
    for name in ("uprobe_multi links", "BPF ring buffer", "BPF program"):
        assert findings[name]["status"] == "unknown"


@pytest.mark.parametrize("level", [1, 2])
def test_memory_that_may_not_be_executed_does_not_matter(targets: Targets, tmp_path: Path, level: int) -> None:
    if not NOEXEC.exists():
        pytest.skip("this kernel has no vm.memfd_noexec (Linux 6.3)")
    output, program = tmp_path / "x.ratcap", targets.path("spin", "release")
    confined = ["unshare", "--pid", "--fork", "--mount-proc"]
    beside = f'(echo go; sleep 60) | {program} bare 1000 >/dev/null & sleep 0.5; exec "$@" --pid $!'
    through = [*confined, "sh", "-c", f"echo {level} >{NOEXEC}; {beside}", "sh"]
    done = rat("-o", output, "-d", 0.2, "--format", "capture", through=through)
    assert done.code == 0, done.err
    assert output.stat().st_size > 100_000


def test_a_bound_of_processes_is_said(targets: Targets, own_folder: Path) -> None:
    """Of so many that only the one is missing on which costs are measured."""
    env = {"XDG_CACHE_HOME": str(own_folder / "cache")}
    with targets.run("spin", "release", "bare", "1000") as running:
        running.go()
        arguments = ("--pid", running.pid, "-d", 0.2, "--format", "capture", "-o", own_folder / "x.ratcap")
        done = rat(*arguments, through=THREE, env=env)  # what is compiled once takes no process any more
        assert done.code == 0, done.err
        (own_folder / "x.ratcap").unlink()
        done = rat(*arguments, through=[*THREE, "prlimit", "--nproc=2"], env=env)
    assert_helpful(done, ExitCode.OUTPUT_FAILED, "No more processes may be started")


def test_without_sys(targets: Targets, tmp_path: Path) -> None:
    """BCC compiles, and the number of CPUs is the kernel's."""
    through = ["unshare", "--mount", "sh", "-c", 'umount -l /sys && mount -t tmpfs none /var/cache && exec "$@"', "sh"]
    output = tmp_path / "x.ratcap"
    with targets.run("spin", "release", "bare", "1000") as running:
        running.go()
        for transport in ("auto", "perf"):
            arguments = ("--pid", running.pid, "-d", 0.2, "--format", "capture", "--transport", transport)
            done = rat(*arguments, "-o", output, through=through)
            assert done.code == 0, done.err
            assert output.stat().st_size > 100_000
            output.unlink()
    assert rat("doctor", through=through).code == 0


def test_perf_buffers_where_no_memory_may_be_locked(targets: Targets, own_folder: Path) -> None:
    """... but what kernel.perf_event_mlock_kb lets every user have."""
    output = own_folder / "x.ratcap"
    with targets.run("spin", "release", "bare", "1000") as running:
        running.go()
        arguments = ("--pid", running.pid, "-d", 0.2, "--format", "capture", "--transport", "perf", "-o", output)
        done = rat(*arguments, through=[*THREE, "prlimit", "--memlock=0"])
        assert done.code == 0, done.err
        assert output.stat().st_size > 100_000
        output.unlink()
        done = rat(*arguments, through=refusing(PERF_EVENT_OPEN, errno.EPERM))
    assert_helpful(done, ExitCode.NO_PERMISSION, "refuses perf_event_open()", "seccomp")


def test_nowhere_to_write_a_file_for_a_moment(targets: Targets) -> None:
    """... of a program that was never compiled here."""
    read_only = 'mount --bind "$at" "$at" && mount -o remount,bind,ro "$at" || exit 99'
    hidden = "mount -t tmpfs -o ro none /var/cache"
    script = f'cd /; for at in / /tmp /var/tmp; do {read_only}; done; {hidden}; exec "$@"'
    through = ["unshare", "--mount", "sh", "-c", script, "sh"]
    with targets.run("spin", "release", "bare", "1000") as running:
        done = rat("--pid", running.pid, "-o", "/dev/shm/x.pftrace", through=through)
        assert_helpful(done, ExitCode.OUTPUT_FAILED, "no folder for temporary files")
        assert "TMPDIR=" in done.err
    done = rat("doctor", through=through)
    assert done.code == ExitCode.MISSING_DEPENDENCY
    assert "no folder for temporary files" in done.out
    assert "TMPDIR=" in done.out


def test_too_little_memory_before_anything_is_recorded(targets: Targets, tmp_path: Path) -> None:
    with targets.run("spin", "release", "bare", "1000") as running:
        done = rat("--pid", running.pid, "-o", tmp_path / "x.pftrace", through=["prlimit", f"--as={150 << 20}"])
    assert_helpful(done, ExitCode.OUTPUT_FAILED, "not enough memory")
    assert "ulimit -v" in done.err
    assert "shorter time" not in done.err
