"""The account of sequence numbers, against a model of CPUs that lose, delay and reorder events."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.model import EVENT, Array, Loss
from tracer.probe.ledger import Ledger, Look

CPUS = 3


class Kernel:
    """Gives out numbers, loses some events, and lets some arrive late.  Its clock counts its own steps."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 1
        self.sent = [0] * CPUS
        self.lost = [0] * CPUS
        self.buffer: list[tuple[int, int, int]] = []
        self.preempted: list[tuple[int, int, int, bool]] = []
        self.lost_times: list[tuple[int, int]] = []
        self.arrived: list[int] = []
        self.lossy = False

    def hit(self) -> None:
        cpu = self.random.randrange(CPUS)
        number = self.sent[cpu]
        self.sent[cpu] += 1
        self.now += 1
        event = (self.now, cpu, number, self.lossy and self.random.random() < 0.8)
        if self.random.random() < 0.1:
            self.preempted.append(event)
        else:
            self._write(*event)

    def _write(self, time: int, cpu: int, number: int, is_lost: bool) -> None:
        if is_lost:
            self.lost[cpu] += 1
            self.lost_times.append((cpu, time))
        else:
            self.buffer.append((time, cpu, number))

    def resume(self) -> None:
        self.random.shuffle(self.preempted)
        while self.preempted:
            self._write(*self.preempted.pop())

    def look(self) -> Look:
        self.now += 1
        before = self.now
        self.now += 1
        return Look(before, self.now, np.array(self.sent, np.uint64), np.array(self.lost, np.uint64))

    def drain(self) -> Array:
        events = np.zeros(len(self.buffer), EVENT)
        for event, (time, cpu, number) in zip(events, self.buffer, strict=True):
            event["time"], event["cpu"], event["sequence"] = time, cpu, number & 0xFFFFFFFF
        self.arrived += [time for time, _, _ in self.buffer]
        self.buffer = []
        return events


def run(seed: int, steps: list[str]) -> tuple[Kernel, Ledger, list[Array], list[Loss]]:
    kernel, ledger = Kernel(seed), Ledger(CPUS)
    batches: list[Array] = []
    losses: list[Loss] = []
    for step in steps:
        if step == "read":
            look = kernel.look()
            if kernel.random.random() < 0.5:
                kernel.hit()
            events, found = ledger.account(look, kernel.drain())
            batches.append(events)
            losses += found
        elif step == "resume":
            kernel.resume()
        elif step == "toggle":
            kernel.lossy = not kernel.lossy
        else:
            for _ in range(kernel.random.randrange(40)):
                kernel.hit()
    kernel.resume()
    events, found = ledger.finish(kernel.look(), kernel.drain())
    return kernel, ledger, [*batches, events], losses + found


STEPS = st.lists(st.sampled_from(["hits", "hits", "read", "read", "resume", "toggle"]), max_size=60)


@given(seed=st.integers(0, 2**32), steps=STEPS)
def test_every_number_is_an_event_or_a_loss(seed: int, steps: list[str]) -> None:
    kernel, ledger, batches, losses = run(seed, steps)
    assert sorted(int(t) for batch in batches for t in batch["time"]) == sorted(kernel.arrived)
    assert sum(loss.count for loss in losses) == sum(kernel.lost)
    assert ledger.received + sum(kernel.lost) == sum(kernel.sent)
    for cpu in range(CPUS):
        assert sum(loss.count for loss in losses if loss.cpu == cpu) == kernel.lost[cpu]


@given(seed=st.integers(0, 2**32), steps=STEPS)
def test_batches_are_sorted_and_follow_each_other(seed: int, steps: list[str]) -> None:
    _, _, batches, _ = run(seed, [step for step in steps if step != "toggle"])
    times = np.concatenate([batch["time"] for batch in batches]).astype(np.int64)
    for batch in batches:
        assert np.all(np.diff(batch["time"].astype(np.int64)) > 0)
    if steps.count("read") < 16:  # beyond, a program that stays preempted is no longer waited for
        assert np.all(np.diff(times) > 0)


@given(seed=st.integers(0, 2**32), steps=STEPS)
def test_a_lost_event_lies_in_the_range_of_a_loss(seed: int, steps: list[str]) -> None:
    # Without delays: a delayed event's time is older than its place in the sequence tells.
    kernel, _, _, losses = run(seed, [s for step in steps for s in (step, "resume")])
    for cpu, time in kernel.lost_times:
        assert any(
            loss.cpu == cpu and (loss.after or 0) <= time + 40 and (loss.before is None or time - 40 <= loss.before)
            for loss in losses
        )


def test_numbers_wrap_around() -> None:
    ledger = Ledger(1)
    base = 2**32 - 3
    events = np.zeros(6, EVENT)
    events["sequence"] = (np.arange(base, base + 6) & 0xFFFFFFFF).astype(np.uint32)
    events["time"] = np.arange(1, 7)
    ledger._cpus[0].next = base  # as after 2^32 - 3 events, too many to make here
    look = Look(10, 11, np.array([base + 6], np.uint64), np.array([0], np.uint64))
    ready, losses = ledger.account(look, events)
    assert ready["time"].tolist() == [1, 2, 3, 4, 5, 6]
    assert losses == []


def test_a_late_event_is_waited_for() -> None:
    ledger = Ledger(1)
    first, late = np.zeros(1, EVENT), np.zeros(1, EVENT)
    first["sequence"], first["time"] = 1, 20
    late["sequence"], late["time"] = 0, 10
    sent, lost = np.array([2], np.uint64), np.array([0], np.uint64)
    ready, losses = ledger.account(Look(30, 31, sent, lost), first)
    assert (len(ready), losses) == (0, [])
    ready, losses = ledger.account(Look(40, 41, sent, lost), late)
    assert (ready["time"].tolist(), losses) == ([10, 20], [])


def test_a_loss_tells_its_range() -> None:
    ledger = Ledger(1)
    events = np.zeros(2, EVENT)
    events["sequence"], events["time"] = [0, 5], [10, 60]
    look = Look(70, 71, np.array([8], np.uint64), np.array([6], np.uint64))
    ready, losses = ledger.account(look, events)
    assert ready["time"].tolist() == [10, 60]
    assert losses == [Loss(0, 4, 10, 60), Loss(0, 2, 60, 71)]


def test_nothing_is_held_back_for_ever() -> None:
    ledger = Ledger(1)
    events = np.zeros(1, EVENT)
    events["sequence"], events["time"] = 1, 20
    sent, lost = np.array([2], np.uint64), np.array([0], np.uint64)
    counts = [len(ledger.account(Look(30, 31, sent, lost), events)[0])]
    counts += [len(ledger.account(Look(30 + n, 31 + n, sent, lost), events[:0])[0]) for n in range(20)]
    assert sum(counts) == 1


@pytest.mark.parametrize("count", [0, 1])
def test_finish_returns_all(count: int) -> None:
    ledger = Ledger(1)
    events = np.zeros(count, EVENT)
    events["time"] = 100
    ready, losses = ledger.finish(Look(50, 51, np.array([count], np.uint64), np.array([0], np.uint64)), events)
    assert (len(ready), losses) == (count, [])
