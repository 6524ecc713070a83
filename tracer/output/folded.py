"""Samples as folded stacks: a line a stack, which flamegraph.pl, inferno and speedscope read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tracer.assemble.shares import Kind
from tracer.output.files import OutputFile
from tracer.output.sampled import SampledRun
from tracer.stacks import TaskState
from tracer.terminal import printable

_NS = 1_000_000
"""Per count: tasks' time in milliseconds."""


def write_folded(run: SampledRun, path: Path) -> None:
    """A line: the futures from the task's own to what it waits for, and how many milliseconds all tasks together spent
    so.  Raises OutputFailed."""
    times: Counter[str] = Counter()
    for kind, time in zip(run.shares.kinds, run.shares.times.tolist(), strict=True):
        times[";".join(_safe(name) for name in stack_of(run, kind))] += time
    lines = {line: round(time / _NS) for line, time in times.items()}
    with OutputFile(path) as file:
        file.write("".join(f"{line} {count}\n" for line, count in sorted(lines.items()) if count).encode())
        file.commit()


def stack_of(run: SampledRun, kind: Kind) -> list[str]:
    """The names, the task's own future first; at the end what a task does that does not wait."""
    names = run.words.chain(kind.function, kind.stack) or [run.words.task(kind.function)]
    if kind.state != TaskState.WAITING:
        names.append(f"[{kind.state.name.lower()}]")
    elif kind.stack < 0:
        names.append("[not known where]")
    return names


def _safe(name: str) -> str:
    return printable(name).replace(";", ":")
