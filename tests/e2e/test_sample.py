"""sample: the shares that samples tell against what the tasks themselves say of their waiting."""

from __future__ import annotations

import gzip
import json
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from tests.e2e.command import rat, recording
from tests.perfetto.trace_processor import TraceProcessor
from tests.running import Running, Targets
from tests.unit.output.test_schema import closed
from tracer.commands.snapshots import live_tasks
from tracer.pprof_pb2 import Profile
from tracer.stacks import Frame, TaskState

pytestmark = pytest.mark.e2e

SCHEMA = Path(__file__).parents[2] / "docs" / "sample.schema.json"
TASKS, SECONDS = 1_000, 8


class Log:
    """What many_tasks says of itself: the time by line that all tasks have spent there, at many moments."""

    def __init__(self, running: Running) -> None:
        self._lines: list[dict[str, Any]] = []
        self._stream = running.process.stdout
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._stream is not None
        self._lines += map(json.loads, self._stream)

    def spent(self, begin: int, end: int) -> dict[int, float]:
        """By line, ns between two moments of CLOCK_MONOTONIC."""
        while not self._lines or self._lines[-1]["time"] < end:
            time.sleep(0.1)
        lines = list(self._lines)
        times = [line["time"] for line in lines]
        keys = sorted({key for line in lines for key in line["spent"]})
        totals = {int(key): np.array([line["spent"].get(key, 0) for line in lines], np.float64) for key in keys}
        return {
            line: float(np.interp(end, times, total) - np.interp(begin, times, total)) for line, total in totals.items()
        }


@dataclass(frozen=True)
class Sampled:
    document: dict[str, Any]
    spent: dict[int, float]
    trace: Path
    folded: Path
    profile: Path


@pytest.fixture(scope="module", params=["dev", "release-debug"])
def sampled(request: pytest.FixtureRequest, targets: Targets, tmp_path_factory: pytest.TempPathFactory) -> Sampled:
    folder = tmp_path_factory.mktemp("sampled")
    trace, folded, profile = folder / "x.pftrace", folder / "x.folded", folder / "x.pb.gz"
    with targets.run("many_tasks", request.param, str(TASKS)) as running:
        log = Log(running)
        time.sleep(1)
        done = rat("sample", running.pid, "-d", SECONDS, "--json", "-o", trace, "-o", folded, "-o", profile)
        assert done.code == 0, done.err
        document = json.loads(done.out)
        spent = log.spent(document["time"], document["time"] + document["nanoseconds"])
    return Sampled(document, spent, trace, folded, profile)


def by_line(document: dict[str, Any]) -> dict[int, tuple[float, float]]:
    """(share of the waiting, its error) of each line of the target's own source."""
    found: dict[int, tuple[float, float]] = {}
    for one in document["waiting"]:
        if one["at"] is not None:
            file, _, line = one["at"].rpartition(":")
            assert file.endswith("many_tasks/src/ways.rs")
            share, error = found.get(int(line), (0.0, 0.0))
            found[int(line)] = share + one["share"], error + one["error"]
    return found


def test_shares_are_what_the_tasks_say_themselves(sampled: Sampled) -> None:
    every = by_line(sampled.document)
    assert len(sampled.spent) == 11
    told = {line: every[line] for line in sampled.spent}
    assert 0 < sum(share for line, (share, _) in every.items() if line not in told) < 0.06  # starting() does not say
    total = sum(sampled.spent.values())
    whole = sum(share for share, _ in told.values())
    # What a task calls waiting has its own clock readings, and the time from its wake to its poll, in it.
    ready = sum(one["tasks"] for one in sampled.document["states"] if one["state"] != "waiting")
    slack = 0.002 + ready / sampled.document["tasks"]
    off = {line: told[line][0] / whole - spent / total for line, spent in sampled.spent.items()}
    allowed = {line: told[line][1] + slack for line in told}
    assert all(abs(off[line]) <= 2 * allowed[line] for line in off), (off, allowed)
    assert sum(abs(off[line]) <= allowed[line] for line in off) >= 10, (off, allowed)
    assert all(error < 0.02 for _, error in told.values())


def test_how_many_tasks_there_are(sampled: Sampled) -> None:
    """Of each twenty, one starts tasks of its own, one after another."""
    assert sampled.document["tasks"] == pytest.approx(TASKS * 1.05, rel=0.03)
    kinds = {one["future_short"]: one for one in sampled.document["task_kinds"]}
    assert len(kinds) == 10
    assert kinds["ways::brief"]["tasks"] == pytest.approx(TASKS / 20, rel=0.25)
    assert kinds["ways::brief"]["seen"] > TASKS / 20 * 10
    assert kinds["ways::starting"]["seen"] == TASKS / 20


