"""Spawns in the real trace_processor: an arrow from the spawning poll to the task, which tells where it came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.perfetto.simulation import (
    SITES,
    START,
    WORKERS,
    blocks,
    make_recording,
    make_threads,
    simulate,
    with_sites,
    with_spawns,
)
from tests.perfetto.trace_processor import TraceProcessor
from tracer.model import CaptureEnd, Tally
from tracer.output.perfetto import PerfettoWriter
from tracer.output.spawn_words import NO_TASK, why_unknown

_ARROWS = """
select mark.ts, mark.name, around.id around, extract_arg(around.arg_set_id, 'debug.task number') spawner,
  extract_arg(mark.arg_set_id, 'debug.spawned at') place, extract_arg(mark.arg_set_id, 'debug.task') id,
  extract_arg(first.arg_set_id, 'debug.spawned at') told, extract_arg(first.arg_set_id, 'debug.spawned by') by,
  extract_arg(first.arg_set_id, 'debug.spawned by task') by_id, extract_arg(first.arg_set_id, 'debug.instance') task,
  extract_arg(first.arg_set_id, 'debug.spawned before by (ns)') before, first.ts first, first.name polled
from flow join slice mark on slice_out = mark.id join slice first on slice_in = first.id
left join slice around on mark.parent_id = around.id order by mark.ts
"""

_READY = """
select s.ts, s.dur, s.name, extract_arg(s.arg_set_id, 'debug.instance') task,
  extract_arg(s.arg_set_id, 'debug.ready for (ns)') ready, extract_arg(s.arg_set_id, 'debug.spawned on') thread,
  extract_arg(s.arg_set_id, 'debug.spawned at') place, extract_arg(s.arg_set_id, 'debug.spawned by') by,
  extract_arg(s.arg_set_id, 'debug.spawned by task') by_id, polled.ts polled, polled.name after
from slice s left join slice polled on polled.track_id = s.track_id and polled.ts = s.ts + s.dur and polled.id != s.id
where s.category = 'ready' order by s.ts
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


@pytest.mark.parametrize("max_own", [None, 2])
def test_a_task_is_ready_from_its_spawn_to_its_first_poll(
    tmp_path: Path,
    trace_processor: Callable[[Path], TraceProcessor],
    monkeypatch: pytest.MonkeyPatch,
    max_own: int | None,
) -> None:
    """Also where tasks share rows, of which one may be taken until after the spawn of the next one."""
    if max_own is not None:
        monkeypatch.setattr("tracer.output.instance_tracks._MAX_OWN_SHARE", max_own)
    spans = with_spawns(simulate())
    at_once = spans.begun["spawned"].nonzero()[0][2]
    spans.begun["spawned"][at_once] = spans.begun["first"][at_once]
    writer = PerfettoWriter(tmp_path / "t.pftrace", with_sites(make_recording()), total_events=2 * len(spans.polls))
    writer.threads(make_threads())
    for block in blocks(spans, 4):
        writer.spans(block)
    trace = trace_processor(writer.close(Tally(), CaptureEnd(START + 50_000_000, "done", 0, 0)).path)
    tasks = {int(task["task"]): task for task in spans.begun if task["spawned"]}
    ready = {int(str(row["task"])): row for row in trace.query(_READY)}
    assert ready.keys() == tasks.keys()
    for number, row in ready.items():
        task = tasks[number]
        delay = task["first"] - task["spawned"]
        assert (row["ts"], row["dur"], row["name"], row["ready"]) == (task["spawned"], delay, "ready", delay)
        assert (row["polled"], row["after"]) == (task["first"], "running")
        assert row["thread"] == f"thread tokio-worker-{WORKERS.index(task['spawned_on'])} ({task['spawned_on']})"
        at = int(task["spawned_at"])
        assert row["place"] == (str(SITES[at - 1]) if at else f"unknown: {why_unknown(None)}")
        by = ("task echo::conn::handle", task["spawned_by_id"]) if task["spawned_by"] else (NO_TASK, None)
        assert (row["by"], row["by_id"]) == by
