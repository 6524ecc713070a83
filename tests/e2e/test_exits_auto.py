"""`--exits auto`: what costs too much first loses its exits.  What is shown then is true, and said to be inferred."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.assembled import assembled, joined
from tests.e2e.command import rat, recording
from tests.e2e.test_budget import Fickle, busy_for_a_while, record_all, rows_of_probed
from tests.e2e.test_truth import assert_counts
from tests.e2e.trace import Trace, functions_of
from tests.running import Result, Targets
from tests.truth import Kind, enclosing
from tracer.capture import CaptureReader
from tracer.commands import recorder
from tracer.commands.survey import Selection, survey_file
from tracer.model import Array, ExitMode, FunctionKind, Plan, PlanChange, PollFlag, WaitFlag, exits_apart
from tracer.output.labels import short_name_of
from tracer.probe.calibration import Costs
from tracer.probe.guard import Step
from tracer.probe.silent import Unseen

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

PROFILE = "release-debug"
EXCESS = 100_000
"""Nanoseconds by which a traced poll may be longer than the interval measured inside it, for 99 of 100."""
UNSURE = PollFlag.START_UNKNOWN | PollFlag.END_UNKNOWN | PollFlag.UNWOUND | PollFlag.INFERRED_END | PollFlag.TAIL


class FickleWithExits(Fickle):
    """In the guard's place: takes the exits of all futures, later those of some, and gives others back."""

    def __init__(self, plan: Plan, costs: Costs, max_overhead: float, now: int, cpu: int, processors: float) -> None:
        super().__init__(plan, costs, max_overhead, now, cpu, processors)
        assert plan.exit_mode is ExitMode.AUTO
        self._futures = frozenset(exits_apart(plan))
        self._went = False

    def observe(self, now: int, events: Array, lost: int, unseen: Unseen, cpu: int) -> Step | None:
        if not self.is_time(now, events):
            return None
        share = (0.5 if self._went else 1.0) if self._goes else 0.8
        self._went = True
        some = frozenset(one for one in self._futures if self._random.random() < share)
        self._off = self._off | some if self._goes else self._off - some
        return Step(self._plan.groups, "as it happens", frozenset(), self._off)


