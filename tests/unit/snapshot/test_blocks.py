"""Who waits for whom, and who does so for good: of links as memory tells them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from tracer.model import LinkKind, LinkRole
from tracer.snapshot.blocks import blocked
from tracer.snapshot.link_reading import LinksFound
from tracer.stacks import (
    CHANNEL,
    LINK,
    LINK_KINDS,
    LINK_ROLES,
    SNAPSHOT_TASK,
    Frame,
    LinkFlag,
    Snapshot,
    Stack,
    TaskLinks,
    TaskState,
)

NOW = 5_000_000_000
SECOND = 1_000_000_000
OWN, WAITING, OTHER = 1, 2, 3
"""Frames: of the user's future, of what that awaits in the end, and of the branch beside it."""

ONE_WAY = Stack(tuple(Frame(number - 1, None, None, None) for number in range(3)))
TWO_WAYS = Stack((*ONE_WAY.frames, Frame(0, None, None, None)))


@dataclass(frozen=True)
class Has:
    task: int
    role: LinkRole
    kind: LinkKind
    address: int = 0x1000
    frame: int = WAITING
    place: int = 0
    before: int = 0
    number: int = -1
    target: int = -1
    flags: LinkFlag = LinkFlag.CERTAIN


W, H, S, R = LinkRole.WAITS, LinkRole.HOLDS, LinkRole.SENDS, LinkRole.RECEIVES
READS = LinkFlag.CERTAIN | LinkFlag.SHARED


def links_of(stacks: Sequence[Stack], has: Sequence[Has], *, time: int = 1) -> TaskLinks:
    """Of tasks that wait, one a stack."""
    tasks = np.zeros(len(stacks), SNAPSHOT_TASK)
    tasks["state"], tasks["stack"] = TaskState.WAITING, range(len(stacks))
    links = np.zeros(len(has), LINK)
    for link, one in zip(links, sorted(has, key=lambda one: one.task), strict=True):
        link["task"], link["frame"], link["address"], link["size"] = one.task, one.frame, one.address, 0x40
        link["role"], link["kind"], link["flags"] = LINK_ROLES.index(one.role), LINK_KINDS.index(one.kind), one.flags
        link["number"], link["target"], link["future"] = one.number, one.target, -1
        link["place"], link["before"] = one.place, one.before
    leaves = np.array([2 if stack is TWO_WAYS else 1 for stack in stacks])
    found = LinksFound(links, np.empty(0, CHANNEL), np.ones(len(stacks), np.bool_), leaves, NOW)
    return blocked(Snapshot(time, 0, tasks, tuple(stacks)), found)


def whom(links: TaskLinks) -> list[tuple[int, int, bool]]:
    return sorted((int(one["task"]), int(one["other"]), bool(one["is_certain"])) for one in links.blocks)


def cycles(links: TaskLinks) -> list[tuple[list[int], bool]]:
    return [([int(links.blocks["task"][one]) for one in cycle.blocks], cycle.is_certain) for cycle in links.cycles]


RWLOCK = LinkKind.RWLOCK
QUEUE = [
    Has(0, H, RWLOCK, flags=READS, frame=OWN),
    Has(1, H, RWLOCK, flags=READS, frame=OWN),
    Has(0, W, RWLOCK, flags=READS, place=0x30, before=0x20),
    Has(1, W, RWLOCK, flags=READS, place=0x20, before=0x10),
    Has(2, W, RWLOCK, place=0x10),
    Has(3, W, RWLOCK, place=0x40, before=0x30),
]


def test_who_reads_stands_behind_who_writes() -> None:
    links = links_of([ONE_WAY] * 4, QUEUE)
    readers = [(2, 0, True), (2, 1, True)]
    assert whom(links) == [(0, 2, True), (1, 2, True), *readers, *((3, *one[1:]) for one in readers)]
    assert cycles(links) == [([0, 2], True)]


def test_it_is_told_from_who_asks_twice_on() -> None:
    others = {0: 1, 1: 2, 2: 0, 3: 3}
    assert cycles(links_of([ONE_WAY] * 4, [replace(one, task=others[one.task]) for one in QUEUE])) == [([1, 0], True)]


def test_who_writes_behind_it_is_in_nobodys_way() -> None:
    links = links_of([ONE_WAY] * 4, [replace(one, before=0) if one.task == 1 else one for one in QUEUE])
    assert {(task, other) for task, other, _ in whom(links)} == {(2, 0), (2, 1), (3, 0), (3, 1)}
    assert not links.cycles


