"""Exits that are seen where callers go on: as true as those at the exit instructions, whatever else leads there."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.assembled import assembled, joined
from tests.e2e.command import recording
from tests.running import Result, Targets
from tests.truth import Kind, enclosing
from tracer.model import ExitMode, Plan, PollFlag, Site, Spans

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

EXCESS = 100_000
"""Nanoseconds by which a traced poll may be longer than the interval measured inside it, for 99 of 100."""
CALLED = {"returns::Left", "returns::Right", "returns::Deep", "returns::Either", "returns::Loop", "returns::Catches"}
"""Futures that are only called directly, by callers that go on with a jump."""
TASK = "returns::work"
"""The future of the tasks: tokio makes another call before it goes on."""
TASKS = 240


def recorded(targets: Targets, profile: str, exits: ExitMode, capture: Path) -> tuple[Result, Plan, Spans, int]:
    """(what the target says, the plan, the spans, exits without an entry)."""
    chosen = () if exits is ExitMode.DEFAULT else ("--exits", str(exits))
    options = ("--format", "capture", "-o", capture, "--max-overhead", 100, *chosen)
    with targets.run("returns", profile) as running, recording("--pid", running.pid, *options) as recorder:
        running.go()
        result = running.wait()
        done = recorder.wait()
    assert (done.code, result.returncode) == (0, 0), done.err
    described, parts, tally = assembled(capture)
    return result, described.plan, joined(parts), tally.unmatched_exits


def sites_of(plan: Plan) -> dict[str, set[Site]]:
    found: dict[str, set[Site]] = {}
    for probe in plan.probes:
        if probe.leaves is not None:
            found.setdefault(plan.functions[probe.leaves].name, set()).add(probe.site)
    return found


@pytest.mark.parametrize("exits", [ExitMode.DEFAULT, ExitMode.RET])
@pytest.mark.parametrize("profile", ["dev", "release", "release-debug"])
def test_no_exit_is_missed_and_none_is_made_up(targets: Targets, tmp_path: Path, profile: str, exits: ExitMode) -> None:
    result, plan, spans, unmatched = recorded(targets, profile, exits, tmp_path / "x.ratcap")
    sites = sites_of(plan)
    if exits is ExitMode.DEFAULT:
        assert {name for name in CALLED if sites[name] == {Site.RETURNED}} == CALLED
        assert sites["returns::Taken"] == {Site.EXIT}
        entered = {plan.functions[probe.enters].name: probe.site for probe in plan.probes if probe.enters is not None}
        assert profile != "dev" or {entered[name] for name in CALLED} == {Site.CALL}
        assert sites[TASK] == {Site.RETURNED}
    else:
        assert Site.RETURNED not in {probe.site for probe in plan.probes}
    assert unmatched == 0
    names = np.array([function.name for function in plan.functions])[spans.polls["function"]]
    unwound = Counter(names[spans.polls["flags"] & PollFlag.UNWOUND != 0].tolist())
    assert unwound == {"returns::Bursts": TASKS}
    unsure = PollFlag.START_UNKNOWN | PollFlag.END_UNKNOWN | PollFlag.INFERRED_END
    assert not np.any(spans.polls["flags"][np.char.startswith(names, "returns::")] & unsure)

    assert result.totals is not None
    assert result.log is not None
    counts = Counter(names.tolist())
    for name, count in result.totals.polls.items():
        assert name not in sites or counts[name] == count, name
    for index, place in enumerate(result.log.places):
        assert place.kind is Kind.POLL
        records = result.log.records[result.log.records["place"] == index]
        mine = spans.polls[names == place.chain[-1]]
        around = enclosing(records, mine["start"], mine["end"], mine["tid"])
        assert np.all(around >= 0), place.chain
        excess = mine["end"][around] - mine["start"][around] - (records["end"] - records["begin"])
        assert np.quantile(excess.astype(np.int64), 0.99) <= EXCESS


def test_beside_a_tool_that_replaces_return_addresses(targets: Targets, tmp_path: Path) -> None:
    """What a call left below the stack pointer is that tool's own address then."""
    captures = [tmp_path / "callers.ratcap", tmp_path / "returns.ratcap"]
    options = ("--format", "capture", "--max-overhead", 100)
    with targets.run("tokio_multi", "abort") as running:
        first = (*options, "-o", captures[0])
        second = (*options, "-o", captures[1], "--exits", "uretprobe")
        with recording("--pid", running.pid, *first) as one, recording("--pid", running.pid, *second) as other:
            running.go()
            assert running.wait().returncode == 0
            assert (one.wait().code, other.wait().code) == (0, 0)
    counts = []
    for capture in captures:
        described, parts, tally = assembled(capture)
        polls = joined(parts).polls
        assert tally.unmatched_exits == 0
        assert not np.any(polls["flags"] & (PollFlag.UNWOUND | PollFlag.INFERRED_END))
        names = [one.name for one in described.plan.functions]
        counts.append(Counter(names[number] for number in polls["function"]))
        if capture is captures[0]:
            assert Site.RETURNED in {probe.site for probe in described.plan.probes}
    assert counts[0] == counts[1]


def test_results_are_those_at_the_exit_instructions(targets: Targets, tmp_path: Path) -> None:
    seen = []
    for exits in (ExitMode.DEFAULT, ExitMode.RET):
        _, plan, spans, _ = recorded(targets, "release-debug", exits, tmp_path / f"{exits}.ratcap")
        told = spans.polls["flags"] & (PollFlag.RESULT | PollFlag.PENDING)
        names = [plan.functions[number].name for number in spans.polls["function"]]
        seen.append(Counter(pair for pair in zip(names, told.tolist(), strict=True) if pair[0].startswith("returns::")))
    assert seen[0] == seen[1]
    assert seen[0]["returns::Left", int(PollFlag.RESULT)] == TASKS
