"""Whatever a user gets wrong is answered by a sentence, the next thing to do and a documented exit code."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.command import RAT, Done, rat, recording
from tests.running import Targets
from tracer.capture import CaptureReader
from tracer.errors import ExitCode
from tracer.model import CaptureEnd

pytestmark = pytest.mark.e2e


def assert_helpful(done: Done, code: ExitCode, *words: str) -> None:
    """One sentence of ours with these words, something to do next, and the exit code."""
    assert done.code == code, done
    lines = done.err.strip().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("rat-ebpf: "))
    for word in words:
        assert word in lines[at], done.err
    assert len(lines) > at + 1, f"it names no next step: {done.err}"
    assert lines[at + 1].startswith("    ")


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is no Rust program."""
    process = subprocess.Popen(["/bin/sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_no_arguments_print_the_help() -> None:
    done = rat()
    assert done.code == ExitCode.USAGE
    assert "--pid" in done.out or "record" in done.out


def test_neither_pid_nor_program(tmp_path: Path) -> None:
    assert_helpful(rat("record", cwd=tmp_path), ExitCode.USAGE, "name one thing")


def test_no_such_pid() -> None:
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    assert_helpful(rat("--pid", process.pid), ExitCode.NO_PROCESS, str(process.pid))


def test_a_pattern_that_is_no_regular_expression(sleeper: subprocess.Popen[bytes]) -> None:
    assert_helpful(rat("--pid", sleeper.pid, "-F", "server::("), ExitCode.USAGE, "server::(")


def test_a_process_that_is_not_rust(sleeper: subprocess.Popen[bytes]) -> None:
    assert_helpful(rat("--pid", sleeper.pid), ExitCode.NOT_TRACEABLE, "sleep")
    assert sleeper.poll() is None


def test_a_file_that_is_no_elf() -> None:
    assert_helpful(rat("list", __file__), ExitCode.NOT_TRACEABLE, "ELF")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert_helpful(rat("list", tmp_path / "nothing"), ExitCode.NOT_TRACEABLE, "nothing")


def test_another_architecture(targets: Targets, tmp_path: Path) -> None:
    binary = bytearray(targets.path("spin", "release").read_bytes())
    binary[18:20] = (183).to_bytes(2, "little")  # e_machine: EM_AARCH64
    foreign = tmp_path / "spin-arm"
    foreign.write_bytes(binary)
    assert_helpful(rat("list", foreign), ExitCode.NOT_TRACEABLE, "x86")


def test_a_stripped_binary_is_told_what_gives_more(targets: Targets) -> None:
    done = rat("list", targets.path("tokio_current", "stripped"))
    assert done.code == ExitCode.NOT_TRACEABLE
    assert "strip" in done.err
    assert "[profile.release]" in done.err


def test_without_rights_it_names_the_capability(targets: Targets) -> None:
    """Still user 0, so that it can read the checkout wherever that is, but with none of the rights of root."""
    without = ["setpriv", "--bounding-set=-sys_ptrace,-sys_admin,-bpf,-perfmon", str(RAT)]
    with targets.run("spin", "release", "bare", "1") as running:
        command = [*without, "--pid", str(running.pid)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr
    assert_helpful(Done(done.returncode, done.stdout, done.stderr), ExitCode.NO_PERMISSION)
    assert "CAP_" in done.stderr


def test_an_output_folder_that_is_not_there(targets: Targets, tmp_path: Path) -> None:
    with targets.run("spin", "release", "bare", "1") as running:
        done = rat("--pid", running.pid, "-d", 1, "-o", tmp_path / "no" / "trace.pftrace")
    assert_helpful(done, ExitCode.OUTPUT_FAILED, "no folder")


def test_an_output_that_is_a_device(targets: Targets, tmp_path: Path) -> None:
    """It is refused before anything is attached, and stays what it is."""
    device = tmp_path / "null"
    os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    with targets.run("spin", "release", "bare", "1") as running:
        done = rat("--pid", running.pid, "-d", 1, "-o", device)
    assert_helpful(done, ExitCode.OUTPUT_FAILED, "device")
    assert "attached" not in done.err
    assert device.is_char_device()
    assert list(tmp_path.iterdir()) == [device]


def test_an_output_that_cannot_be_written(targets: Targets) -> None:
    """/proc takes no new files, not even from root."""
    with targets.run("spin", "release", "bare", "1") as running:
        done = rat("--pid", running.pid, "-d", 1, "-o", "/proc/trace.pftrace")
        running.go()
        assert running.wait().returncode == 0
    assert_helpful(done, ExitCode.OUTPUT_FAILED, "/proc/trace.pftrace")


def test_a_full_disk_keeps_what_was_recorded(targets: Targets, tmp_path: Path) -> None:
    """The last 5 % stay free; the recording ends by itself, says why, and its trace is whole or its capture is kept."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], check=True)
    try:
        with targets.run("spin", "release", "nested", "10") as running:
            running.go()
            done = rat("--pid", running.pid, "-d", 9, "--max-overhead", 100, "-o", disk / "spin.pftrace")
            assert running.wait().returncode == 0
        assert done.code in (ExitCode.OK, ExitCode.OUTPUT_FAILED)
        left = {path.name for path in disk.iterdir()}
        if done.code == ExitCode.OUTPUT_FAILED:
            assert left == {"spin.pftrace.ratcap"}
            assert "rat-ebpf convert" in done.err
            kept = rat("convert", disk / "spin.pftrace.ratcap", "-o", tmp_path / "spin.pftrace")
            assert kept.code == ExitCode.OK
        else:
            assert left == {"spin.pftrace"}
        usage = shutil.disk_usage(disk)
        assert usage.free >= 0.04 * usage.total
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_capture_of_garbage(tmp_path: Path) -> None:
    garbage = tmp_path / "x.ratcap"
    garbage.write_bytes(os.urandom(4096))
    assert_helpful(rat("convert", garbage), ExitCode.BAD_CAPTURE, "x.ratcap")
    assert list(tmp_path.iterdir()) == [garbage]


GOLDEN = Path(__file__).parents[1] / "golden" / "format-1.ratcap"
TOO_LONG = "x" * 300


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("convert", "gone.ratcap", "-o", "there"), ExitCode.BAD_CAPTURE),
        (("convert", GOLDEN, "-o", TOO_LONG), ExitCode.OUTPUT_FAILED),
        (("convert", TOO_LONG), ExitCode.BAD_CAPTURE),
        (("convert", GOLDEN, "-o", "there/x.pftrace"), ExitCode.OUTPUT_FAILED),
        (("convert", "there/x.ratcap"), ExitCode.BAD_CAPTURE),
        (("report", TOO_LONG), ExitCode.BAD_CAPTURE),
        (("--", f"./{TOO_LONG}"), ExitCode.NOT_TRACEABLE),
        (("--", "there/program"), ExitCode.NOT_TRACEABLE),
        (("list", TOO_LONG), ExitCode.NOT_TRACEABLE),
        (("tree", "--core", TOO_LONG, "--exe", "there"), ExitCode.NOT_TRACEABLE),
        (("--pid", "PID", "-o", TOO_LONG), ExitCode.OUTPUT_FAILED),
        (("--pid", "PID", "-o", "there/x.pftrace"), ExitCode.OUTPUT_FAILED),
        (("--pid", "PID", "--symbols", TOO_LONG), ExitCode.NOT_TRACEABLE),
    ],
    ids=lambda value: " ".join(str(one)[:12] for one in value) if isinstance(value, tuple) else None,
)
def test_names_that_lead_nowhere(
    targets: Targets, tmp_path: Path, arguments: tuple[object, ...], code: ExitCode
) -> None:
    """No file of that name can be: it is too long, or what should be a folder is none."""
    (tmp_path / "there").write_text("a file")
    with targets.run("spin", "release", "bare", "1") as running:
        done = rat(*(running.pid if one == "PID" else one for one in arguments), cwd=tmp_path)
    assert_helpful(done, code)
    assert [one.name for one in tmp_path.iterdir()] == ["there"]


def test_of_a_folder_that_nobody_else_may_enter_it_is_said(tmp_path: Path) -> None:
    """To a user without rights, who may enter all the folders above it."""
    for folder in (one for one in tmp_path.parents if not one.stat().st_mode & stat.S_IXOTH):
        folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    private = tmp_path / "private"
    private.mkdir(0o700)
    shutil.copy(GOLDEN, private / "x.ratcap")
    without = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--securebits=+noroot,+noroot_locked")
    private.chmod(0)  # still user 0, so that it can read the checkout wherever that is
    for arguments, code in (
        (("convert", private / "x.ratcap"), ExitCode.BAD_CAPTURE),
        (("report", private / "x.ratcap"), ExitCode.BAD_CAPTURE),
        (("convert", GOLDEN, "-o", private / "x.pftrace"), ExitCode.OUTPUT_FAILED),
        (("list", private / "x"), ExitCode.NO_PERMISSION),
        (("--", private / "x"), ExitCode.NO_PERMISSION),
    ):
        assert_helpful(rat(*arguments, through=without), code)


def test_the_exit_code_says_it_where_nobody_can_be_told() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([RAT, "ps", "4194304"], stdout=full, stderr=full, check=False)
    assert done.returncode == ExitCode.NO_PROCESS


@pytest.mark.parametrize("here", [".", ""])
def test_a_ring_that_one_is_in_has_its_name(tmp_path: Path, here: str) -> None:
    ring = tmp_path / "x.pftrace.ring"
    ring.mkdir()
    done = rat("convert", here, cwd=ring)
    assert_helpful(done, ExitCode.BAD_CAPTURE, "without a capture")


def test_what_its_encoding_cannot_write_is_written_all_the_same() -> None:
    done = rat("report", GOLDEN, env={"PYTHONIOENCODING": "ascii"})
    assert done.code == ExitCode.OK, done.err
    assert "polls" in done.out


def test_the_process_ends_while_recording(targets: Targets, tmp_path: Path) -> None:
    output = tmp_path / "spin.pftrace"
    with targets.run("spin", "release", "bare", "0.5") as running:
        with recording("--pid", running.pid, "-o", output) as rec:
            running.go()
            done = rec.wait()
        assert running.wait().returncode == 0
    assert done.code == ExitCode.OK
    assert "ended" in done.out
    assert output.exists()


def test_the_process_ends_while_attaching(targets: Targets, tmp_path: Path) -> None:
    """Wherever it happens: a sentence and code 3, or a trace of what there was; never anything else."""
    for delay in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7):
        with targets.run("spin", "release", "bare", "60") as running:
            process = subprocess.Popen(
                [RAT, "--pid", str(running.pid), "-o", tmp_path / f"{delay}.pftrace"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            time.sleep(delay)
            running.process.kill()
            running.process.wait()
            out, err = process.communicate(timeout=30)
        assert "Traceback" not in err
        assert process.returncode in (ExitCode.OK, ExitCode.NO_PROCESS), (out, err)


def test_a_busy_process_without_a_poll(targets: Targets, tmp_path: Path) -> None:
    """What was chosen is never polled: said, and what it does instead; no empty capture stays behind."""
    with targets.run("spin", "release", "bare", "10") as running:
        running.go()
        done = rat("--pid", running.pid, "-d", 1, "-F", "spin::outer", "-N", "^task ", "-o", tmp_path / "x.pftrace")
    assert_helpful(done, ExitCode.NO_EVENTS, "chose")
    assert re.search(r"right now thread \d+ \(tokio-rt-worker\) computes in \S*::", done.err), done.err
    assert list(tmp_path.iterdir()) == []


def test_a_launched_program_that_fails_at_once(targets: Targets, tmp_path: Path) -> None:
    """spin without its arguments panics: the recording is as short, and says how the program ended."""
    done = rat("-o", tmp_path / "x.pftrace", "--", targets.path("spin", "release"))
    assert done.code == ExitCode.OK, done.err
    assert "exit status 101" in done.out


def test_nothing_is_claimed_of_the_time_after_the_probes(targets: Targets, tmp_path: Path) -> None:
    """The recording ends when the probes stop sending; closing their links takes another tenth of a second or more."""
    capture = tmp_path / "x.ratcap"
    options = ("--max-overhead", 100, "--format", "capture", "-o", capture)
    with targets.run("spin", "release", "nested", "10") as running:
        running.go()
        done = rat("--pid", running.pid, "-d", 0.5, *options)
    assert done.code == ExitCode.OK, done.err
    with CaptureReader(capture) as reader:
        items = list(reader)
    end = items[-1]
    assert isinstance(end, CaptureEnd)
    last = max(int(item["time"].max()) for item in items if isinstance(item, np.ndarray))
    assert end.time - last < 50_000_000  # it polls every few microseconds


def test_only_a_recording_takes_a_program() -> None:
    assert_helpful(rat("doctor", "--", "server"), ExitCode.USAGE, "doctor")


def test_a_full_or_closed_standard_output(targets: Targets) -> None:
    command = [str(RAT), "list", str(targets.path("server", "dev"))]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert_helpful(Done(done.returncode, "", done.stderr), ExitCode.OUTPUT_FAILED, "standard output")
    reader, writer = os.pipe()
    os.close(reader)
    closed = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (closed.returncode, closed.stderr) == (ExitCode.OK, "")


def test_json_of_a_capture(targets: Targets, tmp_path: Path) -> None:
    capture = tmp_path / "spin.ratcap"
    with targets.run("spin", "release", "bare", "60") as running:
        running.go()
        done = rat("--pid", running.pid, "-d", 0.3, "--format", "capture", "-o", capture, "--json")
    said = json.loads(done.out)
    assert said["capture"] == str(capture)
    assert said["events"] > 0


@pytest.mark.parametrize(("word", "fix"), [("1234", "sudo rat-ebpf --pid 1234"), ("lst", "rat-ebpf list")])
def test_a_command_that_is_none(word: str, fix: str) -> None:
    done = rat(word)
    assert_helpful(done, ExitCode.USAGE, word)
    assert done.err.splitlines()[1].strip() == fix


def test_a_filter_that_nothing_matches(targets: Targets) -> None:
    with targets.run("spin", "release", "bare", "1") as running:
        done = rat("--pid", running.pid, "-d", 1, "-F", "no_such_future")
    assert_helpful(done, ExitCode.NOT_TRACEABLE, "filters")
