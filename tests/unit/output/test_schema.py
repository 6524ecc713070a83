"""The documented schema of the JSON summary against documents of every kind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.perfetto.simulation import PID, START, blocks, make_recording, make_threads, simulate
from tracer.commands.report import summarise
from tracer.model import CaptureEnd, Flight, Group, Hit, PlanChange, ProcessEnd, SourceLocation, Tally
from tracer.output.summary import Summary

ROOT = Path(__file__).parents[3]
CAPTURES = sorted((ROOT / "tests" / "golden").glob("*.ratcap"))


def closed(part: Any, *, is_definition: bool = False) -> Any:
    """The schema with every object closed: a key that it does not describe is an error."""
    if isinstance(part, list):
        return [closed(one) for one in part]
    if not isinstance(part, dict):
        return part
    whole = {
        key: {name: closed(one, is_definition=True) for name, one in value.items()} if key == "$defs" else closed(value)
        for key, value in part.items()
    }
    is_object = "$ref" in part or (isinstance(part.get("properties"), dict) and part.get("type") == "object")
    return whole | {"unevaluatedProperties": False} if is_object and not is_definition else whole


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads((ROOT / "docs" / "summary.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(closed(schema))


def test_a_summary_with_everything(validator: Draft202012Validator) -> None:
    summary = Summary(make_recording(duration="5"))
    summary.threads(make_threads())
    for block in blocks(simulate(), 3):
        summary.spans(block)
    summary.plan_change(PlanChange(START + 1_500_000_000, frozenset({Group.TASKS}), "probes took 7.1 %"))
    summary.process_end(ProcessEnd(START + 5_000_000_000, PID, "it exited with status 0"))
    summary.close(Tally(100, 50, 30, 5), CaptureEnd(START + 5_000_000_000, "5 s are over", 100, 0, 0.031))
    document = json.loads(json.dumps(summary.as_json()))
    for rows in ("functions", "task_kinds", "waits_by_await", "longest_polls", "plan_changes", "process_ends"):
        assert document[rows], rows
    assert any(row["waits_by_await"] for row in document["task_kinds"])
    assert any(row["macro"] for row in document["waits_by_await"])
    validator.validate(document)


def test_a_summary_of_a_flight(validator: Draft202012Validator) -> None:
    traces = [{"path": "x.pftrace", "trigger": "poll > 1ms", "kind": "poll", "title": "a was polled for 2.00 ms"}]
    told = {"trace": "y.pftrace", "traces": traces, "again": {"poll > 1ms": 3}, "not_written": 0}
    hits = (
        None,
        Hit("exit", "exit", "the process ended", START + 9, 0),
        Hit("poll > 1ms", "poll", "it took long", START + 5, 2, 1, "a::b", SourceLocation("src/main.rs", 7), 3),
    )
    for hit in hits:
        summary = Summary(replace(make_recording(), flight=Flight(30_000_000_000, START - 7, hit)))
        summary.close(Tally(), CaptureEnd(START + 10, "the process ended", 0, 0))
        document = json.loads(json.dumps(summary.as_json()))
        assert document["flight"]["before"] == 7
        validator.validate(document | told)


def test_an_empty_summary(validator: Draft202012Validator) -> None:
    summary = Summary(make_recording())
    summary.close(Tally(), None)
    validator.validate(summary.as_json())


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: str(path.stem))
def test_summaries_of_captures(validator: Draft202012Validator, capture: Path) -> None:
    validator.validate(summarise(capture, quiet=True) | {"trace": "x.pftrace"})


def test_the_check_can_fail(validator: Draft202012Validator) -> None:
    document = summarise(CAPTURES[0], quiet=True)
    assert not validator.is_valid(document | {"more": 1})
    assert not validator.is_valid(document | {"polls": 1.5})
    assert not validator.is_valid(document | {"schema": 2})
    document["functions"][0]["more"] = 1
    assert not validator.is_valid(document)
