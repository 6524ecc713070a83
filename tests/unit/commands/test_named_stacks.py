"""The functions on a process' stacks have their names and lines when the process is gone."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest

from tracer.commands.named_stacks import named, places_of
from tracer.target.modules import Modules
from tracer.target.process import TargetProcess

PROGRAM = """
#[inline(never)]
fn blocker() { std::io::stdin().read_line(&mut String::new()).unwrap(); }
fn main() { println!("{}", blocker as fn() as usize); blocker(); }
"""


def _built(folder: Path, debug: str) -> Path:
    """debug: where its debug information is."""

    def run(*command: str) -> None:
        subprocess.run(command, cwd=folder, check=True, timeout=120)

    (folder / "program.rs").write_text(PROGRAM)
    link = "-Clink-arg=-Wl,--build-id=sha1"
    split = [] if debug == "linked" else [f"-Csplit-debuginfo={debug}"]
    run("rustc", "-Copt-level=1", "-Cdebuginfo=2", link, *split, "-o", "program", "program.rs")
    if debug == "linked":
        run("objcopy", "--only-keep-debug", "program", "program.debug")
        run("objcopy", "--strip-all", "--add-gnu-debuglink=program.debug", "program")
    return folder / "program"


@pytest.mark.parametrize("debug", ["linked", "packed", "unpacked"])
def test_after_the_process_has_ended(tmp_path: Path, debug: str) -> None:
    _are_named_afterwards([str(_built(tmp_path, debug))])


@pytest.mark.kernel
def test_what_was_mounted_in_its_container_is_there(tmp_path: Path) -> None:
    program = _built(tmp_path, "linked")
    (tmp_path / "mounted").mkdir()
    script = "mount -t tmpfs none mounted && mv program program.debug mounted && exec mounted/program"
    _are_named_afterwards(["unshare", "--mount", "sh", "-c", f"cd {program.parent} && {script}"])


def _are_named_afterwards(command: list[str]) -> None:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        address = int(process.stdout.readline())
        target = TargetProcess.open(process.pid)
        with contextlib.closing(Modules(target)) as modules:
            places = places_of([address], modules)
            process.kill()
            process.wait()
            (stack,) = named([(places, True)], {target.pid: modules}, {target.pid: target}, {})
    (frame,) = [one for one in stack.frames if one.function and one.function.endswith("program::blocker")]
    assert frame.location is not None
    assert (frame.location.file.rpartition("/")[2], frame.location.line) == ("program.rs", 3)


def test_a_root_folder_is_let_go(tmp_path: Path) -> None:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as process:
        target = TargetProcess.open(process.pid)
        modules = Modules(target)
        assert modules.root == target.root_path
        code = next(one for one in target.maps() if "x" in one.permissions and one.inode)
        assert modules.at(code.start) is not None
        held = modules.root
        assert held.samefile("/")
        modules.close()
        assert not held.exists()
