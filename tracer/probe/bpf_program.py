"""One BPF C file as loaded programs and maps.

BCC compiles it the first time, which takes the better part of a second; what came of it is kept.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from tracer.errors import AttachFailed
from tracer.probe.bcc_compiler import compile_source, explained, whole_text
from tracer.probe.compiled import Compiled, KeptPrograms, with_maps
from tracer.probe.kernel import (
    PROGRAM_PERF_EVENT,
    PROGRAM_RAW_TRACEPOINT,
    PROGRAM_UPROBE,
    Map,
    Unverified,
    cpus,
    create_map,
    load_program,
)
from tracer.target.cgroups import mounts_of
from tracer.target.memory_limit import CONTROLLER, rooms_of
from tracer.target.own_files import OwnFiles


class BpfProgram:
    """Its functions, loaded when asked for, and its maps by name.

    entries: of maps, how many they are to have; the C file says it of all others.
    Raises MissingDependency (BCC or kernel headers), PermissionMissing, NotTraceable (a kernel
    without BPF) or AttachFailed (the compiler or the kernel refused it).
    """

    def __init__(
        self, source: Path, defines: Mapping[str, int | None], cache: Path, entries: Mapping[str, int] | None = None
    ) -> None:
        self._programs: list[int] = []
        self._maps: dict[str, int] = {}
        self._code = compiled_program(source, defines, cache)
        try:
            for shape in self._code.maps:
                count = (entries or {}).get(shape.name, shape.entries)
                self._maps[shape.name] = create_map(
                    shape.kind, shape.key_size, shape.value_size, count, shape.flags, shape.name
                )
        except OSError as error:
            self.close()
            what, words = "The kernel refused a map of the BPF program.", f"map {shape.name}: {error.strerror}"
            if error.errno == errno.ENOMEM:
                raise _no_memory(what, words) from error
            raise explained(what, words) from error

    def load(self, function: str, attach_type: int = 0) -> int:
        """Load one function as a uprobe program; returns its descriptor, owned by this object."""
        return self._load(function, PROGRAM_UPROBE, attach_type)

    def load_perf_event(self, function: str) -> int:
        """The same as a program of a perf event."""
        return self._load(function, PROGRAM_PERF_EVENT)

    def load_raw_tracepoint(self, function: str) -> int:
        """The same as a program of a raw tracepoint."""
        return self._load(function, PROGRAM_RAW_TRACEPOINT)

    def _load(self, function: str, kind: int, attach_type: int = 0) -> int:
        code = with_maps(self._code.functions[function], dict(enumerate(self._maps.values())))
        try:
            program = load_program(kind, code, attach_type, function)
        except Unverified as error:
            why = f"{error.said}\n{os.strerror(error.errno or errno.EINVAL)}".strip()
            raise explained(f"The kernel refused the BPF program {function}.", why) from error
        self._programs.append(program)
        return program

    def map(self, name: str, key_size: int, value_size: int) -> Map:
        return Map(self._maps[name], key_size, value_size)

    def map_fd(self, name: str) -> int:
        return self._maps[name]

    def close(self) -> None:
        """Free programs and maps, as far as no link holds them."""
        for fd in (*self._programs, *self._maps.values()):
            os.close(fd)
        self._programs.clear()
        self._maps.clear()


def _no_memory(what: str, words: str) -> AttachFailed:
    """Maps count as memory of the cgroup of who makes them; a container often does not see that one's files."""
    rooms = rooms_of(os.getpid(), mounts_of(CONTROLLER))
    of_what = str(min(rooms, key=lambda folder: rooms[folder])) if rooms else "the cgroup (of the container)"
    why = f"{words}, most likely for the memory limit of {of_what}, which counts maps"
    return AttachFailed(what, why=why, fix="docker run --memory=1g …    # or give it more where it was started")


def compiled_program(source: Path, defines: Mapping[str, int | None], cache: Path) -> Compiled:
    """Compiled now, or by an earlier run; raises what compile_source raises."""
    name, kept = _name(source, defines), _kept(cache)
    known = kept.load(name)
    if known is None:
        known = compile_source(source, defines, cache)
        kept.store(name, known)
    return known


def is_kept(source: Path, defines: Mapping[str, int | None], cache: Path) -> bool:
    """Whether an earlier run compiled it."""
    return _kept(cache).load(_name(source, defines)) is not None


def _kept(cache: Path) -> KeptPrograms:
    return KeptPrograms(OwnFiles(cache, ".bpf"))


def _name(source: Path, defines: Mapping[str, int | None]) -> str:
    # What BCC makes of it depends on the kernel that it finds running, and on the CPUs that a perf buffer is for.
    texts = [whole_text(source).decode(), *(header.read_text() for header in sorted(source.parent.glob("*.h")))]
    given = [texts, sorted(defines.items()), os.uname().release, os.uname().version, cpus("possible"), _CODE]
    return hashlib.sha256(json.dumps(given).encode()).hexdigest()


_CODE = 1
"""Of what is kept; raised when that changes."""
