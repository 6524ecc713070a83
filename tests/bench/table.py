"""Tables in Markdown, which read well in a terminal, too."""

from __future__ import annotations

from collections.abc import Sequence


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]], note: str = "") -> None:
    """Numbers are right-aligned; floats get three significant digits."""
    cells = [list(head), *[[_text(cell) for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    numeric = [bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(head))]
    print(f"\n### {title}\n")
    for number, row in enumerate(cells):
        aligned = [
            text.rjust(w) if right else text.ljust(w) for text, w, right in zip(row, widths, numeric, strict=True)
        ]
        print(f"| {' | '.join(aligned)} |")
        if number == 0:
            print(
                "|"
                + "|".join("-" * (w + 1) + (":" if right else "-") for w, right in zip(widths, numeric, strict=True))
                + "|"
            )
    if note:
        print(f"\n{note}")


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:.3g}" if cell < 1000 else f"{cell:,.0f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
