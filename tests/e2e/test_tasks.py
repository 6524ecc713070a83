"""Every task of a runtime is seen as one, whatever thread polls it and whoever had its memory before."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.building import WORKSPACE
from tests.cells import OLD
from tests.e2e.command import recording
from tests.e2e.trace import Trace
from tests.running import Targets

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

POLLS_OF_TASKS = {
    "tokio_multi": {47: 23 + 23 + 14 + 5 * 13},
    "tokio_current": {47: 23},
    "short_tasks": {1: 613, 2: 317 + 3, 3: 67},
    "async_std_log": {47: 23},
    "smol_log": {47: 23},
}
"""How many tasks each target spawns, by their number of polls."""

SPAWNS = {
    "tokio_multi": ("tasks.spawn(apart(", (23, 23, 7, 7, 13, 13, 13, 13, 13)),
    "tokio_current": ("spawn_local(apart(", (23,)),
    "short_tasks": ("tokio::spawn(apart(", (3, 613, 317, 67)),
}
"""What the lines have that spawn, and how many tasks each of them spawns, in the order of the source."""

_TASK_POLLS = """
select tt.name as thread, extract_arg(s.arg_set_id, 'debug.task number') number,
  extract_arg(s.arg_set_id, 'debug.task') id, extract_arg(s.arg_set_id, 'debug.function') function
from slice s join thread_track tt on s.track_id = tt.id
where s.category = 'poll' and extract_arg(s.arg_set_id, 'debug.kind') = 'task of the runtime'
"""
_CANCELLED = """
select s.ts from slice s join track t on s.track_id = t.id where t.name glob '*loser*'
and extract_arg(s.arg_set_id, 'debug.note') glob 'cancelled*'
"""
_ROWS = """
select task.name, kind.name as kind, folder.name as folder,
  (select count(*) from slice where track_id = task.id and name = 'running') polls
