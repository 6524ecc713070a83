"""Tables that are made to fit a terminal."""

from __future__ import annotations

import itertools

import pytest

from tracer.output.tables import Column, fit

FIGURES = [f"figure {number}" for number in range(8)]
COLUMNS = {"what": Column.NAME, **dict.fromkeys(FIGURES, Column.FIGURE), "where": Column.PLACE}
ROW = ("a name that is rather long", *(f"{number},234.5 ms" for number in range(8)), "some/folder/src/main.rs:120")


@pytest.mark.parametrize("width", [200, 100, 60, 40, 20])
def test_a_figure_is_whole_or_not_there(width: int) -> None:
    fitted = fit(COLUMNS, [ROW], width, ("figure 1", "where"))
    figures = [cell for cell, kind in zip(fitted.rows[0], fitted.kinds, strict=True) if kind is Column.FIGURE]
    assert "1,234.5 ms" not in figures or width == 200
    assert figures == [cell for cell in ROW[1:-1] if cell in figures]
    assert "0,234.5 ms" in figures
    assert sum(fitted.widths) + 3 * (len(fitted.widths) - 1) <= max(width, 30)


def test_what_is_expendable_goes_first_then_the_last_figures() -> None:
    kept = [set(fit(COLUMNS, [ROW], width, ("figure 1", "where")).headings) for width in range(200, 20, -1)]
    gone = [name for more, less in itertools.pairwise(kept) for name in more - less if name in COLUMNS]
    assert [one for one in gone if one != "what"] == ["figure 1", "where", *FIGURES[:1:-1]]
