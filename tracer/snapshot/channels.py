"""How many messages wait in the channels of a process, once or looked at again and again.

Where a channel counts what was sent and received is known from its tasks' links; so a look is a few words a channel.
Memory that is no channel any more shows by counts that go back, or by more received than sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracer.model import Array, Backlog, LinkKind, LinkRole
from tracer.snapshot.image import Known
from tracer.stacks import CHANNEL, LINK_KINDS, LINK_ROLES, LinkFlag, Snapshot
from tracer.target.clock import kernel_now
from tracer.target.memory import Addresses, Memory

_MOST_CHANNELS = 4_096
"""That are looked at; of more those in which most messages wait."""

_MOST_LOOKS = 64
"""That are kept.  When there are more each second one is forgotten, and half as many are taken."""

_PERIOD = 100_000_000
"""ns between two looks, at first."""

_MOST_MESSAGES = 1 << 40
"""What claims to have more is no channel any more."""

_MOST_CAPACITY = (1 << 61) - 1
"""tokio 1.25 to 1.54, sync/batch_semaphore.rs."""

_COUNTS = ("sent", "received", "senders")
_MPSC = LINK_KINDS.index(LinkKind.MPSC)
_WAITS = LINK_ROLES.index(LinkRole.WAITS)
_RECEIVES = LINK_ROLES.index(LinkRole.RECEIVES)

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who has the receiver of a channel.  frame: of the task's stack; -1: not known where.  is_certain: it surely
    has it."""

    header: int
    id: int
    frame: int
    is_certain: bool


@dataclass(frozen=True, slots=True)
class Watched:
    """A channel.  times: of the looks at it, ns; messages: how many waited then.  received: how many were taken out of
    it from the first to the last of them.  capacity: None: as many as there is memory for.  receiver: of the begin."""

    address: int
    times: tuple[int, ...]
    messages: tuple[int, ...]
    received: int
    capacity: int | None
    receiver: Receiver | None


def read_ends(memory: Memory, links: Array, backlogs: Sequence[Backlog]) -> Array:
    """The channels (dtype CHANNEL) that links (dtype LINK) lead to, for each link, of which it is known what waits.

    backlogs: how they count; instead of `messages` the links have an index into these.  Raises NoSuchProcess,
    PermissionMissing.
    """
    ends = links[(links["kind"] == _MPSC) & (links["messages"] >= 0)]
    channels = np.zeros(len(ends), CHANNEL)
    for name in ("address", "task", "frame", "role", "flags"):
        channels[name] = ends[name]
    offsets = np.zeros((max(len(backlogs), 1), len(_COUNTS) + 1), np.uint64)
    for number, one in enumerate(backlogs):
        offsets[number] = (one.sent, one.received, one.senders, one.sent if one.capacity is None else one.capacity)
    places = channels["address"][:, None] + offsets[ends["messages"]]
    for column, name in enumerate(_COUNTS):
        channels[name] = places[:, column]
    _, first, of_end = np.unique(channels["address"], return_index=True, return_inverse=True)
    (sent, received, senders, capacity), known = _words(memory, places[first])
    waiting, is_plausible = _waiting(sent, received, senders)
    is_bounded = np.array([one.capacity is not None for one in backlogs] or [False])[ends["messages"][first]]
    has_room = (capacity <= _MOST_CAPACITY) & (capacity >= waiting.astype(np.uint64))
    known &= is_plausible & (~is_bounded | has_room)
    channels["messages"] = np.where(known, waiting, -1)[of_end]
    channels["capacity"] = np.where(known & is_bounded, capacity.astype(np.int64), -1)[of_end]
    told: Array = channels[channels["messages"] >= 0]
    return told


def with_messages(links: Array, channels: Array) -> Array:
    """Links (dtype LINK) with what waits in their channels.  A task that waits for room waits for a part of one."""
    told = channels[np.unique(channels["address"], return_index=True)[1]]
    links["messages"], links["capacity"] = -1, -1
    ends = np.flatnonzero((links["kind"] == _MPSC) & np.isin(links["address"], told["address"]))
    place = np.searchsorted(told["address"], links["address"][ends])
    for name in ("messages", "capacity"):
        links[name][ends] = told[name][place]
    return _with_room(links)


