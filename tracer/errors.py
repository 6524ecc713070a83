"""Errors for people: what happened, why, and the next command to type.

Every error that a user can meet is a RatError.  `cli` prints it in one or two lines and
exits with its code; a traceback is a bug.  The codes are part of the documented interface.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process returns to the shell.  Codes are documented in the README: never renumber."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    NO_PROCESS = 3
    NO_PERMISSION = 4
    NOT_TRACEABLE = 5
    MISSING_DEPENDENCY = 6
    ATTACH_FAILED = 7
    NO_EVENTS = 8
    OUTPUT_FAILED = 9
    BAD_CAPTURE = 10
    TWIN_REFUSED = 11


class RatError(Exception):
    """An error a person can act on.

    what: one sentence, what happened.  why: a sentence on the cause, or "".  fix: the next command to type
    (or the lines to add), or "".
    """

    code: ExitCode = ExitCode.INTERNAL

    def __init__(self, what: str, *, why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix = fix


class UsageError(RatError):
    """The command line does not make sense."""

    code = ExitCode.USAGE


class NoSuchProcess(RatError):
    """The process is not there, or ended before it could be looked at."""

    code = ExitCode.NO_PROCESS


class PermissionMissing(RatError):
    """A capability or a file permission is missing; `why` names it.  No `fix`: it is the same command as root."""

    code = ExitCode.NO_PERMISSION


class NotTraceable(RatError):
    """Not an ELF file, not Rust, no poll function, an unsupported architecture or kernel."""

    code = ExitCode.NOT_TRACEABLE


class NoRoom(NotTraceable):
    """A memory limit of the process leaves no room for probes."""


class MissingDependency(RatError):
    """BCC, kernel headers or another package is not installed; `fix` installs it."""

    code = ExitCode.MISSING_DEPENDENCY


class AttachFailed(RatError):
    """The kernel refused a program or a link."""

    code = ExitCode.ATTACH_FAILED


class NoEvents(RatError):
    """Probes were attached, the process was busy, and nothing arrived."""

    code = ExitCode.NO_EVENTS


class OutputFailed(RatError):
    """A file could not be written: no such folder, no permission, disk full."""

    code = ExitCode.OUTPUT_FAILED


class OutOfMemory(OutputFailed):
    """Python's MemoryError, in a sentence.  of_recording: there is something recorded, which it is too little for."""

    def __init__(self, *, of_recording: bool = False) -> None:
        less = "record for a shorter time (-d), or fewer futures (-F)"
        more = "ulimit -v unlimited    # or give the container more memory (memory.max)"
        super().__init__("There is not enough memory", fix=less if of_recording else more)


class OutOfProcesses(OutputFailed):
    """The user, or the container, has as many as are allowed."""

    def __init__(self) -> None:
        super().__init__(
            "No more processes may be started", why="rat-ebpf needs a few", fix="ulimit -u; cat /sys/fs/cgroup/pids.max"
        )


class BadCapture(RatError):
    """A file is not a capture (or a trace of ours), or of a format version that this program does not know."""

    code = ExitCode.BAD_CAPTURE


class TwinRefused(RatError):
    """The twin is no build of the program that runs, or has no debug information."""

    code = ExitCode.TWIN_REFUSED
