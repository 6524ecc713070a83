"""Spawns in the real trace_processor: an arrow from the spawning poll to the task, which tells where it came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.perfetto.simulation import (
    SITES,
    START,
    make_recording,
    make_threads,
    simulate,
    with_sites,
    with_spawns,
)
from tests.perfetto.trace_processor import TraceProcessor
from tracer.model import CaptureEnd, Tally
from tracer.output.perfetto import PerfettoWriter
from tracer.output.spawn_words import why_unknown

_ARROWS = """
select mark.ts, mark.name, around.id around, extract_arg(around.arg_set_id, 'debug.task number') spawner,
  extract_arg(mark.arg_set_id, 'debug.spawned at') place, extract_arg(mark.arg_set_id, 'debug.task') id,
  extract_arg(first.arg_set_id, 'debug.spawned at') told, extract_arg(first.arg_set_id, 'debug.spawned by') by,
  extract_arg(first.arg_set_id, 'debug.spawned by task') by_id, extract_arg(first.arg_set_id, 'debug.instance') task,
  extract_arg(first.arg_set_id, 'debug.spawned before by (ns)') before, first.ts first, first.name polled
from flow join slice mark on slice_out = mark.id join slice first on slice_in = first.id
left join slice around on mark.parent_id = around.id order by mark.ts
"""


def test_each_task_has_an_arrow_from_its_spawn(
    tmp_path: Path, trace_processor: Callable[[Path], TraceProcessor]
) -> None:
    spans = with_spawns(simulate())
    writer = PerfettoWriter(tmp_path / "t.pftrace", with_sites(make_recording()), total_events=2 * len(spans.polls))
    writer.threads(make_threads())
    writer.spans(spans)
    written = writer.close(Tally(), CaptureEnd(START + 50_000_000, "done", 0, 0))
    trace = trace_processor(written.path)
    tasks = {int(task["task"]): task for task in spans.begun if task["spawned"]}
    arrows = {int(str(row["task"])): row for row in trace.query(_ARROWS)}
    assert arrows.keys() == tasks.keys()
    assert trace.one("select count(*) from slice where category = 'spawn'") == len(tasks)
    for number, row in arrows.items():
        task = tasks[number]
        at = int(task["spawned_at"])
        assert (row["ts"], row["first"], row["polled"]) == (task["spawned"], task["first"], "running")
        assert row["before"] == task["first"] - task["spawned"]
        assert row["id"] == number + 100
        assert row["place"] == row["told"] == (str(SITES[at - 1]) if at else f"unknown: {why_unknown(None)}")
        if task["spawned_by"]:
            assert row["spawner"] == task["spawned_by"]
            assert (row["by"], row["by_id"]) == ("task echo::conn::handle", task["spawned_by_id"])
        else:
            assert (row["by"], row["by_id"]) == ("no task, as far as was seen", None)
    assert {bool(task["spawned_by"]) for task in tasks.values()} == {True, False}
