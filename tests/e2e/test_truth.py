"""What a trace says is what the target itself knows: how often each function was polled, and when."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.cells import LOGGING, Cell
from tests.e2e.command import rat, recording
from tests.e2e.trace import Trace, functions_of
from tests.running import Result, Running, Targets
from tests.truth import Kind, enclosing

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

EXCESS = 100_000
"""Nanoseconds by which a traced poll may be longer than the interval measured inside it, for 99 of 100."""


def traced(
    running: Running,
    output: Path,
    *options: object,
    through: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> tuple[Trace, Result]:
    """Record a waiting target from its go to its end.  through, env: as of `recording`."""
    arguments = ("--pid", running.pid, "-o", output, "--max-overhead", 100, *options)
    with recording(*arguments, through=through, env=env) as rec:
        running.go()
        result = running.wait()
        done = rec.wait()
    assert done.code == 0, done.err
    assert not output.with_name(output.name + ".ratcap").exists()
    return Trace(output), result


def assert_counts(trace: Trace, result: Result, found: dict[str, set[str]]) -> int:
    """Every function that exists in the binary was seen exactly as often as it was polled; returns how many exist."""
    assert result.totals is not None
    checked = 0
    merged: dict[frozenset[str], int] = {}
    for function, count in result.totals.polls.items():
        if function in found and count:
            key = frozenset(found[function])
            merged[key] = merged.get(key, 0) + count
            checked += 1
    for names, count in merged.items():
        assert len(trace.polls(set(names))) == count, names
    return checked


@pytest.mark.cells(targets=LOGGING)
def test_polls_agree_with_the_target(targets: Targets, cell: Cell, tmp_path: Path) -> None:
    """Counts exactly; every interval that the target measured lies in one poll of each function around it."""
    if cell.profile == "stripped":
        done = rat("list", targets.path(cell.target, cell.profile))
        assert done.code == 5  # nothing can be found in it, and the answer says what would help
        return
    with targets.run(cell.target, cell.profile) as running:
        trace, result = traced(running, tmp_path / "trace.pftrace")
    assert result.returncode == 0
    assert result.log is not None
    found = functions_of(targets.path(cell.target, cell.profile))
    assert assert_counts(trace, result, found) > 0
    checked = 0
    for index, place in enumerate(result.log.places):
        records = result.log.records[result.log.records["place"] == index]
        for function in dict.fromkeys(place.chain):
            if function not in found or place.chain.count(function) > 1:
                continue  # inlined in this build; or a recursion, where several polls enclose an interval
            polls = trace.polls(found[function])
            around = enclosing(records, polls.starts, polls.ends, polls.tids)
            assert np.all(around >= 0), f"{function}: {np.count_nonzero(around < 0)} of {len(records)} lie in no poll"
            checked += len(records)
            if place.kind is Kind.POLL and function == place.chain[-1]:
                inside = records["end"].astype(np.int64) - records["begin"].astype(np.int64)
                excess = polls.ends[around] - polls.starts[around] - inside
                assert np.quantile(excess, 0.99) <= EXCESS
    assert checked > 0


@pytest.mark.parametrize("transport", ["ring", "perf"])
@pytest.mark.parametrize("exits", ["ret", "task"])
def test_every_transport_and_exit_mode_counts_the_same(
    targets: Targets, tmp_path: Path, transport: str, exits: str
) -> None:
    with targets.run("tokio_multi", "release-debug") as running:
        options = ("--transport", transport, "--exits", exits)
        trace, result = traced(running, tmp_path / "trace.pftrace", *options)
    assert result.returncode == 0
    assert assert_counts(trace, result, functions_of(targets.path("tokio_multi", "release-debug"))) > 5
    if exits == "ret":  # every end was seen, also where tokio's task poll is only a jump to another function
        assert trace.notes() == {}


def test_return_probes_where_nothing_can_unwind(targets: Targets, tmp_path: Path) -> None:
    with targets.run("tokio_multi", "abort") as running:
        trace, result = traced(running, tmp_path / "trace.pftrace", "--exits", "uretprobe")
    assert result.returncode == 0
    assert assert_counts(trace, result, functions_of(targets.path("tokio_multi", "abort"))) > 5


def test_return_probes_are_refused_where_a_panic_could_unwind(targets: Targets, tmp_path: Path) -> None:
    with targets.run("tokio_multi", "release-debug") as running:
        done = rat("--pid", running.pid, "-o", tmp_path / "x.pftrace", "--exits", "uretprobe", "-d", 1)
        assert done.code == 5
        assert "panic" in done.err
        running.go()
        assert running.wait().returncode == 0


def test_instances_are_told_apart(targets: Targets, tmp_path: Path) -> None:
    """23 tasks with 47 polls each of one async fn are 23 futures."""
    with targets.run("tokio_multi", "release-debug") as running:
        trace, _ = traced(running, tmp_path / "trace.pftrace")
    outer = trace.polls({"tokio_multi::outer"})
    assert len(outer) == 23 * 47
    assert len(outer.instances) == 23
    assert outer.results == {"pending": 23 * 46, "ready": 23}


@pytest.mark.parametrize("profile", ["dev", "release-debug"])
def test_the_sample_of_the_old_tool(targets: Targets, tmp_path: Path, profile: str) -> None:
    """One wait of 100 ms in my_test and, in main, the same and one of 150 ms; each with its place in the source."""
    output = tmp_path / "sample.pftrace"
    done = rat("-o", output, "--max-overhead", 100, "--", targets.path("async_std_sample", profile))
    assert done.code == 0, done.err
    trace = Trace(output)
    waits = trace.processor.query(
        "select s.dur / 1e6 ms, t.name track from slice s join track t on s.track_id = t.id where s.category = 'wait'"
    )
    if profile == "dev":
        (in_my_test,) = [row["ms"] for row in waits if row["track"].startswith("async_std_sample::my_test #")]
        in_main = [row["ms"] for row in waits if row["track"].startswith("main::main #")]
        assert 95 < in_my_test < 145
        assert_slept_100_and_150(in_main)
        places = trace.processor.query(
            "select distinct extract_arg(arg_set_id, 'debug.location') place from slice where category = 'poll'"
        )
        own = {
            int(row["place"].rpartition(":")[2])
            for row in places
            if "async_std_sample/src/main.rs:" in str(row["place"])
        }
        assert {5, 8} <= own  # the body of my_test, and the attribute that makes main
    else:  # both are part of their callers there; async-std's sleep is not
        asleep = [row["ms"] for row in waits if row["track"].startswith("sleep::sleep #")]
        assert_slept_100_and_150(asleep)


def assert_slept_100_and_150(milliseconds: list[float]) -> None:
    """A timer never fires early; on a busy machine it may be late."""
    first, second = milliseconds
    assert 95 < first < 145 < second < 200


def test_chrome_json_has_the_same_polls(targets: Targets, tmp_path: Path) -> None:
    options = ("-o", tmp_path / "x.json", "--format", "chrome", "--max-overhead", 100)
    with targets.run("tokio_current", "dev") as running, recording("--pid", running.pid, *options) as rec:
        running.go()
        result = running.wait()
        assert rec.wait().code == 0
    assert result.totals is not None
    document = json.loads((tmp_path / "x.json").read_text())
    polls = [event for event in document["traceEvents"] if event["ph"] == "X"]
    tasks = [event for event in polls if event["name"].startswith("task ")]
    assert len(tasks) == result.totals.polls["task"]


def test_a_replaced_binary_is_traced_all_the_same(targets: Targets, tmp_path: Path) -> None:
    """The file on disk is another program by now; the process runs the old one."""
    program = tmp_path / "server"
    shutil.copy(targets.path("tokio_multi", "release-debug"), program)
    with targets.start(program) as running:
        program.unlink()
        shutil.copy(targets.path("spin", "release"), program)
        trace, result = traced(running, tmp_path / "trace.pftrace")
    assert result.returncode == 0
    assert assert_counts(trace, result, functions_of(targets.path("tokio_multi", "release-debug"))) > 5


def test_one_capture_gives_one_trace(targets: Targets, tmp_path: Path) -> None:
    """Byte by byte, however often it is converted: assembling and writing share nothing but what is handed over."""
    capture = tmp_path / "deep.ratcap"
    with targets.run("deep", "release") as running:
        options = ("--format", "capture", "-o", capture, "--max-overhead", 100)
        with recording("--pid", running.pid, *options) as rec:
            running.go()
            assert running.wait().returncode == 0
            assert rec.wait().code == 0
    traces = []
    for number in range(6):
        output = tmp_path / f"{number}.pftrace"
        assert rat("convert", capture, "-o", output).code == 0
        traces.append(output.read_bytes())
    assert traces.count(traces[0]) == len(traces)