def test_where_there_is_no_queue_it_is_one_of_those_who_write() -> None:
    links = links_of([ONE_WAY] * 4, [replace(one, place=0, before=0) for one in QUEUE if one.task in (0, 2)])
    assert whom(links) == [(0, 2, False), (2, 0, True)]
    assert cycles(links) == [([0, 2], False)]


def test_who_reads_waits_for_who_is_writing() -> None:
    links = links_of([ONE_WAY] * 2, [Has(0, H, RWLOCK), Has(1, W, RWLOCK, flags=READS, place=0x10)])
    assert whom(links) == [(1, 0, True)]


def each_others_lock(*more: Has, held_in: int = OWN, time: int = 1) -> TaskLinks:
    """Of two tasks with a second branch.  held_in: the frame whose future has the locks."""
    has = [
        Has(task, role, LinkKind.MUTEX, 0x1000 * number, frame)
        for task, own, other in ((0, 1, 2), (1, 2, 1))
        for role, number, frame in ((H, own, held_in), (W, other, WAITING))
    ]
    return links_of([TWO_WAYS] * 2, [*has, *more], time=time)


def beside(kind: LinkKind, number: int = -1) -> list[Has]:
    return [Has(task, W, kind, 0x9000 + task * 0x100, OTHER, number=number) for task in (0, 1)]


@pytest.mark.parametrize(
    ("others", "is_told"),
    [
        (beside(LinkKind.NOTIFY), True),
        (beside(LinkKind.IO), True),
        (beside(LinkKind.TIMER, NOW + SECOND), True),
        (beside(LinkKind.TIMER, NOW + SECOND - 1), False),
        (beside(LinkKind.TIMER), False),
        (beside(LinkKind.SEMAPHORE), False),
        (beside(LinkKind.MUTEX), False),
        (beside(LinkKind.NOTIFY)[:1], False),  # nothing tells what the other one's branch waits for
        ([], False),
    ],
)
def test_tasks_with_other_branches_are_perhaps_in_a_deadlock(others: list[Has], is_told: bool) -> None:
    links = each_others_lock(*others)
    assert cycles(links) == ([([0, 1], False)] if is_told else [])
    for cycle in links.cycles:
        assert [int(links.links["frame"][one]) for one in cycle.others] == [OTHER, OTHER]


def test_when_a_timer_is_due_a_core_dump_does_not_tell() -> None:
    assert not each_others_lock(*beside(LinkKind.TIMER, NOW + 60 * SECOND), time=0).cycles


@pytest.mark.parametrize(("held_in", "is_told"), [(0, True), (OWN, True), (OTHER, False)])
def test_what_another_branch_has_is_given_back_by_that(held_in: int, is_told: bool) -> None:
    assert bool(each_others_lock(*beside(LinkKind.NOTIFY), held_in=held_in).cycles) is is_told


def test_a_task_that_can_be_stopped_is_in_no_deadlock_with_who_stops_it() -> None:
    """It waits for the task's end, or for a signal at which it stops that."""
    has = [
        Has(0, W, LinkKind.TASK, 0x5000, target=1),
        Has(0, W, LinkKind.NOTIFY, 0x9000, OTHER),
        Has(0, S, LinkKind.ONESHOT, 0x7000, 0),
        Has(1, W, LinkKind.ONESHOT, 0x7000),
    ]
    links = links_of([TWO_WAYS, ONE_WAY], has)
    assert {(task, other) for task, other, _ in whom(links)} == {(0, 1), (1, 0)}
    assert not links.cycles


@pytest.mark.parametrize("receives", [False, True])
def test_two_that_fill_each_others_channels(receives: bool) -> None:
    """receives: beside that each takes out of its own."""
    has = []
    for task, own, other in ((0, 0x1000, 0x2000), (1, 0x2000, 0x1000)):
        has += [Has(task, R, LinkKind.MPSC, own, 0), Has(task, W, LinkKind.MPSC, other + 0x10)]
        has += [Has(task, W, LinkKind.MPSC, own, OTHER) if receives else Has(task, W, LinkKind.NOTIFY, 0x9000, OTHER)]
    assert bool(links_of([TWO_WAYS] * 2, has).cycles) is not receives
