"""Who waits for whom, and who does so for good: of links as memory tells them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tracer.model import LinkKind, LinkRole
from tracer.snapshot.blocks import blocked
from tracer.snapshot.links import LinksFound
from tracer.stacks import (
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
OWN, WAITING = 1, 2
"""Frames: of the user's future, and of what that awaits in the end."""

ONE_WAY = Stack(tuple(Frame(number - 1, None, None, None) for number in range(3)))


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
    leaves = np.ones(len(stacks), np.int64)
    found = LinksFound(links, np.ones(len(stacks), np.bool_), leaves, NOW)
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
