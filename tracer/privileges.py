"""Giving rights up: what reads files that others made does so with no right that it does not need.

Two ways.  A forked child that keeps nothing and hands back bytes (`run_without_privileges`), where this process goes
on with its rights.  And for good, once it only has to read a file and to write another (`give_up_privileges`).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pwd
import signal
import struct
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum, IntFlag
from functools import cache
from pathlib import Path
from typing import NoReturn

from tracer import errors
from tracer.children import begin, close_all_but, end_with_parent, fork
from tracer.errors import NotTraceable, RatError
from tracer.ownership import caller, callers_groups, callers_rights

MAX_ANSWER = 128 << 20
"""Bytes that a child may hand back."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_DONE, _REFUSED, _FAILED = b"D", b"R", b"F"


class Capability(IntEnum):
    """Their numbers (include/uapi/linux/capability.h)."""

    CHOWN = 0
    DAC_OVERRIDE = 1
    FOWNER = 3
    SETGID = 6
    SETUID = 7
    SYS_PTRACE = 19
    SYS_ADMIN = 21
    PERFMON = 38
    BPF = 39


class _Prctl(IntEnum):
    SET_NO_NEW_PRIVS = 38
    CAP_AMBIENT = 47


class _Access(IntFlag):
    """LANDLOCK_ACCESS_FS_… (include/uapi/linux/landlock.h): all but reading."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    REMOVE_FILE = 1 << 5
    MAKE_REG = 1 << 8
    VERSION_1 = EXECUTE | WRITE_FILE | 0x1FF0  # remove folders and files, make every kind of them
    REFER = 1 << 13  # version 2
    TRUNCATE = 1 << 14  # version 3


_AMBIENT_LOWER, _AMBIENT_CLEAR_ALL = 3, 4
_CAPSET = 126
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_VERSION = 1
_PATH_BENEATH = 1
_TCP = 0x3  # bind and connect
_SCOPES = 0x3  # abstract Unix sockets, signals to others
_CAPABILITIES_V3 = 0x20080522


def effective_capabilities(status: Path = Path("/proc/self/status")) -> int:
    """The capabilities that this program has, as a bit set: bit n is capability number n."""
    lines = status.read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))


def has_capability(capability: Capability) -> bool:
    return bool(effective_capabilities() >> capability & 1)


def is_privileged() -> bool:
    """Whether there is something to give up."""
    return os.geteuid() == 0 or effective_capabilities() != 0


def landlock_version() -> int:
    """What the kernel has of Landlock; 0: nothing (before Linux 5.13, or not chosen at boot)."""
    try:
        return _system_call(_LANDLOCK_CREATE, None, 0, _LANDLOCK_VERSION)
    except OSError:
        return 0


def lend_nothing() -> None:
    """A program that this process executes from here on has none of the capabilities that tracing needs.

    Root's are not taken away: its programs have them of their own.
    """
    for capability in (Capability.BPF, Capability.PERFMON, Capability.SYS_PTRACE):
        with contextlib.suppress(OSError):  # Linux 4.3
            _prctl(_Prctl.CAP_AMBIENT, _AMBIENT_LOWER, capability)


def run_without_privileges(make: Callable[[], bytes]) -> bytes:
    """What `make` returns, called in a child of this process that has lost all of its rights.

    The child is the user who typed sudo, or `nobody` where root itself did, has no capability and no way to one, no
    open file but the standard ones, and, where the kernel has Landlock, can change no file, start no program and reach
    no network.  What `make` reads is mapped already.
    Raises what `make` raises of RatError, MemoryError, and NotTraceable where the child ended without an answer.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()

    def answer_it(mask: Iterable[int]) -> None:
        os.close(reading)
        _answer(writing, make, mask)

    child = begin(answer_it)
    os.close(writing)
    answer = bytearray()
    try:
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            while (part := pipe.read(1 << 20)) and len(answer) <= MAX_ANSWER:
                answer += part
    finally:
        with contextlib.suppress(PermissionError):  # it is somebody else's by now: it ends when its answer is not taken
            os.kill(child, signal.SIGKILL)  # it has ended, or is not waited for any more
        status = os.waitpid(child, 0)[1]
    kind, content = bytes(answer[:1]), bytes(answer[1:])
    if kind == _DONE and len(answer) <= MAX_ANSWER:
        return content
    raise _failure(kind, content, os.waitstatus_to_exitcode(status))


def give_up_privileges(*, reads: Path, writes_to: Path | None = None) -> None:
    """From here on this process reads `reads`, and changes files only in the folder `writes_to`, for good.

    It becomes the user who typed sudo where that user may do so; else it keeps, of root's rights, those over files.
    Threads of our own may not be there yet: rights are given up by this one and those that it starts.
    """
    _end_idle_threads()
    folders = [] if writes_to is None else [writes_to]
    owner = caller()
    if owner is not None and _caller_may(reads, folders) and _become(owner[0], owner[1], callers_groups()):
        kept: tuple[Capability, ...] = ()
    elif os.geteuid() != 0:
        kept = ()
    elif owner is not None:  # into a folder of root's own, where the file is given to the caller
        kept = (Capability.DAC_OVERRIDE, Capability.CHOWN, Capability.SETUID, Capability.SETGID)
    else:
        kept = (Capability.DAC_OVERRIDE, Capability.FOWNER)  # the latter replaces another's file in /tmp
    _keep_only(kept)
    _restrict(folders)


def _end_idle_threads() -> None:
    """Those of numpy's linear algebra wait for work, and would wait with all rights: it ends them before a fork."""
    if len(os.listdir("/proc/self/task")) > 1:
        child = fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)


