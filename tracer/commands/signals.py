"""What ends a recording, and what interrupts the writing of its trace."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping
from types import FrameType

_Handler = Callable[[int, FrameType | None], None] | signal.Handlers


@contextlib.contextmanager
def _handling(handlers: Mapping[signal.Signals, _Handler]) -> Iterator[None]:
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class StopSignal:
    """name: of the signal that came, or None.  wants_trace: SIGUSR1 came, which ends nothing."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.wants_trace = False

    def note(self, number: int, _frame: FrameType | None) -> None:
        """The handler."""
        self.name = signal.Signals(number).name

    def note_wish(self, _number: int, _frame: FrameType | None) -> None:
        """The handler of SIGUSR1."""
        self.wants_trace = True


def outlive_wishes() -> None:
    """SIGUSR1 ends nothing, also when nothing is recorded yet, or any more.  By a handler: a program that is started
    gets none of it."""
    signal.signal(signal.SIGUSR1, lambda _number, _frame: None)


@contextlib.contextmanager
def stop_signal(*, hears_wishes: bool = False) -> Iterator[StopSignal]:
    """Ctrl-C, SIGTERM and SIGHUP are noted only: whoever records looks, and ends well.  nohup's wish is kept.

    hears_wishes: SIGUSR1 is noted, too.
    """
    stop = StopSignal()
    handlers: dict[signal.Signals, _Handler] = dict.fromkeys((signal.SIGINT, signal.SIGTERM), stop.note)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        handlers[signal.SIGHUP] = stop.note
    if hears_wishes:
        handlers[signal.SIGUSR1] = stop.note_wish
    with _handling(handlers):
        yield stop


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM ends what is being written as Ctrl-C does, by KeyboardInterrupt; a terminal that goes away does not."""
    came = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal came
        came = True
        raise KeyboardInterrupt

    handlers: dict[signal.Signals, _Handler] = {signal.SIGTERM: interrupt, signal.SIGHUP: signal.SIG_IGN}
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        handlers[signal.SIGINT] = interrupt
    with _handling(handlers):
        try:
            yield
        except Exception as error:
            if came:  # C code may make another error of it: numpy a TypeError, where it compares records
                raise KeyboardInterrupt from error
            raise


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the end of the block."""
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    # Not by a mask: one of numpy's threads would take the signal, and Python would still interrupt this one.
    try:
        with _handling({signal.SIGINT: note, signal.SIGTERM: note}):
            yield
    finally:
        for number in came[:1]:
            signal.raise_signal(number)
