"""What a recording lacks: which rules are not judged for it, and that they say why."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.output.findings.made import START, recording
from tracer.model import CaptureEnd, Group, PlanChange, Tally
from tracer.output.findings.gather import RULES, missing, unjudged
from tracer.output.findings.run import Need
from tracer.output.summary import Summary

OF_WAKES = {"starved-tasks", "busy-loop", "unpolled-wake", "held-lock", "worker-imbalance"}
ALL = dict.fromkeys(Group, 1.0)


def why(shares: dict[Group, float], **but: Any) -> dict[str, str]:
    """But for this, nothing is missing."""
    whole = {"own_futures": 1.0, "is_whole": True, "spawns": True, "has_types": True}
    whole |= {"knows_stuck": True, "knows_kept": True, "knows_channels": True}
    return {one.rule: one.why for one in unjudged(missing(shares, **(whole | but)))}


def test_where_nothing_is_missing_all_are_judged() -> None:
    assert why(ALL) == {}
    assert len({rule.id for rule in RULES}) == len(RULES) == 19
    assert all(rule.advice.endswith(".") for rule in RULES)
    assert {rule.id for rule in RULES if not rule.needs} == {"halted", "cpu-throttled"}


@pytest.mark.parametrize(
    ("lacking", "rules", "reason"),
    [
        ({Group.WAKES: 0.0}, OF_WAKES, "wakes were not probed"),
        ({Group.WAKES: 0.5}, {"unpolled-wake", "worker-imbalance"}, "wakes were probed in 50% of the time"),
        ({Group.FUTURES: 0.5}, {"future-leak"}, "some futures were probed in 50% of the time"),
        ({Group.SCHEDULING: 0.0}, set(), ""),
        (
            {Group.TASKS: 0.5},
            {
                *("task-leak", "future-leak", "result-leak", "cancel-storm", "select-cancelled"),
                *("worker-imbalance", "unpolled-wake"),
            },
            "tasks were probed in 50% of the time",
        ),
    ],
)  # fmt: skip
def test_probes_that_were_not_there(lacking: dict[Group, float], rules: set[str], reason: str) -> None:
    found = why(ALL | lacking)
    assert found.keys() == rules
    assert set(found.values()) <= {reason}


def test_lost_events_and_memory_that_was_not_read() -> None:
    found = why(ALL, is_whole=False)
    assert found.keys() == {
        *("task-leak", "future-leak", "result-leak", "cancel-storm", "select-cancelled"),
        *("worker-imbalance", "unpolled-wake"),
    }
    assert set(found.values()) == {"events are missing"}
    assert why(ALL, knows_stuck=False).keys() == {"lost-wake", "deadlock", "futurelock"}
    assert why(ALL, knows_kept=False).keys() == {"result-leak"}
    assert why(ALL, knows_channels=False).keys() == {"backlog"}
    assert why(ALL, spawns=False).keys() == {"blocking-pool"}
    assert why(ALL, has_types=False).keys() == {"deadlock", "futurelock", "held-lock", "long-queue", "backlog"}
    assert why(ALL, own_futures=0.5) == {"select-cancelled": "some of its own futures were probed in 50% of the time"}


def test_every_need_is_somebodys() -> None:
    assert set().union(*(rule.needs for rule in RULES)) == set(Need)


def test_a_capture_that_breaks_off_may_lack_events() -> None:
    summary = Summary(recording())
    summary.close(Tally(), None)
    assert "task-leak" in {one["rule"] for one in summary.as_json()["rules_not_judged"]}


def test_a_change_of_the_probes_counts_by_its_time() -> None:
    summary = Summary(recording())
    without = frozenset({Group.TASKS, Group.FUTURES})
    summary.plan_change(PlanChange(START + 4_000_000_000, without, "they cost too much"))
    summary.close(Tally(), CaptureEnd(START + 10_000_000_000, "over", 0, 0))
    reasons = {one["rule"]: one["why"] for one in summary.as_json()["rules_not_judged"]}
    assert reasons["worker-imbalance"] == "wakes were probed in 40% of the time"
    assert "starved-tasks" not in reasons
