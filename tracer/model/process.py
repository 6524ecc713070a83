"""The traced processes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Mapping:
    start: int
    end: int
    offset: int
    permissions: str
    inode: int
    device: str
    path: str


@dataclass(frozen=True, slots=True)
class Thread:
    tid: int
    pid: int
    name: str


@dataclass(frozen=True, slots=True)
class Process:
    """One traced process.  start_time: clock ticks since boot, guards against pid reuse.

    binary: index into Plan.binaries.  load_bias: run-time address minus link-time address.
    """

    pid: int
    start_time: int
    name: str
    command: tuple[str, ...]
    executable: str
    binary: int
    load_bias: int


@dataclass(frozen=True, slots=True)
class ClockReading:
    """The clocks read together, in nanoseconds."""

    monotonic: int
    boottime: int
    realtime: int


class HaltKind(StrEnum):
    """What kept a process from running, besides itself and other programs."""

    STOPPED = "stopped"  # a signal: SIGSTOP, SIGTSTP and the like
    TRACED = "traced"  # whoever traces it with ptrace: a debugger
    FROZEN = "frozen"  # the freezer of its control group
    THROTTLED = "throttled"  # the CPU limit of its control group, which it had used up


@dataclass(frozen=True, slots=True)
class Standstill:
    """What keeps a whole process from running.  kind: not THROTTLED.  by: who traces it (`gdb (77)`); "": nobody, or
    that is not known.  left: how often its main thread has left its CPU.

    Two that are equal are of one standstill: between them the process did not run.
    """

    kind: HaltKind
    by: str
    left: tuple[str, ...]
