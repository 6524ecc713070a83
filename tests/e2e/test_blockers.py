"""What blocks a thread in a task, or never lets it go: the trace names the function and the line that does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import recording
from tests.e2e.trace import Trace
from tests.running import Targets

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

NAME = "blockers_tokio"
ROUNDS, SPIN = 7, 60_000_000
"""Of each function, and ns of CPU time of those that compute."""

_LOOP = 2
"""Lines of the loop that spins before the one that the target names."""

_SAMPLES = """
include perfetto module linux.perf.samples;
select name, source_file file, line_number line, cumulative_count count from linux_perf_samples_summary_tree
"""


def recorded(targets: Targets, tmp_path: Path, profile: str, *options: str) -> tuple[list[dict[str, Any]], Any, Trace]:
    """(what the target says of each of its functions, the summary, the trace)."""
    output = tmp_path / f"{profile}.pftrace"
    with (
        targets.run(NAME, profile) as running,
        recording("--pid", running.pid, "-o", output, "--json", "--max-overhead", 100, *options) as rec,
    ):
        running.go()
        result = running.wait()
        done = rec.wait()
    assert done.code == 0, done.err
    assert result.returncode == 0, result.stderr
    return list(result.lines), json.loads(done.out), Trace(output)


def found_in(summary: Any, one: dict[str, Any]) -> list[dict[str, Any]]:
    """What the summary says of one of the target's functions."""
    function = f"{NAME}::{one['function']}"
    return [row for row in summary["blockers"] if row["function"] == function and row["kind"] == one["kind"]]


@pytest.mark.parametrize("profile", ["dev", "release-debug", "static"])
def test_where_threads_stay_is_told_by_function_and_line(targets: Targets, tmp_path: Path, profile: str) -> None:
    said, summary, trace = recorded(targets, tmp_path, profile)
    assert {one["kind"] for one in said} == {"blocked", "running"}
    for one in said:
        (row,) = found_in(summary, one)
        assert Path(row["file"]).name == "main.rs", one
        if one["kind"] == "blocked":
            assert row["line"] == one["line"]
            # What another thread gives may be there already, where a busy machine let that one run first.
            least = ROUNDS if one["function"].startswith("sleeps") else ROUNDS - 1
            assert least <= row["polls"] <= ROUNDS, (row, summary["stacks"], summary["lost"])
            assert row["stacks"] >= row["polls"]
            assert abs(row["time"] - one["time"]) < max(0.05 * one["time"], ROUNDS * 100_000)
        else:
            assert one["line"] - _LOOP <= row["line"] <= one["line"]
            assert row["polls"] == ROUNDS
            # While another program has the processor nothing is seen to run, and the first ms are not looked at.
            assert 0.5 * ROUNDS * SPIN < row["time"] < 1.1 * one["time"]
        own = [line for line in row["stack"] if line.startswith(f"{NAME}::")]
        assert own[0].startswith(f"{NAME}::{one['function']} ")
        assert any(line.startswith(f"{NAME}::again_when<") for line in own[1:])
    census = summary["stacks"]
    assert (census["lost"], census["crowded"], census["unread"], census["refused"]) == (0, 0, 0, None)
    told_by_polls(said, trace)
    told_by_samples(said, trace)


def told_by_polls(said: list[dict[str, Any]], trace: Trace) -> None:
    """Each long poll has its stack, and so has what it was blocked in."""
    rows = trace.processor.query(
        "select extract_arg(arg_set_id, 'debug.blocker') blocker, extract_arg(arg_set_id, 'debug.stack') stack "
        "from slice where category = 'poll' and dur > 10000000 and name glob 'task *'"
    )
    for one in said:
        own = [row for row in rows if str(row["blocker"]).startswith(f"{NAME}::{one['function']} ")]
        assert len(own) >= ROUNDS - 1, one
        assert all(str(row["blocker"]) in str(row["stack"]).splitlines() for row in own)
    slices = trace.processor.query(
        "select name, extract_arg(arg_set_id, 'debug.blocker') blocker, parent_id inside from slice "
        "where category = 'blocked' and dur > 5000000"
    )
    for one in (one for one in said if one["kind"] == "blocked"):
        own = [row for row in slices if str(row["blocker"]).startswith(f"{NAME}::{one['function']} ")]
        assert len(own) >= ROUNDS - 1, one
        assert all(str(row["blocker"]).endswith(f"main.rs:{one['line']}") for row in own)
        assert all(row["inside"] is not None and str(row["name"]).startswith("blocked: ") for row in own)


def told_by_samples(said: list[dict[str, Any]], trace: Trace) -> None:
    """Perfetto's own flamegraph has what ran, with its lines."""
    rows = trace.processor.query(_SAMPLES)
    for one in (one for one in said if one["kind"] == "running"):
        own = [row for row in rows if row["name"] == f"{NAME}::{one['function']}"]
        assert sum(int(str(row["count"])) for row in own) >= ROUNDS - 1
        assert all(one["line"] - _LOOP <= int(str(row["line"])) <= one["line"] for row in own)


def test_without_debug_information_it_is_told_by_the_function(targets: Targets, tmp_path: Path) -> None:
    """Those that were inlined are a part of what they were inlined into."""
    said, summary, _ = recorded(targets, tmp_path, "release")
    for one in (one for one in said if not one["function"].endswith("_inlined")):
        (row,) = found_in(summary, one)
        assert (row["file"], row["line"]) == (None, None)
        assert row["polls"] >= ROUNDS - 1
    assert any(row["function"] is not None and "sleeping_inlined" in row["function"] for row in summary["blockers"])


def test_the_target_does_what_it_does_untraced(targets: Targets, tmp_path: Path) -> None:
    said, _, _ = recorded(targets, tmp_path, "release-debug")
    with targets.run(NAME, "release-debug") as running:
        running.go()
        untraced = running.wait().lines
    assert [(one["function"], one["line"]) for one in said] == [(one["function"], one["line"]) for one in untraced]
