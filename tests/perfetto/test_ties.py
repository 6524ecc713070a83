"""Equal times: slices nest in trace_processor as they did in the program, however the blocks are cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.perfetto.conftest import Write
from tests.perfetto.simulation import START, WORKERS, make_recording
from tests.perfetto.trace_processor import TraceProcessor
from tracer.model import POLL, FunctionKind, PollFlag, PollFunction, Source, Spans

ON_THREADS = "from slice s join thread_track t on s.track_id = t.id"

FUNCTIONS = tuple(PollFunction(n, n, 1, f"demo::f{n}", FunctionKind.COROUTINE, Source.DWARF, ()) for n in range(40))
RECORDING = replace(make_recording(), plan=replace(make_recording().plan, functions=FUNCTIONS))


@st.composite
def walks(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """Polls of one thread (start, end, depth) in order of their ends, on a clock so coarse that times collide.

    A poll without children can be of no length (its first instruction is its return); one with children
    is not, and neither are two polls in a row at one time.
    """
    now = START + 10
    open_polls: list[tuple[int, bool]] = []
    done: list[tuple[int, int, int]] = []
    begun = 0
    instant = -1
    while begun < len(FUNCTIONS) - 1 and (action := draw(st.sampled_from("((()))+.e"))) != "e":
        if action == "(":
            open_polls.append((now, now == instant))
            begun += 1
        elif action == ")" and open_polls and open_polls[-1][0] < now:
            start, _ = open_polls.pop()
            done.append((start, now, len(open_polls)))
        elif action == "." and now != instant:
            done.append((now, now, len(open_polls)))
            instant = now
            begun += 1
        elif action == "+":
            now += 1
    now += 1
    while open_polls:
        start, _ = open_polls.pop()
        done.append((start, now, len(open_polls)))
    return done


def as_array(walk: list[tuple[int, int, int]], tid: int = WORKERS[0]) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """The walk as POLL records, each of another function."""
    polls = np.zeros(len(walk), POLL)
    for index, (start, end, depth) in enumerate(walk):
        polls[index]["start"], polls[index]["end"], polls[index]["depth"] = start, end, depth
        polls[index]["end_latest"], polls[index]["function"], polls[index]["tid"] = end, index, tid
    return polls


def read(trace: TraceProcessor) -> Counter[tuple[str, int, int, int]]:
    rows = trace.query(f"select s.name, ts, dur, depth {ON_THREADS}")
    return Counter((r["name"], r["ts"], r["dur"], r["depth"]) for r in rows)


def expected(walk: list[tuple[int, int, int]]) -> Counter[tuple[str, int, int, int]]:
    return Counter((f"demo::f{n}", start, end - start, depth) for n, (start, end, depth) in enumerate(walk))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(walk=walks(), data=st.data())
def test_ties(write: Write, walk: list[tuple[int, int, int]], data: st.DataObject) -> None:
    """Equal starts of parent and child, equal ends, siblings back to back, polls of no length."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(walk)), max_size=4)))
    pieces = np.split(as_array(walk), cuts)
    trace = TraceProcessor(write_flushed(write, pieces))
    trace.health()
    assert read(trace) == expected(walk)


def write_flushed(write: Write, pieces: list[np.ndarray[tuple[int], np.dtype[np.void]]]) -> Path:
    """Write each piece as a block of its own."""
    from tracer.model import WAIT
    from tracer.output import perfetto

    block = perfetto._BLOCK
    perfetto._BLOCK = 0
    try:
        return write([Spans(piece, np.zeros(0, WAIT)) for piece in pieces], RECORDING).path
    finally:
        perfetto._BLOCK = block


def test_under_way_at_attach(write: Write, trace_processor: Callable[[Path], TraceProcessor]) -> None:
    """Frames under way when tracing began all start then; their ends come in any block, their depth is unknown."""
    polls = as_array(
        [(START, START + 5, 0), (START, START + 20, 0), (START + 30, START + 40, 1), (START, START + 50, 0)]
    )
    polls["flags"][[0, 1, 3]] = int(PollFlag.START_UNKNOWN)
    path = write_flushed(write, [polls[:1], polls[1:2], polls[2:]])
    rows = trace_processor(path).query(f"select s.name, dur, depth {ON_THREADS} order by s.name")
    assert rows == [
        {"name": "demo::f0", "dur": 5, "depth": 2},
        {"name": "demo::f1", "dur": 20, "depth": 1},
        {"name": "demo::f2", "dur": 10, "depth": 1},
        {"name": "demo::f3", "dur": 50, "depth": 0},
    ]
