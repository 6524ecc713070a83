"""A screen that is shown again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

from rich.live import Live
from rich.text import Text

from tracer.output.tables import make_console


@contextmanager
def refreshing_screen() -> Iterator[Callable[[Callable[[int], Iterable[str]]], None]]:
    """show(lines_of_width) replaces what is shown by as many lines as fit.

    On a terminal it has the whole screen, and gives it back at the end of the block; in a pipe it writes text.
    """
    console = make_console()
    with Live(console=console, screen=console.is_terminal, auto_refresh=False) as screen:

        def show(lines_of_width: Callable[[int], Iterable[str]]) -> None:
            lines = islice(lines_of_width(console.width), console.height - 1)
            screen.update(Text("\n".join(lines)), refresh=True)

        yield show
