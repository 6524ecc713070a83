"""What the scheduler did, in our traces, as the real trace_processor reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.perfetto.conftest import Write
from tests.perfetto.simulation import START, TASK, WORKERS
from tests.perfetto.trace_processor import TraceProcessor
from tracer.model import OFF_CPU, POLL, WAIT, Array, OffCpuFlag, PollFlag, Spans

Load = Callable[[Path], TraceProcessor]
FUTEX, SLEEP = 202, 230
IN_POLL = int(OffCpuFlag.IN_POLL)
STATES = """
select s.ts - {start} ts, s.dur, s.state, s.cpu, t.tid from thread_state s join thread t using (utid)
order by t.tid, s.ts
"""
CPUS = """
select s.ts - {start} ts, s.dur, s.cpu, s.end_state, t.tid from sched_slice s join thread t using (utid) order by s.ts
"""
BLOCKED = """
select s.ts - {start} ts, s.dur, s.name, around.name around, t.tid, a.flat_key k,
  coalesce(a.string_value, a.int_value) v
from slice s join thread_track tt on s.track_id = tt.id join thread t using (utid)
join slice around on s.parent_id = around.id join args a on s.arg_set_id = a.arg_set_id
where s.category = 'blocked' and k glob 'debug.*' order by s.ts, k
"""


def off_cpu(*rows: tuple[int, int, int, int, int, int, int, int]) -> Array:
    """(since, start, woken, end, thread, state, system call, waking thread); a thread is on CPU 0 before its first one,
    then on 1."""
    off = np.zeros(len(rows), OFF_CPU)
    for one, (since, start, woken, end, tid, state, syscall, by) in zip(off, rows, strict=True):
        one["since"], one["start"], one["end"] = START + since, START + start, START + end
        one["woken"] = START + woken if woken else 0
        one["tid"], one["state"], one["syscall"], one["woken_by"] = tid, state, syscall, by
        one["cpu"], one["cpu_after"] = since in (350, 600), 1
    return off


@pytest.fixture
def trace(write: Write, trace_processor: Load) -> TraceProcessor:
    """In one poll a thread waits for a lock, loses its CPU, and sleeps until nothing more is seen; another one is off
    its CPU outside of polls."""
    polls = np.zeros(1, POLL)
    polls["start"], polls["end"], polls["end_latest"] = START + 100, START + 1000, START + 1000
    polls["tid"], polls["function"], polls["instance"], polls["self"] = WORKERS[0], TASK, 7, 0x700
    polls["flags"] = int(PollFlag.SCHEDULED | PollFlag.END_UNKNOWN)
    polls["runnable"], polls["blocked"] = 150, 250
    off = off_cpu(
        (50, 200, 300, 350, WORKERS[0], 1, FUTEX, WORKERS[1]),
        (350, 500, 500, 600, WORKERS[0], 0, -1, 0),
        (600, 850, 0, 1000, WORKERS[0], 1, SLEEP, 0),
        (700, 800, 900, 900, WORKERS[1], 2, 300, 0),
    )
    off["flags"] = [IN_POLL, IN_POLL, IN_POLL | int(OffCpuFlag.END_UNKNOWN), int(OffCpuFlag.BY_INTERRUPT)]
    off["function"][:3] = TASK
    off = off[np.argsort(off["end"], kind="stable")]
    waits = np.zeros(0, WAIT)
    spans = [Spans(polls[:0], waits, off_cpu=off[:2]), Spans(polls, waits, off_cpu=off[2:])]
    return trace_processor(write(spans).path)


def test_threads_have_their_states(trace: TraceProcessor) -> None:
    rows = [(r["tid"], r["ts"], r["dur"], r["state"], r["cpu"]) for r in trace.query(STATES.format(start=START))]
    one, other = WORKERS[:2]
    assert rows == [
        (one, 50, 150, "Running", 0),
        (one, 200, 100, "S", None),
        (one, 300, 50, "R", None),
        (one, 350, 150, "Running", 1),
        (one, 500, 100, "R", None),
        (one, 600, 250, "Running", 1),
        (one, 850, -1, "S", None),
        (other, 700, 100, "Running", 0),
        (other, 800, 100, "D", None),
        (other, 900, -1, "Running", 1),
    ]


def test_cpus_have_their_threads(trace: TraceProcessor) -> None:
    rows = [(r["cpu"], r["ts"], r["dur"], r["end_state"], r["tid"]) for r in trace.query(CPUS.format(start=START))]
    one, other = WORKERS[:2]
    assert rows == [
        (0, 50, 150, "S", one),
        (1, 350, 150, "R", one),
        (1, 600, 250, "S", one),
        (0, 700, 100, "D", other),
        (1, 900, -1, None, other),
    ]


def test_after_what_nobody_saw_a_thread_is_on_the_cpu_that_it_left(write: Write, trace_processor: Load) -> None:
    """It slept when the scheduling was not recorded any more, and ran when it was again."""
    off = off_cpu(
        (50, 200, 0, 250, WORKERS[0], 1, FUTEX, 0),
        (350, 400, 500, 550, WORKERS[0], 1, FUTEX, 0),
    )
    off["flags"][0] = int(OffCpuFlag.END_UNKNOWN)
    trace = trace_processor(write([Spans(np.zeros(0, POLL), np.zeros(0, WAIT), off_cpu=off)]).path)
    rows = [(r["ts"], r["state"], r["cpu"]) for r in trace.query(STATES.format(start=START))]
    assert rows == [
        (50, "Running", 0),
        (200, "S", None),
        (350, "Running", 1),
        (400, "S", None),
        (500, "R", None),
        (550, "Running", 1),
    ]


def test_a_poll_shows_what_it_is_blocked_in(trace: TraceProcessor) -> None:
    rows = trace.query(BLOCKED.format(start=START))
    slices = {(r["ts"], r["dur"], r["name"], r["around"], r["tid"]) for r in rows}
    task = "task conn::handle"
    assert slices == {
        (200, 100, "blocked: futex", task, WORKERS[0]),
        (850, 150, "blocked: clock_nanosleep", task, WORKERS[0]),
    }
    told = {(r["ts"], r["k"].removeprefix("debug.")): r["v"] for r in rows}
    assert told[200, "woken by"] == f"thread tokio-worker-1 ({WORKERS[1]})"
    assert (told[200, "blocked (ns)"], told[200, "runnable afterwards (ns)"]) == (100, 50)
    assert told[850, "woken by"] == "unknown"


def test_a_poll_says_how_it_was_split(trace: TraceProcessor) -> None:
    rows = trace.query(
        "select a.flat_key k, a.int_value v from slice s join thread_track t on s.track_id = t.id"
        " join args a using (arg_set_id) where s.category = 'poll' and k glob '*(ns)'"
    )
    assert {r["k"]: r["v"] for r in rows} == {
        "debug.on CPU (ns)": 500,
        "debug.runnable (ns)": 150,
        "debug.blocked (ns)": 250,
    }
