"""Shadow stacks (x86 CET): a copy of the return addresses, with which the processor compares every return.

Whoever changes the stack for a program must change the copy, too, or the program dies at its next return.  Kernels do
so for a return probe since Linux 6.11, for an emulated `call` since 6.18 (arch/x86/kernel/uprobes.c); whether the
running one does cannot be seen.  rustc marks no program as made for them; one may be by hand, and glibc switches
them on where GLIBC_TUNABLES says so.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tracer.errors import NotTraceable

_FEATURES = b"x86_Thread_features:"
"""A line of /proc/PID/task/TID/status, of kernels that know them (Linux 6.6)."""
_ASKED = "glibc.cpu.x86_shstk="


def refuse_shadow_stack(pid: int, name: str, proc: Path = Path("/proc")) -> None:
    """Raises NotTraceable when a thread of the process has a shadow stack."""
    for status in proc.glob(f"{pid}/task/*/status"):
        try:
            lines = status.read_bytes().splitlines()
        except OSError:  # it has ended
            continue
        features = [line for line in lines if line.startswith(_FEATURES)]
        if not features:
            return
        if b"shstk" in features[0].split():
            raise NotTraceable(
                f"Process {pid} ({name}) has a shadow stack, and probes could end it.",
                why="a kernel that emulates a probed call need not put its return address there",
                fix=f"rat-ebpf sample {pid} reads its tasks without any probe",
            )


def refuse_asked_shadow_stack(name: str, environment: Mapping[str, str] = os.environ) -> None:
    """Raises NotTraceable when a program that is started with this environment may get one."""
    asked = [one for one in environment.get("GLIBC_TUNABLES", "").split(":") if one.startswith(_ASKED)]
    if asked and asked[-1] != f"{_ASKED}off":
        raise NotTraceable(
            f"{name} may get a shadow stack when it is started, and probes could end it.",
            why=f"GLIBC_TUNABLES says {asked[-1]}",
            fix="Start it without that, or by itself and then: sudo rat-ebpf --pid PID",
        )
