"""Compiling and loading through BCC; nothing else in the project imports it.

BCC and clang write to the process's standard error on their own: what they say is kept and shown
only as part of an error.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tracer.errors import AttachFailed, MissingDependency, NotTraceable, PermissionMissing
from tracer.probe.headers import kernel_source
from tracer.probe.kernel import Map

_CAPABILITIES = {"CAP_BPF": 39, "CAP_PERFMON": 38, "CAP_SYS_PTRACE": 19}
_SYS_ADMIN = 21

_PART = re.compile(rb'^#include "(\w+\.c)"$', re.MULTILINE)


class BccProgram:
    """One compiled C file: its functions as loaded programs, its maps by name.

    Raises MissingDependency (BCC or kernel headers), PermissionMissing, NotTraceable (a kernel
    without BPF) or AttachFailed (the compiler or the verifier refused it).
    """

    def __init__(self, source: Path, defines: dict[str, int | None], cache: Path) -> None:
        bcc = _import_bcc()
        headers = kernel_source(cache)
        flags = [f"-I{source.parent}", "-Wno-macro-redefined"]
        flags += [f"-D{name}" if value is None else f"-D{name}={value}" for name, value in defines.items()]
        self._bcc = bcc
        with _environment("BCC_KERNEL_SOURCE", headers):
            self._module = _quietly(
                lambda: bcc.BPF(text=_whole_text(source), cflags=flags), f"The BPF program {source.name} was refused."
            )

    def load(self, function: str, attach_type: int = -1) -> int:
        """Load one function as a uprobe program; returns its descriptor, owned by this object."""
        return self._load(function, self._bcc.BPF.KPROBE, attach_type)

    def load_perf_event(self, function: str) -> int:
        """The same as a program of a perf event."""
        return self._load(function, self._bcc.BPF.PERF_EVENT, -1)

    def load_raw_tracepoint(self, function: str) -> int:
        """The same as a program of a raw tracepoint."""
        return self._load(function, self._bcc.BPF.RAW_TRACEPOINT, -1)

    def _load(self, function: str, kind: int, attach_type: int) -> int:
        loaded = _quietly(
            lambda: self._module.load_func(function.encode(), kind, None, attach_type),
            f"The kernel refused the BPF program {function}.",
        )
        return int(loaded.fd)

    def map(self, name: str, key_size: int, value_size: int) -> Map:
        return Map(self.map_fd(name), key_size, value_size)

    def map_fd(self, name: str) -> int:
        return int(self._module[name.encode()].map_fd)

    def attach_uprobe(self, program: int, name: str, path: str, offset: int, pid: int, *, is_return: bool) -> int:
        """BCC's attachment of one place by a perf event; returns its descriptor.  Raises OSError."""
        library = self._bcc.lib
        with _captured_stderr() as said:
            kind, event = int(is_return), name.encode()
            fd = int(library.bpf_attach_uprobe(program, kind, event, os.fsencode(path), offset, pid, 0))
        if fd < 0:
            raise OSError(errno.EINVAL, said() or "BCC could not attach")
        return fd

    def detach_uprobe(self, fd: int) -> None:
        self._bcc.lib.bpf_close_perf_event_fd(fd)

    def close(self) -> None:
        self._module.cleanup()


def bcc_version() -> str:
    """The version of the BCC that would be used.  Raises MissingDependency."""
    return str(getattr(_import_bcc(), "__version__", "of unknown version"))


def _whole_text(source: Path) -> bytes:
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
            raise _explained(what, f"{said()}\n{error}".strip()) from error


def _explained(what: str, output: str) -> AttachFailed | NotTraceable | PermissionMissing:
    lacking = missing_capabilities()
    if lacking and re.search(r"super-user|not permitted|permission denied", output, re.IGNORECASE):
        return PermissionMissing(
            "Loading BPF programs is not permitted.", why=f"missing: {', '.join(lacking)}", fix="run it as root (sudo)"
        )
    if re.search(r"function not implemented|invalid argument.*map", output, re.IGNORECASE):
        return NotTraceable(what, why=f"this kernel ({os.uname().release}) lacks what is needed: {_last_line(output)}")
    return AttachFailed(what, why=_last_line(output), fix="rat-ebpf doctor")


def _last_line(output: str) -> str:
    """The line that tells most: the first that names an error, else the last."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    named = [line for line in lines if "error:" in line]
    return (named or lines[-1:] or ["no reason given"])[0]


def missing_capabilities(status: Path = Path("/proc/self/status")) -> list[str]:
    """The capabilities that tracing needs and this process lacks.  CAP_SYS_ADMIN stands for the first two."""
    match = re.search(r"^CapEff:\s*([0-9a-f]+)", status.read_text(encoding="ascii", errors="replace"), re.MULTILINE)
    effective = int(match[1], 16) if match else 0
    has_admin = bool(effective >> _SYS_ADMIN & 1)
    return [
        name
        for name, bit in _CAPABILITIES.items()
        if not effective >> bit & 1 and not (has_admin and name != "CAP_SYS_PTRACE")
    ]


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
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)

        def said() -> str:
            file.seek(0)
            return file.read().decode(errors="replace").strip()

        try:
            yield said
        finally:
            os.dup2(saved, 2)
            os.close(saved)
