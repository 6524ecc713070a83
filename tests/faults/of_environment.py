"""What the machine, its administrator or another tracer does to both of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.place import Place
from tests.faults.scene import PROGRAMS, Fault, Moment, run
from tests.faults.tracer import tracer
from tests.running import Targets

_DAY = 86_400
_NAMESPACES = ("--user", "--map-root-user", "--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup")
_CPUS = Path("/sys/devices/system/cpu")


def _another_tracer_is_killed(moment: Moment) -> None:
    with tracer(moment.enduring.pid, moment.scratch / "another") as another:
        another.until_attached()
        moment.enduring.ask("5")
        another.process.kill()
        another.wait()
    moment.enduring.ask("5")


def _buffers_overflow(moment: Moment) -> None:
    """The tracer gets no time for as long as the program needs to fill what holds 800,000 events."""
    os.kill(moment.tracer.process.pid, signal.SIGSTOP)
    moment.enduring.ask("600")
    os.kill(moment.tracer.process.pid, signal.SIGCONT)
    moment.enduring.ask("5")


@contextmanager
def _small_disk(_targets: Targets, scratch: Path) -> Iterator[Place]:
    disk = scratch / "disk"
    disk.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk)
    try:
        yield Place(output=disk)
    finally:
        run("umount", disk)


def _works_long(moment: Moment) -> None:
    moment.enduring.ask("60")
    moment.tracer.wait()  # it ends of itself, once it has written what waits to be


@contextmanager
def _jumping_time_of_day(_targets: Targets, scratch: Path) -> Iterator[Place]:
    library = scratch / "clock.so"
    run("cc", "-shared", "-fPIC", "-O", "-o", library, PROGRAMS / "clock.c")
    yield Place(tracer_env={"LD_PRELOAD": str(library)})


def _other_time(seconds: int) -> tuple[str, ...]:
    return ("unshare", "--time", "--monotonic", str(seconds), "--boottime", str(seconds), "--fork", "--kill-child")


@contextmanager
def _program_of_another_time(_targets: Targets, _scratch: Path) -> Iterator[Place]:
    yield Place(command=_other_time(_DAY), clock_offset=_DAY * 1_000_000_000)


@contextmanager
def _tracer_of_another_time(_targets: Targets, _scratch: Path) -> Iterator[Place]:
    yield Place(tracer_prefix=_other_time(_DAY))


@contextmanager
def _container(targets: Targets, scratch: Path) -> Iterator[Place]:
    """With a root, users, mounts, process numbers and the rest of its own; the program's path is nowhere outside."""
    root = scratch / "root"
    root.mkdir()
    mounts = [f"mount -t tmpfs none {root}", f"mkdir {root}/proc"]
    for folder in ("lib", "lib64", "usr"):
        mounts += [f"mkdir {root}/{folder}", f"mount --rbind /{folder} {root}/{folder}"]
    mounts += [f"cp {targets.path('endure', 'release')} {root}/endure"]
    script = f'{" && ".join(mounts)} && exec chroot {root} "$@"'
    yield Place(
        command=("unshare", *_NAMESPACES, "--fork", "--kill-child", "sh", "-c", script, "sh"),
        executable=Path("/endure"),
    )


@contextmanager
def _tracers_folder(_targets: Targets, scratch: Path) -> Iterator[Place]:
    folder = scratch / "gone"
    folder.mkdir()
    yield Place(tracer_cwd=folder)


def _tracer_loses_its_folder(moment: Moment) -> None:
    (moment.scratch / "gone").rmdir()
    moment.enduring.ask("5")


def _cannot_take_a_cpu_away() -> str:
    if not (_CPUS / "cpu1" / "online").exists():
        return "no CPU of this machine can be taken away"
    return ""


def _a_cpu_goes_and_comes(moment: Moment) -> None:
    """Its threads, and the buffers' own CPU, are elsewhere for a while."""
    switch = _CPUS / "cpu1" / "online"
    try:
        switch.write_text("0")
        moment.enduring.ask("10")
    finally:
        switch.write_text("1")
    moment.enduring.ask("10")


OF_ENVIRONMENT = (
    Fault("two tracers, one of which is killed", _another_tracer_is_killed),
    Fault("the buffers overflow", _buffers_overflow, loses=True),
    Fault("the disk is full", _works_long, around=_small_disk, loses=True),
    Fault("the time of day jumps by an hour at each look", around=_jumping_time_of_day),
    Fault("the program's clock is a day ahead", around=_program_of_another_time),
    Fault("the tracer's clock is a day ahead", around=_tracer_of_another_time),
    Fault("the program is in a container", around=_container),
    Fault("the tracer's working folder is deleted", _tracer_loses_its_folder, around=_tracers_folder),
    Fault("a CPU is taken away and given back", _a_cpu_goes_and_comes, impossible=_cannot_take_a_cpu_away),
)
