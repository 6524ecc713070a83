"""Where in the source a task's future is declared, by symbols and code, against the source."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tracer.model import FunctionKind
from tracer.rust import read_binary
from tracer.target.elf import open_elf

SOURCE = Path(__file__).parent / "blocks.rs"


@pytest.mark.parametrize(
    ("level", "debug", "expected"),
    [
        # With line tables the coroutines have numbers (`two::{async block#1}`), the tasks none: `two`.
        (0, "line-tables-only", {"generic": 2, "large": 2, "small": 1}),
        # Its lines are then known by the locations of panics; the small one was inlined into its task's poll.
        (1, "0", {"generic": 2, "large": 2, "": 1}),
    ],
)
def test_a_task_has_the_place_of_the_block_that_its_code_polls(
    tmp_path: Path, level: int, debug: str, expected: dict[str, int]
) -> None:
    program = tmp_path / "program"
    command = ["rustc", "--edition", "2021", "--crate-name", "tokio", f"-Copt-level={level}", f"-Cdebuginfo={debug}"]
    command += ["-Zunstable-options", "-Csymbol-mangling-version=legacy", str(SOURCE), "-o", str(program)]
    subprocess.run(command, check=True, capture_output=True, timeout=120, env={**os.environ, "RUSTC_BOOTSTRAP": "1"})
    with open_elf(program) as image:
        functions = read_binary(image, display_path="program").functions
    lines = SOURCE.read_text().splitlines()
    places = [one.location for one in functions if one.kind is FunctionKind.TASK]
    assert Counter(lines[place.line - 1].partition("// ")[2] if place else "" for place in places) == expected
