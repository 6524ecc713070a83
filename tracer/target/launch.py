"""Start a program so that it can be traced from its first instruction on.

The child is forked, becomes the user it is to run as, and waits on a pipe before its exec; the probes are
attached meanwhile and `release` lets it go.  No ptrace: nothing is stopped once the program runs.

Signals: the program stays in the tracer's process group, as under strace and perf, so a Ctrl-C typed at the
terminal reaches both.  The program does with it what it does untraced; the tracer ends the recording.  The
tracer itself sends the program no signal; a tracer that ends early leaves it running.
"""

from __future__ import annotations

import errno
import os
import pwd
import select
import shutil
import signal
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from tracer import children
from tracer.errors import NoSuchProcess, NotTraceable, PermissionMissing, RatError, UsageError
from tracer.ownership import caller, callers_groups
from tracer.privileges import lend_nothing
from tracer.surroundings import environment_before, hand_on
from tracer.target.shadow_stack import refuse_asked_shadow_stack

_GO = b"g"
_STATUS = struct.Struct("<i")  # what the child reports: an errno, 0 for "ready"
_RESET = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@dataclass(frozen=True, slots=True)
class Account:
    """Who the program runs as.  None of it applies when uid is None: it runs as the caller."""

    uid: int | None
    gid: int
    name: str
    home: str
    shell: str
    groups: tuple[int, ...] = ()


class Launched:
    """A program that waits before its exec; a context manager.

    pid: the process, the same before and after the exec.  executable: the file to read and to attach to,
    without symbolic links.  Leaving the context before `release` ends the child, which never ran the program;
    afterwards it leaves the program alone.
    """

    def __init__(self, pid: int, executable: Path, command: tuple[str, ...], go: int, status: int) -> None:
        self.pid = pid
        self.executable = executable
        self.command = command
        self._go: int | None = go
        self._status = status
        self._ended: int | None = None

    def release(self) -> None:
        """Let the program start; returns when its exec is done.  Raises RatError when the kernel refuses it."""
        if self._go is None:
            return
        go, self._go = self._go, None
        try:
            os.write(go, _GO)
        except BrokenPipeError:
            raise NoSuchProcess(
                f"{self.command[0]} was ended before it started.", why=self._how_it_ended(), fix="Start it again."
            ) from None
        finally:
            os.close(go)
        failure = _read_status(self._status)  # the pipe closes on exec: nothing to read is success
        if failure:
            self.wait()
            raise _exec_error(self.command[0], failure)

    def poll(self) -> int | None:
        """How the program ended, as a shell reports it (0 to 255; 128 + number for a signal); None while it runs."""
        if self._ended is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                self._ended = code if code >= 0 else 128 - code
        return self._ended

    def wait(self, timeout: float | None = None) -> int | None:
        """Waits for the program's end, `timeout` seconds at most, and returns what `poll` does."""
        if self._ended is not None:
            return self._ended
        descriptor = os.pidfd_open(self.pid)
        try:
            poller = select.poll()
            poller.register(descriptor, select.POLLIN)
            deadline = None if timeout is None else time.monotonic() + timeout
            while self.poll() is None:
                left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
                if not poller.poll(left) and left is not None:
                    break
        finally:
            os.close(descriptor)
        return self.poll()

    def close(self) -> None:
        """Ends the child if it was never released.  Idempotent."""
        if self._go is not None:
            os.close(self._go)  # the child reads the end of file and exits
            self._go = None
            self.wait()
        if self._status >= 0:
            os.close(self._status)
            self._status = -1

    def _how_it_ended(self) -> str:
        code = self.wait(1.0)
        if code is None:
            return ""
        return f"Signal {signal.Signals(code - 128).name}." if code > 128 else f"Exit status {code}."

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def launch(command: Sequence[str]) -> Launched:
    """Prepares `command` (a program, looked up in PATH, and its arguments) and stops it before its exec.

    Under sudo the program runs as the user who called sudo, with their groups and HOME; this process'
    environment is otherwise handed on.  Standard input, output and error are shared.
    Raises UsageError (not found), PermissionMissing (not executable) and NotTraceable (a script, or a shadow stack).
    """
    program = _find(command[0])
    account = caller_account()
    environment = _environment_for(account)
    refuse_asked_shadow_stack(command[0], environment)
    go_read, go_write = os.pipe()
    status_read, status_write = os.pipe()

    def become(mask: Iterable[int]) -> None:
        os.close(go_write)
        _become_program(program, command, environment, account, go_read, status_write, mask)

    pid = children.begin(become)
    os.close(go_read)
    os.close(status_write)
    launched = Launched(pid, program.resolve(), tuple(command), go_write, status_read)
    failure = _read_status(status_read, is_handshake=True)
    if failure:
        launched.close()
        raise _exec_error(command[0], failure)
    return launched


