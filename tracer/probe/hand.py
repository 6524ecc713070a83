"""Another process of ours that makes and closes links, so that a SIGKILL of the tracer cuts neither short.

A link that is half made leaves probes in the code just as one that is half closed (see tracer.probe.leaving).  No
signal to the tracer reaches the other process; it ends with the tracer, and what is left goes with it.  Both have each
link: one that is there stays when either is killed, and goes when both are gone.  What is left to chance: who kills
both at once (all of a cgroup, or the first process of a container) in the milliseconds in which a link is being made.
"""

from __future__ import annotations

import errno
import itertools
import os
import select
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import IntEnum
from functools import partial
from pathlib import Path

from tracer.children import close_all_but
from tracer.errors import AttachFailed
from tracer.probe.kernel import link_uprobe_multi
from tracer.probe.leaving import Leaving, begin_apart
from tracer.surroundings import stay_as_others

_LOOK = 1_000
"""Milliseconds between looks whether the tracer is there; as a rule the end of its socket tells that it is not."""

_MOST_CHILDREN = 4
"""Of one closing; a link takes the kernel 50 ms, in which others can go."""


class _Wish(IntEnum):
    MAKE = 0
    CLOSE = 1
    IS_OVER = 2
    WAIT = 3


_HEAD = struct.Struct("<IIqq")
"""A wish; how many numbers of 64 bits follow; two of its own.  MAKE: the process, whether of returns; then offsets and
cookies, with the program and the file.  The others: which closing it is.  CLOSE: then links, by number."""
_ANSWER = struct.Struct("<q")
"""MAKE: the number of the link, which comes with it, or a negative errno.  IS_OVER, WAIT: whether."""


class Closing:
    """Links that the other process is closing."""

    def __init__(self, ask: Callable[[_Wish], bool]) -> None:
        self._ask = ask
        self._is_over = False

    @property
    def is_over(self) -> bool:
        self._is_over = self._is_over or self._ask(_Wish.IS_OVER)
        return self._is_over

    def wait(self) -> None:
        """Until the kernel has taken their probes away."""
        self._is_over = self._is_over or self._ask(_Wish.WAIT)


class Hand:
    """Raises OutOfProcesses."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._numbers: dict[int, int] = {}
        self._closings = itertools.count()
        with theirs:
            self._process: int | None = begin_apart(partial(_serve, theirs, os.getpid()))

    def make(
        self,
        program: int,
        path: Path,
        offsets: Sequence[int],
        cookies: Sequence[int],
        *,
        is_return: bool = False,
        pid: int = 0,
    ) -> int:
        """What link_uprobe_multi returns and raises; AttachFailed where the other process was killed."""
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with self._undisturbed():
                self._send(_Wish.MAKE, [*offsets, *cookies], pid, int(is_return), files=[program, file])
                said, links, _, _ = socket.recv_fds(self._socket, _ANSWER.size, 1, socket.MSG_CMSG_CLOEXEC)
            (number,) = _ANSWER.unpack(said)
        except (OSError, struct.error) as error:
            raise AttachFailed("The probes were not attached.", why="who was to attach them was killed") from error
        finally:
            os.close(file)
        if number < 0:
            raise OSError(-number, os.strerror(-number))
        if not links:
            self._close([number])
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        self._numbers[links[0]] = number
        return links[0]

    def close(self, links: Sequence[int]) -> Closing:
        """Begin to close them, all at once.  Where the other process is gone, this one has closed them already."""
        numbers = [self._numbers.pop(link) for link in links]
        for link in links:
            os.close(link)
        return self._close(numbers)

    def _close(self, numbers: Sequence[int]) -> Closing:
        closing = next(self._closings)
        with suppress(OSError), self._undisturbed():
            self._send(_Wish.CLOSE, numbers, closing)
        return Closing(partial(self._ask, closing))

    def end(self) -> None:
        """Once all links are closed."""
        self._socket.close()
        if self._process is not None:
            os.waitpid(self._process, 0)
            self._process = None

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """A wish and its answer: where one of them is cut short, nobody knows what would be answered next."""
        try:
            yield
        except BaseException:
            self._socket.close()
            raise

    def _send(self, wish: _Wish, numbers: Sequence[int], *own: int, files: Sequence[int] = ()) -> None:
        first, second = (*own, 0, 0)[:2]
        head = _HEAD.pack(wish, len(numbers), first, second)
        socket.send_fds(self._socket, [head], list(files))
        self._socket.sendall(struct.pack(f"<{len(numbers)}Q", *numbers))

    def _ask(self, closing: int, wish: _Wish) -> bool:
        """Yes, too, where nobody is left to be asked."""
        with suppress(OSError), self._undisturbed():
            self._send(wish, [], closing)
            answer = self._socket.recv(_ANSWER.size, socket.MSG_WAITALL)
            return len(answer) < _ANSWER.size or bool(_ANSWER.unpack(answer)[0])
        return True


def _serve(tracer: socket.socket, parent: int) -> None:
    """What the other process does, until the tracer is gone."""
    close_all_but(tracer.fileno())
    stay_as_others()
    wishes = select.poll()
    wishes.register(tracer, select.POLLIN)
    links: dict[int, int] = {}
    closings: dict[int, Leaving] = {}
    for number in itertools.count():
        while not wishes.poll(_LOOK):
            if os.getppid() != parent:
                return
        head, files, _, _ = socket.recv_fds(tracer, _HEAD.size, 2, socket.MSG_CMSG_CLOEXEC | socket.MSG_WAITALL)
        if len(head) < _HEAD.size:
            return
        wish, count, first, second = _HEAD.unpack(head)
        body = tracer.recv(8 * count, socket.MSG_WAITALL) if count else b""
        numbers = struct.unpack(f"<{count}Q", body)
        if wish == _Wish.MAKE:
            if len(files) < 2:
                tracer.send(_ANSWER.pack(-errno.EMFILE))
                continue
            program, file = files
            offsets, cookies = numbers[: count // 2], numbers[count // 2 :]
            path = f"/proc/self/fd/{file}"
            try:
                link = link_uprobe_multi(program, path, offsets, cookies, is_return=bool(second), pid=first)
            except OSError as error:
                tracer.send(_ANSWER.pack(-(error.errno or errno.EIO)))
            else:
                links[number] = link
                socket.send_fds(tracer, [_ANSWER.pack(number)], [link])
            os.close(program)
            os.close(file)
        elif wish == _Wish.CLOSE:
            leaving = [links.pop(one) for one in numbers]
            closings[first] = Leaving([leaving[part::_MOST_CHILDREN] for part in range(min(count, _MOST_CHILDREN))])
        else:
            if wish == _Wish.WAIT:
                closings[first].wait()
            is_over = closings[first].is_over
            if is_over:  # and is not asked for again
                del closings[first]
            tracer.send(_ANSWER.pack(is_over))