def _caller_may(reads: Path, folders: Sequence[Path]) -> bool:
    with callers_rights():
        return os.access(reads, os.R_OK, effective_ids=True) and all(
            os.access(folder, os.W_OK | os.X_OK, effective_ids=True) for folder in folders
        )


# ---- in the child


def _answer(pipe: int, make: Callable[[], bytes], mask: Iterable[int]) -> NoReturn:
    """Does not return: what is to be done at the exit of an interpreter is not this one's to do."""
    try:
        for number in _SIGNALS:  # whoever made it says when it ends
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        try:
            close_all_but(0, 1, 2, pipe)
            _become_nobody()
            _keep_only(())
            _restrict(())
            end_with_parent()
            answer = _DONE + make()
        except RatError as error:
            answer = _REFUSED + json.dumps([type(error).__name__, error.what, error.why, error.fix]).encode()
        except MemoryError:
            answer = _FAILED + b"MemoryError"
        except BaseException:  # noqa: BLE001 - handed over, not swallowed
            answer = _FAILED + traceback.format_exc().encode()
        view = memoryview(answer)
        while view:
            view = view[os.write(pipe, view) :]
    finally:
        os._exit(0)


def _become_nobody() -> None:
    """... or the caller of sudo."""
    if os.geteuid() != 0:
        return
    owner = caller()
    if owner is not None:
        _become(*owner, callers_groups())
        return
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return
    _become(nobody.pw_uid, nobody.pw_gid, [])


def _failure(kind: bytes, content: bytes, code: int) -> BaseException:
    """What a child's answer says that is none.  code: its exit code, negative for a signal."""
    if kind == _REFUSED:
        with contextlib.suppress(ValueError, TypeError):
            name, what, why, fix = json.loads(content)
            known = getattr(errors, str(name), None)
            if isinstance(known, type) and issubclass(known, RatError):
                return known(str(what), why=str(why), fix=str(fix))
    if kind == _FAILED:
        if content == b"MemoryError":
            return MemoryError()
        return RuntimeError(f"the process that reads the program failed:\n{content.decode(errors='replace')}")
    how = signal.Signals(-code).name if code < 0 else "no answer"
    return NotTraceable(
        "The program could not be read.",
        why=f"The process that reads it ended: {how}.",
        fix="Trace a build whose debug information is intact, or one without.",
    )


# ---- rights


def _become(user: int, group: int, groups: Sequence[int]) -> bool:
    """For good, and only where that user can read this program's code; whether it was done."""
    before = os.getgroups(), os.getegid()
    code = [folder for folder in map(Path, sys.path) if folder.is_dir()]
    try:
        os.setgroups(groups)
    except OSError:  # no right to, as in a container that takes it away, or in a user namespace
        return False
    try:
        os.setegid(group)
        os.seteuid(user)
    except OSError:  # a user namespace without that user
        is_able = False
    else:
        is_able = all(os.access(folder, os.R_OK | os.X_OK, effective_ids=True) for folder in code)
    os.seteuid(0)
    if not is_able:
        os.setegid(before[1])
        os.setgroups(before[0])
        return False
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    return True


def _keep_only(kept: Sequence[Capability]) -> None:
    """Of the capabilities; and no program that is executed gets any, whatever its file says."""
    _prctl(_Prctl.SET_NO_NEW_PRIVS, 1)
    with contextlib.suppress(OSError):  # Linux 4.3
        _prctl(_Prctl.CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    bits = effective_capabilities() & sum(1 << one for one in kept)
    low, high = bits & 0xFFFFFFFF, bits >> 32
    _system_call(_CAPSET, struct.pack("<Ii", _CAPABILITIES_V3, 0), struct.pack("<6I", low, low, 0, high, high, 0))


def _restrict(folders: Sequence[Path]) -> None:
    """No file is changed but in these folders, no program started, no network reached; only where there is Landlock."""
    version = landlock_version()
    if not version:
        return
    handled = _Access.VERSION_1
    handled |= _Access.REFER if version >= 2 else 0
    handled |= _Access.TRUNCATE if version >= 3 else 0
    rules = struct.pack("<QQQ", handled, _TCP, _SCOPES)[: 24 if version >= 6 else 16 if version >= 4 else 8]
    rule_set = _system_call(_LANDLOCK_CREATE, rules, len(rules), 0)
    try:
        changes = (_Access.WRITE_FILE | _Access.REMOVE_FILE | _Access.MAKE_REG | _Access.TRUNCATE) & handled
        allowed = dict.fromkeys(folders, changes) | {Path(os.devnull): _Access.WRITE_FILE}
        for path, access in allowed.items():
            try:
                held = os.open(path, os.O_PATH | os.O_CLOEXEC | (os.O_DIRECTORY if path in folders else 0))
            except OSError:  # whoever writes there finds that out, and says it better
                continue
            try:
                _system_call(_LANDLOCK_ADD, rule_set, _PATH_BENEATH, struct.pack("<Qi", access, held), 0)
            finally:
                os.close(held)
        _system_call(_LANDLOCK_RESTRICT, rule_set, 0)
    finally:
        os.close(rule_set)


def _prctl(option: _Prctl, value: int, more: int = 0) -> None:
    if _c().prctl(int(option), *map(ctypes.c_ulong, (value, more, 0, 0))):
        raise OSError(ctypes.get_errno(), f"prctl {option.name}")


def _system_call(number: int, *arguments: int | bytes | None) -> int:
    done = int(_c().syscall(number, *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)))
    if done < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return done


@cache
def _c() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    return library
