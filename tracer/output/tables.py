"""Tables for the terminal, and for pipes: plain there, and as wide as they need to be, up to a hundred columns."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from tracer.terminal import printable

Document = dict[str, Any]
"""A summary as JSON has it, or a part of one."""


_PIPE_WIDTH = 100
LIST_WIDTH = 600
"""Of what is listed into a pipe: nothing is cut there."""


class _Console(Console):
    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """A net below plain_text and the tables: whatever is printed, no control character of a name is sent."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            if control or text.isprintable() or text == "\n":
                yield segment
            else:
                yield Segment("\n".join(map(printable, text.split("\n"))), style)

    def on_broken_pipe(self) -> None:
        """Leave it to the command line, which knows that a reader who went away is no error."""
        raise BrokenPipeError


def make_console(pipe_width: int = _PIPE_WIDTH) -> Console:
    """The standard output: colours on a terminal only, a fixed width in a pipe."""
    terminal = sys.stdout.isatty()
    return _Console(
        width=None if terminal else pipe_width,
        no_color=not terminal,
        highlight=False,
        soft_wrap=False,
        markup=False,  # a name may hold [red] or [link=…]
        emoji=False,
    )


class Column(StrEnum):
    """What a column holds, which decides where it is cut when there is no room."""

    FIGURE = "figure"  # to the right, never cut
    WORD = "word"  # never cut
    NAME = "name"  # cut at its end
    PLACE = "place"  # cut at its beginning: the line number and the file's own name matter most


_FLEXIBLE = (Column.NAME, Column.PLACE)
_GAP = 3
_LEAST = 12
_READABLE = 16  # columns are left out rather than all names and places cut below this


@dataclass(frozen=True, slots=True)
class Fitted:
    """A table's text, cut to a width.  kinds, widths: of each column that is left."""

    headings: tuple[str, ...]
    kinds: tuple[Column, ...]
    widths: tuple[int, ...]
    rows: list[tuple[str, ...]]


def fit(
    columns: Mapping[str, Column], rows: Sequence[Sequence[str]], width: int, expendable: Sequence[str] = ()
) -> Fitted:
    """No wider than `width`, if cutting names and places makes that possible, or leaving columns out.

    expendable: the columns that a narrow terminal does without, the first one first; then the last figures go.
    """
    names, kinds = list(columns), list(columns.values())
    shown = lru_cache(maxsize=None)(printable)
    cells = [[shown(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, {*column})) for column in zip(names, *cells, strict=True)]
    left = set(range(len(names)))
    figures = [name for name in names if columns[name] is Column.FIGURE and name not in expendable]
    for name in (*expendable, *figures[:0:-1]):
        least = (min(widths[i], _READABLE) if kinds[i] in _FLEXIBLE else widths[i] for i in left)
        if sum(least) + _GAP * (len(left) - 1) <= width:
            break
        left.discard(names.index(name))
    flexible = [i for i in left if kinds[i] in _FLEXIBLE]
    fixed = sum(widths[i] for i in left if i not in flexible) + _GAP * (len(left) - 1)
    for i, narrower in zip(flexible, _narrowed([widths[i] for i in flexible], width - fixed), strict=True):
        widths[i] = narrower
    kept = sorted(left)
    cut = lru_cache(maxsize=None)(_cut)
    return Fitted(
        tuple(_cut(names[i], widths[i], Column.NAME) for i in kept),
        tuple(kinds[i] for i in kept),
        tuple(widths[i] for i in kept),
        [tuple(cut(row[i], widths[i], kinds[i]) for i in kept) for row in cells],
    )


def _narrowed(widths: list[int], room: int) -> list[int]:
    """The widest are cut to one width, so that all together fit, but none below the least."""
    if sum(widths) <= room:
        return widths
    low, high = _LEAST, max(_LEAST, *widths, 0)
    while low < high:  # the most that fits; a name out of a stranger's file can have 100,000 characters
        middle = (low + high + 1) // 2
        low, high = (middle, high) if sum(min(one, middle) for one in widths) <= room else (low, middle - 1)
    spare = room - sum(min(one, low) for one in widths)
    narrowed = []
    for one in reversed(widths):
        narrowed.append(low + 1 if one > low and spare > 0 else min(one, low))
        spare -= one > low
    return narrowed[::-1]


def make_table(
    columns: Mapping[str, Column], rows: Sequence[Sequence[str]], width: int, expendable: Sequence[str] = ()
) -> Table:
    """A table, as fit() makes it."""
    fitted = fit(columns, rows, width, expendable)
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    for heading, kind in zip(fitted.headings, fitted.kinds, strict=True):
        table.add_column(heading, justify="right" if kind is Column.FIGURE else "left", no_wrap=True)
    for row in fitted.rows:
        table.add_row(*map(Text, row))
    return table


def table_lines(
    columns: Mapping[str, Column], rows: Sequence[Sequence[str]], width: int, expendable: Sequence[str] = ()
) -> Iterator[str]:
    """The same as lines of text, for tables of a hundred thousand rows."""
    fitted = fit(columns, rows, width, expendable)
    for row in (fitted.headings, *fitted.rows):
        cells = [
            (cell.rjust if kind is Column.FIGURE else cell.ljust)(size - cell_len(cell) + len(cell))
            for cell, kind, size in zip(row, fitted.kinds, fitted.widths, strict=True)
        ]
        yield (" " * _GAP).join(cells).rstrip()


def _cut(text: str, width: int, kind: Column) -> str:
    if cell_len(text) <= width:
        return text
    return "…" + text[1 - width :] if kind is Column.PLACE else text[: width - 1] + "…"


def plain_text(words: str, style: str = "") -> Text:
    """Text as it is: neither markup nor control characters of the target's names count."""
    return Text(printable(words), style)


def grouped(number: int) -> str:
    return f"{number:,}"


def some(number: int, what: str) -> str:
    """1 poll, 2 polls."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
