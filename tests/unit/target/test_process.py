"""TargetProcess on real processes: this one, children, threads, a zombie, a kernel thread."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tracer.errors import NoSuchProcess, NotTraceable, PermissionMissing
from tracer.target.elf import open_elf
from tracer.target.memory_map import bias_from_auxiliary_vector
from tracer.target.process import Stat, TargetProcess, read_clocks

NOBODY = 65534


@contextmanager
def running(*command: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def state_of(pid: int) -> str:
    return Stat.parse(Path(f"/proc/{pid}/stat").read_bytes()).state


def test_itself() -> None:
    process = TargetProcess.open(os.getpid())
    assert process.executable == os.path.realpath(sys.executable)
    assert process.exe_path.samefile(sys.executable)
    assert process.root_path.samefile("/")
    assert process.command[0]
    assert not process.is_deleted
    assert process.is_alive()
    assert process.runs_same_image()


def test_a_child_until_after_its_end() -> None:
    with running("/bin/sleep", "60") as child:
        until(lambda: Path(f"/proc/{child.pid}/cmdline").read_bytes().startswith(b"/bin/sleep\0"))
        process = TargetProcess.open(child.pid)
        assert (process.name, process.command) == ("sleep", ("/bin/sleep", "60"))
        child.kill()
        until(lambda: state_of(child.pid) == "Z")
        assert not process.is_alive()
        with pytest.raises(NoSuchProcess):
            process.maps()
        with pytest.raises(NoSuchProcess):
            process.threads()
        with pytest.raises(NotTraceable, match="zombie"):
            TargetProcess.open(child.pid)
        child.wait()
        assert not process.is_alive()
        assert not process.runs_same_image()
        for look in (process.maps, process.threads, process.cpu_time_ns):
            with pytest.raises(NoSuchProcess):
                look()
    with pytest.raises(NoSuchProcess, match="no process"):
        TargetProcess.open(child.pid)


def test_another_process_of_the_same_number_is_another_one() -> None:
    process = TargetProcess.open(os.getpid())
    earlier = replace(process, start_time=process.start_time - 1)
    assert not earlier.is_alive()
    assert not earlier.runs_same_image()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain", b"7 (plain) S 1 7 7 0 -1 4194560 0 0 0 0 5 6 0 0 20 0 3 0 900 1000 2 3 4096 9 8192 "),
        ("a) R (b", b"7 (a) R (b) S 1 7 7 0 -1 4194560 0 0 0 0 5 6 0 0 20 0 3 0 900 1000 2 3 4096 9 8192 "),
        ("new\nline", b"7 (new\nline) S 1 7 7 0 -1 4194560 0 0 0 0 5 6 0 0 20 0 3 0 900 1000 2 3 4096 9 8192 "),
        ("\ufffd", b"7 (\xff) S 1 7 7 0 -1 4194560 0 0 0 0 5 6 0 0 20 0 3 0 900 1000 2 3 4096 9 8192 "),
    ],
)
def test_the_name_in_stat_may_hold_anything(name: str, text: bytes) -> None:
    expected = Stat(
        pid=7, name=name, state="S", flags=4194560, threads=3, start_time=900, start_code=4096, start_stack=8192
    )
    assert Stat.parse(text) == expected


def test_a_process_with_parentheses_in_its_name(tmp_path: Path) -> None:
    odd = tmp_path / "a) R 1 (b"
    shutil.copy("/bin/sleep", odd)
    with running(odd, "60") as child:
        until(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "a) R 1 (b\n")
        process = TargetProcess.open(child.pid)
        assert process.name == "a) R 1 (b"
        assert process.executable == str(odd)
        assert process.is_alive()


def test_a_deleted_executable(tmp_path: Path) -> None:
    program = tmp_path / "program"
    shutil.copy("/bin/sleep", program)
    with running(program, "60") as child:
        until(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "program\n")
        program.unlink()
        process = TargetProcess.open(child.pid)
        assert process.executable == str(program)
        assert process.is_deleted
        assert process.exe_path.read_bytes() == Path("/bin/sleep").read_bytes()
        assert str(program) in {mapping.path for mapping in process.maps()}
        with open_elf(process.exe_path) as image:
            bias = process.load_bias(image)
            assert bias == bias_from_auxiliary_vector(Path(f"/proc/{child.pid}/auxv").read_bytes(), image.data)


def test_an_executable_that_is_called_deleted(tmp_path: Path) -> None:
    program = tmp_path / "program (deleted)"
    shutil.copy("/bin/sleep", program)
    with running(program, "60") as child:
        until(lambda: Path(f"/proc/{child.pid}/comm").read_text().startswith("program"))
        process = TargetProcess.open(child.pid)
        assert process.executable == str(program)
        assert not process.is_deleted


def test_in_another_mount_namespace(tmp_path: Path) -> None:
    """As in a container: the path that the process has does not exist here."""
    assert os.geteuid() == 0, "run the tests as root: sudo scripts/test"
    program = tmp_path / "sleep"
    script = f"mount -t tmpfs none {tmp_path} && cp /bin/sleep {tmp_path} && exec {program} 60"
    with running("unshare", "--mount", "/bin/sh", "-c", script) as child:
        until(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "sleep\n")
        process = TargetProcess.open(child.pid)
        assert process.executable == str(program)
        assert not program.exists()
        assert not process.is_deleted
        assert (process.root_path / program.relative_to("/")).samefile(process.exe_path)
        with open_elf(process.exe_path) as image:
            bias = process.load_bias(image)
            assert bias == bias_from_auxiliary_vector(Path(f"/proc/{child.pid}/auxv").read_bytes(), image.data)


def test_an_exec_is_noticed() -> None:
    with running("/bin/sh", "-c", "read line; exec sh -c 'read line'") as child:
        until(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "sh\n")
        process = TargetProcess.open(child.pid)
        assert process.runs_same_image()
        assert child.stdin is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
        until(lambda: not process.runs_same_image())
        assert process.is_alive()


def test_a_thread_is_no_process() -> None:
    inside, done = threading.Event(), threading.Event()

    def body() -> None:
        inside.set()
        done.wait()

    thread = threading.Thread(target=body)
    thread.start()
    inside.wait()
    try:
        with pytest.raises(NoSuchProcess, match=f"is a thread of process {os.getpid()}") as caught:
            TargetProcess.open(thread.native_id or 0)
        assert caught.value.fix == f"sudo rat-ebpf --pid {os.getpid()}"
        threads = TargetProcess.open(os.getpid()).threads()
        assert thread.native_id in {entry.tid for entry in threads}
        assert {entry.pid for entry in threads} == {os.getpid()}
        assert all(entry.name for entry in threads)
    finally:
        done.set()
        thread.join()
    end = time.monotonic() + 5
    while thread.native_id in {entry.tid for entry in TargetProcess.open(os.getpid()).threads()}:
        assert time.monotonic() < end, "Python has joined it before the kernel has ended it, but that is long ago"


def test_a_kernel_thread() -> None:
    assert Path("/proc/2/comm").read_text() == "kthreadd\n"
    with pytest.raises(NotTraceable, match="thread of the kernel"):
        TargetProcess.open(2)


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1, 10**30])
def test_numbers_that_no_process_has(pid: int) -> None:
    with pytest.raises(NoSuchProcess, match=f"no process {pid}"):
        TargetProcess.open(pid)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_another_users_process() -> None:
    """A child without rights looks at this process, which is root's."""
    assert os.geteuid() == 0, "run the tests as root: sudo scripts/test"
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        try:
            TargetProcess.open(os.getppid())
            os.write(write, b"no error")
        except PermissionMissing as error:
            os.write(write, f"{error.what} {error.why} {error.fix}".encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    assert "user root" in text
    assert "CAP_SYS_PTRACE" in text
    assert f"sudo rat-ebpf --pid {os.getpid()}" in text


def test_cpu_time_is_that_of_all_threads_ended_ones_too() -> None:
    process = TargetProcess.open(os.getpid())
    before = process.cpu_time_ns()

    def burn() -> None:
        start = time.thread_time_ns()
        while time.thread_time_ns() - start < 20_000_000:
            pass

    thread = threading.Thread(target=burn)
    thread.start()
    thread.join()
    spent = process.cpu_time_ns() - before
    assert 20_000_000 <= spent < 500_000_000
    assert abs(process.cpu_time_ns() - time.process_time_ns()) < 50_000_000


def test_load_bias_of_a_shared_library() -> None:
    process = TargetProcess.open(os.getpid())
    # One that is shared is of who reads the file, not of who runs it.
    library = next(m for m in process.maps() if "/libc.so" in m.path and m.permissions.endswith("p"))
    with open_elf(Path(library.path)) as image:
        assert process.load_bias(image) == library.start - library.offset


def test_load_bias_of_a_file_that_is_not_mapped(tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copy("/bin/sleep", copy)
    with open_elf(copy) as image, pytest.raises(NotTraceable, match="in its memory"):
        TargetProcess.open(os.getpid()).load_bias(image)


_LOSES_ITS_MAIN_THREAD = """
import ctypes, os, sys, threading
lines = iter(sys.stdin.readline, "")
def wait():
    next(lines)
    os.execv("/bin/sleep", ["sleep", "60"])
next(lines)
threading.Thread(target=wait).start()
ctypes.CDLL(None).syscall(60, 0)  # exit of this thread alone
"""


def test_main_thread_that_ended_before_the_others() -> None:
    with running(sys.executable, "-c", _LOSES_ITS_MAIN_THREAD) as child:
        assert child.stdin is not None
        process = TargetProcess.open(child.pid)
        os.write(child.stdin.fileno(), b"lose it\n")
        until(lambda: state_of(child.pid) == "Z")
        with pytest.raises(NotTraceable, match="main thread"):
            TargetProcess.open(child.pid)
        assert process.is_alive()
        assert process.runs_same_image()
        os.write(child.stdin.fileno(), b"execute another program\n")
        until(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "sleep\n")
        assert process.is_alive()
        assert not process.runs_same_image()


def test_a_stopped_process_can_be_looked_at() -> None:
    with running("/bin/sleep", "60") as child:
        child.send_signal(signal.SIGSTOP)
        until(lambda: state_of(child.pid) == "T")
        assert TargetProcess.open(child.pid).is_alive()


def test_clocks_are_read_together() -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    reading = read_clocks()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    assert before <= reading.monotonic <= after
    offset = time.clock_gettime_ns(time.CLOCK_REALTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    assert abs(reading.realtime - reading.monotonic - offset) < 1_000_000


def test_a_time_namespace_has_a_clock_of_its_own() -> None:
    assert os.geteuid() == 0, "run the tests as root: sudo scripts/test"
    script = "from tracer.target.process import read_clocks; print(read_clocks().monotonic)"
    ahead = ["unshare", "--time", "--monotonic", "86400", "--boottime", "40000", "--fork"]
    before = time.monotonic_ns()
    done = subprocess.run([*ahead, sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert before <= int(done.stdout) <= time.monotonic_ns()
