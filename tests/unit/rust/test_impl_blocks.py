"""Async blocks in methods: their tasks are named by the method's type, in any build."""

from __future__ import annotations

import os
import subprocess
from itertools import product
from pathlib import Path

import pytest

from tracer.model import FunctionKind
from tracer.rust import read_binary
from tracer.target.elf import open_elf

SOURCE = Path(__file__).parent / "impl_blocks.rs"
METHODS = ("server::Listener::run", "server::Handler::run", "server::run")
"""In the order in which their blocks are in the source."""


@pytest.mark.parametrize(("level", "debug", "mangling"), [*product((0, 1), (1, 2), ("legacy", "v0"))])
def test_tasks_of_methods_of_the_same_name(tmp_path: Path, level: int, debug: int, mangling: str) -> None:
    """level: at the second one the blocks have no functions of their own."""
    program = tmp_path / "program"
    command = ["rustc", "--edition", "2021", "--crate-name", "tokio", f"-Copt-level={level}", f"-Cdebuginfo={debug}"]
    command += ["-Zunstable-options", f"-Csymbol-mangling-version={mangling}", str(SOURCE), "-o", str(program)]
    subprocess.run(command, check=True, capture_output=True, timeout=120, env={**os.environ, "RUSTC_BOOTSTRAP": "1"})
    with open_elf(program) as image:
        binary = read_binary(image, display_path="program")
    assert any(one.kind is FunctionKind.COROUTINE for one in binary.functions) == (level == 0)
    tasks = {one.name: one.location for one in binary.functions if one.kind is FunctionKind.TASK}
    lines = [number for number, line in enumerate(SOURCE.read_text().splitlines(), 1) if "async move" in line]
    assert {name: place.line if place is not None else None for name, place in tasks.items()} == {
        f"task tokio::{method}::{{async block#0}}": line for method, line in zip(METHODS, lines, strict=True)
    }
