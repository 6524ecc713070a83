"""What BCC does for us, and nothing else in the project imports it: it compiles, and attaches on older kernels.

BCC and clang write to the process's standard error on their own: what they say is kept and shown
only as part of an error.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tracer.errors import AttachFailed, MissingDependency, NotTraceable, PermissionMissing
from tracer.privileges import Capability, has_capability
from tracer.probe.compiled import Compiled, MapShape, with_maps
from tracer.probe.headers import kernel_headers
from tracer.probe.kernel import map_shape
from tracer.probe.permission import missing_capabilities
from tracer.probe.scratch import temporary_folder

_PART = re.compile(rb'^#include "(\w+\.c)"$', re.MULTILINE)


def compile_source(source: Path, defines: Mapping[str, int | None], cache: Path) -> Compiled:
    """All functions and maps of one C file.

    cache: for a folder of kernel headers.  Raises MissingDependency (BCC or kernel headers), PermissionMissing (BCC
    makes the maps at once), NotTraceable (a kernel without BPF) or AttachFailed (the compiler refused it).
    """
    bcc = _import_bcc()
    flags = [f"-I{source.parent}", "-Wno-macro-redefined"]
    flags += [f"-D{name}" if value is None else f"-D{name}={value}" for name, value in defines.items()]
    with kernel_headers(cache) as headers, _environment("BCC_KERNEL_SOURCE", headers):
        module = _quietly(
            lambda: bcc.BPF(text=whole_text(source), cflags=flags), f"The BPF program {source.name} was refused."
        )
    try:
        return _taken_from(module, bcc.lib)
    finally:
        module.cleanup()


def _taken_from(module: Any, library: Any) -> Compiled:
    """BCC has made the maps already, and written their descriptors into the instructions."""
    number = module.module
    library.bpf_table_name.restype = library.bpf_function_name.restype = ctypes.c_char_p
    shapes, index = [], {}
    for at in range(library.bpf_num_tables(number)):
        name = library.bpf_table_name(number, at)
        fd = library.bpf_table_fd(number, name)  # module[name] would read /sys, which a container need not have
        index[fd] = at
        shapes.append(MapShape(name.decode(), *map_shape(fd)))
    names = [library.bpf_function_name(number, at) for at in range(library.bpf_num_functions(number))]
    return Compiled(tuple(shapes), {name.decode(): with_maps(module.dump_func(name), index) for name in names})


def attach_uprobe(program: int, name: str, path: str, offset: int, pid: int, *, is_return: bool) -> int:
    """BCC's attachment of one place by a perf event; returns its descriptor,
    detached by closing it.  Raises OSError or MissingDependency."""
    library = _import_bcc().lib
    with _captured_stderr() as said:
        kind, event = int(is_return), name.encode()
        fd = int(library.bpf_attach_uprobe(program, kind, event, os.fsencode(path), offset, pid, 0))
        if fd < 0:
            if not has_capability(Capability.SYS_ADMIN):
                raise OSError(errno.EACCES, "kernels without uprobe_multi links (Linux 6.6) want CAP_SYS_ADMIN for it")
            raise OSError(errno.EINVAL, said() or "BCC could not attach")
    return fd


def bcc_version() -> str:
    """The version of the BCC that would be used.  Raises MissingDependency."""
    return str(getattr(_import_bcc(), "__version__", "of unknown version"))


def whole_text(source: Path) -> bytes:
    """The program with its parts in their places: BCC rewrites accesses to maps in the text that it is given, not in
    what that includes."""
    return _PART.sub(lambda match: (source.parent / match[1].decode()).read_bytes(), source.read_bytes())


def _import_bcc() -> Any:
    try:
        import bcc
    except ImportError as error:
        raise MissingDependency(
            "BCC's Python module is not installed.",
            why=f"{error}; it comes from the distribution (PyPI's bcc is an unrelated package), and a virtual"
            " environment sees it only with --system-site-packages",
            fix="apt-get install -y --no-install-recommends python3-bpfcc",
        ) from error
    if not hasattr(bcc, "BPF"):
        raise MissingDependency(
            "The installed module bcc is not BCC.",
            why="PyPI's bcc is an unrelated package that hides the distribution's",
            fix="pip uninstall bcc; apt-get install -y --no-install-recommends python3-bpfcc",
        )
    return bcc


def _quietly(action: Callable[[], Any], what: str) -> Any:
    """BCC raises bare exceptions and prints the reason: both become one error for people."""
    with _captured_stderr() as said:
        try:
            return action()
        except Exception as error:
            raise explained(what, f"{said()}\n{error}".strip()) from error


def explained(what: str, output: str) -> AttachFailed | NotTraceable | PermissionMissing:
    """An error for people.  output: what the compiler, the verifier or the kernel said."""
    lacking = missing_capabilities()
    if lacking and re.search(r"super-user|not permitted|permission denied", output, re.IGNORECASE):
        return PermissionMissing("Loading BPF programs is not permitted.", why=f"missing: {', '.join(lacking)}")
    if re.search(r"function not implemented|invalid argument.*map", output, re.IGNORECASE):
        return NotTraceable(what, why=f"this kernel ({os.uname().release}) lacks what is needed: {_last_line(output)}")
    return AttachFailed(what, why=_last_line(output), fix="rat-ebpf doctor")


def _last_line(output: str) -> str:
    """The line that tells most: the first that names an error, else the last."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    named = [line for line in lines if "error:" in line]
    return (named or lines[-1:] or ["no reason given"])[0]


@contextmanager
def _environment(name: str, value: Path | None) -> Iterator[None]:
    if value is None or name in os.environ:
        yield
        return
    os.environ[name] = str(value)
    try:
        yield
    finally:
        del os.environ[name]


@contextmanager
def _captured_stderr() -> Iterator[Callable[[], str]]:
    """Take what C libraries write to descriptor 2; yields a function that returns it so far."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile(dir=temporary_folder()) as file:
        os.dup2(file.fileno(), 2)

        def said() -> str:
            file.seek(0)
            return file.read().decode(errors="replace").strip()

        try:
            yield said
        finally:
            os.dup2(saved, 2)
            os.close(saved)
