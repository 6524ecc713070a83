"""The ways in which a tracer dies."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.faults.tracer import Tracer

CGROUPS = Path("/sys/fs/cgroup")


def _signalled(number: signal.Signals) -> Callable[[Tracer], None]:
    def signalled(tracer: Tracer) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(tracer.process.pid, number)

    return signalled


def memory_cgroup() -> Path | None:
    """The folder in which cgroups with a bound of memory are made, of version 2 or 1; None: there is none."""
    if "memory" in _words(CGROUPS / "cgroup.subtree_control"):
        return CGROUPS
    return CGROUPS / "memory" if (CGROUPS / "memory" / "memory.limit_in_bytes").exists() else None


def _words(file: Path) -> list[str]:
    return file.read_text().split() if file.exists() else []


def _run_out_of_memory(tracer: Tracer) -> None:
    """In a cgroup that has next to nothing to give: the kernel's OOM killer ends it soon."""
    parent = memory_cgroup()
    if parent is None:
        return _be_chosen_by_oom_score(tracer)
    group = parent / f"rat-faults-{tracer.process.pid}"
    group.mkdir()
    try:
        # What it has is charged elsewhere and stays there; from here on it gets a quarter of a megabyte.
        bound = group / ("memory.max" if parent == CGROUPS else "memory.limit_in_bytes")
        bound.write_text(str(256 << 10))
        with contextlib.suppress(ProcessLookupError):
            (group / "cgroup.procs").write_text(str(tracer.process.pid))
        _end_after(tracer, 0.5)
    finally:
        with contextlib.suppress(OSError):
            group.rmdir()


def _be_chosen_by_oom_score(tracer: Tracer) -> None:
    Path(f"/proc/{tracer.process.pid}/oom_score_adj").write_text("1000")
    Path("/proc/sysrq-trigger").write_text("f")
    _end_after(tracer, 0.5)


def _get_no_more_memory(tracer: Tracer) -> None:
    """Every request for more fails, which Python, numpy and the compiler each take in their own way."""
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        pages = int(Path(f"/proc/{tracer.process.pid}/statm").read_text().split()[0])
        bound = pages * resource.getpagesize() + (256 << 10)
        resource.prlimit(tracer.process.pid, resource.RLIMIT_AS, (bound, bound))
    _end_after(tracer, 0.3)


def _end_after(tracer: Tracer, seconds: float) -> None:
    """Who needed no more memory until then ends as at Ctrl-C, which needs some."""
    deadline = time.monotonic() + seconds
    while tracer.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    _signalled(signal.SIGINT)(tracer)
    with contextlib.suppress(Exception):
        tracer.process.wait(20)


@dataclass(frozen=True, slots=True)
class Death:
    """is_clean: the tracer can act on it: it ends well once it records, and says nothing but sentences."""

    name: str
    strike: Callable[[Tracer], None]
    is_clean: bool


DEATHS = (
    Death("SIGKILL", _signalled(signal.SIGKILL), is_clean=False),
    Death("SIGTERM", _signalled(signal.SIGTERM), is_clean=True),
    Death("SIGINT", _signalled(signal.SIGINT), is_clean=True),
    Death("SIGHUP", _signalled(signal.SIGHUP), is_clean=True),
    Death("out of memory", _run_out_of_memory, is_clean=False),
    Death("no more memory", _get_no_more_memory, is_clean=False),
)
