"""From pids (or a file) to what can be probed: the part that `record`, `list` and `-- program` share."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tracer import rust
from tracer.errors import NoSuchProcess, NotTraceable, UsageError
from tracer.model import Binary, ExitMode, Plan, Process
from tracer.probe.plan import make_plan
from tracer.rust.alike import numbered
from tracer.rust.libraries import launched_by_linker, remarks_on_libraries, with_libraries
from tracer.target.debugfile import SplitFiles, find_debug_file
from tracer.target.elf import ElfImage, open_elf
from tracer.target.launch import Launched
from tracer.target.process import TargetProcess


@dataclass(frozen=True, slots=True)
class Selection:
    """Which poll functions the user wants: regular expressions on the names, compiler-generated only or all."""

    include: tuple[re.Pattern[str], ...] = ()
    exclude: tuple[re.Pattern[str], ...] = ()
    generated_only: bool = False


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found.

    executables[i]: the path to open and attach to for plan.binaries[i].  remarks: sentences for people on what would
    give more.
    """

    plan: Plan
    processes: tuple[Process, ...]
    executables: tuple[Path, ...]
    remarks: tuple[str, ...] = ()


def compile_patterns(expressions: Sequence[str]) -> tuple[re.Pattern[str], ...]:
    """Compile the user's regular expressions.  Raises UsageError with the place of the mistake."""
    patterns = []
    for expression in expressions:
        try:
            patterns.append(re.compile(expression))
        except re.error as error:
            raise UsageError(
                f"'{expression}' is not a regular expression",
                why=str(error),
                fix="quote special characters with a backslash, for example -F 'server::handle'",
            ) from None
    return tuple(patterns)


def survey_processes(
    targets: Sequence[TargetProcess], selection: Selection, exit_mode: ExitMode, twin: Path | None = None
) -> Survey:
    """Read each target's executable once and plan the probes of all.  Raises RatError.

    twin: a build of the same program with debug information, for processes of one executable.
    """
    binaries: list[Binary] = []
    executables: list[Path] = []
    index_of_file: dict[tuple[int, int], int] = {}
    processes = []
    remarks: list[str] = []
    for target in targets:
        with while_it_lives(target), open_elf(target.exe_path) as image:
            status = target.exe_path.stat()
            index = index_of_file.get((status.st_dev, status.st_ino))
            if index is None:
                index = index_of_file[status.st_dev, status.st_ino] = len(binaries)
                if twin is not None and index > 0:
                    raise UsageError(
                        "these processes run different programs, and --symbols is about one",
                        fix=f"rat-ebpf --pid {target.pid} --symbols TWIN",
                    )
                binary, remarks_on_it = read_program(image, target, twin)
                binaries.append(binary)
                remarks += remarks_on_it
                executables.append(target.exe_path)
            processes.append(process_of(target, image, index))
    return Survey(_plan(binaries, selection, exit_mode), tuple(processes), tuple(executables), tuple(remarks))


def process_of(target: TargetProcess, image: ElfImage, binary: int) -> Process:
    """What a capture says of a process.  binary: index into Plan.binaries.  Raises RatError."""
    return Process(
        pid=target.pid,
        start_time=target.start_time,
        name=target.name,
        command=tuple(target.command),
        executable=target.executable,
        binary=binary,
        load_bias=target.load_bias(image),
    )


@contextlib.contextmanager
def while_it_lives(target: TargetProcess) -> Iterator[None]:
    """Whatever goes wrong with the files of a process that is gone is its end: raises NoSuchProcess."""
    try:
        yield
    except (NotTraceable, OSError):
        if target.is_alive():
            raise
        raise NoSuchProcess(
            f"Process {target.pid} ended while it was being looked at.",
            fix="Start the program again and give its new number.",
        ) from None


