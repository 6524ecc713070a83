"""What costs too much is not probed, function by function; what is shown all the same is true."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.e2e.command import rat, recording
from tests.e2e.seen import Seen
from tests.e2e.trace import Trace, functions_of
from tests.running import Result, Targets
from tests.truth import Kind, enclosing
from tracer.capture import CaptureReader
from tracer.commands import recorder
from tracer.commands.recorder import Recorder, RecordOptions
from tracer.commands.survey import Selection, survey_processes
from tracer.model import Array, ExitMode, FunctionKind, Group, Plan, PlanChange
from tracer.output.labels import short_name_of
from tracer.probe.calibration import Costs
from tracer.probe.guard import Guard, Step
from tracer.probe.silent import Unseen
from tracer.target.process import TargetProcess

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

ROUNDS = "4"
TURN = 20_000_000
"""Nanoseconds between two changes."""
NEAR = 2_000_000
"""Nanoseconds: polls of the target so close to a change may be cut."""


_WATCHED = """
import sys
from tracer.cli import main
from tracer.probe.guard import Guard
since, judge = [], Guard.observe
def begun(self, plan, costs, share, now, *others, init=Guard.__init__):
    since.append(now)
    init(self, plan, costs, share, now, *others)
def observe(self, now, events, *others):
    if len(events) and since:
        print("first event after", int(events["time"].min()) - since.pop(), file=sys.stderr)
    return judge(self, now, events, *others)
Guard.__init__, Guard.observe = begun, observe
sys.exit(main())
"""
"""The command; it says how long after the guard's first moment the first event came, ns."""


class Fickle:
    """In the guard's place: drops some functions, brings others back, and now and then drops them all."""

    in_windows = False
    overhead = of_processor = None

    def __init__(self, plan: Plan, costs: Costs, max_overhead: float, now: int, cpu: int, processors: float) -> None:
        self._plan = plan
        self._random = random.Random(7)
        self._next: int | None = None
        self._futures = frozenset(at for at, one in enumerate(plan.functions) if one.kind is not FunctionKind.TASK)
        self._off: frozenset[int] = frozenset()
        self._goes = False

    def is_time(self, now: int, events: Array) -> bool:
        """For a change; the first one comes with the first events."""
        if (self._next is None and not len(events)) or (self._next is not None and now < self._next):
            return False
        self._next = now + TURN
        self._goes = not self._goes
        return True

    def observe(self, now: int, events: Array, lost: int, unseen: Unseen, cpu: int) -> Step | None:
        if not self.is_time(now, events):
            return None
        some = frozenset(one for one in self._futures if self._random.random() < (0.4 if self._goes else 0.9))
        self._off = self._off | some if self._goes else self._off - some
        if self._goes and self._random.random() < 0.2:
            self._off = self._futures
        if self._off == self._futures:
            return Step(self._plan.groups - {Group.FUTURES}, "as it happens")
        return Step(self._plan.groups, "as it happens", self._off)


@contextmanager
def our_scheduling() -> Iterator[None]:
    """A recorder changes it for the rest of its process' life."""
    before = os.sched_getscheduler(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, before, os.sched_param(0))


def unprobed(capture: Path) -> dict[str, npt.NDArray[np.int64]]:
    """By function's name the times in which one so called was not probed, rows of begin and end."""
    with CaptureReader(capture) as reader:
        plan = reader.recording.plan
        changes = [item for item in reader if isinstance(item, PlanChange)]
    assert len(changes) >= 4, "functions came and went, as often as this machine can switch them in that time"
    off: dict[str, list[tuple[int, int]]] = {}
    for change, following in zip(changes, [*changes[1:], None], strict=True):
        for number, function in enumerate(plan.functions):
            group = Group.TASKS if function.kind is FunctionKind.TASK else Group.FUTURES
            if group not in change.active or (group is Group.FUTURES and number in change.unprobed):
                end = following.time if following is not None else 1 << 62
                off.setdefault(function.name, []).append((change.time, end))
    return {name: np.array(rows, np.int64) for name, rows in off.items()}


