"""The traced processes."""

from __future__ import annotations

from dataclasses import dataclass


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