def launched_process(launched: Launched) -> Process:
    """The process that waits to become the launched program.  Its load bias is not known before its exec: 0."""
    target = TargetProcess.open(launched.pid)
    return Process(
        pid=launched.pid,
        start_time=target.start_time,
        name=launched.executable.name,
        command=launched.command,
        executable=str(launched.executable),
        binary=0,
        load_bias=0,
    )


def survey_file(path: Path, selection: Selection, exit_mode: ExitMode, twin: Path | None = None) -> Survey:
    """Plan for a binary on disk, with no process yet.  Needs no rights beyond reading the file."""
    with open_elf(path) as image:
        binary, remarks = read_executable(image, str(path), None, twin)
    return Survey(_plan([binary], selection, exit_mode), (), (path,), remarks)


def survey_launched(launched: Launched, selection: Selection, exit_mode: ExitMode, twin: Path | None = None) -> Survey:
    """The same of a program that waits before its exec."""
    try:
        return survey_file(launched.executable, selection, exit_mode, twin)
    except NotTraceable as error:
        raise launched_by_linker(launched.executable, launched.command) or error from None


def read_program(image: ElfImage, target: TargetProcess, twin: Path | None) -> tuple[Binary, tuple[str, ...]]:
    """read_executable() of a process; the remarks are on its libraries, too."""
    try:
        binary, remarks = read_executable(image, target.executable, target.root_path, twin)
    except NotTraceable as error:
        raise with_libraries(target, error) from None
    return binary, remarks + remarks_on_libraries(target)


def read_executable(
    image: ElfImage, display_path: str, root: Path | None, twin: Path | None
) -> tuple[Binary, tuple[str, ...]]:
    """(the binary, remarks on what of its debug information is not read).  Raises RatError.

    root: the root folder as its process sees it; None: ours.  A twin of the very same build is its debug file, and
    one of a binary that has debug information is not needed.
    """
    binary, remarks = _read_executable(image, display_path, root, twin)
    return replace(binary, functions=numbered(binary.functions)), remarks


def _read_executable(
    image: ElfImage, display_path: str, root: Path | None, twin: Path | None
) -> tuple[Binary, tuple[str, ...]]:
    """Two builds need not have the same order: the functions of a twin are known by their names alone."""
    if twin is None:
        return _read_alone(image, display_path, find_debug_file(image, root) if _lacks_debug(image) else None, root)
    with open_elf(twin) as twin_image:
        if twin_image.build_id is not None and twin_image.build_id == image.build_id:
            return _read_alone(image, display_path, twin, root)
        binary, remarks = _read_executable(image, display_path, root, None)
        if binary.symbols == "dwarf":
            return binary, (*remarks, f"{display_path} has debug information of its own: {twin} is not used")
        from tracer.rust.twin import with_twin

        described, remarks = _read_executable(twin_image, str(twin), None, None)
        made = rust.read_apart(
            lambda: with_twin(binary, image, described, twin_image), image, display_path, binary.debug_file
        )
        return replace(made, twin=described.path), remarks


def _lacks_debug(image: ElfImage) -> bool:
    return not image.has_section(".debug_info")


def _read_alone(
    image: ElfImage, display_path: str, debug_path: Path | None, root: Path | None
) -> tuple[Binary, tuple[str, ...]]:
    cache = rust.Cache.default()
    places = SplitFiles(image, root)
    if debug_path is None:
        split = rust.find_split_debug(image, places)
        return rust.read_binary(image, display_path=display_path, split=split, cache=cache, apart=True), split.remarks
    with open_elf(debug_path) as debug:
        split = rust.find_split_debug(debug, places)
        binary = rust.read_binary(image, display_path=display_path, debug=debug, split=split, cache=cache, apart=True)
    return binary, split.remarks


def _plan(binaries: Sequence[Binary], selection: Selection, exit_mode: ExitMode) -> Plan:
    return make_plan(
        binaries,
        exit_mode=exit_mode,
        include=selection.include,
        exclude=selection.exclude,
        generated_only=selection.generated_only,
        scheduling=True,
    )