def _with_room(links: Array) -> Array:
    """With what waits in the channels in which tasks wait for room."""
    is_told = (links["kind"] == _MPSC) & (links["messages"] >= 0)
    told = links[is_told]
    told = told[np.unique(told["address"], return_index=True)[1]]
    asked = np.flatnonzero((links["kind"] == _MPSC) & (links["role"] == _WAITS) & ~is_told)
    if len(told) and len(asked):
        place = np.searchsorted(told["address"], links["address"][asked], "right") - 1
        inside = (place >= 0) & (links["address"][asked] - told["address"][place] < told["size"][place])
        for name in ("messages", "capacity"):
            links[name][asked[inside]] = told[name][place[inside]]
    return links


def _waiting(sent: Addresses, received: Addresses, senders: Addresses) -> tuple[Counts, Known]:
    """How many messages wait, and whether that can be."""
    waiting = (sent - received).astype(np.int64) - (senders == 0)
    waiting[waiting == -1] = 0  # the last sender is about to say that it was the last
    return waiting, (waiting >= 0) & (waiting < _MOST_MESSAGES)


def _words(memory: Memory, places: npt.NDArray[np.uint64]) -> tuple[list[Addresses], Known]:
    """The numbers at these places, shape (n, several), by column, and which rows could be read whole."""
    content, is_whole = memory.fill(places.ravel(), np.full(places.size, 8, np.uint64))
    words = content.view("<u8").reshape(places.shape)
    known: Known = np.logical_and.reduce(is_whole.reshape(places.shape), axis=1)
    return list(words.T.copy()), known


class ChannelWatch:
    """Of one process.  channels: dtype CHANNEL, of the tasks of the snapshot."""

    def __init__(self, memory: Memory, snapshot: Snapshot, channels: Array) -> None:
        self._memory = memory
        self._receivers = receivers(snapshot, channels)
        channels = channels[np.unique(channels["address"], return_index=True)[1]]
        self._channels = channels[np.argsort(-channels["messages"], kind="stable")[:_MOST_CHANNELS]]
        self._are_there: Known = np.ones(len(self._channels), np.bool_)
        self._looks: list[tuple[int, Counts, Counts]] = []  # time, messages, received
        self._sent = np.zeros(len(self._channels), np.uint64)
        self._period = _PERIOD
        self.look(kernel_now())

    def look(self, now: int, *, is_last: bool = False) -> None:
        """If it is time to.  now: ns.  Raises NoSuchProcess, PermissionMissing."""
        if not len(self._channels) or (self._looks and not is_last and now - self._looks[-1][0] < self._period):
            return
        places = np.stack([self._channels[name] for name in _COUNTS], axis=1)
        (sent, received, senders), is_whole = _words(self._memory, places)
        before = self._looks[-1][2] if self._looks else np.zeros(len(sent), np.int64)
        waiting, is_plausible = _waiting(sent, received, senders)
        self._are_there &= is_whole & is_plausible & (sent >= self._sent) & (received.astype(np.int64) >= before)
        self._sent = sent
        if len(self._looks) >= _MOST_LOOKS:
            self._looks, self._period = self._looks[::2], 2 * self._period
        self._looks.append((now, waiting, received.astype(np.int64)))

    def told(self, least: int) -> Iterator[Watched]:
        """The channels in which so many messages wait, or more, the most first."""
        if not self._looks:
            return
        latest, first = self._looks[-1], self._looks[0]
        rows = np.flatnonzero(self._are_there & (latest[1] >= least))
        for row in rows[np.argsort(-latest[1][rows], kind="stable")].tolist():
            channel = self._channels[row]
            yield Watched(
                int(channel["address"]),
                tuple(time for time, _, _ in self._looks),
                tuple(int(waiting[row]) for _, waiting, _ in self._looks),
                int(latest[2][row] - first[2][row]),
                int(channel["capacity"]) if channel["capacity"] >= 0 else None,
                self._receivers.get(int(channel["address"])),
            )


def receivers(snapshot: Snapshot, channels: Array) -> dict[int, Receiver]:
    """By the address of the channel; of those that perhaps have it none if there are several."""
    found: dict[int, Receiver] = {}
    doubtful: set[int] = set()
    for channel in channels[channels["role"] == _RECEIVES]:
        address, task = int(channel["address"]), snapshot.tasks[channel["task"]]
        is_certain = bool(channel["flags"] & LinkFlag.CERTAIN)
        one = Receiver(int(task["header"]), int(task["id"]), int(channel["frame"]), is_certain)
        known = found.setdefault(address, one)
        if known.header != one.header:
            if is_certain and not known.is_certain:
                found[address] = one
            elif is_certain == known.is_certain:
                doubtful.add(address)
    return {address: one for address, one in found.items() if address not in doubtful or one.is_certain}
