"""What the real trace_processor reads in our traces."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace

from tests.perfetto.conftest import Write
from tests.perfetto.simulation import (
    HANDLE,
    PID,
    QUERY,
    START,
    WORKERS,
    blocks,
    make_recording,
    many,
    simulate,
)
from tests.perfetto.trace_processor import TraceProcessor
from tracer.commands.sql import PACKAGE
from tracer.model import (
    PARKED,
    POLL,
    WAIT,
    CaptureEnd,
    Finding,
    Group,
    Loss,
    MemoryReading,
    Outcome,
    PlanChange,
    PollFlag,
    ProcessEnd,
    Severity,
    Spans,
    Tally,
    Thread,
    WaitFlag,
)
from tracer.model import TASK as TASK_RECORD
from tracer.output.labels import short_name
from tracer.output.perfetto import PerfettoWriter

Load = Callable[[Path], TraceProcessor]

ON_THREADS = "from slice s join thread_track t on s.track_id = t.id join thread using (utid)"
ON_INSTANCES = "from slice s join process_track t on s.track_id = t.id"


def test_every_poll_on_its_thread(write: Write, trace_processor: Load) -> None:
    """Counts, times, names, nesting and arguments of the polls on thread tracks."""
    spans = simulate()
    trace = trace_processor(write(blocks(spans, 5)).path)
    names = ["task conn::handle", "conn::handle", "db::query", "Receiver<Row>"]
    names += ["echo::accept_loop", "stats::tick {block 0}"]
    rows = trace.query(
        f"select ts, dur, tid, depth, s.name, extract_arg(arg_set_id, 'debug.instance') instance {ON_THREADS}"
    )
    got = Counter((r["ts"], r["dur"], r["tid"], r["depth"], r["name"], r["instance"]) for r in rows)
    polls = spans.polls
    expected = Counter(
        (
            int(p["start"]),
            int(p["end"] - p["start"]),
            int(p["tid"]),
            int(p["depth"]),
            names[p["function"]],
            int(p["instance"]),
        )
        for p in polls
    )
    assert got == expected


NO_WAKE = (0,) * 6
"""What a wait has of a wake that is not known."""


def test_arguments(write: Write, trace_processor: Load) -> None:
    """All that a poll knows is in its arguments; what is unknown is absent or says so."""
    start = START + 1000
    known = int(PollFlag.RESULT | PollFlag.PENDING | PollFlag.STATE)
    polls = np.array(
        [
            (start, start + 10, start + 10, 0x70, 7, 0xABC0, 0, QUERY, WORKERS[0], 0, known, 4, 3, 0, 0),
            (start + 20, start + 30, start + 90, 0, 0, 0, 0, 3, WORKERS[0], 0, int(PollFlag.UNWOUND), 0, 255, 0, 0),
            (start + 95, start + 99, start + 99, 0, 0, 0, 0, 3, WORKERS[0], 0, int(PollFlag.RESULT), 0, 255, 0, 0),
        ],
        POLL,
    )
    waits = np.zeros(1, WAIT)
    for name, value in (("start", start + 10), ("end", start + 95), ("self", 0x70), ("instance", 7), ("task", 0xABC0)):
        waits[name] = value
    waits["function"], waits["tid"], waits["flags"], waits["state"] = QUERY, WORKERS[0], int(WaitFlag.STATE), 3
    trace = trace_processor(write([Spans(polls, waits)]).path)
    rows = trace.query(
        "select s.name, a.flat_key as k, coalesce(a.string_value, a.int_value) as v "
        f"from (select s.name, s.arg_set_id, s.ts {ON_THREADS}) s join args a using (arg_set_id) order by s.ts"
    )
    first = {r["k"]: r["v"] for r in rows if r["name"] == "db::query"}
    assert first == {
        "debug.function": "echo::db::query",
        "debug.location": "src/db.rs:77",
        "debug.crate": "echo",
        "debug.kind": "async fn or block",
        "debug.state": "await #2 (in the macro at select.rs:7, function at src/db.rs:77, PollFn<db::query "
        "{closure 0}>)",
        "debug.result": "pending",
        "debug.self": 0x70,
        "debug.instance": 7,
        "debug.task number": 0xABC0,
        "correlation_id": f"tp:#{0xABC0}",
        "source_location_iid": first["source_location_iid"],
        "source.file_name": "src/db.rs",
        "source.function_name": "echo::db::query",
        "source.line_number": 77,
    }
    others = [(r["k"], r["v"]) for r in rows if r["name"] != "db::query"]
    assert ("debug.note", "unwound by a panic (or its exit was lost)") in others
    assert ("debug.may have ended later by (ns)", 60) in others
    assert [v for k, v in others if k == "debug.result"] == ["unknown", "ready"]
    assert [v for k, v in others if k == "debug.state"] == ["unknown", "unknown"]
    assert not {
        "debug.self",
        "debug.instance",
        "debug.task",
        "debug.task number",
        "debug.location",
        "source.file_name",
    } & {k for k, _ in others}
    (wait,) = trace.query(f"select s.name, ts, dur {ON_INSTANCES} where s.name like 'waiting%'")
    assert wait == {"name": "waiting: Mutex::lock", "ts": start + 10, "dur": 85}


def test_a_wait_says_where_and_for_what(write: Write, trace_processor: Load) -> None:
    """As far as the function's table of awaits knows; the macro's line is never told as the await's."""
    start = START + 1000
    known, unknown = int(WaitFlag.STATE), int(WaitFlag.AMBIGUOUS)
    cases = [
        (QUERY, known, 3),
        (QUERY, known, 4),
        (QUERY, known, 5),
        (QUERY, unknown, 0),
        (HANDLE, known, 3),
        (3, 0, 0),
    ]
    waits = np.array(
        [
            (start + 10 * n, start + 10 * n + 5, 0x70, n + 1, 0, function, WORKERS[0], flags, state, 0, 0, *NO_WAKE)
            for n, (function, flags, state) in enumerate(cases)
        ],
        WAIT,
    )
    trace = trace_processor(write([Spans(np.empty(0, POLL), waits)]).path)
    rows = trace.query(
        "select s.ts, s.name, a.flat_key as k, coalesce(a.string_value, a.int_value) as v from slice s "
        "join args a using (arg_set_id) where s.category = 'wait' and k glob '*.*' order by s.ts"
    )
    told: dict[str, dict[str, object]] = {}
    for row in rows:
        told.setdefault(f"{row['ts'] - start} {row['name']}", {})[str(row["k"]).removeprefix("debug.")] = row["v"]
    whose = [(one.pop("instance"), one.pop("function")) for one in told.values()]
    functions = make_recording().plan.functions
    assert whose == [(n + 1, functions[function].name) for n, (function, _, _) in enumerate(cases)]
    source = {"source.file_name": "/srv/echo/src/db.rs", "source.function_name": "echo::db::query"}
    own = {"location": "src/db.rs:77"}
    assert told == {
        "0 waiting: Mutex::lock": {
            "state": "await #1",
            "await": "/srv/echo/src/db.rs:80",
            "awaitee": "tokio::sync::mutex::Mutex<T>::lock<echo::db::Pool>",
            "source.line_number": 80,
            **source,
            **own,
        },
        "10 waiting: PollFn<db::query {closure 0}>": {
            "state": "await #2",
            "await in a macro": "select.rs:7",
            "awaitee": "core::future::poll_fn::PollFn<echo::db::query::{closure#0}>",
            **own,
        },
        "20 waiting at echo/src/db.rs:84": {
            "state": "await #3",
            "await": "/srv/echo/src/db.rs:84",
            "source.line_number": 84,
            **source,
            **own,
        },
        "30 waiting or over": {
            "state": "unknown",
            "note": "may have ended sooner: its future may have been dropped unseen",
            **own,
        },
        "40 waiting at await #1": {"state": "await #1", "location": "src/conn.rs:12"},
        "50 waiting": {"state": "unknown"},
    }


