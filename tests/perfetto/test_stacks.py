"""Stacks in the real trace_processor: arguments of long polls, and Perfetto's own samples with their lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.perfetto.simulation import START, make_recording, make_threads, simulate
from tests.perfetto.trace_processor import TraceProcessor
from tracer.model import (
    LOOK,
    CaptureEnd,
    Frame,
    FunctionKind,
    Recording,
    SourceLocation,
    Spans,
    Stack,
    StackCensus,
    StackKind,
    Stacks,
    Tally,
)
from tracer.output.chrome import ChromeWriter
from tracer.output.perfetto import PerfettoWriter

SPIN = Frame("echo::spin", SourceLocation("src/spin.rs", 7), True, "echo", "echo")
MULTIPLY = Frame("u64::wrapping_mul", SourceLocation("/rustc/0123/library/core/src/num/mod.rs", 99), True, "echo")
HANDLE = Frame("echo::conn::handle", SourceLocation("src/conn.rs", 30), False, "echo", "echo")
SLEEP = Frame("clock_nanosleep", None, False, "libc.so.6")
STACKS = Stacks(
    (Stack((MULTIPLY, SPIN, HANDLE), True), Stack((SPIN, HANDLE), True), Stack((SLEEP, HANDLE), False)),
    StackCensus(period=10_000),
)


def recording() -> Recording:
    return replace(make_recording(), stacks=STACKS)


def with_looks(spans: Spans) -> Spans:
    """In each of the first nine polls of tasks one stack: in turn of what ran, twice, and of what blocked."""
    functions = make_recording().plan.functions
    is_task = np.array([one.kind is FunctionKind.TASK for one in functions])
    polls = spans.polls[is_task[spans.polls["function"]]][:9]
    looks = np.zeros(len(polls), LOOK)
    looks["time"] = looks["until"] = (polls["start"] + polls["end"]) // 2
    looks["stack"] = 1 + np.arange(9) % 3
    looks["kind"] = np.where(looks["stack"] == 3, StackKind.BLOCKED, StackKind.RUNNING)
    for name, of_poll in (("start", "start"), ("tid", "tid"), ("function", "function"), ("task", "instance")):
        looks[name] = polls[of_poll]
    return replace(spans, looks=looks)


def test_polls_and_flamegraphs_have_them(tmp_path: Path, trace_processor: Callable[[Path], TraceProcessor]) -> None:
    spans = with_looks(simulate())
    writer = PerfettoWriter(tmp_path / "t.pftrace", recording(), total_events=2 * len(spans.polls))
    writer.threads(make_threads())
    writer.spans(spans)
    trace = trace_processor(writer.close(Tally(), CaptureEnd(START + 50_000_000, "done", 0, 0)).path)
    told = {
        (row["tid"], row["ts"]): (row["blocker"], row["stack"])
        for row in trace.query(
            "select ts, tid, extract_arg(s.arg_set_id, 'debug.blocker') blocker, extract_arg(s.arg_set_id, "
            "'debug.stack') stack from slice s join thread_track t on s.track_id = t.id join thread using (utid) "
            "where stack is not null"
        )
    }
    assert told.keys() == {(int(look["tid"]), int(look["start"])) for look in spans.looks}
    for look in spans.looks:
        blocker, stack = told[int(look["tid"]), int(look["start"])]
        expected = "echo::conn::handle src/conn.rs:30" if look["stack"] == 3 else "echo::spin src/spin.rs:7"
        assert blocker == expected
        assert len(str(stack).splitlines()) == (2 if look["stack"] == 2 else 3)
    samples = trace.query("select ts, tid from perf_sample join thread using (utid) order by ts")
    running = spans.looks[spans.looks["kind"] == StackKind.RUNNING]
    assert sorted((row["ts"], row["tid"]) for row in samples) == sorted(
        zip(running["time"], running["tid"], strict=True)
    )
    tree = trace.query(
        "include perfetto module linux.perf.samples; select name, source_file file, line_number line, self_count own, "
        "cumulative_count count from linux_perf_samples_summary_tree order by id"
    )
    assert [tuple(row.values()) for row in tree] == [
        ("echo::conn::handle", "src/conn.rs", 30, 0, 6),
        ("echo::spin", "src/spin.rs", 7, 3, 6),
        ("u64::wrapping_mul", "/rustc/0123/library/core/src/num/mod.rs", 99, 3, 3),
    ]


def test_chrome_traces_have_them(tmp_path: Path) -> None:
    spans = with_looks(simulate())
    writer = ChromeWriter(tmp_path / "t.json", recording(), total_events=2 * len(spans.polls))
    writer.threads(make_threads())
    writer.spans(spans)
    written = writer.close(Tally(), CaptureEnd(START + 50_000_000, "done", 0, 0))
    events = json.loads(written.path.read_text())["traceEvents"]
    told = [event["args"] for event in events if "stack" in event.get("args", {})]
    assert len(told) == len(spans.looks)
    assert {one["blocker"] for one in told} == {"echo::conn::handle src/conn.rs:30", "echo::spin src/spin.rs:7"}
    assert {len(one["stack"]) for one in told} == {2, 3}