def record_fickly(targets: Targets, capture: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.setattr(recorder, "Guard", FickleWithExits)
    return record_all(targets, PROFILE, capture, ExitMode.AUTO)


def test_polls_without_exits_end_between_the_bounds_that_are_told(
    targets: Targets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exits come and go all the time: no poll is missing, none is told to have been unwound or to be under way.  Of
    polls whose exits were seen the end is exact; of others what the target measured lies within the bounds."""
    capture = tmp_path / "x.ratcap"
    result = record_fickly(targets, capture, monkeypatch)
    assert result.log is not None
    assert result.log.dropped == 0
    described, parts, tally = assembled(capture)
    plan, spans = described.plan, joined(parts)
    assert len(described.hit_costs) == len(plan.probes)
    assert all(0 < cost < 1_000_000 for cost in described.hit_costs)
    polls = spans.polls
    assert (tally.unmatched_exits, tally.unwound) == (0, 0)
    with CaptureReader(capture) as reader:
        changes = [item for item in reader if isinstance(item, PlanChange)]
    assert len(changes) >= 4, "exits came and went, as often as this machine can switch them in that time"
    assert {number for change in changes for number in change.entries_only} == set(exits_apart(plan))
    found = functions_of(targets.path("tokio_multi", PROFILE))
    inferred = exact = 0
    for index, place in enumerate(result.log.places):
        records = result.log.records[result.log.records["place"] == index]
        function = place.chain[-1]
        if place.kind is not Kind.POLL or function not in found:
            continue
        numbers = [number for number, one in enumerate(plan.functions) if one.name in found[function]]
        mine = polls[np.isin(polls["function"], numbers)]
        around = enclosing(records, mine["start"], mine["end_latest"], mine["tid"])
        assert np.all(around >= 0), f"{function}: {np.count_nonzero(around < 0)} polls are missing"
        seen, end = mine[around], records["end"].astype(np.int64)
        is_exact = seen["flags"] & UNSURE == 0
        assert np.all(seen["end"][is_exact] == seen["end_latest"][is_exact])
        assert np.all(seen["flags"][~is_exact] & PollFlag.INFERRED_END)
        # The target's own end is the last thing in the poll: what is told to be its earliest end is not later.
        for which in (is_exact, ~is_exact):
            if np.count_nonzero(which) > 100:
                assert np.quantile(seen["end"][which] - end[which], 0.99) <= EXCESS
        # What is inferred is so for a reason: exits of its function were not probed when it ended, or when it began.
        blind = np.zeros(len(seen), np.bool_)
        for change, following in zip(changes, [*changes[1:], None], strict=True):
            until = following.time if following is not None else 1 << 62
            is_off = np.isin(seen["function"], list(change.entries_only))
            blind |= is_off & (seen["start"] <= until) & (seen["end_latest"] >= change.time)
        assert np.all(blind[~is_exact])
        assert_sure_instances_are_one_future(seen, records["instance"].astype(np.int64), spans.waits)
        inferred += int(np.count_nonzero(~is_exact))
        exact += int(np.count_nonzero(is_exact))
    assert min(inferred, exact) > 1_000
    output = tmp_path / "x.pftrace"
    assert rat("convert", capture, "-o", output).code == 0
    notes = Trace(output).notes()
    assert not [note for note in notes if "unwound" in note]
    assert "end inferred: its exit was not probed" in notes


def assert_sure_instances_are_one_future(polls: Array, whose: npt.NDArray[np.int64], waits: Array) -> None:
    """Where two polls of one instance are of two futures (an address tells them apart no more when no result was seen),
    the wait between them is said to be unsure."""
    order = np.lexsort((polls["start"], polls["instance"]))
    polls, whose = polls[order], whose[order]
    another = (polls["instance"][1:] == polls["instance"][:-1]) & (whose[1:] != whose[:-1])
    for poll in polls[1:][another]:
        (wait,) = waits[(waits["instance"] == poll["instance"]) & (waits["end"] == poll["start"])]
        assert wait["flags"] & WaitFlag.AMBIGUOUS


def test_with_room_enough_it_is_as_by_default(targets: Targets, tmp_path: Path) -> None:
    """The same probes, all the time: every poll is there and every end is exact."""
    binary, output = targets.path("tokio_multi", PROFILE), tmp_path / "x.pftrace"
    plans = [survey_file(binary, Selection(), mode).plan for mode in (ExitMode.DEFAULT, ExitMode.AUTO)]
    assert plans[0] == replace(plans[1], exit_mode=ExitMode.DEFAULT)
    with targets.run("tokio_multi", PROFILE) as running:
        options = ("--pid", running.pid, "-o", output, "--max-overhead", 100, "--json", "--exits", "auto")
        with recording(*options) as rec:
            running.go()
            result = running.wait()
            done = rec.wait()
    assert done.code == 0, done.err
    said, trace = json.loads(done.out), Trace(output)
    assert said["plan_changes"] == said["not_always_probed"] == said["exits_not_always_probed"] == []
    assert assert_counts(trace, result, functions_of(binary)) > 5
    assert not [note for note in trace.notes() if "inferred" in note]


def test_the_dearest_futures_of_a_busy_program_lose_their_exits_first(targets: Targets, tmp_path: Path) -> None:
    """The trace and the summary say of which futures only the entries were probed, and for how long; their polls are
    there in that time, with inferred ends.  When the load is over their exits are back."""
    output = tmp_path / "paced.pftrace"
    said = busy_for_a_while(targets, output, "--exits", "auto")
    assert said["exits"] == "auto"
    first, *_, last = said["plan_changes"]
    assert "entries only of" in first["probed"]
    assert "only entries of" in first["reason"]
    assert last["probed"] == "all"
    trace = Trace(output)
    rows = rows_of_probed(trace, "entries only")
    assert len(rows) == len(said["plan_changes"]) + 1
    blind = {name for *_, names in rows for name in names}
    assert len(blind) == len(said["exits_not_always_probed"]) > 0
    inferred, rows_of = 0, {row["function"]: row for row in said["functions"]}
    for one in said["exits_not_always_probed"]:
        assert rows_of[one["function"]]["timed"] < rows_of[one["function"]]["polls"]
        assert one["kind"] in ("coroutine", "future")
        (name,) = [name for name in blind if name == short_name_of(one["function"], FunctionKind(one["kind"]))]
        without = [(begin, end) for begin, end, names in rows if name in names]
        assert sum(end - begin for begin, end in without) == pytest.approx(one["entries_only"], rel=1e-6)
        for begin, end in without:
            ends = trace.processor.query(
                "select extract_arg(arg_set_id, 'debug.note') note from slice where category = 'poll' and "
                f"extract_arg(arg_set_id, 'debug.function') = '{one['function']}' and ts > {begin} and ts < {end}"
            )
            # No exit of it was seen in that time; the last of these polls may have gone on until exits were back.
            assert len([one for one in ends if "end inferred" not in str(one["note"])]) <= 8
            inferred += len(ends)
    assert inferred > 100
    assert "unwound" not in " ".join(trace.notes())
