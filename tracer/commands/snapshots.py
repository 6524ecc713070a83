"""From a pid to what reads its tasks: the part that `ps`, `tree`, `sample` and recordings share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tracer.commands.survey import process_of, read_executable, read_program, while_it_lives
from tracer.errors import NotTraceable
from tracer.model import Binary, FunctionKind, Process
from tracer.snapshot.read import SnapshotReader
from tracer.target.core import CoreMemory
from tracer.target.elf import ElfImage, open_elf
from tracer.target.memory import LiveMemory, Memory
from tracer.target.process import TargetProcess

if TYPE_CHECKING:
    from tracer.commands.running_polls import RunningPolls

_RECORDED = "; what its futures do can be recorded with probes, whoever polls them"


@dataclass(frozen=True)
class TaskSource:
    """A process whose tasks can be read.

    target: None: it is no more, there is a core dump.  remarks: sentences for people on what would tell more.
    """

    target: TargetProcess | None
    process: Process
    binary: Binary
    reader: SnapshotReader
    remarks: tuple[str, ...]

    @cached_property
    def running_polls(self) -> RunningPolls | None:
        """What tells where polls stand that are under way; None: of a core dump."""
        from tracer.commands.running_polls import RunningPolls  # takes long to import, and most tasks wait

        return RunningPolls(self.target, self.binary, self.reader) if self.target is not None else None


def live_tasks(pid: int, twin: Path | None = None) -> TaskSource:
    """Read a process' executable and find the vtables of its tasks.

    Needs the right to trace the process (CAP_SYS_PTRACE, or the same user) and nothing else.  Raises RatError.
    """
    target = TargetProcess.open(pid)
    with while_it_lives(target), open_elf(target.exe_path) as image:
        binary, remarks = read_program(image, target, twin)
        remarks += _remarks_on_tasks(binary, pid)
        process = process_of(target, image, 0)
        bias = process.load_bias
        reader = _reader(binary, bias, LiveMemory(target), image, pid)
    return TaskSource(target, process, binary, reader, remarks)


def reader_of(target: TargetProcess, binary: Binary) -> SnapshotReader:
    """The same of a process whose executable has been read already.  Raises RatError."""
    with while_it_lives(target), open_elf(target.exe_path) as image:
        bias = target.load_bias(image)
        return _reader(binary, bias, LiveMemory(target), image, target.pid)


def _reader(binary: Binary, bias: int, memory: Memory, image: ElfImage, pid: int | None) -> SnapshotReader:
    """pid: as below.  Raises NotTraceable where tasks that are there would not be found."""
    reader = SnapshotReader(binary, bias, memory, data_parts(image, bias))
    if reader.has_other_layout:
        raise NotTraceable(
            f"The tasks of {binary.path} cannot be read from memory.",
            why="tokio's tables of functions are not laid out as those of tokio 1.25 to 1.54: it is another version, "
            "or rustc's -Zrandomize-layout made it so" + _RECORDED * (pid is not None),
            fix=f"rat-ebpf --pid {pid}" if pid is not None else "",
        )
    return reader


def _remarks_on_tasks(binary: Binary, pid: int | None) -> tuple[str, ...]:
    """pid: None: the process is no more.  Raises NotTraceable where there is no way to find a task."""
    tasks = [function for function in binary.functions if function.kind is FunctionKind.TASK]
    if tasks:
        unknown = sum(function.layout is None for function in tasks)
        if not unknown:
            return ()
        words = f"where {unknown} of {len(tasks)} kinds of tasks wait is not known"
        if binary.symbols == "dwarf" or binary.twin is not None:
            return (f"{words}: the debug information does not describe them",)
        return (
            f"{words}: {binary.path} has no debug information about its types; --symbols TWIN tells, if TWIN is the "
            "same program built again with debug = 2",
        )
    raise _no_tasks(binary, pid)


def _no_tasks(binary: Binary, pid: int | None) -> NotTraceable:
    """Of a program that has names of functions, or it would have been refused before.  pid: as above."""
    why = (
        "Tasks are known by the polls that tokio 1.25 or async-task 4.0 (async-std, smol), or later, compile for them; "
        "it has none among its symbols. Other runtimes' tasks cannot be read from memory, however a program is built"
    )
    fix = ""
    if binary.functions and pid is not None:
        why += _RECORDED
        fix = f"rat-ebpf --pid {pid}"
    return NotTraceable(f"No task can be found in {binary.path}.", why=why, fix=fix)


def core_tasks(core: Path, executable: Path, twin: Path | None = None) -> TaskSource:
    """The same of a core dump.  Raises RatError."""
    with open_elf(executable) as image:
        binary, remarks = read_executable(image, str(executable), None, twin)
        remarks += _remarks_on_tasks(binary, None)
        memory = CoreMemory(core, image)
        reader = _reader(binary, memory.bias, memory, image, None)
        if memory.missing:
            remarks = (*remarks, f"{core} is cut off: {memory.missing:,} bytes are missing, and the tasks in them")
        process = Process(memory.pid, 0, memory.name, (), str(executable), 0, memory.bias)
        return TaskSource(None, process, binary, reader, remarks)


def data_parts(image: ElfImage, bias: int) -> list[tuple[int, int]]:
    """(start, end) in a process' memory of what an executable has besides its code."""
    return [
        (bias + segment.vaddr, bias + segment.vaddr + segment.memsz)
        for segment in image.segments
        if not segment.flags & 1
    ]
