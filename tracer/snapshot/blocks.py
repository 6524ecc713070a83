"""Which task waits for which, and which of them wait for each other for good."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tracer.model import Array, LinkKind, LinkRole
from tracer.snapshot.links import LinksFound
from tracer.stacks import (
    BLOCK,
    LINK_KINDS,
    LINK_ROLES,
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
_TASK, _ONESHOT, _MPSC, _MUTEX = (
    LINK_KINDS.index(kind) for kind in (LinkKind.TASK, LinkKind.ONESHOT, LinkKind.MPSC, LinkKind.MUTEX)
)
_LOCKS = frozenset(LINK_KINDS.index(kind) for kind in (LinkKind.MUTEX, LinkKind.RWLOCK))
_SEMAPHORES = _LOCKS | {LINK_KINDS.index(LinkKind.SEMAPHORE)}
_MOST_OF_WAIT = 64
"""Holders of one thing that a wait is told of."""


def blocked(snapshot: Snapshot, found: LinksFound) -> TaskLinks:
    """Who waits for whom."""
    links = _consistent(found.links)
    blocks = np.array(list(_blocks(links)), BLOCK)
    cycles = _cycles(snapshot.tasks["state"], links, blocks, _single(links, found))
    return TaskLinks(links, blocks, tuple(cycles), found.is_known)


def _consistent(links: Array) -> Array:
    """A mutex has one holder: where one surely is, there is no other; where two are, neither surely is."""
    held = np.flatnonzero(
        ((links["kind"] == _MUTEX) & (links["role"] == _HOLDS))
        | ((links["kind"] == _MUTEX) & (links["role"] == _WAITS) & (links["flags"] & LinkFlag.GRANTED != 0))
    )
    certain = links["flags"][held] & LinkFlag.CERTAIN != 0
    addresses, counts = np.unique(links["address"][held[certain]], return_counts=True)
    several = np.isin(links["address"][held], addresses[counts > 1])
    one = np.isin(links["address"][held], addresses[counts == 1])
    links = links.copy()
    links["flags"][held[several]] &= np.uint8(0xFF ^ LinkFlag.CERTAIN)
    gone = held[one & ~certain & (links["role"][held] == _HOLDS)]
    return np.delete(links, gone)


def _blocks(links: Array) -> Iterator[tuple[int, int, int, int, bool, bool, tuple[int, int]]]:
    holders = _Holders(links)
    # A JoinSet waits for any of its tasks.
    waits = links[(links["role"] == _WAITS) & (links["kind"] == _TASK)]
    handles = Counter(zip(waits["task"].tolist(), waits["frame"].tolist(), strict=True))
    for row in np.flatnonzero(links["role"] == _WAITS).tolist():
        wait = links[row]
        if wait["flags"] & LinkFlag.KEPT or wait["flags"] & LinkFlag.GRANTED:
            continue
        if wait["kind"] == _TASK:
            if wait["target"] >= 0:
                is_only = handles[(int(wait["task"]), int(wait["frame"]))] == 1
                yield row, -1, int(wait["task"]), int(wait["target"]), bool(wait["flags"] & 1), is_only, (0, 0)
            continue
        others = holders.of(row)
        for other in others[:_MOST_OF_WAIT]:
            held = links[other]
            is_only = len(others) == 1 or int(held["kind"]) in _LOCKS
            yield row, other, int(wait["task"]), int(held["task"]), bool(held["flags"] & 1), is_only, (0, 0)


class _Holders:
    """By what they hold."""

    def __init__(self, links: Array) -> None:
        self._links = links
        held = np.flatnonzero((links["role"] != _WAITS) | (links["flags"] & LinkFlag.GRANTED != 0))
        self._held = held[np.argsort(links["address"][held], kind="stable")]
        self._addresses = links["address"][self._held]
        sizes = np.where(self._held >= 0, links["size"][self._held], 0)
        self._longest = int(sizes.max(initial=0))

    def of(self, wait: int) -> list[int]:
        """The links that could end a wait."""
        links = self._links
        address = int(links["address"][wait])
        low = int(np.searchsorted(self._addresses, max(address - self._longest, 0)))
        high = int(np.searchsorted(self._addresses, address, "right"))
        around = self._held[low:high]
        around = around[
            (links["address"][around] == address) | (address < links["address"][around] + links["size"][around])
        ]
        around = around[around != wait]
        exact = links["address"][around] == address
        role = links["role"][around]
        if int(links["kind"][wait]) in _SEMAPHORES:
            chosen = exact & ((role == _HOLDS) | (role == _WAITS))
        elif links["kind"][wait] == _MPSC and not exact.any():
            chosen = role == _RECEIVES  # it waits for room: by a semaphore in the channel
        else:
            chosen = role == _SENDS
        return [int(one) for one in around[chosen]]


def _cycles(state: npt.NDArray[np.uint8], links: Array, blocks: Array, single: set[int]) -> Iterator[Cycle]:
    after: dict[int, list[int]] = defaultdict(list)
    for index, block in enumerate(blocks):
        if state[block["task"]] != TaskState.WAITING:
            continue
        if block["task"] == block["other"] and _is_futurelock(links, block):
            yield Cycle(CycleKind.FUTURELOCK, (index,), bool(block["is_certain"]) and int(block["task"]) in single)
        elif _is_for_good(links, block):
            after[int(block["task"])].append(index)
    yield from _loops(blocks, after, single)


def _is_for_good(links: Array, block: Array) -> bool:
    """Whether the other task alone must do something to end the wait."""
    if block["by"] < 0:
        return bool(block["is_only"])
    held = links[block["by"]]
    is_lock = int(held["kind"]) in _LOCKS and not held["flags"] & LinkFlag.GRANTED
    return bool(is_lock or (block["is_only"] and held["kind"] == _ONESHOT))


def _is_futurelock(links: Array, block: Array) -> bool:
    return bool(block["by"] >= 0 and links["flags"][block["by"]] & LinkFlag.KEPT)


def _loops(blocks: Array, after: dict[int, list[int]], single: set[int]) -> Iterator[Cycle]:
    """Each task that comes back to itself is in one cycle; depth first, without recursion."""
    done: set[int] = set()
    for start in sorted(after):
        path: list[int] = []  # blocks
        place: dict[int, int] = {start: 0}
        choices = [iter(after[start])] if start not in done else []
        while choices:
            index = next(choices[-1], None)
            if index is None:
                choices.pop()
                done.add(int(blocks["other"][path.pop()]) if path else start)
                continue
            other = int(blocks["other"][index])
            if other in place and other not in done:
                loop = (*path[place[other] :], index)
                tasks = [int(blocks["task"][one]) for one in loop]
                certain = all(bool(blocks["is_certain"][one]) for one in loop)
                yield Cycle(CycleKind.DEADLOCK, loop, certain and single.issuperset(tasks))
                continue
            if other not in done and other in after:
                path.append(index)
                place[other] = len(path)
                choices.append(iter(after[other]))
        done.add(start)


def _single(links: Array, found: LinksFound) -> set[int]:
    """The tasks that wait at one place for one thing: no other branch of theirs could go on."""
    polled = links[(links["role"] == _WAITS) & (links["flags"] & LinkFlag.KEPT == 0)]
    tasks, counts = np.unique(polled["task"], return_counts=True)
    return set(tasks[(counts == 1) & (found.leaves[tasks] == 1)].tolist())
