"""Where in a task's memory its future is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tracer.model import FunctionKind
from tracer.rust import read_binary
from tracer.target.elf import open_elf


@pytest.mark.parametrize("version", ["4", "5"])
def test_the_type_of_a_task_is_found_in_any_unit(tmp_path: Path, version: str) -> None:
    """The compiler describes it where it is used, which need not be where a poll is."""
    source, program = Path(__file__).parent / "cell_apart.rs", tmp_path / "program"
    command = ["rustc", "--edition", "2021", "--crate-name", "tokio", "-Copt-level=1", "-Cdebuginfo=2"]
    command += ["-Ccodegen-units=16", f"-Cdwarf-version={version}", str(source), "-o", str(program)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    with open_elf(program) as image:
        binary = read_binary(image, display_path="program")
    (task,) = (one for one in binary.functions if one.kind is FunctionKind.TASK)
    assert task.name == "task tokio::work"
    assert task.layout is not None
    assert binary.layouts[task.layout].edges
