"""Async functions that the compiler inlined: everywhere, or in some places."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tracer.model import IN_PART
from tracer.rust import read_binary
from tracer.rust.inlined import REASON
from tracer.target.elf import open_elf

SOURCE = Path(__file__).parent / "in_part.rs"


@pytest.mark.parametrize("flags", [(), ("-Cpanic=abort",), ("-Csymbol-mangling-version=v0",)], ids=" ".join)
def test_what_is_inlined_in_some_places_is_said_to_be(tmp_path: Path, flags: tuple[str, ...]) -> None:
    program = tmp_path / "program"
    command = ["rustc", "--edition", "2021", "-Copt-level=3", "-Cdebuginfo=2", *flags, str(SOURCE), "-o", str(program)]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    with open_elf(program) as image:
        binary = read_binary(image, display_path="program")
    own = {one.name.removeprefix("in_part::") for one in binary.functions if one.crate == "in_part"}
    reasons = {one.name.removeprefix("in_part::"): one.reason for one in binary.refusals}
    assert {"in_both", "only_called"} <= own
    assert reasons["in_both"] == IN_PART
    assert reasons["only_inlined"] == REASON
    assert "only_called" not in reasons
