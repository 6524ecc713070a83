"""Each wake is by the task, and on the thread, that the target's own log says, and when it says."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.assembled import assembled, joined
from tests.e2e.command import rat, recording
from tests.running import Targets
from tests.truth import Records, enclosing
from tracer.model import Array, FunctionKind, WakeOrigin

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

WAKE, POLL = 0, 1
"""Places of the log."""
LEAST = 1000
"""Waits that a run has at least; a log of less proves nothing."""
LEAST_TIMERS = 50
SHARE = 0.999
NEAR, NEAR_SHARE = 100_000, 0.05
"""Nanoseconds between a wake's two times, or the share of what they are a part of."""

RUNS = [
    pytest.param(target, mode, profile, id="-".join((target, *mode, profile)))
    for profile in ("dev", "release")
    for target, mode in (("wakes_tokio", ("multi",)), ("wakes_tokio", ("current",)), ("wakes_smol", ()))
]


@dataclass(frozen=True, slots=True)
class Told:
    """The first wake of a task since one of its polls began, by the target's log: when, by which task (0: none), on
    which thread.  before, after: the polls of the trace around it.
    """

    task: int
    before: int
    after: int
    woken: int
    by: int
    on: int


def of_tasks(capture: Path) -> tuple[Array, Array]:
    """The tasks' own polls and waits; nothing else has a wake."""
    recording, parts, _ = assembled(capture)
    is_task = np.array([one.kind is FunctionKind.TASK for one in recording.plan.functions])
    spans = joined(parts)
    polls, waits = spans.polls, spans.waits
    assert not np.any(waits["woken"][~is_task[waits["function"]]])
    return polls[is_task[polls["function"]]], waits[is_task[waits["function"]]]


def truth(log: Records, polls: Array) -> list[Told]:
    """For each poll but the first of each task, by the numbers of the trace.

    Not for the few whose wake came after the entry of the poll before, but before the log has that one.
    """
    begun = np.flatnonzero(log["place"] == POLL)
    around = np.full(len(log), -1)
    around[begun] = enclosing(log[begun], polls["start"], polls["end"], polls["tid"])
    assert np.all(around[begun] >= 0)
    pairs = {(int(log["instance"][one]), int(polls["instance"][around[one]])) for one in begun.tolist()}
    instance = dict(pairs)
    assert len(instance) == len({number for _, number in pairs}) == len(pairs)
    told: list[Told] = []
    unclear = 0
    for task, number in instance.items():
        mine = np.flatnonzero(log["instance"] == task)
        first = before = None
        for row in mine[np.argsort(log["begin"][mine], kind="stable")].tolist():
            if log["place"][row] == WAKE:
                first = row if first is None else first
                continue
            unclear += before is not None and first is None
            if before is not None and first is not None:
                by = instance[waker] if (waker := int(log["address"][first])) else 0
                after = int(around[row])
                told.append(Told(number, before, after, int(log["begin"][first]), by, int(log["tid"][first])))
            first, before = None, int(around[row])
    assert unclear <= 0.002 * len(told)
    return told


@pytest.mark.parametrize(("target", "mode", "profile"), RUNS)
def test_every_wake_is_known(
    targets: Targets, tmp_path: Path, target: str, mode: tuple[str, ...], profile: str
) -> None:
    capture = tmp_path / "x.ratcap"
    options = ("--format", "capture", "-o", capture, "--max-overhead", 100)
    with targets.run(target, profile, *mode) as running, recording("--pid", running.pid, *options) as rec:
        running.go()
        result = running.wait()
        done = rec.wait()
    assert (result.returncode, done.code) == (0, 0), done.err
    assert result.log is not None
    log = result.log.records
    polls, waits = of_tasks(capture)
    told = truth(log, polls)
    by_end = {(int(wait["instance"]), int(wait["end"])): wait for wait in waits}
    waited = [one for one in told if (one.task, int(polls["start"][one.after])) in by_end]
    # Woken while it was polled, it can begin on another thread before the poll before has returned: it did not wait.
    at_once = [one for one in told if one not in waited]
    assert all(polls["end"][one.before] >= polls["start"][one.after] for one in at_once)
    assert len(waited) >= LEAST
    right = near = 0
    for one in waited:
        wait = by_end[one.task, int(polls["start"][one.after])]
        right += (int(wait["woken_by"]), int(wait["woken_on"])) == (one.by, one.on) and wait["woken"] != 0
        off, whole = abs(int(wait["woken"]) - one.woken), int(wait["end"]) - one.woken
        near += off <= max(NEAR, NEAR_SHARE * whole)
    print(f"{target} {' '.join(mode)} {profile}: {right} of {len(waited)} wakers right, {near} at the right time")
    assert right >= SHARE * len(waited)
    assert near >= SHARE * len(waited)
    check_origins(log, waited, by_end, polls, target)
    assert_summary(capture, log, told, len(at_once))


def check_origins(
    log: Records, waited: list[Told], by_end: dict[tuple[int, int], np.void], polls: Array, target: str
) -> None:
    """What wakes came from: the thread that rings polls nothing, and what else is woken by no task is by a timer."""
    alone = set(np.unique(log["tid"][log["place"] == WAKE]).tolist()) - set(np.unique(polls["tid"]).tolist())
    expected: list[WakeOrigin] = []
    got: list[WakeOrigin] = []
    for one in waited:
        wait = by_end[one.task, int(polls["start"][one.after])]
        if one.by:
            expected.append(WakeOrigin.TASK)
        elif target == "wakes_tokio":
            expected.append(WakeOrigin.THREAD if one.on in alone else WakeOrigin.TIMER)
        else:
            continue  # timers have a thread of their own there, or none
        got.append(WakeOrigin(int(wait["woken_from"])))
    right = sum(one == other for one, other in zip(got, expected, strict=True))
    print(f"{right} of {len(expected)} origins right: {Counter(expected)}")
    assert right >= SHARE * len(expected)
    if target == "wakes_tokio":
        assert expected.count(WakeOrigin.TIMER) >= LEAST_TIMERS
        assert expected.count(WakeOrigin.THREAD) >= LEAST_TIMERS


def assert_summary(capture: Path, log: Records, told: list[Told], at_once: int) -> None:
    """The counts are the log's.  at_once: how many polls began before the one before had ended."""
    done = rat("report", "--json", capture)
    assert done.code == 0, done.err
    document = json.loads(done.out)
    wakes = document["wakes"]
    own = sum(one.by == one.task for one in told)
    logged = int(np.count_nonzero(log["place"] == WAKE))
    assert wakes["all"] == logged
    assert abs(wakes["own"] - own) <= 0.001 * len(told)
    kinds = [one["delay"] for one in document["task_kinds"] if one["delay"] is not None]
    assert abs(sum(one["own"] for one in kinds) - own) <= 0.001 * len(told) + at_once
    assert sum(one["polls"] for one in kinds) >= SHARE * len(told) - at_once
    assert all(sum(one["woken_from"].values()) == one["polls"] for one in kinds)
    assert all(0 < one["p50"] <= one["p99"] <= one["longest"] for one in kinds)
    assert document["wakes_probed"] == pytest.approx(1)
