"""From a pid to what reads its tasks: the part that `ps`, `tree`, `sample` and recordings share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tracer.commands.survey import process_of, read_executable, while_it_lives
from tracer.model import Binary, Process
from tracer.snapshot.read import SnapshotReader
from tracer.target.elf import ElfImage, open_elf
from tracer.target.memory import LiveMemory
from tracer.target.process import TargetProcess


@dataclass(frozen=True, slots=True)
class LiveTasks:
    """A process whose tasks can be read.  remarks: sentences for people on what would tell more."""

    target: TargetProcess
    process: Process
    binary: Binary
    reader: SnapshotReader
    remarks: tuple[str, ...]


def live_tasks(pid: int, twin: Path | None = None) -> LiveTasks:
    """Read a process' executable and find the vtables of its tasks.

    Needs the right to trace the process (CAP_SYS_PTRACE, or the same user) and nothing else.  Raises RatError.
    """
    target = TargetProcess.open(pid)
    with while_it_lives(target), open_elf(target.exe_path) as image:
        binary, remarks = read_executable(image, target.executable, target.root_path, twin)
        process = process_of(target, image, 0)
        bias = process.load_bias
        reader = SnapshotReader(binary, bias, LiveMemory(target), data_parts(image, bias))
    return LiveTasks(target, process, binary, reader, remarks)


def data_parts(image: ElfImage, bias: int) -> list[tuple[int, int]]:
    """(start, end) in a process' memory of what an executable has besides its code."""
    return [
        (bias + segment.vaddr, bias + segment.vaddr + segment.memsz)
        for segment in image.segments
        if not segment.flags & 1
    ]
