"""The SQL views of made-up traces, in the real trace_processor, beside the summary's figures of the same spans."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.perfetto.conftest import Write
from tests.perfetto.simulation import ROW, START, TASK, WORKERS, make_recording, simulate, without_exits
from tests.perfetto.trace_processor import TraceProcessor
from tracer.commands.sql import PACKAGE
from tracer.model import CaptureEnd, Outcome, PollFlag, Spans, Tally, WaitFlag
from tracer.output.summary import Summary

Load = Callable[[Path], TraceProcessor]

DOCUMENT = Path(__file__).parents[2] / "docs" / "sql.md"
END = CaptureEnd(START + 3_200_000_000, "the time was up", 0, 0)


def example(words: str) -> str:
    """The query of the document that follows these words."""
    found = re.search(re.escape(words) + r".*?```sql\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def with_views(path: Path, load: Load) -> TraceProcessor:
    trace = load(path)
    trace.add_sql_package(PACKAGE)
    for module in ("polls", "waits", "delays", "tasks"):
        trace.query(f"INCLUDE PERFETTO MODULE rat_ebpf.{module}")
    return trace


def summary_of(spans: Spans) -> dict[str, Any]:
    summary = Summary(make_recording())
    summary.spans(spans)
    summary.close(Tally(), END)
    return summary.as_json()


def hung() -> tuple[Spans, int]:
    """Spans of which the last poll of a task never ended; and its thread."""
    spans = simulate()
    polls = spans.polls
    last = int(np.flatnonzero(polls["function"] == TASK)[-1])
    inside = (polls["tid"] == polls["tid"][last]) & (polls["start"] >= polls["start"][last])
    polls["end"][inside] = polls["end_latest"][inside] = END.time
    polls["flags"][inside] &= ~np.uint16(PollFlag.RESULT | PollFlag.PENDING)
    polls["flags"][inside] |= np.uint16(PollFlag.END_UNKNOWN)
    one = spans.over["task"] == polls["instance"][last]
    of_it = polls[(polls["instance"] == polls["instance"][last])]
    length = of_it["end"] - of_it["start"]
    spans.over["last"][one] = spans.over["until"][one] = END.time
    spans.over["outcome"][one] = Outcome.RUNNING
    spans.over["busy"][one], spans.over["longest"][one] = length.sum(), length.max()
    return spans, int(polls["tid"][last])


@pytest.fixture
def trace_of_hung(write: Write, trace_processor: Load) -> TraceProcessor:
    return with_views(write([hung()[0]], end=END).path, trace_processor)


def test_a_poll_without_an_end_is_in_the_sums_as_long_as_it_was_seen(trace_of_hung: TraceProcessor) -> None:
    document = summary_of(hung()[0])
    kinds = trace_of_hung.query("SELECT * FROM rat_task_kind")
    got = [(row["function"], row["busy_dur"], row["longest_poll_dur"]) for row in kinds]
    assert got == [(kind["function"], kind["busy"], kind["longest"]) for kind in document["task_kinds"]]
    assert got[0][2] > 3e9
    rows = trace_of_hung.query("SELECT function, sum(least_dur) AS busy FROM rat_poll GROUP BY function")
    assert {row["function"]: row["busy"] for row in rows} == {
        one["function"]: one["busy"] for one in document["functions"] if one["polls"]
    }
    assert trace_of_hung.one("SELECT max(last_ts) FROM rat_task") == END.time


def test_its_length_is_not_known(trace_of_hung: TraceProcessor) -> None:
    rows = trace_of_hung.query("SELECT dur, least_dur, is_end_seen FROM rat_poll")
    assert {row["is_end_seen"] for row in rows if row["dur"] is None} == {0}
    assert all(row["is_end_seen"] and row["dur"] == row["least_dur"] for row in rows if row["dur"] is not None)


def test_nor_is_that_of_a_poll_whose_begin_was_not_seen(write: Write, trace_processor: Load) -> None:
    spans = simulate()
    spans.polls["flags"][5] |= np.uint16(PollFlag.START_UNKNOWN)
    trace = with_views(write([spans], end=END).path, trace_processor)
    (row,) = trace.query("SELECT ts, dur, least_dur, is_end_seen FROM rat_poll WHERE dur IS NULL")
    poll = spans.polls[5]
    assert row == {"ts": poll["start"], "dur": None, "least_dur": poll["end"] - poll["start"], "is_end_seen": 1}
    rows = trace.query("SELECT function, count(dur) AS timed FROM rat_poll GROUP BY function")
    assert {one["function"]: one["timed"] for one in rows} == {
        one["function"]: one["timed"] for one in summary_of(spans)["functions"] if one["polls"]
    }


def test_no_length_is_made_up_where_exits_are_not_probed(write: Write, trace_processor: Load) -> None:
    spans = simulate()
    of_row = spans.polls["function"] == ROW
    nearly = of_row & (np.cumsum(of_row) % 3 == 0)
    spans.polls["end_latest"][nearly] += (spans.polls["end"] - spans.polls["start"])[nearly] // 20
    spans = without_exits(spans, of_row & (np.cumsum(of_row) % 3 == 1), seen=9_000)
    trace = with_views(write([spans], end=END).path, trace_processor)
    rows = trace.query(
        "SELECT function, count(*) AS polls, sum(is_end_seen) AS timed, sum(dur) AS busy, max(dur) AS longest, "
        "min(least_dur) AS least FROM rat_poll GROUP BY function"
    )
    expected = {one["function"]: one for one in summary_of(spans)["functions"] if one["polls"]}
    keys = ("polls", "timed", "busy", "longest")
    assert {row["function"]: [row[key] for key in keys] for row in rows} == {
        name: [one[key] for key in keys] for name, one in expected.items()
    }
    name = make_recording().plan.functions[ROW].name
    assert 0 < expected[name]["timed"] < expected[name]["polls"]
    assert next(row["least"] for row in rows if row["function"] == name) > 0


def test_the_documented_queries_find_it(trace_of_hung: TraceProcessor) -> None:
    _, tid = hung()
    (found,) = trace_of_hung.query(example("Which polls held their thread"))
    assert found["ms"] > 3000
    assert not found["is_end_seen"]
    rows = trace_of_hung.query(example("How much of each worker thread"))
    busy = {row["second"]: row["busy"] for row in rows if row["tid"] == tid}
    whole = range(START // 10**9 + 1, END.time // 10**9)
    assert len(whole) > 1
    assert [busy[second] for second in whole] == [1.0] * len(whole)
    assert max(row["busy"] for row in rows) <= 1
    assert {row["tid"] for row in rows} == set(WORKERS)


def test_a_task_that_was_only_ready_is_a_task(write: Write, trace_processor: Load) -> None:
    """It had been woken before the recording, and nobody polled it."""
    spans = simulate()
    one, ready = spans.over[-1:].copy(), spans.waits[:1].copy()
    one["task"] = ready["instance"] = ready["task"] = spans.over["task"].max() + 1
    one["polls"] = one["busy"] = one["longest"] = one["waiting"] = 0
    ready["start"] = ready["woken"] = START
    ready["end"], ready["function"], ready["flags"] = END.time, TASK, WaitFlag.START_UNKNOWN | WaitFlag.END_UNKNOWN
    ready["woken_by"] = ready["woken_on"] = 0
    spans = replace(spans, waits=np.concatenate([spans.waits, ready]), over=np.concatenate([spans.over, one]))
    trace = with_views(write([spans], end=END).path, trace_processor)
    (row,) = trace.query(f"SELECT * FROM rat_task WHERE task_number = {one['task'][0]}")
    assert (row["polls"], row["waiting_dur"], row["ready_dur"]) == (None, None, END.time - START)
    assert (row["first_ts"], row["last_ts"]) == (START, END.time)
    (kind,) = summary_of(spans)["task_kinds"]
    told = trace.query("SELECT function, tasks, polls FROM rat_task_kind")
    assert told == [{key: kind[key] for key in ("function", "tasks", "polls")}]


def test_a_wake_that_nothing_followed_is_no_delay(write: Write, trace_processor: Load) -> None:
    spans = simulate()
    waits = spans.waits[spans.waits["function"] == TASK]
    waits["woken"], waits["woken_on"] = (waits["start"] + waits["end"]) // 2, WORKERS[0]
    never = waits[:1].copy()
    never["start"], never["woken"], never["end"] = END.time - 900_000_000, END.time - 800_000_000, END.time
    never["flags"], never["instance"] = WaitFlag.END_UNKNOWN, spans.over["task"][-1]
    spans = replace(spans, waits=np.concatenate([waits, never]))
    trace = with_views(write([spans], end=END).path, trace_processor)
    (kind,) = summary_of(spans)["task_kinds"]
    (told,) = trace.query("SELECT * FROM rat_scheduling_delay WHERE NOT is_first")
    assert (told["count"], told["total_dur"], told["max_dur"]) == (
        kind["delay"]["polls"],
        kind["delay"]["total"],
        kind["delay"]["longest"],
    )
    assert trace.one("SELECT sum(dur) FROM rat_ready WHERE NOT is_over") == 800_000_000
    assert trace.one("SELECT count(*) FROM rat_wake WHERE poll_id IS NULL AND delay IS NULL") == 1
