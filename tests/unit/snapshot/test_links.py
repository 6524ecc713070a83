"""What tasks wait for and hold, read from the memory of a program that says which tasks it has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.running import Targets
from tracer.commands.snapshots import live_tasks
from tracer.model import Binary, LinkKind, LinkRole
from tracer.stacks import LINK_KINDS, LINK_ROLES, CycleKind, LinkFlag, Snapshot, TaskLinks


@dataclass(frozen=True, slots=True)
class Seen:
    """names: of each task, by its index in the snapshot; what the program did not name is a task of a JoinSet."""

    binary: Binary
    snapshot: Snapshot
    links: TaskLinks
    names: list[str]
    locks: dict[str, int]
    messages: dict[str, tuple[int, int | None]]

    def of(self, name: str) -> list[tuple[LinkRole, LinkKind, LinkFlag]]:
        """What the tasks of that name have, each once."""
        return sorted(
            {
                (LINK_ROLES[link["role"]], LINK_KINDS[link["kind"]], LinkFlag(int(link["flags"])) & ~LinkFlag.SHARED)
                for link in self.links.links
                if self.names[link["task"]] == name
            }
        )

    def blockers(self, name: str) -> list[tuple[str, bool, bool]]:
        """Whom the tasks of that name wait for, each once; whether they surely do, and there for nobody else."""
        found = {
            (int(block["task"]), int(block["other"]), bool(block["is_certain"]), bool(block["is_only"]))
            for block in self.links.blocks
            if self.names[block["task"]] == name
        }
        return sorted((self.names[other], is_certain, is_only) for _, other, is_certain, is_only in found)


@pytest.fixture(scope="module", params=["dev", "release-debug"])
def seen(request: pytest.FixtureRequest, targets: Targets) -> Iterator[Seen]:
    with targets.run("linked_tokio", request.param) as running:
        live = live_tasks(running.pid)
        snapshot = live.reader.take()
        links = live.reader.links(snapshot)
        names = {number: name for name, number in running.ready["tasks"]}
        named = [names.get(int(number), "of a set") for number in snapshot.tasks["id"]]
        messages = {name: (count, most) for name, count, most in running.ready["messages"]}
        yield Seen(live.binary, snapshot, links, named, dict(running.ready["locks"]), messages)


SURE = LinkFlag.CERTAIN


def test_all_tasks_are_known(seen: Seen) -> None:
    assert seen.links.is_known.all()
    assert len(seen.names) == len(seen.snapshot.tasks)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("joins", [(LinkRole.WAITS, LinkKind.TASK)]),
        ("holds_handle", [(LinkRole.HOLDS, LinkKind.TASK)]),
        ("holds_mutex", [(LinkRole.HOLDS, LinkKind.MUTEX)]),
        ("holds_owned", [(LinkRole.HOLDS, LinkKind.MUTEX)]),
        ("waits_mutex", [(LinkRole.WAITS, LinkKind.MUTEX)]),
        ("waits_owned", [(LinkRole.WAITS, LinkKind.MUTEX)]),
        ("waits_captured", [(LinkRole.WAITS, LinkKind.MUTEX)]),
        ("holds_read", [(LinkRole.HOLDS, LinkKind.RWLOCK)]),
        ("waits_write", [(LinkRole.WAITS, LinkKind.RWLOCK)]),
        ("holds_permit", [(LinkRole.HOLDS, LinkKind.SEMAPHORE)]),
        ("holds_owned_permit", [(LinkRole.HOLDS, LinkKind.SEMAPHORE)]),
        ("waits_permit", [(LinkRole.WAITS, LinkKind.SEMAPHORE)]),
        ("holds_oneshot", [(LinkRole.SENDS, LinkKind.ONESHOT)]),
        ("waits_oneshot", [(LinkRole.WAITS, LinkKind.ONESHOT)]),
        ("waits_mpsc", [(LinkRole.RECEIVES, LinkKind.MPSC), (LinkRole.WAITS, LinkKind.MPSC)]),
        ("waits_capacity", [(LinkRole.SENDS, LinkKind.MPSC), (LinkRole.WAITS, LinkKind.MPSC)]),
        ("waits_watch", [(LinkRole.RECEIVES, LinkKind.WATCH), (LinkRole.WAITS, LinkKind.WATCH)]),
        ("waits_closed", [(LinkRole.SENDS, LinkKind.WATCH), (LinkRole.WAITS, LinkKind.NOTIFY)]),
        ("waits_broadcast", [(LinkRole.RECEIVES, LinkKind.BROADCAST), (LinkRole.WAITS, LinkKind.BROADCAST)]),
        ("waits_notify", [(LinkRole.WAITS, LinkKind.NOTIFY)]),
        ("waits_timer", [(LinkRole.WAITS, LinkKind.TIMER)]),
        ("waits_timeout", [(LinkRole.WAITS, LinkKind.TIMER)]),
        ("waits_accept", [(LinkRole.HOLDS, LinkKind.IO), (LinkRole.WAITS, LinkKind.IO)]),
        ("waits_read_bytes", [(LinkRole.HOLDS, LinkKind.IO), (LinkRole.WAITS, LinkKind.IO)]),
        # They had the lock, and are known not to have it now: another one surely has it, or it is free.
        ("again", []),
        ("option_taken", []),
        ("dropped_mutex", []),
        ("maybe_dropped_did", []),
        ("pushed_away", []),
        ("shadowed", []),
        ("gave_away", []),
        ("has_been_given", [(LinkRole.HOLDS, LinkKind.MUTEX)]),
        ("maybe_dropped_not", [(LinkRole.HOLDS, LinkKind.MUTEX)]),
    ],
)
def test_what_a_task_has(seen: Seen, name: str, expected: list[tuple[LinkRole, LinkKind]]) -> None:
    assert seen.of(name) == sorted((role, kind, SURE) for role, kind in expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("joins", [("parked", True, True)]),
        ("waits_owned", [("holds_mutex", True, True)]),
        ("waits_mutex", [("holds_mutex", True, True), ("maybe_dropped_not", True, True)]),
        ("waits_given", [("has_been_given", True, True)]),
        # Of variables of one name the debug information has one alone.
        ("waits_shadows", [("shadows", False, True), ("shadows_among", False, True)]),
        ("waits_write", [("holds_read", True, True)]),
        ("waits_read", [("holds_write", True, True)]),
        # Who reads is not in the way of who reads, but who waits to write before it.
        ("reads_twice", [("writes_between", True, True)] * 2),
        ("writes_between", [("reads_twice", True, True)] * 2),
        ("reads_behind", [("writes_between", True, True)]),
        ("writes_behind", [("reads_twice", True, True)] * 2),
        ("waits_permit", [("holds_owned_permit", True, False), ("holds_permit", True, False)]),
        ("waits_oneshot", [("holds_oneshot", True, True)]),
        # Of what an async block captured nothing tells whether it was moved away.
        ("waits_block", [("block_has_oneshot", False, True)]),
        ("waits_mpsc", [("holds_mpsc", True, True)]),
        ("waits_unbounded", [("holds_unbounded", True, True)]),
        ("waits_capacity", [("holds_receiver", True, True)]),
        ("waits_watch", [("holds_watch", True, True)]),
        ("waits_closed", [("holds_watch_receiver", True, True)]),
        ("waits_broadcast", [("holds_broadcast", True, True)]),
        ("joins_set", [("of a set", True, True)] * 5),
        ("holds_set", []),
        ("waits_timer", []),
        # What lies in containers waits too.
        ("unordered", [("holds_mutex", True, True)]),
        ("ordered", [("holds_mutex", True, True)]),
        ("joins_few", [("holds_mutex", True, True)]),
        ("joins_many", [("holds_mutex", True, True)]),
        ("selects", [("holds_mutex", True, True)]),
        ("buffered", [("holds_mutex", True, True)]),
    ],
)
def test_whom_a_task_waits_for(seen: Seen, name: str, expected: list[tuple[str, bool, bool]]) -> None:
    assert seen.blockers(name) == expected


def test_the_lock_is_the_one_that_the_program_has(seen: Seen) -> None:
    found = defaultdict(set)
    for link in seen.links.links:
        if LINK_ROLES[link["role"]] is LinkRole.HOLDS and LINK_KINDS[link["kind"]] is LinkKind.MUTEX:
            found[int(link["address"])].add(seen.names[link["task"]])
    places = {seen.locks[name]: name for name in seen.locks}
    holders = {places[address]: names for address, names in found.items()}
    assert holders == {
        "mutex": {"holds_mutex"},
        "owned": {"holds_owned"},
        "maybe": {"maybe_dropped_not"},
        "given": {"has_been_given"},
        "first": {"deadlocked"},
        "second": {"deadlocked"},
        "limited": {"limited"},
        "limited, the other": {"limited"},
        "twice": {"locks_twice"},
        "shadows": {"shadows"},
        "shadows_among": {"shadows_among"},
        "both": {"holds_and_waits"},
    }


def test_a_channel_has_as_many_messages_as_the_program_says(seen: Seen) -> None:
    counted: dict[str, set[tuple[int, int | None]]] = defaultdict(set)
    for link in seen.links.links[seen.links.links["kind"] == LINK_KINDS.index(LinkKind.MPSC)]:
        capacity = int(link["capacity"])
        counted[seen.names[link["task"]]].add((int(link["messages"]), capacity if capacity >= 0 else None))
    assert {name: counted[name] for name in seen.messages} == {name: {told} for name, told in seen.messages.items()}


def test_numbers(seen: Seen) -> None:
    numbers = {
        (seen.names[link["task"]], LINK_KINDS[link["kind"]]): int(link["number"])
        for link in seen.links.links
        if LINK_ROLES[link["role"]] is LinkRole.WAITS
    }
    timer, timeout = numbers["waits_timer", LinkKind.TIMER], numbers["waits_timeout", LinkKind.TIMER]
    assert seen.links.time >= seen.snapshot.time + seen.snapshot.duration
    assert 900 < (timer - seen.snapshot.time) / 1e9 <= 1_000
    assert 1_900 < (timeout - seen.snapshot.time) / 1e9 <= 2_000
    files = [numbers[name, LinkKind.IO] for name in ("waits_accept", "waits_read_socket", "waits_read_bytes")]
    assert len(set(files)) == 3
    assert min(files) > 2
    assert numbers["waits_notify", LinkKind.NOTIFY] == -1


def test_cycles(seen: Seen) -> None:
    cycles = [
        (cycle.kind, sorted(seen.names[seen.links.blocks["task"][block]] for block in cycle.blocks), cycle.is_certain)
        for cycle in seen.links.cycles
    ]
    assert sorted(cycles) == [
        (CycleKind.DEADLOCK, ["answers", "asks"], True),
        (CycleKind.DEADLOCK, ["deadlocked", "deadlocked"], True),
        (CycleKind.DEADLOCK, ["limited", "limited"], False),  # but for its other branch
        (CycleKind.DEADLOCK, ["locks_twice"], True),
        (CycleKind.DEADLOCK, ["reads_twice", "writes_between"], True),
        (CycleKind.DEADLOCK, ["sends_and_receives", "sends_and_receives"], True),
        (CycleKind.FUTURELOCK, ["futurelocked"], True),
        (CycleKind.FUTURELOCK, ["futurelocked_by_holder"], True),
        (CycleKind.FUTURELOCK, ["futurelocked_by_many"], True),
        (CycleKind.FUTURELOCK, ["futurelocked_by_permit"], True),
    ]


def test_a_future_that_is_kept_says_which(seen: Seen) -> None:
    kept = {
        seen.binary.layouts[link["future"]].name
        for link in seen.links.links
        if link["flags"] & LinkFlag.KEPT and seen.names[link["task"]].startswith("futurelocked")
    }
    futures = {name.removeprefix("Option<").removesuffix(">").removeprefix("linked_tokio::") for name in kept}
    assert futures == {"lock_briefly", "permit_briefly", "holds_permit"}
