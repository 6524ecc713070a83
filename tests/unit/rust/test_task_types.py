"""What a task runs, by the symbol table alone: against the debug information of the same source."""

from __future__ import annotations

import re
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
