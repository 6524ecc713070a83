"""What a recording tells besides its probes: tasks that nobody polled."""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from tests.assembled import assembled
from tests.e2e.command import rat, recording
from tests.e2e.trace import Trace
from tests.parked import Expected, expected_stacks
from tests.running import Targets
from tracer.model import FunctionKind, Outcome, WaitFlag
from tracer.output.chains import Chains

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

_WAITS = """
select t.name track, s.ts, s.dur, s.name, extract_arg(s.arg_set_id, 'debug.location') location
from slice s join track t on s.track_id = t.id where s.category = 'wait'
"""


def innermost(expected: Expected) -> str | None:
    """Where the wait is said to be: the innermost place of the user's own on the way that all branches share."""
    place = None
    at: Expected | None = expected
    while at is not None:
        if at.place is not None:
            place = at.place
        at = at.below[0] if len(at.below) == 1 else None
    return place


@pytest.mark.parametrize("profile", ["dev", "release-debug"])
def test_tasks_that_never_woke_are_in_the_trace_where_they_wait(targets: Targets, tmp_path: Path, profile: str) -> None:
    capture = tmp_path / "parked.ratcap"
    with targets.run("parked_tokio", profile) as running:
        done = rat("--pid", running.pid, "-d", "0.5", "--format", "capture", "-o", capture)
        assert done.code == 0, done.err
    recorded, parts, tally = assembled(capture)
    plan = recorded.plan
    instances = {int(one) for part in parts for spans in (part.waits, part.polls) for one in spans["instance"]}
    assert tally.instances == len(instances)
    tasks = np.concatenate([part.over for part in parts])
    waits = np.concatenate([part.waits for part in parts])
    assert (tasks["polls"] == 0).all()
    assert set(tasks["outcome"].tolist()) == {Outcome.WAITING}
    assert len(np.unique(tasks["id"])) == len(tasks)
    unseen = int(WaitFlag.START_UNKNOWN | WaitFlag.END_UNKNOWN)
    assert ((waits["flags"] & unseen) == unseen).all()
    inside = ~np.isin(waits["instance"], tasks["task"])
    assert sorted(waits["instance"][~inside].tolist()) == sorted(tasks["task"].tolist())
    assert set(waits["task"].tolist()) == set(tasks["task"].tolist())
    assert all(plan.functions[one].kind is FunctionKind.COROUTINE for one in waits["function"][inside].tolist())
    chains = Chains(plan)
    told = defaultdict(set)
    for wait in waits[~inside]:
        function = plan.functions[wait["function"]]
        assert function.kind is FunctionKind.TASK
        known = chains.waiting(int(wait["function"]), None, int(wait["places"]))
        told[function.name.split("::")[-1].split("<")[0]].add(
            "/".join(Path(known.location.file).parts[-3:]) + f":{known.location.line}" if known.location else None
        )
    assert inside.any()  # what is in a box has a poll, and so a wait, of its own
    checked = 0
    of_own_type = {name: one for name, one in expected_stacks("parked", "parked_tokio").items() if name in told}
    assert len(of_own_type) >= 45  # the others are in boxes: the places of a recording end there
    for name, stack in of_own_type.items():
        place = innermost(stack)
        if place not in (None, "macro") and not any(one.place == "macro" for one in stack.below):
            # Below a Box<dyn Future> the places of a recording end.
            assert told[name] <= {place, stack.place, None}, name
            checked += told[name] == {place}
    assert checked >= 20
    trace = tmp_path / "parked.pftrace"
    assert rat("convert", capture, "-o", trace).code == 0
    rows = Trace(trace).processor.query(_WAITS)
    assert len(rows) == len(waits)
    document = json.loads(rat("report", "--json", trace).out)
    assert [one["last"] for one in document["memory_readings"]] == [False, True]
    assert [one["tasks"] for one in document["memory_readings"]] == [len(tasks)] * 2
    assert document["tasks"] == len(tasks)


