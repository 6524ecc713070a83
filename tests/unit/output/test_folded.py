"""Folded stacks: kinds of tasks that are one line add up before they are rounded."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tracer.assemble.shares import Kind
from tracer.output.folded import write_folded
from tracer.stacks import TaskState


@pytest.mark.parametrize(("each", "told"), [(400_000, 400), (600_000, 600)])
def test_many_short_times_are_their_sum(tmp_path: Path, each: int, told: int) -> None:
    kinds = [Kind(0, TaskState.WAITING, number) for number in range(1000)]
    words = SimpleNamespace(chain=lambda function, stack: ["a::b", "c::d"])
    run = SimpleNamespace(shares=SimpleNamespace(kinds=kinds, times=np.full(1000, each)), words=words)
    write_folded(run, tmp_path / "x.folded")  # type: ignore[arg-type]  # all that it looks at
    assert (tmp_path / "x.folded").read_text() == f"a::b;c::d {told}\n"
