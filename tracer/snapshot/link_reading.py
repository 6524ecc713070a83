"""One reading of what the tasks of a snapshot wait for and hold: of their stacks, and of the futures that they keep."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tracer.model import Array, Backlog, Binary, Container, Layout, Link, LinkKind, LinkRole
from tracer.snapshot.containers import elements
from tracer.snapshot.image import Image, Known
from tracer.snapshot.routes import Rows, follow, passes
from tracer.snapshot.vtables import FutureVtables
from tracer.snapshot.walk import Walk
from tracer.stacks import CHANNEL, KEEPER, LINK, LINK_KINDS, LINK_ROLES, MANY_DROPS, LinkFlag, Snapshot, Stack
from tracer.target.clock import kernel_now
from tracer.target.memory import Addresses

_ROUNDS = 3
"""Futures that are kept in futures that are kept …: so deep."""

_MOST_KEPT = 100_000
"""Such futures of all tasks, those in containers included."""

_NAMES = (
    ("tokio::sync::mutex::", LinkKind.MUTEX),
    ("tokio::sync::rwlock::", LinkKind.RWLOCK),
    ("tokio::sync::semaphore::", LinkKind.SEMAPHORE),
    ("tokio::sync::mpsc::", LinkKind.MPSC),
    ("tokio::sync::watch::", LinkKind.WATCH),
)
"""tokio 1.25 to 1.54: these wait by a semaphore, or a Notify, that is a part of them."""
_FOR_RECEIVERS = re.compile(r"::closed\b")
"""A sender's wait until there is no receiver any more: another sender does not end it."""
_RWLOCK = LINK_KINDS.index(LinkKind.RWLOCK)
_WAITS = LINK_ROLES.index(LinkRole.WAITS)
_PARTS = frozenset({LinkKind.SEMAPHORE, LinkKind.NOTIFY})
_SEVERAL = 2
"""Leaves of a task that has more than were looked at."""

_MOST_DROPS = 7
_SECOND = 1_000_000_000
_MOST_SECONDS = 1 << 33


@dataclass(frozen=True, slots=True)
class LinksFound:
    """links: dtype LINK, by task and frame.  channels: dtype CHANNEL, by the second reading alone.

    is_known: of each task, whether two readings of it agree.
    leaves: of each task, at how many futures that poll no other its stack and its containers end.
    time: between the two (of one: its end), ns of CLOCK_MONOTONIC: what both tell was so then.
    keepers: dtype KEEPER, by `finished`.
    """

    links: Array
    channels: Array
    is_known: Known
    leaves: npt.NDArray[np.int64]
    time: int
    keepers: Array = field(default_factory=lambda: np.empty(0, KEEPER))


@dataclass(frozen=True, slots=True)
class _Group:
    """A frame of all tasks that are in one stack.  frames: of the tasks' own stacks, where it belongs.

    future: the layout of the future that is kept, -1 when the frame is polled.  is_certain: of each task.
    above: what the futures around it wait for by it, if that has a name.  is_leaf: there is no frame below it.
    rest: by layout of what a container has, the frame that stands for those of it that have none of their own.
    """

    layout: int
    state: int | None
    tasks: Rows
    frames: Rows
    addresses: Addresses
    future: int
    is_certain: Known
    above: LinkKind | None
    is_leaf: bool
    rest: Mapping[int | None, int]


@dataclass(frozen=True, slots=True)
class _Kept:
    """Futures of one type that are in no stack: those that tasks keep, or (is_polled) that are in containers."""

    is_polled: bool
    layout: int
    tasks: Rows
    frames: Rows
    addresses: Addresses
    is_certain: Known