def test_a_task_that_waits_while_a_job_computes_is_told(targets: Targets, tmp_path: Path) -> None:
    """The process works, and no probe is hit: memory tells why."""
    trace = tmp_path / "rest.pftrace"
    with targets.run("trouble", "release-debug", "rest-beside-job") as running:
        running.go()
        time.sleep(0.2)
        done = rat("--pid", running.pid, "-d", "1.5", "--json", "-o", trace)
    assert done.code == 0, done.err
    assert re.search(r"no poll was seen, .*: 1 task did not go on; right now thread \d+ .* computes in ", done.err)
    document = json.loads(done.out)
    (kind,) = document["task_kinds"]
    assert kind["function"].endswith("rest::computes_in_job")
    assert (document["tasks"], document["polls"], kind["outcomes"]["waiting"]) == (1, 0, 1)
    waits = Trace(trace).processor.query(_WAITS)
    assert "task" in {str(one["track"]).split()[0] for one in waits}
    assert all(one["dur"] > 1_400_000_000 for one in waits)


def test_a_task_that_waits_until_its_program_ends_is_told(targets: Targets, tmp_path: Path) -> None:
    capture = tmp_path / "rest.ratcap"
    with targets.run("trouble", "release-debug", "rest-until-the-end") as running:
        running.go()
        done = rat("--pid", running.pid, "--format", "capture", "-o", capture)
        assert done.code == 0, done.err
    recorded, parts, _ = assembled(capture)
    tasks = np.concatenate([part.over for part in parts])
    waits = np.concatenate([part.waits for part in parts])
    names = [recorded.plan.functions[one].name for one in tasks["function"].tolist()]
    ((at, task),) = ((at, tasks[at]) for at, name in enumerate(names) if "rest::sleeps_on" in name)
    assert len(tasks) == 2
    assert (task["polls"], task["outcome"]) == (0, Outcome.CANCELLED)
    mine = waits[waits["instance"] == task["task"]]
    ((wait,),) = (mine,)
    assert (wait["start"], wait["end"]) == (recorded.start, task["until"])
    assert wait["flags"] == WaitFlag.START_UNKNOWN | WaitFlag.CANCELLED
    ticks = tasks[1 - at]
    assert 0 < task["until"] - ticks["last"] < 500_000_000  # the runtime was dropped


_SPAWN_ARROWS = """
select i.name name, i.dur dur, t.name track, extract_arg(i.arg_set_id, 'debug.spawned at') site
from flow join slice o on slice_out = o.id join slice i on slice_in = i.id join track t on i.track_id = t.id
where o.category = 'spawn'
"""


def test_tasks_that_are_spawned_and_never_polled_are_told(targets: Targets, tmp_path: Path) -> None:
    trace = tmp_path / "rest.pftrace"
    with (
        targets.run("trouble", "release-debug", "rest-behind-spawner") as running,
        recording("--pid", running.pid, "-d", 3, "--json", "-o", trace) as rec,
    ):
        running.go()
        done = rec.wait()
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert [one["tasks"] for one in document["memory_readings"]] == [0, 6]
    assert document["tasks"] == 6
    lines = (Path(__file__).parents[1] / "targets/trouble/src/rest.rs").read_text().splitlines()
    place = 2 + [line.strip() for line in lines].index("// SPAWNS: never_polled")
    (kind,) = (one for one in document["task_kinds"] if one["function"].endswith("rest::never_polled"))
    assert (kind["tasks"], kind["polls"], kind["outcomes"]["waiting"]) == (5, 0, 5)
    assert [(one["line"], one["tasks"]) for one in kind["spawned"]] == [(place, 5)]
    (finding,) = (one for one in document["findings"] if one["rule"] == "unpolled-wake")
    assert finding["function"].endswith("rest::never_polled")
    assert finding["evidence"]["tasks"] == 5
    arrows = list(Trace(trace).processor.query(_SPAWN_ARROWS))
    arrows = [one for one in arrows if "never_polled" in str(one["track"])]
    assert [one["name"] for one in arrows] == ["ready"] * 5
    assert len({one["track"] for one in arrows}) == 5
    assert all(f"rest.rs:{place}" in str(one["site"]) for one in arrows)
    assert all(one["dur"] > 1_000_000_000 for one in arrows)
