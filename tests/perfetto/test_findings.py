"""Findings in the real trace_processor: marked on a track of their own, with arrows to their thread and task."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.perfetto.simulation import START, WORKERS, make_recording, make_threads, simulate
from tests.perfetto.trace_processor import TraceProcessor
from tracer.model import CaptureEnd, Finding, Severity, SourceLocation, Tally
from tracer.output.chrome import ChromeWriter
from tracer.output.perfetto import PerfettoWriter

Load = Callable[[Path], TraceProcessor]

_MARKS = """
select s.ts, s.name, t.name track, p.pid, a.flat_key key, coalesce(a.string_value, a.int_value) value
from slice s join process_track t on s.track_id = t.id left join process p using (upid) join args a using (arg_set_id)
where s.category = 'finding' and t.name = 'Findings' and key glob 'debug.*' order by s.ts, s.id
"""
_ARROWS = """
select mark.name, mark.ts, place.ts there, place.name named, around.id around, th.tid,
  extract_arg(around.arg_set_id, 'debug.instance') instance, around.category, pt.name track
from flow join slice mark on slice_out = mark.id join slice place on slice_in = place.id
left join slice around on place.parent_id = around.id
left join thread_track tt on place.track_id = tt.id left join thread th using (utid)
left join process_track pt on place.track_id = pt.id
where mark.category = 'finding' order by mark.ts, tid is null
"""


def findings() -> list[Finding]:
    """Of a poll of a task that is in the trace, of a thread alone, and of neither."""
    spans = simulate()
    poll = spans.polls[(spans.polls["function"] == 0) & (spans.polls["end"] > spans.polls["start"])][40]
    one = Finding(
        "long-poll", Severity.CRITICAL, "it kept its thread", {"longest_ns": 7, "share": 0.5, "starved": "other"},
        "echo::db::query", SourceLocation("src/db.rs", 77), int(poll["start"]),
        int(poll["end"] - poll["start"]), int(poll["tid"]), int(poll["instance"]), "Do something else.",
    )  # fmt: skip
    return [
        one,
        replace(one, rule="other", severity=Severity.INFO, tid=WORKERS[1], task=None, time=START + 1),
        replace(one, rule="third", tid=None, task=None, where=None, function=None, time=START + 2, evidence={}),
    ]


@pytest.fixture
def trace(tmp_path: Path, trace_processor: Load) -> TraceProcessor:
    spans = simulate()
    writer = PerfettoWriter(tmp_path / "t.pftrace", make_recording(), total_events=2 * len(spans.polls))
    writer.threads(make_threads())
    writer.spans(spans)
    writer.mark(findings())
    written = writer.close(Tally(), CaptureEnd(START + 50_000_000, "done", 0, 0))
    trace = trace_processor(written.path)
    drawn = "select count(*) from slice where category in ('poll', 'wait', 'finding', 'ready') or category is null"
    assert trace.one(drawn) == written.slices
    return trace


def test_each_finding_says_all_on_a_track_of_its_process(trace: TraceProcessor) -> None:
    rows = trace.query(_MARKS)
    assert {row["pid"] for row in rows} == {4242}
    told = {name: {str(r["key"]): r["value"] for r in rows if r["name"] == name} for name in {r["name"] for r in rows}}
    (first, second, third) = findings()
    assert told.keys() == {f"{one.rule}: it kept its thread" for one in findings()}
    arguments = told["long-poll: it kept its thread"]
    assert arguments == {
        "debug.rule": "long-poll",
        "debug.severity": "critical",
        "debug.function": "echo::db::query",
        "debug.location": "src/db.rs:77",
        "debug.duration (ns)": first.duration,
        "debug.task number": first.task,
        "debug.thread": first.tid,
        "debug.evidence longest_ns": 7,
        "debug.evidence share": None,  # a number with a fraction
        "debug.evidence starved": "other",
        "debug.advice": "Do something else.",
    }
    share = "select distinct extract_arg(arg_set_id, 'debug.evidence share') from slice where name glob 'long-poll*'"
    assert trace.one(share) == 0.5
    assert told["other: it kept its thread"]["debug.severity"] == "info"
    assert "debug.location" not in told["third: it kept its thread"]
    assert "debug.task number" not in told["third: it kept its thread"]
    assert {int(str(row["ts"])) for row in rows} == {one.time for one in findings()}
    assert second.task is None
    assert third.tid is None


def test_arrows_lead_to_the_poll(trace: TraceProcessor) -> None:
    first, second, _ = findings()
    rows = trace.query(_ARROWS)
    assert [row["name"] for row in rows] == ["other: it kept its thread", *["long-poll: it kept its thread"] * 2]
    assert all(row["ts"] == row["there"] and row["name"] == row["named"] for row in rows)
    other, thread, task = rows
    assert (other["tid"], other["ts"]) == (second.tid, second.time)
    assert (thread["tid"], thread["ts"], thread["instance"], thread["category"]) == (
        first.tid, first.time, first.task, "poll",
    )  # fmt: skip
    assert (task["tid"], task["instance"], task["category"]) == (None, first.task, "poll")
    assert str(task["track"]).startswith(f"task {100 + (first.task or 0)} ")


def test_chrome_has_them_on_their_threads(tmp_path: Path) -> None:
    spans = simulate()
    writer = ChromeWriter(tmp_path / "t.json", make_recording(), total_events=2 * len(spans.polls))
    writer.threads(make_threads())
    writer.spans(spans)
    writer.mark(findings())
    writer.close(Tally(), CaptureEnd(START + 50_000_000, "done", 0, 0))
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    marks = [event for event in events if event.get("cat") == "finding"]
    first, second, _ = findings()
    assert [(event["s"], event["tid"]) for event in marks] == [("t", first.tid), ("t", second.tid), ("g", 0)]
    assert all(event["pid"] == 4242 for event in marks)
    assert marks[0]["name"] == "long-poll: it kept its thread"
    assert round(marks[0]["ts"] * 1000) == first.time
    assert marks[0]["args"]["evidence share"] == 0.5
    assert marks[0]["args"]["location"] == "src/db.rs:77"
