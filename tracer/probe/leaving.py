"""Links that go by the end of a process, and so as a whole.

The kernel takes probes out of a process' code one by one, on behalf of whoever closed the link last, and gives up where
that one is being killed ("uprobe: … failed to unregister, leaking uprobe"; kernel/events/uprobes.c, Linux 6.18: what
pins the page returns EINTR): their breakpoints stay in the code as long as the process lives.  The end of a process is
different: who has begun to end can be killed no more.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from tracer import children
from tracer.children import close_all_but
from tracer.errors import OutOfProcesses


class Leaving:
    """Links (file descriptors of this process) that are being closed, each by a child.

    Where there is no room for a child they are closed by this process.
    """

    def __init__(self, links: Sequence[Sequence[int]]) -> None:
        """links: in groups; a child closes those of one, while others close theirs."""
        self._children: list[int] = []
        reading, writing = os.pipe()
        try:
            for group in links:
                with suppress(OutOfProcesses, OSError, RuntimeError):  # the latter where Python is ending
                    self._children.append(begin_apart(partial(_hold, group, reading)))
            for link in (link for group in links for link in group):
                os.close(link)
        finally:
            os.close(writing)  # now each child ends
            os.close(reading)

    @property
    def is_over(self) -> bool:
        self._children = [child for child in self._children if os.waitpid(child, os.WNOHANG)[0] == 0]
        return not self._children

    def wait(self) -> None:
        """Until the kernel has taken their probes away."""
        while self._children:
            os.waitpid(self._children.pop(), 0)


def _hold(links: Sequence[int], until: int) -> None:
    close_all_but(*links, until)
    os.read(until, 1)  # nothing ever comes


def begin_apart(run: Callable[[], None]) -> int:
    """A child that runs this and ends; no signal to this process, its group or its terminal reaches it.

    Raises OutOfProcesses.
    """

    def apart(_: object) -> None:
        gc.disable()  # what it would find closes files by numbers that are others' by then
        os.setsid()
        run()

    return children.begin(apart)
