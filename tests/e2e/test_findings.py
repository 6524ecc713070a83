"""Each fault of tests/targets/trouble is found, by name, in its line and at its time; in what is right nothing is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cells import TROUBLED, Cell
from tests.e2e.command import RAT, rat, recording
from tests.e2e.trace import Trace
from tests.perfetto.ui import show
from tests.running import Targets

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

TARGETS = Path(__file__).parents[1] / "targets"
SECONDS = 2.5
SLICES = 50_000
"""What loops in some of them polls a million times a second: all of that takes a while to write and to load."""


@dataclass(frozen=True, slots=True)
class Fault:
    """rule, function: what is to be found, and the name of whom.  also: rules that fire on it as well, rightly.

    tells: what its evidence has to have.  lines: of a loop, or of a function of which any can be told, after the first.
    """

    rule: str
    function: str
    also: frozenset[str] = frozenset()
    tells: str | None = None
    lines: int = 0


FAULTS = {
    "long-poll-sleep": Fault("long-poll", "faults::sleep_in_task", frozenset({"starved-tasks"})),
    "long-poll-spin": Fault("long-poll", "poll::compute_in_task", frozenset({"starved-tasks"})),
    "long-poll-lock": Fault("long-poll", "poll::lock_in_task", frozenset({"starved-tasks"})),
    "long-poll-forever": Fault("long-poll", "poll::receive_in_task", tells="blocked_in"),
    "long-poll-loop": Fault("long-poll", "poll::loop_in_task", tells="computed_in", lines=2),
    "starved-tasks": Fault("starved-tasks", "poll::hog", frozenset({"long-poll"})),
    "starved-by-all": Fault("starved-tasks", "poll::sleep_in_turn", frozenset({"long-poll"})),
    "busy-loop": Fault("busy-loop", "look_again"),
    "busy-loop-yield": Fault("busy-loop", "busy::yield_again"),
    "lost-wake": Fault("lost-wake", "faults::waits_for_flag"),
    "futurelock": Fault("futurelock", "lost::futurelocked"),
    "deadlock": Fault("deadlock", "lost::takes_both"),
    "deadlock-rwlock": Fault("deadlock", "lost::reads_twice"),
    "deadlock-branches": Fault("deadlock", "lost::takes_in_turn"),
    "held-lock": Fault("held-lock", "lock::refresh"),
    "long-queue": Fault("long-queue", "queue::fetch"),
    "long-queue-channel": Fault("long-queue", "queue::produce"),
    "backlog": Fault("backlog", "queue::take", tells="drain_ns"),
    "backlog-computing": Fault("backlog", "queue::take_and_compute", lines=3),
    "held-lock-forever": Fault("held-lock", "lock::reload"),
    "long-queue-forever": Fault("long-queue", "queue::query"),
    "long-queue-leaked": Fault("long-queue", "queue::ask"),
    "long-queue-channel-forever": Fault("long-queue", "queue::write_forever"),
    "task-leak": Fault("task-leak", "faults::session"),
    "future-leak": Fault("future-leak", "leak::request"),
    "result-leak": Fault("result-leak", "kept::collects", tells="kept_by"),
    "result-leak-vec": Fault("result-leak", "kept::lists", tells="kept_by"),
    "result-leak-unordered": Fault("result-leak", "kept::queues", tells="kept_by"),
    "cancel-storm": Fault("cancel-storm", "cancel::attempt"),
    "select-cancelled": Fault("select-cancelled", "cancel::refresh"),
    "worker-imbalance": Fault("worker-imbalance", "workers::handle"),
    "blocking-pool": Fault("blocking-pool", "blocking job"),
}
"""By the name of the mode, which is also the mark in its source.