def caller_account() -> Account:
    """The user behind sudo, with all their groups; uid None without sudo: the program runs as the caller."""
    owner = caller()
    if owner is None:
        return Account(None, 0, "", "", "")
    uid, gid = owner
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Account(uid, gid, os.environ.get("SUDO_USER", str(uid)), "/", "/bin/sh", (gid,))
    return Account(uid, gid, entry.pw_name, entry.pw_dir, entry.pw_shell or "/bin/sh", tuple(callers_groups()))


def _environment_for(account: Account) -> dict[str, str]:
    if account.uid is None:
        return environment_before()
    kept = {key: value for key, value in environment_before().items() if not key.startswith("SUDO_")}
    return kept | {"HOME": account.home, "USER": account.name, "LOGNAME": account.name, "SHELL": account.shell}


def _find(name: str) -> Path:
    """The file that exec will be given.  Raises RatError when it cannot be a program."""
    if "/" in name:
        path = Path(name)
    else:
        found = shutil.which(name)
        if found is None:
            here = os.access(name, os.F_OK) and Path(name).is_file()
            raise UsageError(
                f"There is no program {name} in PATH.",
                why="" if not here else f"{name} in this folder is found only by its path.",
                fix=f"rat-ebpf -- ./{name}" if here else "Give its path: rat-ebpf -- target/release/PROGRAM",
            )
        path = Path(found)
    path = path.absolute()
    try:
        with path.open("rb") as file:
            start = file.read(256)
    except IsADirectoryError:
        raise UsageError(f"{name} is a folder, no program.", fix=f"rat-ebpf -- {path}/PROGRAM") from None
    except FileNotFoundError:
        raise UsageError(
            f"There is no file {name}.", fix="Build it first: cargo build --release, then target/release/PROGRAM"
        ) from None
    except PermissionError:
        return path  # executable but not readable: exec will say
    except OSError as error:
        raise _exec_error(name, error.errno or errno.EIO) from None
    if start.startswith(b"#!"):
        interpreter = start[2:].split(b"\n")[0].strip().decode("utf-8", "replace")
        raise NotTraceable(
            f"{name} is a script for {interpreter}, no Rust program.",
            why="Only the program that is started itself is traced.",
            fix="Start the script untraced, then trace the program that it starts: sudo rat-ebpf --pid PID",
        )
    return path


def _become_program(
    program: Path,
    command: Sequence[str],
    environment: Mapping[str, str],
    account: Account,
    go: int,
    status: int,
    mask: Iterable[int],
) -> NoReturn:
    """What the forked child does.  Only system calls, and never a return into the tracer's code."""
    try:
        for number in _RESET:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's wish is kept
                signal.signal(number, signal.SIG_DFL)
        hand_on()
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these for itself
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if account.uid is not None:
            os.setgroups(account.groups)
            os.setgid(account.gid)
            os.setuid(account.uid)
        lend_nothing()
        may_run = os.access(program, os.X_OK, effective_ids=True)
        os.write(status, _STATUS.pack(0 if may_run else errno.EACCES))
        if may_run and os.read(go, 1) == _GO:
            os.execve(program, list(command), dict(environment))
    except OSError as error:
        os.write(status, _STATUS.pack(error.errno or errno.EIO))
    finally:
        os._exit(127)


def _read_status(pipe: int, *, is_handshake: bool = False) -> int:
    """The errno that the child reports.  The end of file means a done exec, in the handshake a dead child."""
    data = os.read(pipe, _STATUS.size)
    if len(data) == _STATUS.size:
        return int(_STATUS.unpack(data)[0])
    return errno.ECHILD if is_handshake else 0


def _exec_error(name: str, number: int) -> RatError:
    what = f"{name} could not be started."
    why = f"{os.strerror(number)}."
    if number in (errno.EACCES, errno.EPERM):
        return PermissionMissing(f"{name} may not be executed.", why=why, fix=f"chmod +x {name}")
    if number == errno.ENOEXEC:
        return NotTraceable(
            f"{name} is not a program that this machine can run.", why=why, fix="Give the executable that cargo built."
        )
    if number == errno.ENOENT:
        return NotTraceable(what, why="The file or its ELF interpreter is missing.", fix=f"Check with: ldd {name}")
    return NotTraceable(what, why=why, fix=f"Try it without the tracer: {name}")
