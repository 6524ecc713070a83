"""Chrome's JSON: valid, nothing lost, no nanosecond rounded."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.perfetto.simulation import (
    PID,
    START,
    TASK,
    WORKERS,
    blocks,
    make_recording,
    make_threads,
    many,
    simulate,
)
from tracer.errors import OutputFailed
from tracer.model import POLL, CaptureEnd, Group, Loss, PlanChange, ProcessEnd, Spans, Tally
from tracer.output.chrome import ChromeWriter
from tracer.output.trace import WrittenTrace


def write(path: Path, steps: list[Spans], **options: float) -> tuple[WrittenTrace, list[dict[str, Any]]]:
    total = sum(2 * len(step.polls) for step in steps)
    writer = ChromeWriter(path, make_recording(), total_events=total, **options)  # type: ignore[arg-type]
    writer.threads(make_threads())
    for step in steps:
        writer.spans(step)
    at = START + 10_000_000
    writer.plan_change(PlanChange(at, frozenset({Group.TASKS}), 'a "reason"\n'))
    writer.loss(Loss(0, 5, None, at))
    writer.process_end(ProcessEnd(at, PID, "it exited"))
    written = writer.close(Tally(), CaptureEnd(at, "done", total, 5))
    document = json.loads(path.read_text(), parse_float=Decimal)
    assert document["displayTimeUnit"] == "ns"
    return written, document["traceEvents"]


def test_every_poll_and_wait(tmp_path: Path) -> None:
    spans = simulate()
    written, events = write(tmp_path / "t.json", blocks(spans, 3))
    polls = [e for e in events if e["ph"] == "X"]
    got = Counter((int(e["ts"] * 1000), int(e["dur"] * 1000), e["tid"], e["args"]["instance"]) for e in polls)
    assert got == Counter(
        (int(p["start"]), int(p["end"] - p["start"]), int(p["tid"]), int(p["instance"])) for p in spans.polls
    )
    assert {e["pid"] for e in polls} == {PID}
    assert "db::query" in {e["name"] for e in polls}
    begins = Counter((e["id"], e["name"], int(e["ts"] * 1000)) for e in events if e["ph"] == "b")
    ends = [e for e in events if e["ph"] == "e"]
    assert sum(begins.values()) == len(ends) == len(spans.waits)
    assert {start for _, _, start in begins} == set(spans.waits["start"].tolist())
    waits = {e["name"]: e["args"] for e in events if e["ph"] == "b"}
    assert waits["db::query: waiting: Mutex::lock"] == {
        "function": "echo::db::query",
        "location": "src/db.rs:77",
        "crate": "echo",
        "kind": "async fn or block",
        "state": "await #1",
        "await": "/srv/echo/src/db.rs:80",
        "awaitee": "tokio::sync::mutex::Mutex<T>::lock<echo::db::Pool>",
    }
    assert waits["db::query: waiting: PollFn<db::query {closure 0}>"]["await in a macro"] == "select.rs:7"
    assert waits["conn::handle: waiting at await #1"]["state"] == "await #1"
    assert "await #1 (echo/src/db.rs:80, Mutex::lock)" in {e["args"]["state"] for e in polls}
    names = {(e["name"], e["args"]["name"]) for e in events if e["ph"] == "M"}
    assert {("process_name", "echo-server"), ("thread_name", "tokio-worker-1")} <= names
    notes = [e["name"] for e in events if e["ph"] == "i"]
    assert notes == [
        "tracing began",
        "probed from here: tasks only",
        "5 events lost",
        f"process {PID} ended",
        "tracing ended: done",
    ]
    assert written.slices == len(polls) + len(ends) + len(notes)


def test_a_wait_says_by_which_wake_it_ended(tmp_path: Path) -> None:
    wait = simulate().waits[:1].copy()
    wait["function"], wait["instance"], wait["start"], wait["end"] = TASK, 7, START + 100, START + 500
    wait["woken"], wait["woken_by"], wait["woken_by_id"], wait["woken_on"] = START + 300, 8, 108, WORKERS[1]
    own = wait.copy()
    own["woken"], own["woken_by"] = START + 50, 7
    _, events = write(tmp_path / "t.json", [Spans(np.zeros(0, POLL), one) for one in (wait, own)])
    first, second = (e["args"] for e in events if e["ph"] == "b")
    assert first["woken by"] == "task echo::conn::handle"
    assert (first["woken by task number"], first["woken by task"], first["woken on"]) == (8, 108, WORKERS[1])
    assert (first["ready for (ns)"], second["ready for (ns)"]) == (200, 400)
    assert second["woken by"] == "itself, while it was polled"


def test_thinning(tmp_path: Path) -> None:
    spans = many(20_000)
    written, events = write(tmp_path / "t.json", blocks(spans, 5), max_slices=5_000, min_us=1)
    drawn = [e for e in events if e.get("cat") in ("poll", "wait") and e["ph"] in "Xb"]
    merged = [e for e in events if e.get("cat") == "merged"]
    assert sum(e["args"]["polls"] for e in merged) == written.merged > 0
    assert len(drawn) + written.merged + written.omitted == len(spans.polls) + len(spans.waits)
    assert written.slices < 5_100
    assert len(written.remarks) == 3


def test_nothing_stays_after_an_abort(tmp_path: Path) -> None:
    writer = ChromeWriter(tmp_path / "t.json", make_recording(), total_events=0)
    writer.abort()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputFailed):
        ChromeWriter(tmp_path / "no" / "t.json", make_recording(), total_events=0)
