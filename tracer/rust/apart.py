"""Reading a binary in a child process without rights: debug information, names and machine code are somebody else's."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from tracer.errors import NotTraceable
from tracer.model import Binary
from tracer.privileges import is_privileged, run_without_privileges
from tracer.rust.cache import UNREADABLE, decode, encode
from tracer.target.elf import ElfImage


def read_apart(make: Callable[[], Binary], image: ElfImage, display_path: str, debug_path: str | None) -> Binary:
    """What `make` finds in `image`, without its twin; in this process where that has no rights to lose.

    Raises what `make` does, and NotTraceable where the child ended, or answered what nobody can read.
    """
    if not is_privileged():
        return make()
    import_module("tracer.rust.functions")  # loading cxxfilt starts programs that look for libraries
    content = run_without_privileges(lambda: encode(make()))
    try:
        return decode(content, image, display_path, debug_path)
    except UNREADABLE as error:
        raise NotTraceable(
            f"{display_path} could not be read.", why=f"The process that reads it answered with nonsense ({error})."
        ) from None
