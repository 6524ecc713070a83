"""Wakes in our traces, as the real trace_processor reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.perfetto.conftest import Write
from tests.perfetto.simulation import START, TASK, WORKERS
from tests.perfetto.trace_processor import TraceProcessor
from tracer.model import POLL, WAIT, Array, PollFlag, Spans, WaitFlag, WakeOrigin
from tracer.model import TASK as TASK_RECORD

Load = Callable[[Path], TraceProcessor]

PENDING = int(PollFlag.RESULT | PollFlag.PENDING)
ROWS = """
select s.ts - {start} ts, s.dur, s.name, s.category from slice s join process_track t on s.track_id = t.id
where extract_arg(s.arg_set_id, 'debug.instance') = 7 or s.category in ('ready', 'wait') order by s.ts, s.id
"""
FLOWS = """
select mark.ts - {start} woken, around.name around, polled.ts - {start} polled, polled.category, polled.name,
  extract_arg(mark.arg_set_id, 'debug.task number') task, t.tid tid,
  extract_arg(polled.arg_set_id, 'debug.ready for (ns)') ready
from flow join slice mark on flow.slice_out = mark.id join slice polled on flow.slice_in = polled.id
join thread_track tt on mark.track_id = tt.id join thread t using (utid)
left join slice around on mark.parent_id = around.id
where mark.category = 'wake' order by mark.ts
"""


def polls_of(*times: tuple[int, int, int, int]) -> Array:
    """Pending polls of tasks: (instance, start, end, thread)."""
    polls = np.zeros(len(times), POLL)
    for poll, (instance, start, end, tid) in zip(polls, times, strict=True):
        poll["instance"], poll["start"], poll["end"], poll["end_latest"] = (
            instance,
            START + start,
            START + end,
            START + end,
        )
        poll["tid"], poll["function"], poll["flags"], poll["self"] = tid, TASK, PENDING, 0x100 * instance
    return polls[np.argsort(polls["end"], kind="stable")]


def wait_of(
    start: int, end: int, woken: int = 0, by: int = 0, on: int = 0, origin: WakeOrigin = WakeOrigin.UNKNOWN
) -> Array:
    """A wait of task 7."""
    wait = np.zeros(1, WAIT)
    wait["start"], wait["end"], wait["instance"], wait["task"] = START + start, START + end, 7, 7
    wait["function"], wait["tid"], wait["flags"], wait["state"] = TASK, WORKERS[0], int(WaitFlag.STATE), 3
    if woken:
        wait["woken"], wait["woken_by"], wait["woken_on"] = START + woken, by, on
        wait["woken_from"] = WakeOrigin.TASK if by else origin
        wait["woken_by_function"], wait["woken_by_id"] = TASK if by else 0, 100 + by if by else 0
    return wait


@pytest.fixture
def trace(write: Write, trace_processor: Load) -> TraceProcessor:
    """Task 7: woken by task 8, by itself, at the moment of its poll by a thread without a task, and unseen."""
    polls = polls_of(
        *((7, start, end, WORKERS[0]) for start, end in ((100, 200), (500, 600), (700, 800), (900, 950), (990, 995))),
        (8, 250, 450, WORKERS[1]),
    )
    waits = [
        wait_of(200, 500, 300, 8, WORKERS[1]),
        wait_of(600, 700, 550, 7, WORKERS[0]),
        wait_of(800, 900, 900, 0, WORKERS[2], WakeOrigin.TIMER),
        wait_of(950, 990),
    ]
    tasks = np.zeros(2, TASK_RECORD)
    tasks["task"], tasks["id"], tasks["function"], tasks["tid"] = (7, 8), (107, 108), TASK, WORKERS[:2]
    tasks["first"] = START + 100, START + 250
    # Each wait is told when the poll after it begins, and that poll only when it is over.
    spans = [Spans(polls[:0], waits[0], tasks), *(Spans(polls[:0], wait) for wait in waits[1:])]
    return trace_processor(write([*spans, Spans(polls, waits[0][:0])]).path)


def test_a_wait_ends_as_being_ready(trace: TraceProcessor) -> None:
    rows = [(r["ts"], r["dur"], r["name"]) for r in trace.query(ROWS.format(start=START)) if r["name"] != "running"]
    waiting = next(name for _, _, name in rows if name != "ready")
    assert rows == [
        (200, 100, waiting),
        (300, 200, "ready"),
        (600, 100, "ready"),  # it was woken before
        (800, 100, waiting),
        (900, 0, "ready"),
        (950, 40, waiting),  # by which wake it ended is not known
    ]
    assert waiting.startswith("waiting")


def test_an_arrow_leads_from_each_wake_to_the_poll(trace: TraceProcessor) -> None:
    flows = trace.query(FLOWS.format(start=START))
    got = [(r["woken"], r["around"], r["polled"], r["category"], r["name"], r["tid"], r["ready"]) for r in flows]
    assert got == [
        (300, "task conn::handle", 500, "poll", "running", WORKERS[1], 200),
        (550, "task conn::handle", 700, "poll", "running", WORKERS[0], 100),
        (900, None, 900, "poll", "running", WORKERS[2], 0),
    ]
    assert {r["task"] for r in flows} == {7}


def test_being_ready_says_since_when_and_by_whom(trace: TraceProcessor) -> None:
    rows = trace.query(
        "select s.ts, a.flat_key k, coalesce(a.string_value, a.int_value) v from slice s join args a using (arg_set_id)"
        " where s.category = 'ready' and k glob 'debug.*' order by s.ts"
    )
    told = {ts: {str(r["k"]): r["v"] for r in rows if r["ts"] == ts} for ts in {int(str(r["ts"])) for r in rows}}
    first, second, third = (told[ts] for ts in sorted(told))
    assert first["debug.woken by"] == "task echo::conn::handle"
    assert (first["debug.woken by task number"], first["debug.woken by task"]) == (8, 108)
    assert first["debug.woken on"] == f"thread tokio-worker-1 ({WORKERS[1]})"
    assert first["debug.ready for (ns)"] == 200
    assert first["debug.state"] == "await #1"
    assert second["debug.woken by"] == "itself, while it was polled"
    assert third["debug.woken by"] == "a timer"
    assert not {"debug.woken by task number", "debug.woken by task"} & third.keys()
