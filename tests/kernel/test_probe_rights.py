"""What the tracer may do, and what it says when it may not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.turns import EVENTS
from tracer.errors import AttachFailed
from tracer.probe.bpf_program import BpfProgram

pytestmark = pytest.mark.kernel

SCRIPT = """
import sys
from pathlib import Path
from tests.kernel.turns import describe, started
from tracer.errors import PermissionMissing
from tracer.model import ExitMode
from tracer.probe.plan import make_plan
from tracer.probe.session import ProbeSession

path, cache, transport = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
plan = make_plan([describe(path)], exit_mode=ExitMode.DEFAULT)
with started(path) as turns:
    try:
        with ProbeSession(plan, [turns.process], executables=[turns.exe], transport=transport, cache=cache) as session:
            session.calibrate()
            session.attach()
            turns.run()
            print(len(session.detach().events))
    except PermissionMissing as error:
        print(error.why)
"""


LAUNCHING = """
from tracer.privileges import effective_capabilities
from tracer.target.launch import launch
print(f"{effective_capabilities():016x}", flush=True)
with launch(["/bin/sed", "-n", "s/^CapEff:.//p", "/proc/self/status"]) as launched:
    launched.release()
    launched.wait()
print(f"{effective_capabilities():016x}")
"""


def run_with(capabilities: str, executable: Path, cache: Path, transport: str) -> str:
    setpriv = shutil.which("setpriv")
    assert setpriv is not None
    command = [setpriv, f"--bounding-set=-all{capabilities}", sys.executable, "-c", SCRIPT]
    done = subprocess.run(
        [*command, executable, cache, transport],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_program_that_is_started_gets_none_of_them() -> None:
    setpriv, user, three = shutil.which("setpriv"), "61234", "-all,+bpf,+perfmon,+sys_ptrace"
    assert setpriv is not None
    command = [setpriv, f"--reuid={user}", "--clear-groups", f"--inh-caps={three}", f"--ambient-caps={three}"]
    done = subprocess.run(
        [*command, sys.executable, "-c", LAUNCHING],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    before, program, after = done.stdout.split()
    assert before == after == f"{1 << 39 | 1 << 38 | 1 << 19:016x}"
    assert program == "0" * 16


@pytest.mark.parametrize("transport", ["ring", "perf"])
def test_three_capabilities_are_enough(turns_executable: Path, tmp_path: Path, transport: str) -> None:
    assert run_with(",+bpf,+perfmon,+sys_ptrace", turns_executable, tmp_path, transport) == str(EVENTS)


@pytest.mark.parametrize(
    ("capabilities", "missing"),
    [
        ("", "missing: CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE"),
        (",+bpf,+sys_ptrace", "missing: CAP_PERFMON"),
        (",+sys_admin", "missing: CAP_SYS_PTRACE"),
    ],
)
def test_what_is_missing_is_named(turns_executable: Path, tmp_path: Path, capabilities: str, missing: str) -> None:
    assert run_with(capabilities, turns_executable, tmp_path, "ring") == missing


def test_the_compilers_reason_is_told_and_nothing_else(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "wrong.c"
    source.write_text("int at_entry(struct pt_regs *ctx) { return missing; }\n", encoding="ascii")
    with pytest.raises(AttachFailed) as caught:
        BpfProgram(source, {}, tmp_path)
    assert "undeclared identifier 'missing'" in caught.value.why
    assert capfd.readouterr() == ("", "")


def test_the_verifiers_refusal_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "unsafe.c"
    source.write_text("int at_entry(void *ctx) { return *(volatile int *)16; }\n", encoding="ascii")
    program = BpfProgram(source, {}, tmp_path)
    try:
        with pytest.raises(AttachFailed, match="refused the BPF program at_entry"):
            program.load("at_entry")
    finally:
        program.close()
    assert capfd.readouterr() == ("", "")


def test_what_was_compiled_once_is_loaded_without_the_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "small.c"
    source.write_text(SMALL, encoding="ascii")
    for entries, compiler in ((3, True), (5, False)):
        if not compiler:
            monkeypatch.setattr("tracer.probe.bpf_program.compile_source", None)
        program = BpfProgram(source, {"NUMBER": 7}, tmp_path / "cache", {"numbers": entries})
        try:
            assert program.load("at_entry") > 2
            numbers = program.map("numbers", 4, 8)
            assert len(list(numbers)) == entries
        finally:
            program.close()
    with pytest.raises(TypeError):  # another program is compiled
        BpfProgram(source, {"NUMBER": 8}, tmp_path / "cache")


SMALL = """
BPF_ARRAY(numbers, u64, 1);
int at_entry(struct pt_regs *ctx) { u32 zero = 0; u64 *number = numbers.lookup(&zero); return number ? NUMBER : 0; }
"""
