"""The combinators of the showcase in the real UI: what a reader has to find there, and the picture for the docs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.command import recording
from tests.e2e.trace import Trace
from tests.perfetto.ui import show
from tests.running import Targets

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

_TASKS = ["counter", "crawler", "customer", "mirrors", "nightly_report"]
_EXPANDED = [
    "^constructs_.*",
    "Async tasks",
    f"showcase::({'|'.join(_TASKS)})$",
    r"task \d+ showcase::(counter|crawler)$",
]


def test_the_ui_shows_combinators(targets: Targets, tmp_path: Path) -> None:
    """Every task stands under its kind, and below it the branches of what it joins, selects or buffers."""
    output = tmp_path / "showcase.pftrace"
    target = targets.run("constructs_tokio", "release-debug", "showcase")
    with target as running, recording("--pid", running.pid, "-o", output, "--max-overhead", 100) as rec:
        running.go()
        result = running.wait()
        done = rec.wait()
    assert (result.returncode, done.code) == (0, 0), done.err
    begin = Trace(output).processor.query("select min(ts) ts from slice where category = 'poll'")[0]["ts"]
    visible = {"from": begin + 300_000_000, "to": begin + 1_100_000_000}
    shown = show(output, "combinators.png", expand=_EXPANDED, height=1080, **visible)
    assert shown.loaded
    assert shown.problem is None
    assert not shown.import_errors
    titles = {title.split("\n")[-1] for title in shown.tracks}
    assert titles >= {f"showcase::{task}" for task in _TASKS}
    assert titles >= {"MaybeDone<query_stock>", "MaybeDone<query_price>", "Timeout<charge>"}
    assert any(title.startswith("task ") and title.endswith("showcase::counter") for title in titles)