def record_all(targets: Targets, profile: str, capture: Path, exits: ExitMode) -> Result:
    """tokio_multi from its begin to its end, by a recorder in this process."""
    with targets.run("tokio_multi", profile, ROUNDS) as running:
        process = TargetProcess.open(running.pid)
        survey = survey_processes([process], Selection(), exits)
        options = RecordOptions(None, 1, "auto", 1 << 30, {}, on_attached=lambda plan: running.go())
        with our_scheduling():
            outcome = Recorder(survey, [process], capture, options).run()
        result = running.wait()
    assert (result.returncode, outcome.lost) == (0, 0)
    return result


def test_what_is_shown_across_gaps_is_true(targets: Targets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions come and go all the time.  What the target did while one was probed is there; each poll shown is one
    that it did; no instance is two futures; and none is said to wait while it was being polled."""
    monkeypatch.setattr(recorder, "Guard", Fickle)
    profile = "release-debug"
    capture, output = tmp_path / "x.ratcap", tmp_path / "x.pftrace"
    result = record_all(targets, profile, capture, ExitMode.DEFAULT)
    assert result.log is not None
    assert rat("convert", capture, "-o", output).code == 0
    trace = Trace(output)
    seen, off, found = Seen(trace), unprobed(capture), functions_of(targets.path("tokio_multi", profile))
    assert result.log.dropped == 0
    checked = missing = shown = waits = 0
    known: dict[str, set[int]] = {}
    for index, place in enumerate(result.log.places):
        records = result.log.records[result.log.records["place"] == index]
        function = place.chain[-1]
        if place.kind is Kind.PART or function not in found:
            continue
        begin, end = records["begin"].astype(np.int64), records["end"].astype(np.int64)
        names = found[function]
        polls = trace.polls(names)
        around = enclosing(records, polls.starts, polls.ends, polls.tids)
        gaps = np.concatenate([off[name] for name in names if name in off])
        is_near = ((begin[:, None] - NEAR < gaps[:, 1]) & (end[:, None] + NEAR > gaps[:, 0])).any(axis=1)
        assert np.all(around[~is_near] >= 0), f"{function}: polls are missing while it was probed"
        known.setdefault(function, set()).update(around[around >= 0].tolist())
        checked += int(np.count_nonzero(~is_near))
        missing += int(np.count_nonzero(around < 0))
        # A future of the target, by its number, is the same all over one instance.
        own = [seen.polls[number] for name in names for number in seen.by_function.get(name, [])]
        instances = {(poll.tid, poll.start): poll.instance or 0 for poll in own}
        whose = zip(polls.tids[around[around >= 0]].tolist(), polls.starts[around[around >= 0]].tolist(), strict=True)
        instance_of = np.array([instances[one] for one in whose], np.int64)
        is_known = around >= 0
        is_known[is_known] = instance_of > 0
        truth = records["instance"][around >= 0].astype(np.int64)
        for instance in np.unique(instance_of[instance_of > 0]).tolist():
            mine = truth[instance_of == instance]
            assert len(set(mine.tolist())) == 1, f"{function}: one instance of several futures"
            # A poll that was under way when its function was probed again is told of no future.
            of_future = (records["instance"] == mine[0]) & is_known
            shown += 1
            for wait in seen.waits.get(instance, []):
                inside = of_future & (begin > wait.start) & (end < wait.end)
                assert not inside.any(), f"{function}: it waits, it is said, while it was polled"
                waits += 1
    for function, of_records in known.items():
        polls = trace.polls(found[function])
        of_none = [at for at in range(len(polls)) if at not in of_records]
        own = [seen.polls[number] for name in found[function] for number in seen.by_function.get(name, [])]
        notes = {(poll.tid, poll.start): poll.note for poll in own}
        # What was under way at a change is cut there, and may be without what the target measured in it.
        assert all(notes[int(polls.tids[at]), int(polls.starts[at])] for at in of_none), f"{function}: never polled so"
        assert len(of_none) < 200
    assert min(checked, missing, waits) > 1_000
    assert shown > 200


def busy_for_a_while(targets: Targets, output: Path, *options: str) -> dict[str, Any]:
    """The summary of a recording of a program that has much to do for four seconds, and nothing for as long.

    The exits of its futures, which are polled through pointers, are stepped.
    """
    with targets.run("paced", "release", "1000", "4", "5") as running:
        cost = ("-d", 9, "-o", output, "--json", "--max-overhead", 3)
        with recording("--pid", running.pid, *cost, *options) as rec:
            running.go()
            done = rec.wait()
    assert done.code == 0, done.err
    said: dict[str, Any] = json.loads(done.out)
    assert (said["lost"], said["unmatched_exits"], said["unwound"]) == (0, 0, 0)
    return said


def rows_of_probed(trace: Trace, argument: str) -> list[tuple[int, int, list[str]]]:
    """(begin, end, the functions that this argument names), of each slice of the track "probed"."""
    rows = trace.processor.query(
        f"select ts, dur, extract_arg(arg_set_id, 'debug.{argument}') names from slice s "
        "join track t on s.track_id = t.id where t.name = 'probed' order by ts"
    )
    times = [(int(str(row["ts"])), int(str(row["dur"]))) for row in rows]
    names = [[name for name in str(row["names"] or "").split(", ") if name] for row in rows]
    return [(begin, begin + length, some) for (begin, length), some in zip(times, names, strict=True)]


def test_the_dearest_futures_of_a_busy_program_go_and_come_back(targets: Targets, tmp_path: Path) -> None:
    """Under a load they cost too much: the task polls stay, single functions go; when the load is over they are back.
    The trace and the summary say which and for how long."""
    output = tmp_path / "paced.pftrace"
    said = busy_for_a_while(targets, output)
    first, *_, last = said["plan_changes"]
    assert first["probed"].startswith("all but ")
    assert first["seconds"] < 3
    assert (last["probed"], "probed again" in last["reason"]) == ("all", True)
    trace = Trace(output)
    rows = rows_of_probed(trace, "not probed")
    assert len(rows) == len(said["plan_changes"]) + 1
    dropped = {name for *_, names in rows for name in names}
    assert len(dropped) == len(said["not_always_probed"]) > 0
    assert {one["kind"] for one in said["not_always_probed"]} <= {"coroutine", "future"}
    # No poll of one begins while it is not probed, and polls of tasks all the time.
    for one in said["not_always_probed"]:
        (name,) = [name for name in dropped if name == short_name_of(one["function"], FunctionKind(one["kind"]))]
        away = [(begin, end) for begin, end, names in rows if name in names]
        assert sum(end - begin for begin, end in away) == pytest.approx(one["not_probed"], rel=1e-6)
        polls = trace.polls({one["function"]})
        for begin, end in away:
            assert not np.any((polls.starts > begin) & (polls.starts < end))
    tasks = trace.polls({name for name in trace.functions if name.startswith("task paced::work")})
    whole = tasks.starts[(tasks.starts > tasks.starts.min() + 200_000_000) & (tasks.starts < tasks.starts.max())]
    assert np.diff(np.sort(whole)).max() < 1_000_000_000
    # One of the busiest, whose exits are stepped as those of the others are, was among the first to go.
    until = rows[0][1]
    futures = {one["function"]: one["kind"] for one in said["functions"] if one["kind"] in ("coroutine", "future")}
    counts = {
        short_name_of(name, FunctionKind(kind)): int(np.count_nonzero(trace.polls({name}).starts < until))
        for name, kind in futures.items()
    }
    assert max(counts[name] for name in rows[1][2]) >= 0.9 * max(counts.values())


class Counting(Guard):
    """Sees what else than events is counted."""

    stacks = 0

    def observe(self, now: int, events: Array, lost: int, unseen: Unseen, cpu: int) -> Step | None:
        Counting.stacks += unseen.stacks
        return super().observe(now, events, lost, unseen, cpu)


def test_the_time_that_stacks_take_is_counted(
    targets: Targets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time the thread blocks 24 KiB are copied, and again when they are sent: at no more than 50 GB a second."""
    monkeypatch.setattr(recorder, "Guard", Counting)
    with targets.run("paced", "release", "nap", "2") as running:
        process = TargetProcess.open(running.pid)
        survey = survey_processes([process], Selection(), ExitMode.DEFAULT)
        options = RecordOptions(None, 1, "auto", 1 << 30, {}, on_attached=lambda plan: running.go())
        with our_scheduling():
            Recorder(survey, [process], tmp_path / "x.ratcap", options).run()
        result = running.wait()
    naps = result.lines[-1]["naps"]
    print(f"{naps} times, {Counting.stacks / naps:,.0f} ns each")
    assert naps > 500
    assert 24 * 1024 / 50 * 2 < Counting.stacks / naps < 100_000


def per_element(lines: Sequence[dict[str, int]], begin: int, end: int) -> float:
    """CPU time of the target for each element that it passed in a time, ns."""
    first, *_, last = [line for line in lines if begin <= line["time"] <= end]
    return (last["cpu"] - first["cpu"]) / (last["passed"] - first["passed"])


@pytest.mark.parametrize("options", [(), ("--exits", "auto")])
def test_hits_that_send_nothing_are_held_as_well(targets: Targets, tmp_path: Path, options: tuple[str, ...]) -> None:
    """Where a future's exit is seen the program passes for thousands of others that are not polled.  Those hits tell
    nothing, and cost: by the target's own account it is soon as fast again as it can be beside the other probes, and
    what they took is told."""
    output = tmp_path / "scan.pftrace"
    with targets.run("paced", "release", "scan", "30000", "12") as running:
        running.go()
        time.sleep(1.5)
        with recording("--pid", running.pid, "-d", 4, "-o", output, "--json", *options) as rec:
            before = time.monotonic_ns()
            done = rec.wait()
        end = time.monotonic_ns()
        result = running.wait()
    assert done.code == 0, done.err
    said: dict[str, Any] = json.loads(done.out)
    change, *_ = said["plan_changes"]
    assert change["seconds"] < 0.5
    assert "Calm" in change["reason"]
    lines = result.lines
    bare = per_element(lines, 0, before)
    traced = [line for line in lines if before <= line["time"] <= end]
    assert per_element(lines, end - 2_500_000_000, end - 500_000_000) < 5 * bare
    taken = traced[-1]["cpu"] - traced[0]["cpu"] - (traced[-1]["passed"] - traced[0]["passed"]) * bare
    told = said["overhead_of_processor"] * said["seconds"]
    print(f"bare {bare:.2f} ns an element; taken {taken / 1e6:.0f} ms, told {told * 1e3:.0f} ms")
    assert told > taken / 1e9 / 3


def test_what_came_while_probes_were_attached_is_held_against_that_time_too(targets: Targets, tmp_path: Path) -> None:
    """The first batch has all since the first probe.  Against a shorter time it seemed to cost many times as much, and
    busy programs were given up at once."""
    with targets.run("trouble", "release-debug", "busy-loop-yield") as running:
        running.go()
        time.sleep(0.2)
        command = [
            sys.executable,
            "-c",
            _WATCHED,
            "--pid",
            str(running.pid),
            "-d",
            "0.3",
            "-o",
            str(tmp_path / "x.pftrace"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        running.process.kill()
        running.process.wait()
    (after,) = [int(line.split()[-1]) for line in done.stderr.splitlines() if line.startswith("first event after")]
    assert after >= 0
