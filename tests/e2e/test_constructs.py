"""Each future of every construct is in the trace as it was: how often it was polled, by whom, and where it waited."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.building import WORKSPACE
from tests.constructs import (
    BLOCKING_JOBS,
    COLUMNS,
    COUNTS,
    FOR_BLOCKING_JOBS,
    HAND_WRITTEN,
    IN_MACRO,
    INLINED,
    MERGED,
    Column,
    rows,
)
from tests.e2e.command import recording
from tests.e2e.seen import Match, Seen, SeenPoll, SeenWait, match, path_of
from tests.e2e.trace import Trace, listing, names_of
from tests.lives import Life, Place, Poll
from tests.running import Targets

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

CANCELLED, REPLACED = "cancelled: it was dropped", "some time before another one was polled at its address"
WAYS = "ways to spawn"
SPAWN = {"constructs_async_std": "task::spawn(future)", "constructs_smol": "smol::spawn(future)"}
SOON = 100_000_000
"""Nanoseconds between a drop and its sight, on a busy machine."""

_PLACE = re.compile(r" at (constructs\w*/src/\w+\.rs:\d+)(?: \(inlined\))?$")
"""A link's own await, in the targets' own sources."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One recording of a column, beside what the target says of itself.

    copies: how many functions of the binary have a name.
    """

    column: Column
    lives: tuple[Life, ...]
    seen: Seen
    matched: Match
    copies: Counter[str]

    def of(self, construct: str) -> list[Life]:
        return [life for life in self.lives if life.construct == construct]

    def polls(self, life: Life) -> list[SeenPoll]:
        return [self.seen.polls[number] for number in self.matched.polls[life.number] if number is not None]

    def existing(self, construct: str) -> list[Life]:
        """Those whose function is in the build and that were polled."""
        return [life for life in self.of(construct) if life.polls and life.number not in self.matched.absent]


class Columns:
    """Records each column once, when it is first asked for."""

    def __init__(self, targets: Targets, folder: Path) -> None:
        self._targets, self._folder = targets, folder
        self._recorded: dict[Column, Recorded] = {}

    def __getitem__(self, column: Column) -> Recorded:
        if column not in self._recorded:
            self._recorded[column] = self._record(column)
        return self._recorded[column]

    def _record(self, column: Column) -> Recorded:
        output = self._folder / f"{column}.pftrace"
        options = ("-o", output, "--max-overhead", 100, "--json")
        mode = [column.mode] if column.mode else []
        target = self._targets.run(column.target, column.profile, *mode)
        with target as running, recording("--pid", running.pid, *options) as rec:
            running.go()
            result = running.wait()
            done = rec.wait()
        assert (result.returncode, done.code) == (0, 0), done.err
        assert json.loads(done.out)["lost"] == 0
        seen = Seen(Trace(output))
        listed = listing(self._targets.path(column.target, column.profile))
        copies = Counter(str(one["function"]) for one in listed)
        return Recorded(column, result.lives, seen, match(result.lives, seen, names_of(listed)), copies)


@pytest.fixture(scope="module")
def columns(targets: Targets, tmp_path_factory: pytest.TempPathFactory) -> Columns:
    return Columns(targets, tmp_path_factory.mktemp("constructs"))


def is_written(life: Life) -> bool:
    return path_of(life) in HAND_WRITTEN


@pytest.mark.parametrize(
    ("column", "construct"),
    [pytest.param(column, construct, id=f"{construct}-{column}") for column in COLUMNS for construct in rows(column)],
)
def test_every_future_is_seen_as_it_was(columns: Columns, column: Column, construct: str) -> None:
    recorded = columns[column]
    assert recorded.of(construct), "the target went through no such construct"
    assert_exists(recorded, construct)
    assert_polls(recorded, construct)
    assert_instances(recorded, construct)
    assert_results(recorded, construct)
    assert_parents(recorded, construct)
    assert_awaits(recorded, construct)
    assert_tasks(recorded, construct)
    assert_spawns(recorded, construct)


@pytest.mark.parametrize("column", COLUMNS, ids=str)
def test_nothing_else_is_seen(columns: Columns, column: Column) -> None:
    """No poll of a watched function that the target knows nothing of, no task that it did not spawn."""
    recorded = columns[column]
    assert [recorded.seen.polls[number] for number in recorded.matched.strangers] == []
    own = {
        poll.task for life in recorded.lives if life.number in recorded.matched.polls for poll in recorded.polls(life)
    }
    others = [poll for poll in recorded.seen.polls.values() if poll.is_task and poll.task not in own]
    jobs = [poll for poll in others if poll.function.startswith("blocking job")]
    assert len(jobs) == BLOCKING_JOBS.get(column.target, 0)
    waiters = FOR_BLOCKING_JOBS.get(column.target, "no such task")
    rest = [poll for poll in others if poll not in jobs and not poll.function.startswith(waiters)]
    # A task that is aborted in its queue is polled by its runtime all the same, though there is nothing left to poll.
    aborted = [
        path_of(life) for life in recorded.lives if life.spawned and life.outcome in ("cancelled", "never polled")
    ]
    assert len(rest) <= len(aborted)
    assert all(any(path in poll.function for path in aborted) for poll in rest)
    assert {life.construct for life in recorded.lives} == set(rows(column))


def assert_exists(recorded: Recorded, construct: str) -> None:
    """Only what may be inlined is absent, and only from optimised builds; the log is of what it should be."""
    for life in recorded.of(construct):
        if life.number in recorded.matched.absent:
            assert recorded.column.is_optimised
            assert not life.is_apart
            assert path_of(life) in INLINED
    if construct in COUNTS:
        count, polls = COUNTS[construct]
        roots = Counter(path_of(life) for life in recorded.of(construct) if life.spawned)
        ((function, number),) = roots.most_common(1)
        assert number == count
        if polls is not None:
            assert {len(life.polls) for life in recorded.of(construct) if path_of(life) == function} == {polls}


def assert_polls(recorded: Recorded, construct: str) -> None:
    for life in recorded.existing(construct):
        assert None not in recorded.matched.polls[life.number], life


def assert_instances(recorded: Recorded, construct: str) -> None:
    """Each future is one instance; two are never the same one, unless nothing tells them apart."""
    owners: dict[int | None, list[Life]] = {}
    for life in recorded.existing(construct):
        (instance,) = {poll.instance for poll in recorded.polls(life)}
        assert instance is not None
        owners.setdefault(instance, []).append(life)
    for instance, lives in owners.items():
        if len(lives) == 1:
            continue
        assert all(map(is_written, lives))
        assert len({poll.address for life in lives for poll in life.polls}) == 1
        if recorded.column.has_lines:
            assert construct in MERGED
            continue
        waits = {wait.end: wait for wait in recorded.seen.waits[instance or 0]}
        for life in lives[1:]:
            assert "may" in str(waits[recorded.polls(life)[0].start].note)


def assert_results(recorded: Recorded, construct: str) -> None:
    for life in recorded.existing(construct):
        for own, poll in zip(life.polls, recorded.polls(life), strict=True):
            if own.result == "panicked":
                assert poll.result == "unknown"
                assert "unwound by a panic" in str(poll.note)
            elif is_written(life) and not recorded.column.has_lines:
                assert poll.result == "unknown"
            else:
                assert poll.result == own.result
                assert poll.note is None


def assert_parents(recorded: Recorded, construct: str) -> None:
    by_number = {life.number: life for life in recorded.lives}

    def visible(numbers: tuple[int, ...]) -> set[int]:
        found = set()
        for number in numbers:
            is_absent = number in recorded.matched.absent
            found |= visible(by_number[number].parents) if is_absent else {number}
        return found

    for life in recorded.existing(construct):
        seen = {parent_of(recorded, poll) for poll in recorded.polls(life)}
        expected: set[int | None] = {*visible(life.parents)} or {None}
        assert seen == expected, life


def parent_of(recorded: Recorded, poll: SeenPoll) -> int | None:
    """The watched future around this poll, in the same task."""
    for above in poll.above:
        if recorded.seen.polls[above].is_task:
            return None
        if above in recorded.matched.life_of:
            return recorded.matched.life_of[above]
    return None


def assert_awaits(recorded: Recorded, construct: str) -> None:
    """One wait after each poll that was Pending, with the line of the await."""
    last_at: dict[tuple[str, int], Life] = {}
    for life in recorded.lives:
        for poll in life.polls:
            previous = last_at.get((path_of(life), poll.address))
            if previous is None or previous.polls[-1].begin < poll.begin:
                last_at[path_of(life), poll.address] = life
    for life in recorded.existing(construct):
        if is_written(life) and (construct in MERGED or not recorded.column.has_lines):
            continue  # whose waits these are is not known: assert_instances
        (instance,) = {poll.instance for poll in recorded.polls(life)}
        waits = recorded.seen.waits.get(instance or 0, [])
        pending = [poll for poll in life.polls if poll.result == "pending"]
        assert len(waits) == len(pending), life
        for own, wait in zip(pending, waits, strict=True):
            assert_place(recorded, life, own, wait)
        if life.outcome in ("cancelled", "alive"):
            assert_end(recorded, life, waits[-1], is_last=last_at[path_of(life), life.polls[-1].address] is life)


def assert_end(recorded: Recorded, life: Life, wait: SeenWait, *, is_last: bool) -> None:
    """The end of a future that was not Ready.  is_last: no other one of its function was at its address afterwards."""
    note = str(wait.note)
    if life.outcome == "alive":
        assert "no poll followed" in note
    elif CANCELLED in note:
        assert life.ended <= wait.end
        assert (REPLACED in note and not is_last) or wait.end <= life.ended + SOON
    else:
        assert "no poll followed" in note
        has_copies = recorded.copies[recorded.polls(life)[0].function] > 1
        assert is_written(life) or (recorded.column.is_optimised and (is_last or has_copies))


def assert_place(recorded: Recorded, life: Life, poll: Poll, wait: SeenWait) -> None:
    """The wait is where the future says; below it, what it awaits and has no poll of its own is where that says."""
    if not recorded.column.has_lines or poll.place is None:
        assert (wait.place, wait.macro) == (None, None)
        return
    if IN_MACRO.get(life.construct) == path_of(life):
        assert wait.place is None
        assert wait.macro is not None
        return
    assert wait.macro is None
    if wait.chain:
        assert wait.chain[0].endswith(f" at {poll.place}")
    inside = inlined_below(recorded, life, poll)
    for child, place in inside:
        assert f"{'::'.join(path_of(child).split('::')[-2:])} at {place} (inlined)" in wait.chain
    innermost = [match[1] for link in wait.chain if (match := _PLACE.search(link))]
    assert str(wait.place).endswith(f"/{innermost[-1] if innermost else poll.place}")


def inlined_below(recorded: Recorded, life: Life, poll: Poll) -> list[tuple[Life, Place]]:
    """Where the futures that have no function of their own were Pending inside this poll."""
    return [
        (child, inner.place)
        for child in recorded.of(life.construct)
        if child.number in recorded.matched.absent
        for inner in child.polls
        if inner.place is not None and poll.begin <= inner.begin and inner.end <= poll.end
    ]


def assert_tasks(recorded: Recorded, construct: str) -> None:
    """A spawned future is a task of its own, wherever it is polled; on tokio with the id that tokio gave it."""
    tasks: dict[int, Life] = {}
    for life in recorded.existing(construct):
        if life.spawned is None:
            continue
        (number,) = {poll.task for poll in recorded.polls(life)}
        assert number is not None
        if number in tasks:
            assert recorded.column.target != "constructs_tokio"
            assert tasks[number].function == life.function
            ends = [wait.note for wait in recorded.seen.waits[number] if between(tasks[number], wait, life)]
            assert all("may" in str(note) for note in ends)
        tasks[number] = life
        ids = {poll.task_id for poll in recorded.polls(life)}
        if recorded.column.target != "constructs_tokio":
            assert ids == {None}
        elif life.task_id is not None:
            assert ids == {int(life.task_id)}
        else:
            assert None not in ids


def assert_spawns(recorded: Recorded, construct: str) -> None:
    """A task comes from the line that spawned it, and from the task that was being polled there."""
    seen: dict[int, Life] = {}
    for life in recorded.existing(construct):
        if life.spawned is None:
            continue
        (number,) = {poll.task for poll in recorded.polls(life)}
        assert number is not None
        if number in seen:  # nothing tells it from the one before: assert_tasks
            assert recorded.column.target != "constructs_tokio"
            continue
        seen[number] = life
        spawn = recorded.seen.spawns[number]
        assert_spawned_at(recorded.column, life, spawn.place)
        assert spawn.time <= recorded.polls(life)[0].start
        assert spawn.by == spawning_task(recorded, life)
        assert (spawn.by_words == "no task, as far as was seen") is (spawn.by is None)
        ids = {poll.task_id for poll in recorded.seen.polls.values() if poll.is_task and poll.task == spawn.by}
        assert {spawn.by_id} == (ids or {None})
        assert spawn.by == (recorded.seen.polls[spawn.poll].task if spawn.poll is not None else None)


def assert_spawned_at(column: Column, life: Life, place: str) -> None:
    is_unknown = place.startswith("unknown: ")
    if column.target == "constructs_tokio":
        assert is_unknown or re.fullmatch(re.escape(str(life.spawned)) + r":\d+", place)
        assert not is_unknown or (column.profile == "release" and life.construct == WAYS)
        return
    # The runtime's function is called by the target's own, for which it has no other name.
    assert is_unknown is not column.has_lines
    source = f"{column.target}/src/main.rs"
    lines = (WORKSPACE / source).read_text().splitlines()
    (line,) = [number for number, words in enumerate(lines, 1) if SPAWN[column.target] in words]
    assert is_unknown or re.fullmatch(rf"{source}:{line}(?::\d+)?", place)


def spawning_task(recorded: Recorded, life: Life) -> int | None:
    """The task in which the future that spawned this one was polled, by the target's log; None: in none."""
    by_number = {life.number: life for life in recorded.lives}
    if life.spawner is None:
        assert life.construct == WAYS
        return None
    spawner = by_number[life.spawner]
    while spawner.number in recorded.matched.absent:
        (parent,) = spawner.parents
        spawner = by_number[parent]
    (task,) = {poll.task for poll in recorded.polls(spawner)}
    return task


def between(before: Life, wait: SeenWait, after: Life) -> bool:
    """Whether the wait lies between the last poll of one future and the first one of the other."""
    return before.polls[-1].begin <= wait.start and wait.end <= after.polls[0].end


@pytest.mark.parametrize("column", COLUMNS, ids=str)
def test_a_task_goes_from_one_worker_to_another(columns: Columns, column: Column) -> None:
    recorded = columns[column]
    (restless,) = [life for life in recorded.of("between workers") if path_of(life).endswith("::restless")]
    threads = len({poll.tid for poll in recorded.polls(restless)})
    assert threads == (1 if column.mode in ("current", "local") else 2)
