"""Shared libraries that rustc made are named: what runs in them is not seen.  So are programs that ld.so loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.command import rat
from tests.running import Targets
from tracer.errors import ExitCode
from tracer.target.elf import open_elf

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

LOADS = "import ctypes, sys; ctypes.CDLL(sys.argv[1]); print(flush=True); sys.stdin.read()"
WORDS = "futures in libplugin.so, a shared library made by rustc, are not seen"


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "plugin.rs").write_text('#[no_mangle]\npub extern "C" fn run() {}\n')
    command = ["rustc", "--edition", "2021", "--crate-type", "cdylib", "-o", "libplugin.so", "plugin.rs"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "libplugin.so"


@pytest.mark.parametrize("command", [("ps",), ("record", "-d", 1, "--pid")])
def test_of_a_program_that_is_none_of_rust(plugin: Path, command: tuple[object, ...], tmp_path: Path) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", LOADS, str(plugin)], stdin=pipe, stdout=pipe) as program:
        assert program.stdout is not None
        program.stdout.readline()
        done = rat(*command, program.pid, cwd=tmp_path)
        program.communicate()
    assert done.code == ExitCode.NOT_TRACEABLE
    assert "is not a Rust program" in done.err
    assert WORDS in done.err.replace("Futures", "futures")


def test_of_a_program_that_is(plugin: Path, targets: Targets) -> None:
    path = targets.path("spin", "release")
    command = ["env", f"LD_PRELOAD={plugin}", str(path), "bare", "10"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        program.stdout.readline()
        done = rat("list", program.pid)
        program.kill()
    assert done.code == 0
    assert WORDS in done.out + done.err
    with targets.run("spin", "release", "bare", "10") as running:
        assert "shared librar" not in rat("list", running.pid).err


def test_of_a_program_that_is_started_through_the_dynamic_linker(targets: Targets, tmp_path: Path) -> None:
    path = targets.path("spin", "release")
    with open_elf(path) as image:
        linker = image.interpreter
    command = [str(linker), str(path), "bare", "10", "4", "2", "a word"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None
        program.stdout.readline()
        running = rat("ps", program.pid)
        program.kill()
    for done in (running, rat("record", "-d", 1, "--", *command, cwd=tmp_path)):
        assert done.code == ExitCode.NOT_TRACEABLE
        assert f"{path.name} is started through the dynamic linker" in done.err
        assert f"{path} bare 10 4 2 'a word'" in done.err
        assert "shared library" not in done.err