def test_the_document_is_as_documented(sampled: Sampled) -> None:
    schema = json.loads(SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(closed(schema)).validate(sampled.document)


def test_folded_stacks(sampled: Sampled) -> None:
    counts: Counter[str] = Counter()
    for line in sampled.folded.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        counts[stack] += int(count)
    waiting = sum(count for stack, count in counts.items() if not stack.endswith("]"))
    told = sum(one["nanoseconds"] for one in sampled.document["waiting"]) / 1e6
    assert waiting == pytest.approx(told, rel=0.001)
    deep = [stack for stack in counts if re.match(r"ways::nested \(\S+:\d+\);ways::deeper \(\S+:\d+\);Sleep$", stack)]
    assert len(deep) == 1
    assert any(stack.startswith("ways::boxed") and "ways::behind" in stack for stack in counts)


def test_pprof_has_the_same(sampled: Sampled) -> None:
    profile = Profile.FromString(gzip.decompress(sampled.profile.read_bytes()))
    text = profile.string_table
    assert text[0] == ""
    assert [(text[one.type], text[one.unit]) for one in profile.sample_type] == [
        ("samples", "count"),
        ("time", "nanoseconds"),
    ]
    assert sum(one.value[0] for one in profile.sample) == sampled.document["samples"]
    functions = {one.id: one for one in profile.function}
    locations = {one.id: one for one in profile.location}
    waits = Counter[str]()
    for one in profile.sample:
        if text[one.label[0].str] == "waiting":
            outer = locations[one.location_id[-1]].line[0]
            waits[text[functions[outer.function_id].name].partition(" (")[0]] += one.value[1]
    assert sum(waits.values()) == pytest.approx(
        sum(one["nanoseconds"] for one in sampled.document["waiting"]), rel=1e-6
    )
    assert waits["ways::nested"] > waits["ways::boxed"] > waits["ways::starting"] > 0


def test_the_trace_has_a_row_a_task(sampled: Sampled) -> None:
    loaded = TraceProcessor(sampled.trace)
    loaded.health()
    rows = loaded.query(
        "select t.name as task, s.name as name, s.ts as ts, s.dur as dur "
        "from slice s join track t on s.track_id = t.id where s.category = 'sampled' order by t.id, s.ts"
    )
    assert rows
    assert min(row["dur"] for row in rows) >= 0
    begin, end = sampled.document["time"], sampled.document["time"] + sampled.document["nanoseconds"]
    assert all(begin <= row["ts"] and row["ts"] + row["dur"] <= end for row in rows)
    per_task: Counter[str] = Counter()
    waits: Counter[str] = Counter()
    for row in rows:
        per_task[row["task"]] += row["dur"]
        waits[row["name"]] += row["dur"]
    lasting = [spent for task, spent in per_task.items() if "ways::nested" in task]
    assert len(lasting) == TASKS / 5
    assert min(lasting) > 0.9 * (end - begin)  # one stretch follows the other
    line = next(row for row in sampled.document["waiting"] if "recv" in (row["awaiting"] or ""))
    assert waits[f"waiting: {line['at_short']}"] == pytest.approx(line["nanoseconds"], rel=0.05)


def test_the_trace_counts_tasks_by_what_they_do(sampled: Sampled) -> None:
    loaded = TraceProcessor(sampled.trace)
    rows = loaded.query(
        "select t.name as name, avg(c.value) as mean "
        "from counter c join counter_track t on c.track_id = t.id group by t.name"
    )
    receiving = next(one for one in sampled.document["waiting"] if "recv" in (one["awaiting"] or ""))
    (counted,) = [row for row in rows if row["name"] == f"tasks waiting: {receiving['at_short']}"]
    assert counted["mean"] == pytest.approx(TASKS / 10, rel=0.1)  # a search amid a round changes whose turn is left


# ---------------------------------------------------------------- the decoder, against that of snapshots


PARKED = [
    ("parked_tokio", "dev"),
    ("parked_tokio", "release-debug"),
    ("parked_async_std", "dev"),
    ("parked_smol", "release-debug"),
]


def plain(frames: tuple[Frame, ...]) -> list[tuple[int, int | None, int | None, int]]:
    return [(one.parent, one.layout, one.function, one.more) for one in frames]


@pytest.mark.parametrize(("target", "profile"), PARKED)
def test_samples_see_the_stacks_that_snapshots_see(targets: Targets, target: str, profile: str) -> None:
    with targets.run(target, profile) as running:
        reader = live_tasks(running.pid).reader
        snapshot = reader.take()
        sampler = reader.sampler()
        sampler.search()
        samples = [one for tick in sampler.last_round() for one in tick.samples]
    stacks, tasks = sampler.stacks, sampler.tasks
    seen = {int(tasks["header"][one["task"]]): int(one["stack"]) for one in samples if one["stack"] >= 0}
    still = [one for one in snapshot.tasks if one["stack"] >= 0 and one["state"] == TaskState.WAITING]
    assert len(still) > 40
    assert {int(one["header"]) for one in still} <= set(seen)
    differ = [
        (snapshot.stacks[one["stack"]], stacks[seen[int(one["header"])]])
        for one in still
        if plain(snapshot.stacks[one["stack"]].frames) != plain(stacks[seen[int(one["header"])]].frames)
    ]
    assert not differ, differ[0]


# ---------------------------------------------------------------- ends of all kinds


@pytest.fixture
def many(targets: Targets) -> Iterator[Running]:
    with targets.run("many_tasks", "dev", "200") as running:
        yield running


def test_ctrl_c_writes_what_there_is(many: Running, tmp_path: Path) -> None:
    with recording("sample", many.pid, "-o", tmp_path / "x.pftrace", until="sampling") as under_way:
        time.sleep(3)
        done = under_way.stop(signal.SIGINT)
    assert done.code == 0, done.err
    assert "stopped by Ctrl-C" in done.out
    assert (tmp_path / "x.pftrace").is_file()


def test_the_end_of_the_process_ends_it_well(many: Running, tmp_path: Path) -> None:
    with recording("sample", many.pid, "-o", tmp_path / "x.folded", until="sampling") as under_way:
        time.sleep(3)
        many.process.kill()
        many.process.wait()
        done = under_way.wait()
    assert done.code == 0, done.err
    assert "the process ended" in done.out
    assert "ways::nested" in (tmp_path / "x.folded").read_text()


def test_what_cannot_be_is_said_in_a_sentence(many: Running, tmp_path: Path) -> None:
    assert rat("sample", 2**22 - 1).code == 3
    assert rat("sample", many.pid, "-o", tmp_path / "no" / "x").code == 9
    assert rat("sample", many.pid, "-o", tmp_path).code == 9
    assert rat("sample", many.pid, "-F", "0").code == 2
    assert rat("sample", many.pid, "-d", "-1").code == 2
