"""Shared libraries that rustc made: what runs in them is not seen, which has to be said.

So it has of a program that is started through the dynamic linker (`ld.so ./program`): to the kernel the linker is the
program, and what it loads a library.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path, PurePosixPath

from tracer.errors import NotTraceable, PermissionMissing
from tracer.rust.compiler import compiler_of
from tracer.target.elf import open_elf
from tracer.target.modules import Modules
from tracer.target.process import TargetProcess
from tracer.terminal import printable

_MOST_NAMED = 3


def rust_libraries(target: TargetProcess) -> list[str]:
    """The file names of those that a process has loaded, as its mappings have them; what cannot be read is left out."""
    with closing(Modules(target)) as modules:
        return [printable(one.name) for one in modules.libraries() if compiler_of(one.image) is not None]


def remarks_on_libraries(target: TargetProcess) -> tuple[str, ...]:
    """What a user has to know of them."""
    words = _words(target)
    return (f"{words}: only the executable is probed",) if words else ()


def with_libraries(target: TargetProcess, error: NotTraceable) -> NotTraceable:
    """The same error, with a word on what may be the Rust program that the user means; or a better one."""
    with closing(Modules(target)) as modules:
        for one in modules.libraries():
            if one.image.is_dynamic and compiler_of(one.image) is not None:
                return _started_by_linker(target.executable, one.path, target.command)
    words = _words(target)
    return (
        NotTraceable(error.what, why=f"{error.why} {words[0].upper()}{words[1:]}.", fix=error.fix) if words else error
    )


def launched_by_linker(executable: Path, command: Sequence[str]) -> NotTraceable | None:
    """The error for a program that is to be started so; None: it is none, as far as its command tells."""
    for word in command[1:]:
        with suppress(NotTraceable, PermissionMissing, ValueError), open_elf(Path(word)) as image:
            named = image.interpreter
            if named is not None and (named.name == executable.name or os.path.realpath(named) == str(executable)):
                return _started_by_linker(str(executable), str(Path.cwd() / word), command)
    return None


def _started_by_linker(linker: str, program: str, command: Sequence[str]) -> NotTraceable:
    """command: of both."""
    name = PurePosixPath(program).name
    after = next((at + 1 for at, word in enumerate(command) if at and PurePosixPath(word).name == name), len(command))
    return NotTraceable(
        f"{printable(name)} is started through the dynamic linker, {printable(linker)}.",
        why="To the kernel that is the program of such a process, and only a process' program can be traced.",
        fix=f"Start it by its own name: {printable(shlex.join([program, *command[after:]]))}",
    )


def _words(target: TargetProcess) -> str:
    """A sentence without its end; "": there are none."""
    found = rust_libraries(target)
    if not found:
        return ""
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    one = "a shared library" if len(found) == 1 else "shared libraries"
    return f"futures in {', '.join(found[:_MOST_NAMED])}{more}, {one} made by rustc, are not seen"
