"""Shared libraries that rustc made: what runs in them is not seen, which has to be said."""

from __future__ import annotations

from contextlib import closing

from tracer.errors import NotTraceable
from tracer.rust.compiler import compiler_of
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
    """The same error, with a word on what may be the Rust program that the user means."""
    words = _words(target)
    return (
        NotTraceable(error.what, why=f"{error.why} {words[0].upper()}{words[1:]}.", fix=error.fix) if words else error
    )


def _words(target: TargetProcess) -> str:
    """A sentence without its end; "": there are none."""
    found = rust_libraries(target)
    if not found:
        return ""
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    one = "a shared library" if len(found) == 1 else "shared libraries"
    return f"futures in {', '.join(found[:_MOST_NAMED])}{more}, {one} made by rustc, are not seen"
