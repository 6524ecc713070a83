"""Links that are made, and go, in a forked child: one that a SIGKILL of the tracer cannot cut short.

The kernel takes probes out of a process' code one by one, on behalf of whoever closed the link last, and gives up where
that one is being killed ("uprobe: … failed to unregister, leaking uprobe"; kernel/events/uprobes.c, Linux 6.18: what
pins the page returns EINTR): their breakpoints stay in the code as long as the process lives.  The same happens where
a link is half made.  The end of a process is different: who has begun to end can be killed no more.

So a child makes a link, and no link is closed but by the end of a child, which no signal to the tracer reaches.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NoReturn

from tracer.children import close_all_but, fork
from tracer.errors import AttachFailed, OutOfProcesses

_ERROR = struct.Struct("<i")


def made_in_child(make: Callable[[], int]) -> int:
    """The link (a file descriptor) that `make` returns.  Raises the OSError that it raises; AttachFailed."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            child = _begin(partial(_make, make, ours, theirs))
        try:
            said, links, _, _ = socket.recv_fds(ours, _ERROR.size, 1, socket.MSG_CMSG_CLOEXEC)
        finally:
            ours.close()  # the child, too, holds the link until then: what was not taken goes with it
            os.waitpid(child, 0)
    if len(said) < _ERROR.size:
        raise AttachFailed("The probes were not attached.", why="the process that was to attach them was killed")
    (error,) = _ERROR.unpack(said)
    if error:
        raise OSError(error, os.strerror(error))
    return links[0]


def _make(make: Callable[[], int], ours: socket.socket, theirs: socket.socket) -> None:
    ours.close()
    try:
        link = make()
    except OSError as error:
        theirs.send(_ERROR.pack(error.errno or 0))
    else:
        socket.send_fds(theirs, [_ERROR.pack(0)], [link])
        theirs.recv(1)  # nothing ever comes


class Leaving:
    """Links that are being closed, each by a child.

    Where there is no room for a child they are closed by this process, by and by.
    """

    def __init__(self, links: Sequence[Sequence[int]]) -> None:
        """links: in groups; a child closes those of one, while others close theirs."""
        self._children: list[int] = []
        reading, writing = os.pipe()
        try:
            for group in links:
                with suppress(OutOfProcesses, OSError, RuntimeError):  # the latter where Python is ending
                    self._children.append(_begin(partial(_hold, group, reading)))
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


def _begin(run: Callable[[], None]) -> int:
    """A child that runs this, and which a signal to this process' group or terminal does not reach."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        child = fork()
        if not child:
            _run(run)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return child


def _run(run: Callable[[], None]) -> NoReturn:
    try:
        os.setsid()
        run()
    finally:
        os._exit(0)
