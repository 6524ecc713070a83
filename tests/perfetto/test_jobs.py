"""Blocking jobs and calls in place in the real trace_processor, in the summary and in Chrome's JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.perfetto.simulation import QUERY, START, TASK, WORKERS, make_recording, make_threads
from tests.perfetto.trace_processor import TraceProcessor
from tracer.commands.sql import PACKAGE
from tracer.model import POLL, WAIT, Array, CaptureEnd, FunctionKind, Outcome, PollFlag, Recording, Spans, Tally
from tracer.model import TASK as TASK_RECORD
from tracer.output.chrome import ChromeWriter
from tracer.output.perfetto import PerfettoWriter
from tracer.output.printed_summary import print_summary
from tracer.output.summary import Summary

JOB, IN_PLACE, INSIDE = QUERY, QUERY + 1, QUERY + 2
NAME = "blocking job echo::zip::{closure#0}"
READY = int(PollFlag.RESULT)
JOBS = {2: (100, 300, 700), 3: (120, 300, 400), 4: (150, 400, 1400)}
"""By number: spawned, begun, ended."""


def recording() -> Recording:
    """Of a program with a kind of task, a kind of job, block_in_place, and a future."""
    made = make_recording()
    functions = list(made.plan.functions)
    functions[JOB] = replace(functions[JOB], name=NAME, kind=FunctionKind.TASK, awaits=(), is_job=True, runtime="tokio")
    functions[IN_PLACE] = replace(functions[IN_PLACE], name="block_in_place", kind=FunctionKind.IN_PLACE)
    return replace(made, plan=replace(made.plan, functions=tuple(functions)))


def poll(start: int, end: int, function: int, instance: int, tid: int, depth: int = 0, task: int = 0) -> Array:
    one = np.zeros(1, POLL)
    one["start"], one["end"], one["end_latest"] = START + start, START + end, START + end
    one["function"], one["instance"], one["tid"], one["depth"], one["task"] = function, instance, tid, depth, task
    one["flags"], one["self"] = READY, 0x1000 * instance
    return one


def spans() -> Spans:
    """Task 1 spawns three jobs, then blocks in place; a job polls a future."""
    tasks = np.zeros(4, TASK_RECORD)
    tasks["task"], tasks["function"], tasks["tid"] = [1, *JOBS], [TASK, JOB, JOB, JOB], WORKERS[1]
    tasks["id"], tasks["header"] = tasks["task"] + np.uint64(100), tasks["task"] * np.uint64(0x1000)
    tasks["first"] = START + np.array([50, *(one[1] for one in JOBS.values())])
    for task, (spawned, _, _) in zip(tasks[1:], JOBS.values(), strict=True):
        task["spawned"], task["spawned_by"], task["spawned_by_id"] = START + spawned, 1, 101
        task["spawned_by_function"], task["spawned_on"] = TASK, WORKERS[0]
    over = tasks.copy()
    over["last"] = over["until"] = START + np.array([2000, *(one[2] for one in JOBS.values())])
    over["polls"], over["busy"], over["outcome"] = 1, over["last"] - over["first"], Outcome.FINISHED
    over["outcome"][3] = Outcome.PANICKED
    threads = {2: WORKERS[1], 3: WORKERS[2], 4: WORKERS[2]}
    polls = [poll(begun, ended, JOB, number, threads[number]) for number, (_, begun, ended) in JOBS.items()]
    polls += [poll(410, 420, INSIDE, 9, WORKERS[2], 1, 4), poll(500, 1900, IN_PLACE, 0, WORKERS[0], 1, 1)]
    polls.append(poll(50, 2000, TASK, 1, WORKERS[0]))
    every = np.concatenate(polls)
    return Spans(every[np.argsort(every["end"], kind="stable")], np.empty(0, WAIT), tasks, over)


@pytest.fixture
def trace(tmp_path: Path, trace_processor: Callable[[Path], TraceProcessor]) -> TraceProcessor:
    writer = PerfettoWriter(tmp_path / "t.pftrace", recording(), total_events=20)
    writer.threads(make_threads())
    writer.spans(spans())
    return trace_processor(writer.close(Tally(), CaptureEnd(START + 3000, "done", 0, 0)).path)


def test_jobs_have_rows_of_their_own(trace: TraceProcessor) -> None:
    rows = trace.query(
        f"select folder.name folder, kind.name kind, t.name row, s.ts - {START} ts, s.dur, s.name, s.category,"
        " extract_arg(s.arg_set_id, 'debug.ready for (ns)') queued, extract_arg(s.arg_set_id, 'debug.spawned by') by"
        " from slice s join track t on s.track_id = t.id join track kind on t.parent_id = kind.id"
        " join track folder on kind.parent_id = folder.id"
        " where folder.name = 'Blocking jobs' and s.name != 'panicked' order by t.name, s.ts"
    )
    got = [tuple(row[key] for key in ("kind", "row", "ts", "dur", "name", "category")) for row in rows]
    assert got == [
        row
        for number, (spawned, begun, ended) in JOBS.items()
        for row in (
            (
                "echo::zip {closure 0}",
                f"job {number + 100} echo::zip {{closure 0}}",
                spawned,
                begun - spawned,
                "queued",
                "queued",
            ),
            (
                "echo::zip {closure 0}",
                f"job {number + 100} echo::zip {{closure 0}}",
                begun,
                ended - begun,
                "running",
                "job",
            ),
        )
    ]
    assert {row["by"] for row in rows} == {"task echo::conn::handle"}
    assert [row["queued"] for row in rows if row["name"] == "queued"] == [begun - at for at, begun, _ in JOBS.values()]


def test_an_arrow_leads_from_the_spawn_to_the_job(trace: TraceProcessor) -> None:
    rows = trace.query(
        f"select mark.ts - {START} spawned, mark.name, around.name around, first.ts - {START} begun from flow"
        " join slice mark on slice_out = mark.id join slice first on slice_in = first.id"
        " left join slice around on mark.parent_id = around.id order by mark.ts"
    )
    got = [(row["spawned"], row["name"], row["around"], row["begun"]) for row in rows]
    name = "spawn blocking job echo::zip {closure 0}"
    assert got == [(spawned, name, "task conn::handle", begun) for spawned, begun, _ in JOBS.values()]


def test_the_view_of_jobs(trace: TraceProcessor) -> None:
    trace.add_sql_package(PACKAGE)
    rows = trace.query("INCLUDE PERFETTO MODULE rat_ebpf.jobs; SELECT * FROM rat_job ORDER BY task_number")
    got = {row["task_number"]: (row["spawned_ts"], row["queued_dur"], row["ts"], row["dur"]) for row in rows}
    assert got == {
        number: (START + spawned, begun - spawned, START + begun, ended - begun)
        for number, (spawned, begun, ended) in JOBS.items()
    }
    assert {(row["function"], row["spawned_by_task_number"]) for row in rows} == {(NAME, 1)}


def test_the_view_tells_a_job_whose_end_was_not_seen(
    tmp_path: Path, trace_processor: Callable[[Path], TraceProcessor]
) -> None:
    every = spans()
    every.polls["flags"][every.polls["instance"] == 3] = int(PollFlag.END_UNKNOWN)
    writer = PerfettoWriter(tmp_path / "t.pftrace", recording(), total_events=20)
    writer.spans(every)
    trace = trace_processor(writer.close(Tally(), CaptureEnd(START + 3000, "done", 0, 0)).path)
    trace.add_sql_package(PACKAGE)
    rows = trace.query("INCLUDE PERFETTO MODULE rat_ebpf.jobs; SELECT * FROM rat_job ORDER BY task_number")
    assert [(row["task_number"], bool(row["is_end_seen"])) for row in rows] == [(2, True), (3, False), (4, True)]


def test_the_view_has_a_job_whose_spawn_and_process_are_not_known(
    tmp_path: Path, trace_processor: Callable[[Path], TraceProcessor]
) -> None:
    made, every = recording(), spans()
    second = replace(made.processes[0], pid=777)
    writer = PerfettoWriter(tmp_path / "t.pftrace", replace(made, processes=(*made.processes, second)), total_events=20)
    for tasks in (every.begun, every.over):
        tasks["process"] = 65535
        for name in ("spawned", "spawned_by", "spawned_by_id", "spawned_on"):
            tasks[name][3] = 0
    writer.spans(every)
    trace = trace_processor(writer.close(Tally(), CaptureEnd(START + 3000, "done", 0, 0)).path)
    trace.add_sql_package(PACKAGE)
    rows = trace.query("INCLUDE PERFETTO MODULE rat_ebpf.jobs; SELECT * FROM rat_job ORDER BY task_number")
    got = [(row["task_number"], row["function"], row["ts"], row["dur"]) for row in rows]
    assert got == [(number, NAME, START + begun, ended - begun) for number, (_, begun, ended) in JOBS.items()]
    assert [row["queued_dur"] is None for row in rows] == [False, False, True]


def test_on_threads_they_are_no_polls(trace: TraceProcessor) -> None:
    rows = trace.query(
        f"select s.ts - {START} ts, s.dur, s.name, s.category, s.depth from slice s join thread_track t"
        " on s.track_id = t.id where s.category != 'spawn' order by s.ts, s.depth, s.dur"
    )
    got = [(row["ts"], row["dur"], row["name"], row["category"], row["depth"]) for row in rows]
    assert [one for one in got if one[3] != "poll"] == [
        (300, 100, "blocking job echo::zip {closure 0}", "job", 0),
        (300, 400, "blocking job echo::zip {closure 0}", "job", 0),
        (400, 1000, "blocking job echo::zip {closure 0}", "job", 0),
        (500, 1400, "block_in_place", "in place", 1),
    ]
    assert len([one for one in got if one[3] == "poll"]) == 2


@pytest.mark.parametrize("pieces", [1, 6])
def test_the_summary_has_them_apart(pieces: int) -> None:
    summary, every = Summary(recording()), spans()
    bounds = np.linspace(0, len(every.polls), pieces + 1).astype(int)
    for number, (low, high) in enumerate(pairwise(bounds.tolist())):
        polls = every.polls[low:high]
        begun = every.begun if number == 0 else every.begun[:0]
        gone = every.over[np.isin(every.over["task"], polls["instance"])]
        summary.spans(Spans(polls, every.waits, begun, gone))
    summary.close(Tally(polls=len(every.polls)), CaptureEnd(START + 3000, "done", 0, 0))
    document = summary.as_json()
    json.dumps(document)
    (job,) = document["jobs"]
    assert (job["function"], job["jobs"], job["panicked"], job["cancelled"]) == (NAME, 3, 1, 0)
    assert (job["queued"]["jobs"], job["queued"]["total"], job["queued"]["longest"]) == (3, 200 + 180 + 250, 250)
    assert (job["ran"]["jobs"], job["ran"]["total"], job["ran"]["longest"]) == (3, 400 + 100 + 1000, 1000)
    assert [(one["tasks"], one["by"]) for one in job["spawned"]] == [(3, "task echo::conn::handle")]
    assert (document["in_place"]["jobs"], document["in_place"]["longest"]) == (1, 1400)
    # What is left is the one task.
    assert (document["polls"], document["tasks"]) == (1, 1)
    assert [one["function"] for one in document["functions"]] == ["task echo::conn::handle"]
    assert [one["function"] for one in document["longest_polls"]] == ["task echo::conn::handle"]
    assert [one["tasks"] for one in document["task_kinds"]] == [1]
    console = Console(file=io.StringIO(), width=180)
    summary.print(console)
    text = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "blocking jobs queued p50 queued p99 queued max jobs ran p50 ran p99 ran max in all" in text
    assert "1 call of block_in_place took 1.40 µs in all" in text
    assert "inside of jobs there was 1 poll: it is in the trace, and in no other table" in text
    assert "jobs were probed" not in text
    changes = [{"seconds": 0.1, "probed": "paused", "reason": "too dear"}]
    console = Console(file=io.StringIO(), width=180)
    print_summary({**document, "plan_changes": changes, "tasks_probed": 0.1}, console)
    text = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "jobs were probed in 10.0% of the time only: their figures are of that part" in text


def test_a_job_that_is_known_in_part_is_not_left_out_unsaid() -> None:
    """Job 2 ran to its end, but what became of it was not told; the end of 3 was not seen, nor the spawn of 4."""
    summary, every = Summary(recording()), spans()
    every.over["outcome"][[1, 2]] = Outcome.UNKNOWN
    every.polls["flags"][every.polls["instance"] == 3] = int(PollFlag.END_UNKNOWN)
    every.begun["spawned"][3] = every.over["spawned"][3] = 0
    summary.spans(every)
    summary.close(Tally(polls=len(every.polls)), CaptureEnd(START + 3000, "done", 0, 0))
    (job,) = summary.as_json()["jobs"]
    assert (job["jobs"], job["queued"]["jobs"]) == (3, 2)
    assert (job["ran"]["jobs"], job["ran"]["total"]) == (2, 400 + 1000)
    assert job["partial"] == {"jobs": 1, "total": 100}
    console = Console(file=io.StringIO(), width=180)
    summary.print(console)
    text = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "1.50 µs" in text  # in all
    assert "of 1 job the begin or the end was not seen: 100 ns of that were seen, and are in the time in all" in text
    assert "of 1 job the spawn was not seen: the time in the queue is not known" in text


def test_chrome_tells_them_apart(tmp_path: Path) -> None:
    writer = ChromeWriter(tmp_path / "t.json", recording(), total_events=20)
    writer.spans(spans())
    writer.close(Tally(), CaptureEnd(START + 3000, "done", 0, 0))
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    drawn = sorted(one["cat"] for one in events if one["ph"] == "X")
    assert drawn == ["in place", "job", "job", "job", "poll", "poll"]