def test_a_track_for_each_task_and_its_futures(write: Write, trace_processor: Load) -> None:
    """Under 'Async tasks' and the kind a row for each task, by its id; below it one for each of its futures."""
    spans = simulate()
    trace = trace_processor(write(blocks(spans, 4)).path)
    rows = trace.query(
        "select f.name as above, g.name as parent, i.name as row, i.id as track, s.name, s.ts, s.dur, s.depth, "
        "extract_arg(s.arg_set_id, 'debug.instance') instance "
        "from slice s join process_track i on s.track_id = i.id join process_track g on i.parent_id = g.id "
        "join process_track f on g.parent_id = f.id"
    )
    assert {r["depth"] for r in rows} == {0}
    tasks = [r for r in rows if r["above"] == "Async tasks"]
    assert {r["parent"] for r in tasks} == {"conn::handle"}
    assert {r["row"] for r in tasks} == {f"task {number + 100} conn::handle" for number in spans.over["task"].tolist()}
    assert {r["name"] for r in tasks} == {
        "running",
        "waiting at await #1",
        "waiting at await #2",
        "waiting at await #3",
    }
    assert sum(r["name"] == "running" for r in tasks) == int(spans.over["polls"].sum())
    futures = [r for r in rows if r["above"] != "Async tasks"]
    assert {r["above"] for r in futures} == {"conn::handle"}
    own = {int(p["instance"]): int(p["task"]) for p in spans.polls if p["task"]}
    polled = [r for r in futures if r["name"] == "poll"]
    assert all(r["parent"] == f"task {own[r['instance']] + 100} conn::handle" for r in polled)
    assert Counter(r["instance"] for r in polled) == Counter(spans.polls["instance"][spans.polls["task"] != 0].tolist())
    waited = sum(r["dur"] for r in rows if r["name"] not in ("poll", "running"))
    assert waited == int((spans.waits["end"] - spans.waits["start"]).sum())


