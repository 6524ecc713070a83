"""How bpf/poll.c is compiled and attached on the running kernel.

Nothing of it depends on what is traced: `compiling_ahead` has it compiled while a program is still being read.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tracer import children
from tracer.children import end_with_parent
from tracer.errors import RatError
from tracer.probe.bpf_program import compiled_program, is_kept
from tracer.probe.kept_types import KeptTypes
from tracer.probe.kernel import MultiSupport, has_atomic_fetch, has_ring_buffer, read_user_helper, uprobe_multi_support
from tracer.probe.scheduling import Unavailable, scheduling_defines
from tracer.probe.sources import bpf_folder
from tracer.probe.stacks import stack_sizes
from tracer.probe.transport import choose
from tracer.target.own_files import default_cache

SOURCE = bpf_folder() / "poll.c"

_WALK_STEPS = 32

_INITIAL_PID_NAMESPACE = 0xEFFFFFFC
"""Its inode: PROC_PID_INIT_INO of linux/proc_ns.h."""

_NO_RING = "the kernel has no BPF ring buffer (Linux 5.8)"
_NO_FETCH = "the kernel's BPF programs cannot count when they interrupt each other (Linux 5.12)"


@dataclass(frozen=True, slots=True)
class Variant:
    """is_ring: events come by a ring buffer.

    support: BY_PROCESS or BY_THREAD, else links have no cookie, and a probe is known by its address.
    no_stacks, no_scheduling: why the kernel does not let us take stacks, or see how threads are scheduled; None: it
    may, or nobody asked.
    """

    support: MultiSupport
    is_ring: bool
    no_stacks: str | None
    no_scheduling: str | None
    defines: Mapping[str, int | None]

    @property
    def by_place(self) -> bool:
        return self.support is MultiSupport.NONE

    @classmethod
    def of_kernel(
        cls, transport: str = "auto", *, by_bcc: bool = False, scheduling: bool = True, cache: Path | None = None
    ) -> Variant:
        """transport: "auto", "ring" or "perf".  by_bcc: as on a kernel without uprobe_multi.  cache: the folder in
        which is kept what the kernel told.

        Raises UsageError, NotTraceable or OSError (what the kernel is asked is not permitted).
        """
        support = MultiSupport.NONE if by_bcc else uprobe_multi_support()
        is_ring, no_stacks, no_scheduling = choose(transport) == "ring", None, None
        defines = {"WALK_STEPS": _WALK_STEPS, "READ_USER": read_user_helper(), **_namespace()}
        if is_ring:
            defines["RING"] = None
        if support is MultiSupport.NONE:
            defines["BY_PLACE"] = None
        elif support is MultiSupport.BY_PROCESS:
            defines["BY_PROCESS"] = None
        if not has_atomic_fetch():
            # What interrupts, as a clock or the scheduler does, would disturb the count of the others.
            defines["UNDISTURBED"] = None
            no_stacks, no_scheduling = _NO_FETCH, _NO_FETCH if scheduling else None
        elif not has_ring_buffer():
            no_stacks = _NO_RING
        if no_stacks is None:
            defines |= stack_sizes()
        if scheduling and no_scheduling is None:
            try:
                with KeptTypes(cache=cache) as types:
                    defines |= scheduling_defines(types)
            except Unavailable as reason:
                no_scheduling = str(reason)
        return cls(support, is_ring, no_stacks, no_scheduling, defines)


def _namespace() -> dict[str, int | None]:
    """Where ids of processes are those of another namespace than the kernel's own."""
    namespace = Path("/proc/self/ns/pid").stat()
    if namespace.st_ino == _INITIAL_PID_NAMESPACE:
        return {}
    device = os.major(namespace.st_dev) << 20 | os.minor(namespace.st_dev)
    return {"NAMESPACE_INODE": namespace.st_ino, "NAMESPACE_DEVICE": device}


class Ahead:
    """transport: as Variant.of_kernel has it.  cache: the folder in which it is kept."""

    def __init__(self, transport: str, cache: Path) -> None:
        self._transport = transport
        self._cache = cache
        self._variant: Variant | None = None
        self._child: int | None = None
        with contextlib.suppress(RatError, OSError):
            # Else the kernel's types are yet to be read, which takes time that the child has.
            if KeptTypes(cache=cache).are_kept:
                self._variant = Variant.of_kernel(transport, cache=cache)
            if self._variant is None or not is_kept(SOURCE, self._variant.defines, cache):
                parent = os.getpid()
                self._child = children.begin(lambda _: _compile(transport, cache, parent))

    def wait(self) -> Variant | None:
        """The variant, once it is compiled; None: it cannot be told, which whoever asks again is told why.

        When compiling failed whoever needs it compiles it, and is told why.
        """
        self._wait_for_child()
        with contextlib.suppress(RatError, OSError):
            self._variant = self._variant or Variant.of_kernel(self._transport, cache=self._cache)
        return self._variant

    def end(self) -> None:
        if self._child is not None:
            os.kill(self._child, signal.SIGKILL)
            self._wait_for_child()

    def _wait_for_child(self) -> None:
        if self._child is not None:
            os.waitpid(self._child, 0)
            self._child = None


@contextlib.contextmanager
def compiling_ahead(transport: str, cache: Path | None = None) -> Iterator[Ahead]:
    """Begin to compile it in a process of its own, unless an earlier run did; that process ends with the block."""
    ahead = Ahead(transport, cache or default_cache())
    try:
        yield ahead
    finally:
        ahead.end()


def _compile(transport: str, cache: Path, parent: int) -> None:
    """In the child: it says nothing, and does not outlive its parent."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    end_with_parent()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    if os.getppid() == parent:
        variant = Variant.of_kernel(transport, cache=cache)
        compiled_program(SOURCE, variant.defines, cache)
