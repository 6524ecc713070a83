"""Looks at channels again and again: what is told of them, and of memory that is one no more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from tracer.model import LinkRole, Mapping
from tracer.snapshot.channels import ChannelWatch, Receiver, receivers
from tracer.stacks import CHANNEL, LINK_ROLES, SNAPSHOT_TASK, LinkFlag, Snapshot
from tracer.target.clock import kernel_now
from tracer.target.memory import Addresses, Bytes

MS = 1_000_000


class Words:
    """Memory of some words; what is not among them cannot be read."""

    def __init__(self) -> None:
        self.at: dict[int, int] = {}
        self.asked = 0

    def channel(self, address: int, sent: int, received: int, senders: int = 1) -> None:
        self.at |= {address: sent, address + 8: received, address + 16: senders}

    def mappings(self) -> list[Mapping]:
        return []

    def threads(self) -> list[int]:
        return []

    def resident(self, mapping: Mapping) -> Iterable[tuple[int, int]]:
        return iter(())

    def fill(self, starts: Addresses, sizes: Addresses) -> tuple[Bytes, npt.NDArray[np.bool_]]:
        self.asked += 1
        assert set(sizes.tolist()) <= {8}
        words = np.array([self.at.get(start, 0) for start in starts.tolist()], np.uint64)
        return words.view(np.uint8), np.array([start in self.at for start in starts.tolist()], np.bool_)


def channels(*rows: tuple[int, int, LinkRole, LinkFlag]) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """(address, task, role, flags) of each."""
    made = np.zeros(len(rows), CHANNEL)
    for one, (address, task, role, flags) in zip(made, rows, strict=True):
        one["address"], one["task"], one["role"], one["flags"] = address, task, LINK_ROLES.index(role), flags
        one["sent"], one["received"], one["senders"] = address, address + 8, address + 16
        one["capacity"], one["frame"] = -1, 3
    return made


def snapshot(count: int) -> Snapshot:
    tasks = np.zeros(count, SNAPSHOT_TASK)
    tasks["id"] = np.arange(1, count + 1)
    tasks["header"] = tasks["id"] << 8
    return Snapshot(1, 1, tasks, ())


SURE, PERHAPS = LinkFlag.CERTAIN, LinkFlag(0)
R, S = LinkRole.RECEIVES, LinkRole.SENDS


def watch(memory: Words, *addresses: int) -> ChannelWatch:
    return ChannelWatch(memory, snapshot(1), channels(*((address, 0, R, SURE) for address in addresses)))


def later(watched: ChannelWatch) -> Iterator[int]:
    """Moments behind the first look, far enough apart."""
    begin = kernel_now()
    yield from (begin + 200 * MS * number for number in range(1, 1_000_000))


def test_counts_over_time() -> None:
    memory = Words()
    memory.channel(0x1000, 700, 200)
    memory.channel(0x2000, 7, 7)
    watched = watch(memory, 0x1000, 0x2000)
    moments = later(watched)
    memory.channel(0x1000, 1_700, 400)
    watched.look(next(moments))
    memory.channel(0x1000, 3_001, 1_000, senders=0)
    watched.look(next(moments), is_last=True)
    (one,) = watched.told(100)
    assert (one.address, one.messages, one.received, one.capacity) == (0x1000, (500, 1_300, 2_000), 800, None)
    assert one.receiver == Receiver(0x100, 1, 3, is_certain=True)
    assert len(one.times) == 3
    assert sorted(one.times) == list(one.times)


def test_memory_that_is_no_channel_any_more_is_not_told() -> None:
    memory = Words()
    for address in (0x1000, 0x2000, 0x3000, 0x4000, 0x5000):
        memory.channel(address, 700, 200)
    watched = watch(memory, 0x1000, 0x2000, 0x3000, 0x4000, 0x5000)
    moments = later(watched)
    memory.channel(0x1000, 600, 200)  # fewer were sent
    memory.channel(0x2000, 700, 100)  # fewer were received
    memory.channel(0x3000, 700, 800)  # more were received than sent
    del memory.at[0x4008]
    watched.look(next(moments))
    for address in (0x1000, 0x2000, 0x3000, 0x4000, 0x5000):
        memory.channel(address, 900, 200)
    watched.look(next(moments), is_last=True)
    assert [one.address for one in watched.told(100)] == [0x5000]


def test_looks_become_rarer_in_a_long_recording() -> None:
    memory = Words()
    memory.channel(0x1000, 700, 200)
    watched = watch(memory, 0x1000)
    moments = later(watched)
    for _ in range(10_000):
        watched.look(next(moments))
    assert memory.asked < 500
    (one,) = watched.told(100)
    assert 32 <= len(one.times) <= 65
    steps = np.diff(one.times)
    assert steps[1:].max() < 3 * steps[1:].min()


def test_who_receives() -> None:
    rows = channels(
        (0x1000, 0, R, PERHAPS), (0x1000, 1, R, SURE), (0x1000, 2, S, SURE),
        (0x2000, 0, R, PERHAPS), (0x2000, 1, R, PERHAPS),
        (0x3000, 2, R, PERHAPS), (0x3000, 2, R, PERHAPS),
        (0x4000, 2, S, SURE),
    )  # fmt: skip
    assert receivers(snapshot(3), rows) == {
        0x1000: Receiver(0x200, 2, 3, is_certain=True),
        0x3000: Receiver(0x300, 3, 3, is_certain=False),
    }
