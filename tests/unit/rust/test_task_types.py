"""What a task runs, by the symbol table alone: against the debug information of the same source."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.running import Targets
from tracer.model import FunctionKind
from tracer.rust import read_binary
from tracer.target.elf import open_elf

_WRAPPED = re.compile(r"truth::future::Apart<(.*)>")
_BLOCK = re.compile(r"::\{(?:closure(?:#\d+)?|async block(?:#\d+)?)\}|(?<=,) ")
_IMPL = re.compile(r"(?:::)?(?:<impl [^<>]* for [^<>]*>|\{impl#\d+\})")
"""Of a closure in a trait's function, the debug information has only the number of the implementation."""


def tasks(path: Path) -> Counter[str]:
    """How many task polls there are by the coroutine that they run, whichever block of its function it is."""
    with open_elf(path) as image:
        functions = read_binary(image, display_path=path.name).functions
    names = [one.name for one in functions if one.kind is FunctionKind.TASK]
    return Counter(_IMPL.sub("::impl", _BLOCK.sub("", _WRAPPED.sub(r"\1", name))) for name in names)


@pytest.mark.parametrize("name", ["tokio_multi", "life", "spin", "server", "smol_log", "async_std_log", "panics"])
def test_symbols_tell_what_a_task_runs(targets: Targets, name: str) -> None:
    """Also where the compiler merged the drop glue of several tasks, which then has the name of one of them."""
    found = tasks(targets.path(name, "release"))
    assert found == tasks(targets.path(name, "release-debug"))
    assert found
    assert not any(name.endswith(" task") for name in found)


def compiled(source: str, program: Path) -> Path:
    """Without debug information, and with the names that leave out types."""
    command = ["rustc", "--edition", "2021", "--crate-name", "tokio", "-Copt-level=1", "-Zunstable-options"]
    command += ["-Csymbol-mangling-version=legacy", str(Path(__file__).parent / source), "-o", str(program)]
    subprocess.run(command, check=True, capture_output=True, timeout=120, env={**os.environ, "RUSTC_BOOTSTRAP": "1"})
    return program


def test_drop_glue_may_be_called_so(tmp_path: Path) -> None:
    """rustc 1.97 and later: the same names, but for that one."""
    program, renamed, names = compiled("blocks.rs", tmp_path / "program"), tmp_path / "renamed", tmp_path / "names"
    told = subprocess.run(["nm", program], check=True, capture_output=True, text=True, timeout=60).stdout
    drops = re.findall(r"\S* (_ZN4core3ptr)(\d+)drop_in_place(\$LT\$\S+)", told)
    lines = (f"{a}{n}drop_in_place{end} {a}{int(n) - 4}drop_glue{end}\n" for a, n, end in sorted(set(drops)))
    names.write_text("".join(lines))
    subprocess.run(["objcopy", f"--redefine-syms={names}", program, renamed], check=True, timeout=60)
    assert tasks(renamed) == tasks(program)
    assert tasks(program).keys() > {"tokio task"}


def test_a_task_without_a_name_is_a_job_where_the_scheduler_is_that_of_jobs(tmp_path: Path) -> None:
    with open_elf(compiled("scheduled.rs", tmp_path / "program")) as image:
        functions = read_binary(image, display_path="program").functions
    polls = [one for one in functions if one.kind is FunctionKind.TASK]
    assert sorted((one.name, one.is_job) for one in polls) == [("blocking job", True), ("tokio task", False)]
