"""Which task waits for which, and which of them wait for each other for good."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Set
from dataclasses import replace

import numpy as np

from tracer.model import Array, LinkKind, LinkRole
from tracer.snapshot.branches import Branches
from tracer.snapshot.image import Known
from tracer.snapshot.link_reading import LinksFound
from tracer.snapshot.routes import Rows
from tracer.stacks import (
    BLOCK,
    LENT_KINDS,
    LINK_KINDS,
    LINK_ROLES,
    MANY_DROPS,
    Cycle,
    CycleKind,
    LinkFlag,
    Snapshot,
    TaskLinks,
    TaskState,
)

_WAITS, _HOLDS, _SENDS, _RECEIVES = (
    LINK_ROLES.index(role) for role in (LinkRole.WAITS, LinkRole.HOLDS, LinkRole.SENDS, LinkRole.RECEIVES)
)
_TASK, _ONESHOT, _MPSC, _MUTEX, _RWLOCK, _NOTIFY = (
    LINK_KINDS.index(kind)
    for kind in (
        LinkKind.TASK,
        LinkKind.ONESHOT,
        LinkKind.MPSC,
        LinkKind.MUTEX,
        LinkKind.RWLOCK,
        LinkKind.NOTIFY,
    )
)
_LOCKS = (_MUTEX, _RWLOCK)
_CERTAIN, _KEPT, _GRANTED, _SHARED = (
    np.uint8(flag) for flag in (LinkFlag.CERTAIN, LinkFlag.KEPT, LinkFlag.GRANTED, LinkFlag.SHARED)
)
_MOST_OF_WAIT = 16
"""Holders of one thing that a wait is told of."""


def blocked(snapshot: Snapshot, found: LinksFound) -> TaskLinks:
    """Who waits for whom."""
    links = _consistent(_without_dropped(found.links, snapshot))
    blocks = _blocks(links)
    branches = Branches(snapshot, links, found)
    cycles = _cycles(snapshot, links, blocks, _single(links, found), branches)
    time = found.time if snapshot.time else 0
    return TaskLinks(links, blocks, tuple(cycles), found.is_known, time, found.keepers, found.channels)


def _without_dropped(links: Array, snapshot: Snapshot) -> Array:
    """Which variables are there still goes by the place in the source and by the drop flags.  So if several tasks at
    one place, with the same flags, seem to have the same mutex, which one alone can have, none of them has it."""
    held = np.flatnonzero((links["kind"] == _MUTEX) & (links["role"] == _HOLDS) & ~_has(links, _KEPT))
    held = held[~_has(links[held], _CERTAIN) & (links["drops"][held] != MANY_DROPS)]
    tasks = links["task"][held]
    frames, which = np.unique(
        np.stack([snapshot.tasks["stack"][tasks], links["frame"][held]], axis=1), axis=0, return_inverse=True
    )
    numbers: dict[tuple[int, int | None], int] = {}
    places = np.full(len(frames), -1, np.int64)
    for row, (stack, frame) in enumerate(frames.tolist()):
        one = snapshot.stacks[stack].frames[frame] if stack >= 0 else None
        if one is not None and one.layout is not None:
            places[row] = numbers.setdefault((one.layout, one.state), len(numbers))
    alike = np.zeros(len(held), [("address", "<u8"), ("place", "<i8"), ("drops", "<i8"), ("task", "<i8")])
    alike["address"], alike["place"] = links["address"][held], places[which.reshape(-1)]
    alike["drops"], alike["task"] = links["drops"][held], tasks
    each = np.unique(alike)  # a task can have it in two variables
    keys, counts = np.unique(each[["address", "place", "drops"]], return_counts=True)
    several = np.isin(alike[["address", "place", "drops"]], keys[counts > 1]) & (alike["place"] >= 0)
    return np.delete(links, held[several])


def _consistent(links: Array) -> Array:
    """A mutex has one holder: where one surely is, there is no other; where two are, neither surely is."""
    is_mutex = links["kind"] == _MUTEX
    held = np.flatnonzero(is_mutex & ((links["role"] == _HOLDS) | _has(links, _GRANTED)))
    certain = _has(links[held], _CERTAIN)
    addresses, counts = np.unique(links["address"][held[certain]], return_counts=True)
    several = np.isin(links["address"][held], addresses[counts > 1])
    one = np.isin(links["address"][held], addresses[counts == 1])
    links = links.copy()
    links["flags"][held[several]] &= ~_CERTAIN
    return np.delete(links, held[one & ~certain & (links["role"][held] == _HOLDS)])


# ---------------------------------------------------------------- who waits for whom


def _blocks(links: Array) -> Array:
    """Of what tasks wait for themselves: futures that they only keep do not count."""
    kind, role = links["kind"], links["role"]
    is_wait = (role == _WAITS) & ~_has(links, _KEPT) & ~_has(links, _GRANTED)
    is_lock = np.isin(kind, LENT_KINDS)
    locks, senders, receivers = (
        _Holders(links, np.flatnonzero(which))
        for which in (
            is_lock & ((role == _HOLDS) | ((role == _WAITS) & _has(links, _GRANTED))),
            role == _SENDS,
            role == _RECEIVES,
        )
    )
    # What waits for room in a channel waits for a semaphore in it; what waits for a message, for the channel.
    is_room = (kind == _MPSC) & ~np.isin(links["address"], links["address"][(role == _SENDS) | (role == _RECEIVES)])
    # And a sender that waits until nobody receives, for a Notify in it that is no wait for a message.
    is_end = kind == _NOTIFY
    parts = [
        _for_tasks(links, np.flatnonzero(is_wait & (kind == _TASK) & (links["target"] >= 0))),
        _but_among_readers(links, locks.blocks(np.flatnonzero(is_wait & is_lock))),
        _behind_writers(links, is_wait & (kind == _RWLOCK)),
        senders.blocks(np.flatnonzero(is_wait & ~is_lock & (kind != _TASK) & ~is_room & ~is_end)),
        receivers.blocks(np.flatnonzero(is_wait & (is_room | is_end))),
    ]
    blocks = np.concatenate(parts)
    return blocks[np.argsort(blocks["task"], kind="stable")]


def _for_tasks(links: Array, waits: Rows) -> Array:
    blocks = np.zeros(len(waits), BLOCK)
    blocks["link"], blocks["by"] = waits, -1
    blocks["task"], blocks["other"] = links["task"][waits], links["target"][waits]
    blocks["is_certain"] = _has(links[waits], _CERTAIN)
    # A JoinSet waits for any of its tasks.
    places = links["task"][waits].astype(np.int64) << 32 | links["frame"][waits]
    _, inverse, counts = np.unique(places, return_inverse=True, return_counts=True)
    blocks["is_only"] = counts[inverse] == 1
    return blocks


def _but_among_readers(links: Array, blocks: Array) -> Array:
    """One who reads is not in the way of another one."""
    are_both = _has(links[blocks["link"]], _SHARED) & _has(links[blocks["by"]], _SHARED)
    among: Array = blocks[~are_both]
    return among


def _behind_writers(links: Array, is_wait: Known) -> Array:
    """Who waits to read stands behind one who waits to write, though those who have the lock read too.

    In a queue memory tells who is before whom; of other locks, that it can be none but one of the writers.
    """
    reads = is_wait & _has(links, _SHARED)
    in_line = np.flatnonzero(reads & (links["place"] != 0))
    first = _first_writers(links, in_line)
    blocks = np.zeros(np.count_nonzero(first >= 0), BLOCK)
    blocks["link"], blocks["by"] = in_line[first >= 0], first[first >= 0]
    blocks["task"], blocks["other"] = links["task"][blocks["link"]], links["task"][blocks["by"]]
    blocks["is_certain"] = _has(links[blocks["by"]], _CERTAIN)
    blocks["is_only"] = True
    writers = _Holders(links, np.flatnonzero(is_wait & ~_has(links, _SHARED) & (links["place"] == 0)))
    perhaps = writers.blocks(np.flatnonzero(reads & (links["place"] == 0)))
    perhaps["is_certain"] = False
    return np.concatenate([blocks, perhaps])


def _first_writers(links: Array, waits: Rows) -> Rows:
    """Of each of these waits the first in its queue that is one to write, and polled; -1: none before it is known."""
    queued = np.flatnonzero((links["role"] == _WAITS) & (links["kind"] == _RWLOCK) & (links["place"] != 0))
    at_place = dict(zip(links["place"][queued].tolist(), queued.tolist(), strict=True))
    writes = set(queued[~_has(links[queued], _SHARED) & ~_has(links[queued], _KEPT)].tolist())
    before = links["before"].tolist() if len(waits) else []
    firsts: dict[int, int] = {}  # of a place, with that one itself
    for wait in waits.tolist():
        at = before[wait]
        passed: dict[int, None] = {}
        while at in at_place and at not in firsts and at not in passed:
            passed[at] = None
            at = before[at_place[at]]
        first = firsts.get(at, -1)
        for place in reversed(passed):
            first = at_place[place] if first < 0 and at_place[place] in writes else first
            firsts[place] = first
    return np.array([firsts.get(before[wait], -1) for wait in waits.tolist()], np.intp)


class _Holders:
    """Links by what they lead to; what one leads to is not a part of what another does."""

    def __init__(self, links: Array, which: Rows) -> None:
        self._links = links
        self._order = which[np.argsort(links["address"][which], kind="stable")]
        addresses = links["address"][self._order]
        self._starts, self._first, self._counts = np.unique(addresses, return_index=True, return_counts=True)
        sizes = links["size"][self._order].astype(np.uint64)
        self._sizes = np.maximum.reduceat(sizes, self._first) if len(sizes) else sizes

    def blocks(self, waits: Rows) -> Array:
        """Of waits for one of these things, or for a part of it."""
        links = self._links
        if not len(self._starts) or not len(waits):
            return np.empty(0, BLOCK)
        addresses = links["address"][waits]
        thing = np.searchsorted(self._starts, addresses, "right") - 1
        is_in = (thing >= 0) & (addresses - self._starts[thing] < np.maximum(self._sizes[thing], np.uint64(1)))
        waits, thing = waits[is_in], thing[is_in]
        counts = np.minimum(self._counts[thing], _MOST_OF_WAIT)
        wait, which = np.repeat(waits, counts), np.repeat(thing, counts)
        among = np.arange(len(wait)) - np.repeat(np.cumsum(counts) - counts, counts)
        held = self._order[self._first[which] + among]
        blocks = np.zeros(len(wait), BLOCK)
        blocks["link"], blocks["by"] = wait, held
        blocks["task"], blocks["other"] = links["task"][wait], links["task"][held]
        blocks["is_certain"] = _has(links[held], _CERTAIN)
        blocks["is_only"] = (self._counts[which] == 1) | np.isin(links["kind"][held], _LOCKS)
        return blocks


def _has(links: Array, flag: np.uint8) -> Known:
    has: Known = (links["flags"] & flag) != 0
    return has


# ---------------------------------------------------------------- for good


def _cycles(snapshot: Snapshot, links: Array, blocks: Array, single: Known, branches: Branches) -> Iterator[Cycle]:
    held = links[np.maximum(blocks["by"], 0)] if len(links) else np.zeros(len(blocks), links.dtype)
    is_held = blocks["by"] >= 0
    waits = snapshot.tasks["state"][blocks["task"]] == TaskState.WAITING
    own = waits & (blocks["task"] == blocks["other"]) & is_held & _has(held, _KEPT)
    for index in np.flatnonzero(own & np.isin(held["kind"], LENT_KINDS)).tolist():
        is_certain = bool(blocks["is_certain"][index] and single[blocks["task"][index]])
        yield Cycle(CycleKind.FUTURELOCK, (index,), is_certain)
    is_lock = np.isin(held["kind"], _LOCKS) & ~_has(held, _GRANTED)
    # A channel has one receiver, and who waits for that one is no sender of which there could be more.
    is_channel = (held["kind"] == _ONESHOT) | ((held["kind"] == _MPSC) & (held["role"] == _RECEIVES))
    for_good = np.where(is_held, is_lock | (blocks["is_only"] & is_channel), blocks["is_only"])
    stays = waits & for_good & ~own
    is_single = single[blocks["task"]]
    loops = [
        Cycle(CycleKind.DEADLOCK, loop, bool(blocks["is_certain"][list(loop)].all()))
        for loop in _loops(blocks, np.flatnonzero(stays & is_single))
    ]
    # One with several branches goes on in another one, which may be the one that holds what this one waits for.
    others = {
        block: found
        for block in np.flatnonzero(stays & ~is_single).tolist()
        if (found := branches.others(int(blocks["link"][block]))) is not None
    }
    if others:
        wider = np.union1d(np.flatnonzero(stays & is_single), np.array([*others], np.intp))
        loops += [
            Cycle(CycleKind.DEADLOCK, loop, False, tuple(one for block in loop for one in others.get(block, ())))
            for loop in _loops(blocks, wider)
            if _is_kept(blocks, loop, others.keys(), branches)
        ]
    told: set[int] = set()
    for cycle in sorted(loops, key=lambda one: (not one.is_certain, len(one.others), len(one.blocks))):
        tasks = set(blocks["task"][list(cycle.blocks)].tolist())
        if tasks.isdisjoint(told):  # a writer waits for all who read
            told |= tasks
            yield replace(cycle, blocks=_as_told(snapshot, links, blocks, cycle.blocks))


def _as_told(snapshot: Snapshot, links: Array, blocks: Array, loop: tuple[int, ...]) -> tuple[int, ...]:
    """The same circle, begun at one that stands in line behind another one, for it asks twice; else at the oldest."""
    mine = blocks[list(loop)]
    in_line = (mine["by"] >= 0) & (links["role"][mine["by"]] == _WAITS) & ~_has(links[mine["by"]], _GRANTED)
    first = int(np.lexsort((snapshot.tasks["id"][mine["task"]], ~in_line))[0])
    return (*loop[first:], *loop[:first])


def _is_kept(blocks: Array, loop: tuple[int, ...], several: Set[int], branches: Branches) -> bool:
    """Whether what is wanted of each task with several branches stays with the one that waits in this loop."""
    return any(block in several for block in loop) and all(
        block not in several or (before["by"] >= 0 and branches.keeps(int(before["by"]), int(blocks["link"][block])))
        for before, block in zip(blocks[[loop[-1], *loop[:-1]]], loop, strict=True)
    )


def _loops(blocks: Array, which: Rows) -> Iterator[tuple[int, ...]]:
    """One cycle at least of each set of tasks that all come back to each other; depth first, without recursion."""
    task_of, other_of = blocks["task"].tolist(), blocks["other"].tolist()
    after: dict[int, list[int]] = defaultdict(list)
    for index in which.tolist():
        after[task_of[index]].append(index)
    done: set[int] = set()
    for start in sorted(after):
        path: list[int] = []  # blocks
        place = {start: 0}
        choices = [iter(after[start])] if start not in done else []
        while choices:
            index = next(choices[-1], None)
            if index is None:
                choices.pop()
                done.add(other_of[path.pop()] if path else start)
                continue
            other = other_of[index]
            if other in done or other not in after:
                continue
            if other in place:
                yield (*path[place[other] :], index)
                continue
            path.append(index)
            place[other] = len(path)
            choices.append(iter(after[other]))


def _single(links: Array, found: LinksFound) -> Known:
    """Whether a task waits at one place for one thing: no other branch of it could go on."""
    polled = links["task"][(links["role"] == _WAITS) & ~_has(links, _KEPT)]
    counts = np.bincount(polled, minlength=len(found.leaves))
    is_single: Known = (counts == 1) & (found.leaves == 1)
    return is_single
