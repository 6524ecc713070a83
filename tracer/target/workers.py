"""Children of a process that run its own program, as of a server with several worker processes: its parent does none of
their work, and shows none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracer.target.process import TargetProcess

_MOST_NAMED = 8


def words_on_workers(target: TargetProcess) -> str:
    """`4 children of process 6 run the same program, each is a process of its own: 7, 8, 9, 10`; "": it has none."""
    children = sorted(_children_alike(target))
    if not children:
        return ""
    named = ", ".join(map(str, children[:_MOST_NAMED])) + (" …" if len(children) > _MOST_NAMED else "")
    if len(children) == 1:
        return f"a child of process {target.pid} runs the same program, and is a process of its own: {named}"
    these = f"{len(children)} children of process {target.pid}"
    return f"{these} run the same program, each is a process of its own: {named}"


def _children_alike(target: TargetProcess) -> Iterator[int]:
    """None where the kernel does not tell children (CONFIG_PROC_CHILDREN), or it has ended."""
    with suppress(OSError, ValueError):
        own = target.exe_path.stat()
        for thread in Path(f"/proc/{target.pid}/task").iterdir():
            for child in map(int, (thread / "children").read_text().split()):
                with suppress(OSError):
                    if os.path.samestat(own, Path(f"/proc/{child}/exe").stat()):
                        yield child