def test_polls_on_threads_know_their_task(write: Write, trace_processor: Load) -> None:
    """Its id and our number; one colour for the task and all in it."""
    spans = simulate()
    trace = trace_processor(write(blocks(spans, 4)).path)
    rows = trace.query(
        "select s.ts, tid, s.depth, extract_arg(s.arg_set_id, 'debug.task') task, "
        "extract_arg(s.arg_set_id, 'debug.task number') number, "
        f"extract_arg(s.arg_set_id, 'correlation_id') color {ON_THREADS}"
    )
    number = np.where(spans.polls["task"] != 0, spans.polls["task"], spans.polls["instance"])
    expected = {
        (int(p["start"]), int(p["tid"]), int(p["depth"])): (int(one) + 100, int(one), f"tp:#{one}")
        for p, one in zip(spans.polls, number.tolist(), strict=True)
    }
    assert {(r["ts"], r["tid"], r["depth"]): (r["task"], r["number"], r["color"]) for r in rows} == expected


def test_counters(write: Write, trace_processor: Load) -> None:
    """Polls a second and live tasks, in at most a thousand points."""
    spans = many(60_000, churn=5)
    trace = trace_processor(write(blocks(spans, 7)).path)
    rows = trace.query(
        "select t.name, c.ts, c.value from counter c join counter_track t on c.track_id = t.id order by 2"
    )
    live = [(r["ts"], r["value"]) for r in rows if r["name"] == "live tasks"]
    polls = [(r["ts"], r["value"]) for r in rows if r["name"] == "polls/s"]
    assert 1 < len(live) <= 1000
    assert 1 < len(polls) <= 1000
    over = spans.over
    for at, value in live[:: len(live) // 9]:
        seen = over["first"] <= at
        gone = (over["last"] <= at) & (over["outcome"] == Outcome.FINISHED)
        assert value == np.count_nonzero(seen & ~gone)
    begun = sum(value * (after - at) for (at, value), (after, _) in pairwise(polls)) / 1e9
    assert begun == pytest.approx(np.count_nonzero(spans.polls["start"] < polls[-1][0]), rel=0.01)


def test_live_tasks_are_those_of_one_moment(write: Write, trace_processor: Load) -> None:
    """40 s of tasks, one after the other: never two are alive, however long a step is, and one is at the end."""
    spans = simulate()
    over = np.zeros(12_000, TASK_RECORD)
    over["task"] = np.arange(1, len(over) + 1)
    over["function"], over["tid"], over["outcome"] = spans.over["function"][0], WORKERS[0], Outcome.FINISHED
    over["first"] = START + np.arange(len(over)) * 3_300_000
    over["last"] = over["until"] = over["first"] + 1_200_000
    over["outcome"][-1] = Outcome.WAITING
    steps = [Spans(spans.polls[:0], spans.waits[:0], over, over)]
    end = CaptureEnd(int(over["last"][-1]) + 5_000_000, "the time was up", 0, 0, 0.0)
    trace = trace_processor(write(steps, end=end).path)
    rows = trace.query(
        "select c.value from counter c join counter_track t on c.track_id = t.id"
        " where t.name = 'live tasks' order by c.ts"
    )
    assert len(rows) > 100
    assert {row["value"] for row in rows} == {0, 1}
    assert rows[-1]["value"] == 1


def test_processes_threads_and_clocks(write: Write, trace_processor: Load) -> None:
    """Names, and times that stay CLOCK_MONOTONIC while the wall clock is known."""
    trace = trace_processor(write([simulate()]).path)
    assert trace.query("select pid, name from process where pid = 4242") == [{"pid": PID, "name": "echo-server"}]
    threads = trace.query(
        "select tid, t.name, pid from thread t join process using (upid) where tid > 4242 order by tid"
    )
    assert threads == [{"tid": tid, "name": f"tokio-worker-{n}", "pid": PID} for n, tid in enumerate(WORKERS)]
    clocks = {
        r["clock_name"]: r["clock_value"] for r in trace.query("select clock_name, clock_value from clock_snapshot")
    }
    clock = make_recording().clock
    assert clocks == {"MONOTONIC": clock.monotonic, "BOOTTIME": clock.boottime, "REALTIME": clock.realtime}
    assert trace.one("select to_realtime(ts) from slice where name = 'tracing began'") == clock.realtime + 1000


def test_an_unnamed_thread(write: Write, trace_processor: Load) -> None:
    """A thread of which no word came still has its track, in the only process there is."""
    spans = simulate()
    spans.polls["tid"][spans.polls["tid"] == WORKERS[1]] = 999
    trace = trace_processor(write([spans]).path)
    rows = trace.query(f"select count(*) n, pid {ON_THREADS} join process using (upid) where tid = 999 group by pid")
    assert rows == [{"n": int((spans.polls["tid"] == 999).sum()), "pid": PID}]


def test_two_processes(tmp_path: Path, trace_processor: Load) -> None:
    """Each thread and future under its own process; a thread of which no word came is under none."""
    first = make_recording()
    other = replace(first.processes[0], pid=777, name="second")
    spans = simulate()
    writer = PerfettoWriter(tmp_path / "t", replace(first, processes=(*first.processes, other)), total_events=0)
    writer.threads([Thread(WORKERS[0], PID, "one"), Thread(WORKERS[1], 777, "two")])
    writer.spans(spans)
    writer.close(Tally(), None)
    trace = trace_processor(tmp_path / "t")
    rows = trace.query(
        "select p.pid, t.tid, count(*) n from slice s join thread_track tt on s.track_id = tt.id "
        "join thread t using (utid) left join process p using (upid) group by 1, 2"
    )
    counts = Counter(spans.polls["tid"].tolist())
    assert {(r["pid"], r["tid"], r["n"]) for r in rows} == {
        (PID, WORKERS[0], counts[WORKERS[0]]),
        (777, WORKERS[1], counts[WORKERS[1]]),
    }
    unknown = trace.one(
        "select count(*) from slice s join track t on s.track_id = t.id "
        f"where t.name = 'thread {WORKERS[2]} (of an unknown process)'"
    )
    assert unknown == counts[WORKERS[2]]
    pids = trace.query(
        "select distinct pid from process_track join process using (upid) where process_track.name = 'Async tasks'"
    )
    assert {r["pid"] for r in pids} == {PID, 777}
    assert trace.query("select name from slice where name like 'the capture breaks off%'")


def test_a_task_that_only_memory_told_of_is_in_its_process(tmp_path: Path, trace_processor: Load) -> None:
    """No thread did anything to it: its row, and what is found about it, are in the process whose memory has it."""
    first = make_recording()
    recording = replace(first, processes=(*first.processes, replace(first.processes[0], pid=777, name="second")))
    writer = PerfettoWriter(tmp_path / "t", recording, total_events=0)
    tasks, waits = np.zeros(3, TASK_RECORD), np.zeros(3, WAIT)
    tasks["task"], tasks["process"] = [1, 2, 3], [0, 1, 65535]
    tasks["first"] = tasks["last"] = waits["start"] = START
    waits["instance"] = waits["task"] = tasks["task"]
    waits["end"] = START + 1000
    writer.spans(Spans(np.empty(0, POLL), waits, tasks, tasks))
    writer.mark([Finding("lost", Severity.INFO, "it waits", {}, None, None, START, 1000, None, 2, "Look.")])
    writer.close(Tally(), None)
    trace = trace_processor(tmp_path / "t")
    rows = trace.query(
        "select extract_arg(s.arg_set_id, 'debug.instance') task, pid from slice s left join process_track t"
        " on t.id = s.track_id left join process using (upid) where s.category = 'wait' order by 1"
    )
    assert rows == [{"task": 1, "pid": PID}, {"task": 2, "pid": 777}, {"task": 3, "pid": None}]
    found = "from process_track t join process using (upid) where t.name = 'Findings'"
    assert trace.query(f"select pid {found}") == [{"pid": 777}]


def test_the_view_of_tasks_has_none_that_is_not_known(write: Write, trace_processor: Load) -> None:
    """Of polls that were under way when the recording began nobody knows which tasks they are of."""
    spans = simulate()
    of_tasks = np.flatnonzero(spans.polls["function"] == 0)
    numbers = set(spans.polls["instance"][of_tasks].tolist())
    under_way = of_tasks[np.unique(spans.polls["instance"][of_tasks], return_index=True)[1]][:3]
    spans.polls["instance"][under_way] = spans.polls["task"][under_way] = 0
    spans.polls["flags"][under_way] |= int(PollFlag.START_UNKNOWN)
    trace = trace_processor(write([spans]).path)
    trace.add_sql_package(PACKAGE)
    trace.query("INCLUDE PERFETTO MODULE rat_ebpf.tasks")
    assert {row["task_number"] for row in trace.query("SELECT task_number FROM rat_task")} == numbers
    kinds = trace.query("SELECT function, tasks FROM rat_task_kind")
    assert [(row["function"], row["tasks"]) for row in kinds] == [("task echo::conn::handle", len(numbers))]


def test_an_empty_recording(write: Write, trace_processor: Load) -> None:
    """Nothing was polled: the trace still opens, and says when tracing began and ended."""
    written = write([], end=CaptureEnd(START + 1000, "Ctrl-C", 0, 0))
    names = {r["name"] for r in trace_processor(written.path).query("select name from slice")}
    assert names == {"tracing began", "all", "tracing ended: Ctrl-C"}
    assert written.slices == len(names)


def test_what_was_missed(write: Write, trace_processor: Load) -> None:
    """Losses, plan changes, the end: each is in the trace, with its reason."""
    at = START + 10_000_000
    steps = [
        *blocks(simulate(), 2),
        PlanChange(at, frozenset({Group.TASKS}), "probes took 7.1 % of the CPU time"),
        Loss(0, 5, at + 100, at + 300),
        Loss(0, 7, at + 200, at + 400),
        Loss(1, 9, None, at + 500),
        Loss(1, 11, None, None),
        ProcessEnd(at + 20_000_000, PID, "it exited"),
        PlanChange(at + 21_000_000, frozenset(), "over budget"),
        PlanChange(at + 22_000_000, frozenset({Group.TASKS, Group.FUTURES}), "", frozenset({1}), frozenset({0, 2})),
    ]
    end = CaptureEnd(START + 50_000_000, "the process ended", 1164, 32, 0.031)
    trace = trace_processor(write(steps, make_recording(duration="5"), end).path)
    tracks = "from slice s join track t on s.track_id = t.id"
    probed = trace.query(f"select s.name, ts, dur {tracks} where t.name = 'probed' order by ts")
    assert [(r["name"], r["ts"], r["ts"] + r["dur"]) for r in probed] == [
        ("all", START, at),
        ("tasks only", at, at + 21_000_000),
        ("paused", at + 21_000_000, at + 22_000_000),
        ("all but 1 function, entries only of 2 functions", at + 22_000_000, START + 50_000_000),
    ]
    names = trace.query(f"select extract_arg(arg_set_id, 'debug.entries only') names {tracks} where t.name = 'probed'")
    functions = make_recording().plan.functions
    assert [r["names"] for r in names if r["names"]] == [f"{short_name(functions[0])}, {short_name(functions[2])}"]
    lost = trace.query(f"select s.name, ts, dur, depth {tracks} where t.name like 'CPU %' order by ts")
    assert [(r["name"], r["ts"] - at, r["dur"], r["depth"]) for r in lost] == [
        ("5 events lost", 100, 200, 0),
        ("7 events lost", 200, 200, 0),
    ]
    notes = trace.query(
        f"select s.name, extract_arg(arg_set_id, 'debug.reason') reason, "
        "extract_arg(arg_set_id, 'debug.events lost') lost "
        f"{tracks} where t.name = 'rat-ebpf'"
    )
    reasons = {r["name"]: r["reason"] for r in notes}
    assert reasons["probed from here: tasks only"] == "probes took 7.1 % of the CPU time"
    assert reasons[f"process {PID} ended"] == "it exited"
    assert {"11 events lost", "9 events lost", "tracing began"} <= set(reasons)
    assert {r["lost"] for r in notes if r["name"] == "tracing ended: the process ended"} == {32}


def unknown_fields(message: Message) -> list[str]:
    """The paths of fields that the schema does not know."""
    found = [f"{message.DESCRIPTOR.name}.{one.field_number}" for one in UnknownFieldSet(message)]  # type: ignore[attr-defined]
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            for child in value if descriptor.is_repeated else [value]:
                found += unknown_fields(child)
    return found


def test_lanes_of_losses_have_names_of_their_own(write: Write, trace_processor: Load) -> None:
    at = START + 10_000_000
    losses = [Loss(cpu, 5, at + since, at + since + 200) for cpu, since in ((0, 0), (0, 100), (0, 300), (1, 0))]
    trace = trace_processor(write([simulate(), *losses]).path)
    rows = trace.query("select t.name, s.ts from slice s join track t on s.track_id = t.id where t.name like 'CPU %'")
    assert Counter(row["name"] for row in rows) == {"CPU 0": 2, "CPU 0 (2)": 1, "CPU 1": 1}


def test_memory_that_is_read_at_the_end_is_within_the_trace(write: Write, trace_processor: Load) -> None:
    end = CaptureEnd(START + 50_000_000, "Ctrl-C", 0, 0)
    nothing = np.empty(0, PARKED)
    first = MemoryReading(START - 1000, 7_000, 0, is_last=False, tasks=1, parked=nothing)
    last = MemoryReading(end.time + 30_000, 8_000, 0, is_last=True, tasks=1_234, parked=nothing)
    trace = trace_processor(write([first, simulate(), last], end=end).path)
    rows = trace.query(
        "select ts, name, extract_arg(arg_set_id, 'debug.after the end by (ns)') late,"
        " extract_arg(arg_set_id, 'debug.pid') pid from slice"
        " where name like 'memory read%' order by ts"
    )
    assert [(row["ts"], row["name"], row["late"], row["pid"]) for row in rows] == [
        (START, "memory read: 1 task in 7.00 µs", None, PID),
        (end.time, "memory read: 1,234 tasks in 8.00 µs", 30_000, PID),
    ]
    assert trace.one("select end_ts from trace_bounds") == end.time


def test_lanes_that_nobody_shares_are_not_told(write: Write) -> None:
    """1,500 tasks that are alive all the time have a row each; of those that come one after the other some share."""
    alone, several = many(4_000, tasks=1_500, nested=1), many(8_000, tasks=700, nested=1, churn=1)
    assert not [words for words in write(blocks(alone, 3)).remarks if "share" in words]
    assert [words for words in write(blocks(several, 3)).remarks if "share" in words]


def test_the_full_schema_knows_every_field(write: Write) -> None:
    """Perfetto's own schema parses all bytes, padded varints too, and serialising it again changes no value."""
    at = START + 10_000_000
    written = write([simulate(), Loss(0, 5, at, at + 9), many(20_000)], max_slices=9_000)
    trace = Trace.FromString(written.path.read_bytes())
    assert unknown_fields(trace) == []
    assert len(trace.packet) > 9_000
    assert Trace.FromString(trace.SerializeToString()) == trace


def test_too_large_a_trace_is_thinned(write: Write, trace_processor: Load) -> None:
    """A million polls in a tenth of the slices they would need: the longest stay, the rest is counted."""
    spans = many(1_000_000)
    written = write(blocks(spans, 40), max_slices=300_000)
    assert 250_000 < written.slices <= 301_000
    trace = trace_processor(written.path)
    assert trace.one("select count(*) from slice") == written.slices
    length = spans.polls["end"] - spans.polls["start"]
    drawn = trace.one(f"select count(*) {ON_THREADS} where s.category = 'poll'")
    merged = trace.query(
        f"select count(*) n, sum(extract_arg(arg_set_id, 'debug.polls')) polls, "
        f"sum(extract_arg(arg_set_id, 'debug.busy (ns)')) busy, sum(dur) dur {ON_THREADS} where s.category = 'merged'"
    )[0]
    assert merged["polls"] == written.merged
    assert 0 < merged["busy"] <= merged["dur"]
    waits = trace.one("select count(*) from slice where category = 'wait'")
    assert drawn + written.merged + waits + written.omitted == len(spans.polls) + len(spans.waits)
    longest = np.sort(length)[-1000:]
    assert [
        r["dur"] for r in trace.query(f"select dur {ON_THREADS} where category = 'poll' order by dur desc limit 1000")
    ] == longest[::-1].tolist()
    assert trace.one(f"select max(depth) {ON_THREADS}") == 1
    assert len(written.remarks) == 2
    assert {r["name"] for r in trace.query("select name from slice where name like '%openable%'")} == set(
        written.remarks
    )


def test_short_polls_are_left_out_on_request(write: Write, trace_processor: Load) -> None:
    """--min-us"""
    spans = many(20_000)
    written = write(blocks(spans, 3), min_us=20)
    kept = (spans.polls["end"] - spans.polls["start"]) >= 20_000
    assert written.omitted == int((~kept).sum())
    trace = trace_processor(written.path)
    assert trace.one(f"select count(*) {ON_THREADS}") == int(kept.sum())
    assert written.remarks == (f"{written.omitted:,} polls shorter than 20 µs are not drawn (--min-us)",)


def test_futures_share_lanes(write: Write, trace_processor: Load) -> None:
    """More futures than rows: those that ended leave their lane to later ones, and nothing overlaps."""
    spans = many(60_000, churn=5)
    written = write(blocks(spans, 7))
    instances = len(np.unique(spans.polls["instance"]))
    trace = trace_processor(written.path)
    rows = trace.query(
        f"select t.name like '%lane%' lane, count(distinct t.id) tracks, count(*) n, max(depth) depth "
        f"{ON_INSTANCES} group by 1"
    )
    assert [r["depth"] for r in rows] == [0, 0]
    assert sum(r["n"] for r in rows) == len(spans.polls) + len(spans.waits)
    own, lanes = rows[0]["tracks"], rows[1]["tracks"]
    assert own == 1500  # 500 tasks, the futures below those, and 500 futures of other tasks
    assert lanes < (instances - own) / 2
    overlaps = trace.one(
        "select count(*) from (select ts, lag(ts + dur) over (partition by track_id order by ts, dur) last "
        f"{ON_INSTANCES}) where last > ts"
    )
    assert overlaps == 0
    assert written.remarks == (
        f"{instances - own:,} tasks and futures share {lanes:,} lanes: their functions have too many for a row each",
    )


@pytest.mark.parametrize("pieces", [1, 2, 30])
def test_blocks_do_not_matter(write: Write, pieces: int) -> None:
    """However the spans are cut, the same slices come out."""
    whole = TraceProcessor(write([simulate()], name="whole").path)
    cut = TraceProcessor(write(blocks(simulate(), pieces), name="cut").path)
    sql = f"select ts, dur, depth, s.name, tid {ON_THREADS} order by 1, 2, 3, 5"
    assert whole.query(sql) == cut.query(sql)


def test_a_carried_summary_can_be_queried(write: Write, trace_processor: Callable[[Path], TraceProcessor]) -> None:
    """As long as that of a large program, in one argument of one instant, at the end."""
    summary = {"schema": 1, "functions": [{"function": "f" * 300, "polls": number} for number in range(5000)]}
    spans = simulate()
    loaded = trace_processor(write([spans], summary=summary).path)
    (row,) = loaded.query(
        "select s.ts, s.dur, t.name as track, extract_arg(s.arg_set_id, 'debug.document') as document"
        " from slice s join track t on s.track_id = t.id where s.name = 'summary'"
    )
    assert json.loads(row["document"]) == summary
    assert (row["ts"], row["dur"], row["track"]) == (int(spans.polls["end"].max()), 0, "rat-ebpf")
