"""Where the program and its tracer are started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Place:
    """Where and how both are started.  command: runs the program instead of itself alone.  executable: the file to run.

    clock_offset: ns by which the program's CLOCK_MONOTONIC is ahead.  output: the folder that the tracer writes to.
    """

    command: tuple[str, ...] = ()
    executable: Path | None = None
    cwd: Path | None = None
    clock_offset: int = 0
    output: Path | None = None
    tracer_prefix: tuple[str, ...] = ()
    tracer_cwd: Path | None = None
    tracer_env: Mapping[str, str] = field(default_factory=dict)