class LinkReading:
    """What the tasks of a snapshot, in whose image of memory, wait for and hold."""

    def __init__(self, binary: Binary, vtables: FutureVtables, image: Image, snapshot: Snapshot) -> None:
        self._binary = binary
        self._vtables = vtables
        self._image = image
        self._snapshot = snapshot
        self._links: list[Array] = []
        self.backlogs: dict[Backlog, int] = {}
        """How channels count, with a number each, which their links have in place of `messages`."""
        self._is_known = np.ones(len(snapshot.tasks), np.bool_)
        self._polled: list[Addresses] = []
        self._left = _MOST_KEPT
        self._leaves = np.zeros(len(snapshot.tasks), np.int64)

    def run(self) -> LinksFound:
        groups = list(self._own())
        self._load(groups)
        for group in groups:
            self._check(group)
            self._note_polled(group)
        seen = self._all_polled
        for _ in range(_ROUNDS):
            kept = [one for group in groups for one in self._links_of(group)]
            fresh, seen = self._fresh(kept, seen)
            groups = list(self._walked(fresh))
            if not groups:
                break
            self._load(groups)
        links = np.concatenate(self._links) if self._links else np.empty(0, LINK)
        links = _without_wrong_guesses(links)
        return LinksFound(links, np.empty(0, CHANNEL), self._is_known, self._leaves, kernel_now())

    def _own(self) -> Iterator[_Group]:
        """The frames of the tasks' own stacks."""
        tasks = self._snapshot.tasks
        for number, stack in enumerate(self._snapshot.stacks):
            rows = np.flatnonzero(tasks["stack"] == number)
            if len(rows):
                certain = np.ones(len(rows), np.bool_)
                places = self._snapshot.addresses[number][tasks["row"][rows]]
                yield from _frames(self._binary, stack, rows, places, -1, certain)

    def _load(self, groups: Sequence[_Group]) -> None:
        if groups:
            sizes = [np.full(len(one.addresses), self._layout(one).size, np.uint64) for one in groups]
            self._image.load(np.concatenate([one.addresses for one in groups]), np.concatenate(sizes))

    def _layout(self, group: _Group) -> Layout:
        return self._binary.layouts[group.layout]

    def _check(self, group: _Group) -> None:
        """Tasks that are in another state by now are not known."""
        layout = self._layout(group)
        if layout.discriminant_offset is None or group.state is None:
            return
        places = group.addresses + np.uint64(layout.discriminant_offset)
        values, known = self._image.numbers_at(places, layout.discriminant_size)
        self._is_known[group.tasks[~known | (values != group.state)]] = False

    # ------------------------------------------------------------ one frame

    def _links_of(self, group: _Group) -> Iterator[_Kept]:
        """Note the links of a frame.  Yields the futures that it keeps."""
        layout = self._layout(group)
        if group.is_leaf and group.future < 0 and not any(one.is_polled for one in layout.containers):
            np.add.at(self._leaves, group.tasks, 1)
        for link in layout.links:
            if link.route.value not in (None, group.state):
                continue
            ends = follow(self._image, link.route, group.addresses)
            if not link.is_guess:
                self._is_known[group.tasks[~ends.known]] = False
            certain = group.is_certain & self._are_there(group, link)
            if link.role is LinkRole.KEEPS:
                assert link.child is not None
                at = ends.leads
                yield _Kept(False, link.child, group.tasks[at], group.frames[at], ends.addresses[at], certain[at])
            else:
                self._note(group, link, ends.addresses, ends.leads, certain)
        for container in layout.containers:
            if container.route.value in (None, group.state):
                yield self._contained(group, container)

    def _contained(self, group: _Group, container: Container) -> _Kept:
        found = elements(self._image, container, group.addresses, max(self._left, 0))
        self._leaves[group.tasks[~found.is_whole]] += _SEVERAL
        certain = group.is_certain & self._are_there(group, container)
        rows = found.rows
        is_polled = container.is_polled and group.future < 0
        frames = group.frames[rows]
        if is_polled and container.child in group.rest:
            frames = np.full_like(frames, group.rest[container.child])
        return _Kept(is_polled, container.child, group.tasks[rows], frames, found.addresses, certain[rows])

    def _are_there(self, group: _Group, link: Link | Container) -> Known:
        """Whether nothing speaks against the variable's being there still."""
        is_variable = link.route.value is not None
        certain = np.full(len(group.addresses), link.is_certain, np.bool_)
        certain &= self._binary.can_unwind or not is_variable
        for flag in link.flags:
            values, known = self._image.numbers_at(group.addresses + np.uint64(flag), 1)
            certain &= known & (values == 1)
        return certain

    def _drops(self, group: _Group, link: Link) -> npt.NDArray[np.uint8]:
        """As LINK has it."""
        drops = np.zeros(len(group.addresses), np.uint8)
        if len(link.flags) > _MOST_DROPS:
            return drops + np.uint8(MANY_DROPS)
        for number, flag in enumerate(link.flags):
            values, _ = self._image.numbers_at(group.addresses + np.uint64(flag), 1)
            drops |= (values == 1).astype(np.uint8) << np.uint8(number)
        return drops

    def _note(self, group: _Group, link: Link, addresses: Addresses, leads: Known, certain: Known) -> None:
        if link.busy is not None:
            is_busy, known = passes(self._image, link.busy, addresses)
            if not link.is_guess:
                self._is_known[group.tasks[leads & ~known]] = False
            leads = leads & is_busy
        granted = np.full(len(addresses), bool(link.granted), np.bool_)
        for test in link.granted:
            granted &= passes(self._image, test, group.addresses)[0]
        rows = np.flatnonzero(leads)
        links = np.zeros(len(rows), LINK)
        links["address"] = addresses[rows]
        links["task"], links["frame"] = group.tasks[rows], group.frames[rows]
        links["target"], links["future"], links["size"] = -1, group.future, link.size
        is_part = link.role is LinkRole.WAITS and link.kind in _PARTS and group.above is not None
        links["kind"] = LINK_KINDS.index(group.above if is_part and group.above else link.kind)
        links["role"] = LINK_ROLES.index(link.role)
        links["flags"] |= np.where(certain[rows], LinkFlag.CERTAIN, 0).astype(np.uint8)
        links["flags"] |= np.where(granted[rows], LinkFlag.GRANTED, 0).astype(np.uint8)
        is_shared = self._is_shared(group, link)[rows] & (links["kind"] == _RWLOCK)
        links["flags"] |= np.where(is_shared, LinkFlag.SHARED, 0).astype(np.uint8)
        if link.queue is not None:
            place, before = link.queue
            links["place"] = group.addresses[rows] + np.uint64(place)
            links["before"], known = self._image.numbers_at(group.addresses[rows] + np.uint64(before), 8)
            links["place"][~known] = 0
        links["messages"], links["capacity"] = self._counting(link), -1
        links["flags"] |= np.uint8(LinkFlag.KEPT if group.future >= 0 else 0)
        links["flags"] |= np.uint8(LinkFlag.GUESS if link.is_guess else 0)
        links["number"], links["drops"] = self._numbers(group, link)[rows], self._drops(group, link)[rows]
        self._links.append(links)

    def _counting(self, link: Link) -> int:
        """See `backlogs`; -1: it is no channel of which it is known how it counts."""
        return self.backlogs.setdefault(link.backlog, len(self.backlogs)) if link.backlog is not None else -1

    def _is_shared(self, group: _Group, link: Link) -> Known:
        if isinstance(link.shared, bool):
            return np.full(len(group.addresses), link.shared, np.bool_)
        return passes(self._image, link.shared, group.addresses)[0]

    def _numbers(self, group: _Group, link: Link) -> npt.NDArray[np.int64]:
        """What tells more of each; -1 where nothing does."""
        numbers = np.full(len(group.addresses), -1, np.int64)
        if link.number is None:
            return numbers
        ends = follow(self._image, link.number, group.addresses)
        content, known = self._image.bytes_at(ends.addresses, 16 if link.kind is LinkKind.TIMER else 4)
        known &= ends.leads
        if link.kind is not LinkKind.TIMER:
            return np.where(known, content.view("<i4")[:, 0], -1)
        seconds, nanoseconds = content.view("<u8")[:, 0], content.view("<u4")[:, 2]
        known &= (nanoseconds < _SECOND) & (seconds < _MOST_SECONDS)
        numbers[known] = seconds[known].astype(np.int64) * _SECOND + nanoseconds[known]
        return numbers

    # ------------------------------------------------------------ futures that are kept

    def _note_polled(self, group: _Group) -> None:
        self._polled.append(_keys(group.tasks, group.addresses, self._layout(group).size))

    @cached_property
    def _all_polled(self) -> Addresses:
        """What the tasks' own stacks have, once all of that is noted."""
        return np.sort(np.concatenate([np.empty(0, np.uint64), *self._polled]))

    def _fresh(self, kept: list[_Kept], seen: Addresses) -> tuple[list[_Kept], Addresses]:
        """Those that are not polled, each once."""
        fresh: list[_Kept] = []
        for one in sorted(kept, key=lambda one: (not one.is_polled, not one.is_certain.any())):
            keys = _keys(one.tasks, one.addresses, self._binary.layouts[one.layout].size)
            _, first = np.unique(keys, return_index=True)
            new = np.zeros(len(keys), np.bool_)
            new[first] = True
            new &= ~_is_among(keys, seen)
            self._left -= int(np.count_nonzero(new))
            if self._left < 0:
                self._leaves[one.tasks] += _SEVERAL
            elif new.any():
                seen = np.sort(np.concatenate([seen, keys[new]]))
                chosen = one.tasks[new], one.frames[new], one.addresses[new], one.is_certain[new]
                fresh.append(_Kept(one.is_polled, one.layout, *chosen))
        return fresh, seen

    def _walked(self, kept: list[_Kept]) -> Iterator[_Group]:
        """The frames of futures that are kept."""
        for one in kept:
            layout = self._binary.layouts[one.layout]
            self._image.load(one.addresses, layout.size)
            count = len(one.tasks)
            walk = Walk(self._binary, self._image, self._vtables)
            walked = walk.run([(one.layout, np.arange(count), one.addresses)], count)
            for number, stack in enumerate(walked.stacks):
                at = np.flatnonzero(walked.stack == number)
                places = walked.addresses[number][walked.row[at]]
                future = -1 if one.is_polled else one.layout
                frames = _frames(self._binary, stack, one.tasks[at], places, future, one.is_certain[at])
                for group in frames:
                    # What lies elsewhere is behind a pointer, which may lead to nothing any more.
                    is_in = group.addresses - one.addresses[at] < np.uint64(max(layout.size, 1))
                    certain = group.is_certain & (is_in | one.is_polled)
                    # What the task polls was moved there: only its bytes are left in the variable.
                    keys = _keys(group.tasks, group.addresses, self._layout(group).size)
                    left = ~_is_among(keys, self._all_polled)
                    if left.any():
                        yield replace(
                            group,
                            tasks=group.tasks[left],
                            frames=one.frames[at][left],
                            addresses=group.addresses[left],
                            is_certain=certain[left],
                            rest={},
                        )


