"""What is sent twice, or at a wrong time, while probes change."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tracer.model import CHAIN_RECORD, EVENT, SWITCH_OUT_RECORD, TASK_ID_RECORD, Array
from tracer.probe.handover import ODD_LINK, Handover, Pauses

PROBES = 6


def event(time: int, probe: int, *, tid: int = 1, sp: int = 100, flags: int = 1) -> tuple[int, ...]:
    return time, sp, 7, tid, 0, probe, 0, 0, flags


def rows(*events: tuple[int, ...]) -> Array:
    return np.array(list(events), EVENT)


def test_nothing_counts_while_a_probe_is_paused() -> None:
    pauses = Pauses(PROBES)
    events = rows(*(event(time, probe) for time in (10, 20, 30, 40) for probe in (1, 2)))
    assert pauses.without(events).tolist() == events.tolist()
    pauses.begin([1], 20)
    kept = [(row["time"], row["probe"]) for row in pauses.without(events)]
    assert kept == [(10, 1), (10, 2), (20, 1), (20, 2), (30, 2), (40, 2)]
    pauses.end([1], 40)
    kept = [(row["time"], row["probe"]) for row in pauses.without(events)]
    assert kept == [(10, 1), (10, 2), (20, 1), (20, 2), (30, 2), (40, 1), (40, 2)]


def test_records_go_with_their_hits() -> None:
    """But those of tasks' ids stay: they are told once."""
    pauses = Pauses(PROBES)
    pauses.begin([1], 20, scheduling=True)
    events = rows(
        event(30, CHAIN_RECORD),
        event(30, 1),
        event(31, CHAIN_RECORD),
        event(31, 2),
        event(32, TASK_ID_RECORD),
        event(32, 1),
        event(33, SWITCH_OUT_RECORD),
        event(30, CHAIN_RECORD, tid=2),
    )
    kept = [(row["time"], row["probe"], row["tid"]) for row in pauses.without(events)]
    assert kept == [(31, CHAIN_RECORD, 1), (31, 2, 1), (32, TASK_ID_RECORD, 1), (30, CHAIN_RECORD, 2)]


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("seed", range(20))
def test_each_hit_is_kept_once(seed: int, batch: int) -> None:
    """Programs of two links run at each trap, that of the later link first, and each looks whether its link is on.

    Threads repeat the same hit, too: only how often it came tells the doubles.
    """
    chance = random.Random(seed)
    switched_on, switched_off = sorted(chance.sample(range(20, 200), 2))
    sent, hits, time = [], [], 0
    while time < 260:
        tid, probe, sp = chance.randint(1, 2), chance.randint(0, 1), chance.choice([100, 100, 200])
        for link in (1, 0):
            time += 1
            if (time >= switched_on) if link else (time < switched_off):
                record = [event(time, CHAIN_RECORD, tid=tid, flags=1)] * probe
                sent.append([*record, event(time, probe, tid=tid, sp=sp, flags=1 | int(ODD_LINK) * link)])
        hits.append((tid, probe, sp))
    handover, kept = Handover(PROBES), []
    handover.begin({0, 1}, switched_off, is_odd=True)
    for begin in range(0, len(sent), batch):
        kept.append(handover.without_doubles(rows(*(row for both in sent[begin : begin + batch] for row in both))))
    events = np.concatenate(kept)
    told = events[events["probe"] != CHAIN_RECORD]
    assert [(row["tid"], row["probe"], row["sp"]) for row in told] == hits
    assert int(np.count_nonzero(events["probe"] == CHAIN_RECORD)) == sum(probe for _, probe, _ in hits)
    assert not np.any(events["flags"] & ODD_LINK)


def test_long_after_a_handover_nothing_is_taken_out() -> None:
    handover = Handover(PROBES)
    handover.begin({1}, 100, is_odd=True)
    later = 10_000_000_000
    assert len(handover.without_doubles(rows(event(later, 1, flags=1)))) == 1
    alike = rows(event(later + 1, 1, flags=1 | 64), event(later + 2, 1, flags=1))
    assert handover.without_doubles(alike)["flags"].tolist() == [1, 1]
