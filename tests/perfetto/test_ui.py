"""The real Perfetto UI opens our traces without a complaint; its pictures are kept as artefacts."""

from __future__ import annotations

from tests.perfetto.conftest import Write
from tests.perfetto.simulation import START, blocks, make_recording, simulate
from tests.perfetto.ui import show
from tracer.model import CaptureEnd, Group, Loss, PlanChange


def test_the_ui_opens_it(write: Write) -> None:
    """No error, and the rows a reader looks for; a selected poll shows what it knows."""
    at = START + 15_000_000
    steps = [
        *blocks(simulate(), 3),
        PlanChange(at, frozenset({Group.TASKS}), "probes took 7.1 % of the CPU time, allowed are 5 %"),
        Loss(1, 53, at + 3_000_000, at + 5_000_000),
    ]
    end = CaptureEnd(START + 40_000_000, "0.04 s are over", 1164, 53, 0.031)
    summary = {"schema": 1, "functions": [{"function": f"echo::f{i}", "polls": i} for i in range(3000)]}
    path = write(steps, make_recording(duration="0.04"), end, summary=summary).path
    overview = show(path, "perfetto-overview.png", expand=[".*"], height=1400)
    assert overview.loaded
    assert overview.problem is None
    assert not overview.import_errors
    assert not [line for line in overview.console if "rror" in line and "LiveReload" not in line]
    titles = {title.split("\n")[-1] for title in overview.tracks}
    assert {
        "rat-ebpf",
        "probed",
        "lost events",
        "echo-server 4242",
        "tokio-worker-0 4243",
        "Async tasks",
        "conn::handle",
        "task 101 conn::handle",
        "db::query",
    } <= titles
    assert overview.picture.stat().st_size > 50_000

    select = (
        "select s.id from slice s join thread_track t on s.track_id = t.id where s.name = 'db::query' order by dur desc"
    )
    details = show(path, "perfetto-details.png", expand=["echo-server.*"], height=1400, select=select)
    assert not details.import_errors
    for words in ("echo::db::query", "src/db.rs:77", "await #2", "pending", "tokio-worker"):
        assert words in details.details

    carried = show(path, "perfetto-summary.png", select="select id from slice where name = 'summary'")
    assert not carried.import_errors
    assert "rat-ebpf report FILE" in carried.details