def _without_wrong_guesses(links: Array) -> Array:
    """Of the places at which something may be, those that lead to what somebody waits for, or for a part of it."""
    is_right = (links["flags"] & np.uint8(LinkFlag.GUESS)) == 0
    waited = np.unique(links["address"][links["role"] == _WAITS])
    guesses = np.flatnonzero(~is_right)
    if len(waited) and len(guesses):
        begins = links["address"][guesses]
        first = waited[np.minimum(np.searchsorted(waited, begins), len(waited) - 1)]
        is_right[guesses] = (first >= begins) & (first - begins < np.maximum(links["size"][guesses], 1))
    right: Array = links[is_right]
    right["flags"] &= ~np.uint8(LinkFlag.GUESS)
    return right


def _frames(
    binary: Binary, stack: Stack, tasks: Rows, places: Addresses, future: int, certain: Known
) -> Iterator[_Group]:
    above: list[LinkKind | None] = []
    parents = {frame.parent for frame in stack.frames}
    rest: dict[int, dict[int | None, int]] = defaultdict(dict)
    for index, frame in enumerate(stack.frames):
        if frame.more:
            rest[frame.parent][frame.layout] = index
    for index, frame in enumerate(stack.frames):
        name = binary.layouts[frame.layout].name if frame.layout is not None else ""
        is_named = not _FOR_RECEIVERS.search(name)
        own = next((kind for prefix, kind in _NAMES if is_named and name.startswith(prefix)), None)
        above.append(own or (above[frame.parent] if frame.parent >= 0 else None))
        if frame.layout is not None and frame.is_whole and not frame.more:
            frames = np.full(len(tasks), index, np.intp)
            leaf = index not in parents
            at = places[:, index]
            yield _Group(frame.layout, frame.state, tasks, frames, at, future, certain, above[index], leaf, rest[index])


def _keys(tasks: Rows, addresses: Addresses, size: int) -> Addresses:
    """What tells the futures of a task apart, whatever name a layout has: one of a size is at an address.

    They are mixed into one number each, as splitmix64 does: two of a million meet once in thirty million times.
    """
    with np.errstate(over="ignore"):
        value = addresses + tasks.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        for number in (size, 0):
            value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            value = (value ^ (value >> np.uint64(31))) + np.uint64(number)
    return value


def _is_among(keys: Addresses, seen: Addresses) -> Known:
    """seen: ascending."""
    place = np.searchsorted(seen, keys)
    is_among: Known = place < len(seen)
    is_among[is_among] = seen[place[is_among]] == keys[is_among]
    return is_among
