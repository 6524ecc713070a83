"""What one binary says about itself: the room's main entry."""

from __future__ import annotations

import contextlib
import gc
import re
from collections.abc import Iterator
from dataclasses import replace

from tracer.errors import NotTraceable
from tracer.model import Binary
from tracer.rust.apart import read_apart
from tracer.rust.cache import Cache
from tracer.rust.compiler import compiler_of
from tracer.rust.demangle import demangle
from tracer.rust.split import SplitDebug
from tracer.target.elf import ElfImage

_MANGLED = re.compile(rb"17h[0-9a-f]{16}E|(?<=\0)_R[NMXYIC][0-9A-Za-z_]+")
_SOURCE_PATH = re.compile(rb"/rustc/|library/(?:core|alloc|std)/src/[\w/]+\.rs")
"""Panic messages of the standard library keep its build path, in stripped programs too: /rustc/COMMIT/library/… of
rust-lang.org's compilers, /usr/src/rustc-1.63.0/library/… of Debian's."""

_OLD_FUTURE = " as futures::future::Future>::poll"
"""The trait of the crate futures 0.1: what later versions have by that name is core::future::Future."""

_UNWIND = b"_Unwind_RaiseException"
_PROFILE = "[profile.release]\nstrip = false\ndebug = 2"
_INSTALL = "CARGO_PROFILE_RELEASE_STRIP=none CARGO_PROFILE_RELEASE_DEBUG=2 cargo install ..."


def read_binary(
    image: ElfImage,
    *,
    display_path: str,
    debug: ElfImage | None = None,
    split: SplitDebug | None = None,
    cache: Cache | None = None,
    apart: bool = False,
) -> Binary:
    """Find every poll function of an executable or shared object.

    debug: its separate debug file; one of another build is not used.  split: what is split off from
    the one of both that has the debug information.  display_path: as the user would name the binary.
    apart: what is not in the cache is read by a child without rights (read_apart).
    Raises NotTraceable when it is not Rust, stripped, or has no poll function; damaged debug
    information only makes less known.
    """
    if debug is not None and (debug.build_id is None or debug.build_id != image.build_id):
        debug, split = None, None  # what is split off belongs to it
    split = split or SplitDebug({})
    debug_path = split.display or (str(debug.path) if debug is not None else None)
    if cache is not None:
        known = cache.load(image, debug, display_path=display_path, debug_path=debug_path, split=split)
        if known is not None:
            return known

    def make() -> Binary:
        return replace(_read(image, display_path, debug, split), debug_file=debug_path)

    binary = read_apart(make, image, display_path, debug_path) if apart else make()
    if cache is not None:
        cache.store(image, debug, binary, split)
    return binary


def _read(image: ElfImage, display_path: str, debug: ElfImage | None, split: SplitDebug) -> Binary:
    rustc = compiler_of(image)
    images = [image] if debug is None else [image, debug]
    if rustc is None and not any(_looks_like_rust(candidate) for candidate in images):
        raise NotTraceable(
            f"{display_path} is not a Rust program.",
            why="Neither the compiler's mark nor a function name mangled by rustc was found in it.",
            fix="Trace the process that runs the Rust program itself.",
        )
    from tracer.rust.functions import find_functions

    with _without_collection():
        found = find_functions(image, debug, split.parts)
    if not found.functions and not found.refusals:
        if not any(candidate.has_section(".symtab") for candidate in images):
            raise NotTraceable(
                f"{display_path} is stripped: no poll function can be found in it.",
                why="It has no symbol table, and no separate debug file of the same build was found.",
                fix=f"Where the same build is that has its symbols yet: --symbols FILE\n\n"
                f"Else build it with these lines in Cargo.toml:\n\n{_PROFILE}\n\nor install it by:\n\n{_INSTALL}",
            )
        if any(map(_has_old_futures, images)):
            raise NotTraceable(
                f"{display_path} has futures of the crate futures 0.1 only, which cannot be traced.",
                why="They are older than Rust's own Future, are polled in another way, and are what tokio 0.1 runs.",
                fix="Build it with a runtime of Rust's own futures: tokio 0.2 or later, async-std or smol.",
            )
        raise NotTraceable(
            f"{display_path} has no poll function.",
            why="It runs no async code, or the compiler inlined all of it.",
            fix="If it is async, build it with lower optimisation, e.g. cargo build.",
        )
    return Binary(
        path=display_path,
        build_id=image.build_id,
        architecture=image.architecture,
        size=image.size,
        symbols=found.symbols,
        can_unwind=_can_unwind(image),
        functions=found.functions,
        refusals=found.refusals,
        rustc=rustc,
        debug_file=str(debug.path) if debug is not None else None,
        ends=found.ends,
        layouts=found.layouts,
        current_task=found.current_task,
        spawns=found.spawns,
        sites=found.sites,
        wakes=found.wakes,
        own_folder=found.own_folder,
    )


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Python looks for garbage the more often the more is made: for nothing, where nearly all that is made is kept."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _looks_like_rust(image: ElfImage) -> bool:
    for name in (".strtab", ".dynstr"):
        content = image.section(name)
        if content is not None and _MANGLED.search(bytes(content)):
            return True
    return any(_SOURCE_PATH.search(content) for _, content in image.constants())


def _has_old_futures(image: ElfImage) -> bool:
    names = bytes(image.section(".strtab") or b"").split(b"\0")
    some = (one.decode("ascii", "replace") for one in names if b"6Future4poll" in one or b"Future$GT$4poll" in one)
    return any(_OLD_FUTURE in demangle(one) for one in some)


def _can_unwind(image: ElfImage) -> bool:
    """Whether panics unwind: a panic=abort build does not have the unwinder's raise function.

    A static program without a symbol table does not tell; it is taken to unwind, which is the safe side.
    """
    names = [bytes(content) for name in (".strtab", ".dynstr") if (content := image.section(name)) is not None]
    if any(_UNWIND in content for content in names):
        return True
    return not image.has_section(".symtab") and not image.is_dynamic
