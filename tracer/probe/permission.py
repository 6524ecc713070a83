"""What the kernel wants of a process before it may trace: capabilities, and that nothing keeps it from using them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from tracer.errors import NotTraceable, PermissionMissing, RatError
from tracer.privileges import Capability, effective_capabilities
from tracer.probe.kernel import NOT_ALLOWED, PROGRAM_UPROBE, RETURN_0, load_program

_INITIAL_USER_NAMESPACE = 0xEFFFFFFD
"""Its inode: PROC_USER_INIT_INO of linux/proc_ns.h."""


def missing_capabilities(status: Path = Path("/proc/self/status")) -> list[str]:
    """The capabilities that tracing needs and this process lacks.  CAP_SYS_ADMIN stands for the first two."""
    effective = effective_capabilities(status)
    has_admin = bool(effective >> Capability.SYS_ADMIN & 1)
    return [
        f"CAP_{one.name}"
        for one in (Capability.BPF, Capability.PERFMON, Capability.SYS_PTRACE)
        if not effective >> one & 1 and not (has_admin and one is not Capability.SYS_PTRACE)
    ]


def require_permission() -> None:
    """Raises PermissionMissing, or NotTraceable where the kernel has no BPF."""
    lacking = missing_capabilities()
    if lacking:
        raise PermissionMissing("Tracing is not permitted.", why=f"missing: {', '.join(lacking)}")
    require_bpf()


def require_bpf() -> None:
    """With all capabilities: raises PermissionMissing, or NotTraceable where the kernel has no BPF."""
    try:
        os.close(load_program(PROGRAM_UPROBE, RETURN_0))
    except OSError as error:
        if error.errno in NOT_ALLOWED:  # all else is told by what is to be loaded
            raise refused("bpf", error) from error


def refused(call: str, error: OSError) -> RatError:
    """Why a system call is refused (with one of NOT_ALLOWED) to a process that has all capabilities that it takes."""
    what = f"The kernel refuses {call}() to this process, although it has the capabilities."
    if Path("/proc/self/ns/user").stat().st_ino != _INITIAL_USER_NAMESPACE:
        return PermissionMissing(
            what,
            why="It is in a user namespace of its own, as in any rootless container, and they count in the first only",
            fix="sudo rat-ebpf …    # on the host, or in a container that root has started there",
        )
    if _has_seccomp_filter():
        return PermissionMissing(
            what,
            why="A seccomp profile, as containers have one, forbids the call",
            fix="docker run --security-opt seccomp=unconfined …    # or with a profile that allows bpf and"
            " perf_event_open",
        )
    if error.errno == errno.ENOSYS:
        return NotTraceable(f"This kernel ({os.uname().release}) has no {call}().", why="it is built without it")
    return PermissionMissing(
        what,
        why="A security module or the kernel's lockdown forbids it",
        fix="cat /sys/kernel/security/lsm /sys/kernel/security/lockdown; dmesg | grep -i denied",
    )


def _has_seccomp_filter() -> bool:
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return "\nSeccomp:\t2" in status  # SECCOMP_MODE_FILTER