What a long poll keeps its thread from is starved where the other thread does not take it over in time.
"""


SMOL = {"held-lock": Fault("held-lock", "trouble_smol::refresh")} | {
    mode: FAULTS[mode] for mode in ("long-poll-sleep", "busy-loop", "lost-wake", "task-leak")
}
"""The same on smol."""


def place_of(target: str, fault: str, mark: str) -> tuple[str, int]:
    """(crate, line) of the fault, which is the target's own or one that all have."""
    for path in (*TARGETS.glob(f"{target}/src/*.rs"), *TARGETS.glob("faults/src/*.rs")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if line.strip() == f"// {mark}: {fault}":
                return f"{path.parts[-3]}/src/{path.name}", number + 1
    raise KeyError(fault)


def recorded(targets: Targets, cell: Cell, mode: str, output: Path) -> tuple[dict[str, Any], list[dict[str, int]]]:
    """The summary of some seconds of a mode, and when the program says that its fault was there."""
    with targets.run(cell.target, cell.profile, mode) as running:
        options = ("-o", output, "--max-overhead", 100, "-d", SECONDS, "--json", "--max-slices", SLICES)
        running.go()
        time.sleep(0.2)
        with recording("--pid", running.pid, *options) as rec:
            done = rec.wait()
        running.process.kill()
        told = running.wait().lines
    assert done.code == 0, done.err
    return json.loads(done.out), [line for line in told if "begin" in line]


CELLS = [Cell(target, profile) for target in TROUBLED for profile in ("dev", "release-debug")]
EACH_RULE = {fault.rule: mode for mode, fault in reversed(FAULTS.items())}
RUNS = [(Cell("trouble", "release-debug"), mode) for mode in FAULTS]
RUNS += [(Cell("trouble", "dev"), mode) for mode in FAULTS if mode in EACH_RULE.values()]
RUNS += [(Cell("trouble_smol", "release-debug"), mode) for mode in SMOL] + [(Cell("trouble_smol", "dev"), "lost-wake")]
"""All of them in release, and in debug builds one of each rule."""


@pytest.mark.parametrize(("built", "mode"), RUNS, ids=[f"{mode}-{cell}" for cell, mode in RUNS])
def test_each_fault_is_found(targets: Targets, tmp_path: Path, built: Cell, mode: str) -> None:
    fault = (FAULTS if built.target == "trouble" else SMOL)[mode]
    output = tmp_path / "x.pftrace"
    summary, told = recorded(targets, built, mode, output)
    print([(one["rule"], one["title"]) for one in summary["findings"]])
    found = [one for one in summary["findings"] if one["rule"] == fault.rule]
    assert {one["rule"] for one in summary["findings"]} <= {fault.rule} | fault.also
    assert len(found) == 1, summary["findings"]
    (one,) = found
    assert fault.function in one["function"]
    file, line = place_of(built.target, mode, "BLOCKS" if "blocked_in" in one["evidence"] else "FAULT")
    assert one["file"].endswith(file), one
    assert line <= one["line"] <= line + fault.lines, one
    assert fault.tells is None or fault.tells in one["evidence"]
    assert_time(one, told)
    assert not summary["rules_not_judged"]
    assert_in_trace(one, output)
    printed = rat("report", output).out
    assert f"{one['severity']} {one['rule']}: " in printed
    assert one["advice"][:40] in printed


def test_all_that_wait_behind_a_lock_are_told(targets: Targets, tmp_path: Path) -> None:
    """Of those that wait for what others have that wait for it, too."""
    summary, _ = recorded(targets, Cell("trouble", "release-debug"), "held-lock-forever", tmp_path / "x.pftrace")
    (one,) = summary["findings"]
    assert (one["evidence"]["tasks"], one["evidence"]["waiting_tasks"]) == (1, 11 + 3)
    assert one["title"].startswith("lock::reload perhaps keeps a lock and waits for lock::ask (in the end for Receiver")
    assert "; 14 tasks wait for the lock, 2." in one["title"]
    assert one["title"].endswith(" s or more until the end")


def test_of_a_branch_that_is_inlined_nobody_sees_whether_it_is_dropped(targets: Targets, tmp_path: Path) -> None:
    """A debug build has a function of it, and so the fault is found; a release build says why it cannot be."""
    mode, output = "select-cancelled-inlined", tmp_path / "x.pftrace"
    summary, _ = recorded(targets, Cell("trouble", "dev"), mode, output)
    (one,) = summary["findings"]
    file, line = place_of("trouble", mode, "FAULT")
    assert (one["rule"], one["line"], one["file"].endswith(file)) == ("select-cancelled", line, True), one
    assert "cancel::reload" in one["function"]
    assert not summary["rules_not_judged"]
    summary, _ = recorded(targets, Cell("trouble", "release-debug"), mode, output)
    assert summary["findings"] == []
    (unjudged,) = summary["rules_not_judged"]
    assert unjudged["rule"] == "select-cancelled"
    assert "cancel::reload" in unjudged["why"]
    said = " ".join(rat("report", output).out.split())
    assert "findings: none; select-cancelled not judged (for cancel::reload: inlined" in said


@pytest.mark.parametrize("profile", ["dev", "release-debug"])
def test_what_blocks_outside_of_tasks(targets: Targets, tmp_path: Path, profile: str) -> None:
    """Where the future that block_on runs has no poll function of its own, the scheduler tells."""
    summary, told = recorded(targets, Cell("trouble", profile), "long-poll-outside", tmp_path / "x.pftrace")
    print([(one["rule"], one["title"]) for one in summary["findings"]])
    found = [one for one in summary["findings"] if one["rule"] == "long-poll"]
    assert {one["rule"] for one in summary["findings"]} <= {"long-poll", "starved-tasks"}
    assert found
    for one in found:
        assert " blocked thread trouble " in one["title"]
        assert one["evidence"].get("system_call", "clock_nanosleep") == "clock_nanosleep"
        begin, end = one["time"], one["time"] + one["duration"]
        assert any(min(end, sleep["end"]) - max(begin, sleep["begin"]) > 30_000_000 for sleep in told)


def test_a_hung_program_says_so(targets: Targets, tmp_path: Path) -> None:
    """Its only worker is in one poll for ever; a task that is ready meanwhile has a row, but no wake that was seen."""
    output = tmp_path / "x.pftrace"
    summary, _ = recorded(targets, Cell("trouble", "release-debug"), "hung", output)
    assert {one["rule"] for one in summary["findings"]} == {"long-poll", "unpolled-wake"}
    assert summary["polls"] == 1
    (one,) = [one for one in summary["findings"] if one["rule"] == "long-poll"]
    file, line = place_of("trouble", "hung", "BLOCKS")
    assert (one["file"].endswith(file), one["line"], one["evidence"]["stacks"]) == (True, line, 1), one
    (row,) = summary["blockers"]
    assert (row["kind"], row["line"], row["time"]) == ("blocked", line, one["duration"])
    trace = Trace(output).processor
    assert not trace.query(
        "select 1 from slice join thread_track t on track_id = t.id join thread using (utid) where tid = 0"
    )
    states = {str(row["name"]) for row in trace.query("select s.name from slice s join track t on s.track_id = t.id")}
    assert {"ready", "running"} <= states
    assert not [name for name in states if name.startswith("wake ")]


def test_a_program_that_computes_for_ever_says_so(targets: Targets, tmp_path: Path) -> None:
    """It uses a processor and sends no event: all that is known is from its memory."""
    summary, _ = recorded(targets, Cell("trouble", "release-debug"), "hung-spin", tmp_path / "x.pftrace")
    assert "long-poll" in {one["rule"] for one in summary["findings"]}
    (one,) = [one for one in summary["findings"] if one["rule"] == "long-poll"]
    assert "poll::spinning_forever" in one["function"]
    assert summary["polls"] == 1


def test_of_a_launched_program_memory_is_read_at_the_end(targets: Targets, tmp_path: Path) -> None:
    program, output = targets.path("trouble", "release-debug"), tmp_path / "x.pftrace"
    with (tmp_path / "out").open("w") as out:  # the program has it, too, and goes on
        command = [RAT, "-d", str(SECONDS), "-o", output, "--", program, "deadlock"]
        environment = {**os.environ, "TRUTH_NO_WAIT": "1"}
        assert (
            subprocess.run([*map(str, command)], stdout=out, stderr=out, env=environment, check=False).returncode == 0
        )
    summary = json.loads(rat("report", "--json", output).out)
    (process,) = summary["processes"]
    os.kill(process["pid"], signal.SIGKILL)
    assert [one["last"] for one in summary["memory_readings"]] == [True]
    assert [one["rule"] for one in summary["findings"]] == ["deadlock"]
    names = {str(row["name"]) for row in Trace(output).processor.query("SELECT name FROM thread WHERE tid != 0")}
    assert names == {"trouble", "tokio-rt-worker"}  # not what started it


def assert_time(finding: dict[str, Any], told: list[dict[str, int]]) -> None:
    """It leads to a place where the program says that the fault was; one that tells none has it all the time."""
    begin, end = finding["time"], finding["time"] + finding["duration"]
    if told:
        assert any(begin <= one["begin"] and one["end"] <= end for one in told)
    else:
        assert 0 < finding["seconds"] + finding["duration"] / 1e9 < SECONDS + 1


def assert_in_trace(finding: dict[str, Any], output: Path) -> None:
    """The trace has it at that time, and arrows lead from there to the thread, and to the task if that has a row."""
    processor = Trace(output).processor
    processor.add_sql_package(Path(rat("sql").out.strip()))
    processor.query("INCLUDE PERFETTO MODULE rat_ebpf.findings")
    (row,) = [one for one in processor.query("SELECT * FROM rat_finding") if one["rule"] == finding["rule"]]
    place = f"{finding['file']}:{finding['line']}"
    told = {"ts": "time", "dur": "duration", "severity": "severity", "title": "title", "function": "function"}
    told |= {"tid": "tid", "task_number": "task", "advice": "advice"}
    assert {name: row[name] for name in told} == {name: finding[key] for name, key in told.items()}
    assert row["location"] == place
    arrows = processor.query(
        "select thread.tid from flow join slice place on slice_in = place.id left join thread_track tt on "
        f"place.track_id = tt.id left join thread using (utid) where slice_out = {row['id']}"
    )
    assert finding["tid"] in {arrow["tid"] for arrow in arrows}


@pytest.mark.parametrize("built", CELLS, ids=str)
def test_nothing_is_found_in_what_is_right(targets: Targets, tmp_path: Path, built: Cell) -> None:
    summary, _ = recorded(targets, built, "clean", tmp_path / "x.pftrace")
    assert summary["polls"] > 1000
    assert summary["findings"] == []
    assert summary["rules_not_judged"] == []


@pytest.mark.parametrize("mix", ["all", "plain"])
@pytest.mark.parametrize("profile", ["dev", "release-debug"])
def test_the_server_is_found_to_block_where_it_does(targets: Targets, tmp_path: Path, profile: str, mix: str) -> None:
    """One request in a hundred is for the report that blocks its thread; plain: none is."""
    output = tmp_path / "server.pftrace"
    with (
        targets.run("server", profile) as server,
        recording("--pid", server.pid, "-o", output, "--max-overhead", 100, "--json") as rec,
    ):
        address = f"127.0.0.1:{server.ready['port']}"
        command = [str(targets.path("load", profile)), address, "4", "3", "300", mix]
        subprocess.run(command, capture_output=True, check=True)
        done = rec.stop()
    assert done.code == 0, done.err
    findings = json.loads(done.out)["findings"]
    print([(one["rule"], one["title"]) for one in findings])
    if mix == "plain":
        assert findings == []
        return
    assert {one["rule"] for one in findings} <= {"long-poll", "starved-tasks"}
    (one,) = [one for one in findings if one["rule"] == "long-poll"]
    assert one["evidence"]["polls"] >= 5
    assert 20_000_000 <= one["duration"] < 100_000_000
    assert ("build_report" in one["function"]) or profile != "dev"


def test_the_ui_shows_them(targets: Targets, tmp_path: Path) -> None:
    """No import error; the picture is kept, docs/findings.md shows it."""
    output = tmp_path / "x.pftrace"
    summary, _ = recorded(targets, Cell("trouble", "release-debug"), "starved-tasks", output)
    (one,) = [one for one in summary["findings"] if one["rule"] == "starved-tasks"]
    select = (
        "select s.id from slice s join track t on s.track_id = t.id where s.category = 'finding' "
        "and t.name = 'Findings' and s.name glob 'starved-tasks*'"
    )
    shown = show(
        output,
        "findings.png",
        expand=["^trouble", "^Async tasks", "^poll::"],
        collapse=["Callstacks"],
        height=1000,
        select=select,
        **{"from": one["time"] - 20_000_000, "to": one["time"] + 90_000_000},
    )
    assert shown.loaded
    assert shown.problem is None
    assert not shown.import_errors
    assert "Findings" in {title.split("\n")[-1] for title in shown.tracks}
    assert one["title"] in shown.details
    assert "evidence starved_task" in shown.details