from process_track task join process_track kind on task.parent_id = kind.id
join process_track folder on kind.parent_id = folder.id where folder.name = 'Async tasks'
"""


@pytest.mark.parametrize(
    ("target", "profile"),
    [
        *((target, profile) for profile in ("dev", "release") for target in POLLS_OF_TASKS),
        *((target, profile) for profile in ("old-dev", "old-release-debug") for target in OLD),
    ],
)
def test_there_are_as_many_tasks_as_were_spawned(targets: Targets, tmp_path: Path, target: str, profile: str) -> None:
    trace, document = traced(targets, tmp_path, target, profile)
    expected = POLLS_OF_TASKS[target]
    polls = trace.processor.query(_TASK_POLLS)
    assert Counter(Counter(row["number"] for row in polls).values()) == expected
    is_tokio = target not in ("async_std_log", "smol_log")
    if is_tokio:  # whose own ids are in the trace, one for each task
        ids = {(row["number"], row["id"]) for row in polls}
        assert None not in {number for _, number in ids}
        assert len(ids) == len({number for _, number in ids}) == sum(expected.values())

    rows = [row for row in trace.processor.query(_ROWS) if row["polls"]]
    drawn = sum(int(str(row["polls"])) for row in rows)
    assert drawn == len(polls)
    own = [str(row["name"]) for row in rows if " lane " not in str(row["name"])]
    assert len(own) == min(500, sum(expected.values())) or target == "short_tasks"
    assert all(name.startswith("task ") and is_tokio is not name.startswith("task #") for name in own)

    kinds = polled_kinds(document)
    assert document["tasks"] == sum(kind["tasks"] for kind in document["task_kinds"])
    assert sum(kind["tasks"] for kind in kinds) == sum(expected.values())
    assert sum(kind["polls"] for kind in kinds) == len(polls)
    assert all(sum(kind["outcomes"].values()) == kind["tasks"] for kind in kinds)
    assert all(kind["unidentified"] == (0 if is_tokio else kind["tasks"]) for kind in kinds)
    assert [kind["busy"] for kind in kinds] == sorted((kind["busy"] for kind in kinds), reverse=True)
    if profile in ("dev", "release"):
        assert_spawned(target, document, is_whole=profile == "dev")


def test_fat_lto_leaves_few_functions_that_tell_begins_and_ends(targets: Targets, tmp_path: Path) -> None:
    """No spawn function: the debug information tells where.  What marks a task as complete is in all that end one."""
    _, document = traced(targets, tmp_path, "tokio_multi", "fat-lto")
    assert_spawned("tokio_multi", document, is_whole=True)
    assert outcomes_of(document) == {"finished": sum(POLLS_OF_TASKS["tokio_multi"].values())}


def assert_spawned(target: str, document: dict[str, Any], *, is_whole: bool) -> None:
    """Each task comes from its line; is_whole: else the place of some is not known, and the summary says so."""
    spawned: Counter[tuple[str | None, int | None]] = Counter()
    for kind in polled_kinds(document):
        assert sum(one["tasks"] for one in kind["spawned"]) == kind["tasks"]
        for one in kind["spawned"]:
            spawned[one["file"], one["line"]] += one["tasks"]
    unknown = spawned.pop((None, None), 0)
    words, counts = SPAWNS.get(target, ("smol::spawn(apart(" if "smol" in target else "task::spawn(apart(", (23,)))
    source = f"{target}/src/main.rs"
    lines = [at for at, line in enumerate((WORKSPACE / source).read_text().splitlines(), 1) if words in line]
    expected: Counter[tuple[str | None, int | None]] = Counter()
    expected.update({(source, line): count for line, count in zip(lines, counts, strict=True)})
    assert spawned <= expected
    assert unknown == (expected - spawned).total()
    assert not is_whole or not unknown


@pytest.mark.parametrize("profile", ["dev", "release"])
@pytest.mark.parametrize("target", POLLS_OF_TASKS)
def test_every_task_is_seen_to_finish(targets: Targets, tmp_path: Path, target: str, profile: str) -> None:
    _, document = traced(targets, tmp_path, target, profile)
    assert outcomes_of(document) == {"finished": sum(POLLS_OF_TASKS[target].values())}


@pytest.mark.parametrize("profile", ["dev", "release", "release-debug"])
def test_every_panic_of_a_task_is_seen(targets: Targets, tmp_path: Path, profile: str) -> None:
    """A hundred of the tasks panic, the last one does not: traced, it panics and ends as it does by itself."""
    trace, document = traced(targets, tmp_path, "panics", profile)
    assert outcomes_of(document) == {"panicked": 100, "finished": 1}
    assert len(trace.processor.query("select ts from slice where name = 'panicked'")) == 100


@pytest.mark.parametrize("profile", ["dev", "release", "release-debug"])
def test_what_is_cut_short_is_cancelled(targets: Targets, tmp_path: Path, profile: str) -> None:
    """Tasks that are aborted while they wait (5) or are polled (3) or shut down (7); one finishes, and two that are
    aborted as they return: where their own future is no function, nobody knows whether they did.
    """
    trace, document = traced(targets, tmp_path, "cut_short", profile)
    outcomes = outcomes_of(document)
    cancelled, self_aborted = 5 + 7, 3
    unclear = outcomes.pop("ended", 0)
    assert unclear <= self_aborted + 2
    assert cancelled <= outcomes.pop("cancelled") <= cancelled + self_aborted
    assert sum(outcomes.values()) + unclear >= 3
    assert set(outcomes) == {"finished"}
    # Where the drop was inlined, only the next one at the address tells of it.
    assert len(trace.processor.query(_CANCELLED)) in ((11,) if profile == "dev" else (10, 11))


def polled_kinds(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Without those that only waited, as smol's own task for child processes does."""
    return [kind for kind in document["task_kinds"] if kind["polls"]]


def outcomes_of(document: dict[str, Any]) -> dict[str, int]:
    outcomes: Counter[str] = Counter()
    for kind in polled_kinds(document):
        outcomes.update(kind["outcomes"])
    return {name: count for name, count in outcomes.items() if count}


def traced(targets: Targets, folder: Path, target: str, profile: str) -> tuple[Trace, dict[str, Any]]:
    """The trace, and the summary."""
    output = folder / "trace.pftrace"
    with targets.run(target, profile) as running:
        options = ("-o", output, "--max-overhead", 100, "--json")
        with recording("--pid", running.pid, *options) as rec:
            running.go()
            assert running.wait().returncode == 0
            done = rec.wait()
    assert done.code == 0, done.err
    document: dict[str, Any] = json.loads(done.out)
    return Trace(output), document
