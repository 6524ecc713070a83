"""The SQL views say of a trace what the summary, which is added up another way, says of the recording."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e.command import rat, recording
from tests.perfetto.trace_processor import TraceProcessor
from tests.running import Targets

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

DOCUMENT = Path(__file__).parents[2] / "docs" / "sql.md"
MODULES = ("polls", "waits", "delays", "tasks", "jobs", "findings")

Recorded = tuple[TraceProcessor, dict[str, Any]]


@pytest.fixture(scope="module")
def recorded(targets: Targets, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A trace with the package, and the summary."""
    output = tmp_path_factory.mktemp("sql") / "trace.pftrace"
    options = ("-o", output, "--max-overhead", 100, "--json")
    with (
        targets.run("wakes_tokio", "dev", "multi") as running,
        recording("--pid", running.pid, *options) as rec,
    ):
        running.go()
        assert running.wait().returncode == 0
        done = rec.wait()
    assert done.code == 0, done.err
    trace = TraceProcessor(output)
    trace.add_sql_package(Path(rat("sql").out.strip()))
    for module in MODULES:
        trace.query(f"INCLUDE PERFETTO MODULE rat_ebpf.{module}")
    return trace, json.loads(done.out)


def test_tasks_are_those_of_the_summary(recorded: Recorded) -> None:
    trace, document = recorded
    told = {row["function"]: row for row in trace.query("SELECT * FROM rat_task_kind")}
    kinds = {kind["function"]: kind for kind in document["task_kinds"]}
    assert len(kinds) > 2
    assert told.keys() == kinds.keys()
    for function, kind in kinds.items():
        row = told[function]
        assert row["tasks"] == kind["tasks"], function
        assert (row["polls"] or 0) == kind["polls"], function
        assert (row["busy_dur"] or 0) == kind["busy"], function
        assert (row["longest_poll_dur"] or 0) == kind["longest"], function
        first = kind["first_delay"]["total"] if kind["first_delay"] else 0
        assert int(row["waiting_dur"] or 0) + int(row["ready_dur"] or 0) == kind["waiting"] + first, function


def test_polls_are_those_of_the_summary(recorded: Recorded) -> None:
    trace, document = recorded
    rows = trace.query("SELECT function, count(*) polls, sum(least_dur) busy FROM rat_poll GROUP BY function")
    expected = {one["function"]: (one["polls"], one["busy"]) for one in document["functions"] if one["polls"]}
    assert {row["function"]: (row["polls"], row["busy"]) for row in rows} == expected


@pytest.mark.parametrize(("key", "is_first"), [("delay", 0), ("first_delay", 1)])
def test_delays_are_those_of_the_summary(recorded: Recorded, key: str, is_first: int) -> None:
    trace, document = recorded
    rows = trace.query(f"SELECT * FROM rat_scheduling_delay WHERE is_first = {is_first}")
    told = {row["function"]: row for row in rows}
    kinds = {kind["function"]: kind[key] for kind in document["task_kinds"] if kind[key]}
    assert told.keys() == kinds.keys() != set()
    for function, delay in kinds.items():
        row = told[function]
        count = delay["tasks" if is_first else "polls"]
        assert (row["count"], row["total_dur"], row["max_dur"]) == (count, delay["total"], delay["longest"])
        ready = trace.query(
            f"SELECT dur FROM rat_ready WHERE is_first = {is_first} AND function = '{function}' ORDER BY dur"
        )
        lengths = np.array([one["dur"] for one in ready])
        for median in (row["p50_dur"], delay["p50"]):  # each between other neighbours, the second within 6 %
            assert np.count_nonzero(lengths <= 1.07 * median) >= count // 2
            assert np.count_nonzero(lengths >= median / 1.07) >= count // 2


def test_each_wake_leads_to_its_poll(recorded: Recorded) -> None:
    trace, _ = recorded
    wakes = trace.query("SELECT task_number, delay, ts, waker_id FROM rat_wake WHERE poll_id IS NOT NULL")
    ready = trace.query("SELECT task_number, dur, ts FROM rat_ready WHERE NOT is_first")
    assert len(wakes) == len(ready) > 1000
    ends = Counter((row["task_number"], int(row["ts"]) + int(row["dur"])) for row in ready)
    assert Counter((row["task_number"], int(row["ts"]) + int(row["delay"])) for row in wakes) == ends
    wakers = {row["id"] for row in trace.query("SELECT id FROM rat_poll")}
    assert {row["waker_id"] for row in wakes} - {None} <= wakers


def test_waits_have_their_places(recorded: Recorded) -> None:
    trace, document = recorded
    rows = trace.query("SELECT function, location FROM rat_waits_by_location WHERE location IS NOT NULL")
    told = {(row["function"], row["location"]) for row in rows}
    places = {(one["function"], f"{one['file']}:{one['line']}") for one in document["waits_by_await"] if one["file"]}
    assert told <= places
    assert len(told) > 2
    chains = trace.query("SELECT chain FROM rat_wait WHERE chain IS NOT NULL AND note IS NULL")
    known = {"\n".join(one["chain"]) for one in document["waits_by_await"]}
    assert {row["chain"] for row in chains} <= known


def test_unsure_waits_are_in_no_sum(recorded: Recorded) -> None:
    trace, document = recorded
    (told,) = trace.query("SELECT count(*) AS waits, sum(is_unsure) AS unsure FROM rat_wait")
    (summed,) = trace.query("SELECT sum(waits) AS waits FROM rat_waits_by_location")
    assert told["waits"] - told["unsure"] == summed["waits"] > 0
    assert told["unsure"] == document["uncertain_waits"] > 0


def test_spawns_are_those_of_the_summary(recorded: Recorded) -> None:
    trace, document = recorded
    rows = trace.query("SELECT function, spawned_at, spawned_by FROM rat_task WHERE spawned_ts IS NOT NULL")
    told = Counter((row["function"], str(row["spawned_at"])) for row in rows)
    expected: Counter[tuple[str, str]] = Counter()
    for kind in document["task_kinds"]:
        for one in kind["spawned"]:
            expected[kind["function"], f"{one['file']}:{one['line']}:{one['column']}"] += one["tasks"]
    assert told == expected


def examples() -> list[str]:
    return re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)


@pytest.mark.parametrize("number", range(len(examples())))
def test_the_examples_of_the_document_work(recorded: Recorded, number: int) -> None:
    trace, _ = recorded
    rows = trace.query(examples()[number])
    assert rows or "least_dur > 10e6" in examples()[number]


def test_the_document_names_all_there_is() -> None:
    modules = Path(rat("sql").out.strip())
    assert {file.stem for file in modules.glob("*.sql")} == set(MODULES)
    text = DOCUMENT.read_text()
    for file in modules.glob("*.sql"):
        assert f"`rat_ebpf.{file.stem}`" in text
        for name in re.findall(r"CREATE PERFETTO (?:VIEW|TABLE) (rat_\w+)", file.read_text()):
            assert f"`{name}`" in text
