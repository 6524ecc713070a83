"""Spawns in Chrome's JSON and in the summary."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.perfetto.simulation import (
    SITES,
    START,
    blocks,
    make_recording,
    make_threads,
    simulate,
    with_sites,
    with_spawns,
)
from tracer.assemble.state import NO_SPANS
from tracer.model import PARKED, CaptureEnd, MemoryReading, Tally
from tracer.output.chrome import ChromeWriter
from tracer.output.histogram import PERCENTILE_ERROR
from tracer.output.labels import duration_words
from tracer.output.spawn_words import why_unknown
from tracer.output.summary import Summary

WHY = why_unknown(None)


def test_chrome_draws_an_arrow_to_each_task(tmp_path: Path) -> None:
    spans = with_spawns(simulate())
    path = tmp_path / "t.json"
    writer = ChromeWriter(path, with_sites(make_recording()), total_events=2 * len(spans.polls))
    writer.threads(make_threads())
    for block in blocks(spans, 4):
        writer.spans(block)
    writer.close(Tally(), CaptureEnd(START + 50_000_000, "done", 0, 0))
    events = json.loads(path.read_text(), parse_float=Decimal)["traceEvents"]
    tasks = {int(task["task"]): task for task in spans.begun if task["spawned"]}
    for phase, time, thread in (("s", "spawned", "spawned_on"), ("f", "first", "tid")):
        ends = {one["id"]: (int(one["ts"] * 1000), one["tid"]) for one in events if one["ph"] == phase}
        assert ends == {number: (int(task[time]), int(task[thread])) for number, task in tasks.items()}
    marks = {one["args"]["task number"]: one for one in events if one.get("cat") == "spawn" and one["ph"] == "i"}
    first = {
        one["args"]["task number"]: one["args"]
        for one in events
        if "spawned at" in one.get("args", {}) and one["ph"] == "X"
    }
    assert marks.keys() == first.keys() == tasks.keys()
    for number, task in tasks.items():
        at = int(task["spawned_at"])
        place = str(SITES[at - 1]) if at else f"unknown: {WHY}"
        assert first[number]["spawned at"] == marks[number]["args"]["spawned at"] == place
        by = "task echo::conn::handle" if task["spawned_by"] else "no task, as far as was seen"
        assert first[number]["spawned by"] == by
    ready = [one for one in events if one.get("name") == "task conn::handle: ready"]
    for phase, time in (("b", "spawned"), ("e", "first")):
        times = {int(one["id"], 16): int(one["ts"] * 1000) for one in ready if one["ph"] == phase}
        assert times == {number: int(task[time]) for number, task in tasks.items()}
    for one in ready:
        if one["ph"] == "b":
            task = tasks[int(one["id"], 16)]
            assert one["args"]["ready for (ns)"] == task["first"] - task["spawned"]


def test_the_summary_counts_places() -> None:
    spans = with_spawns(simulate())
    summary = Summary(with_sites(make_recording()))
    for block in blocks(spans, 5):
        summary.spans(block)
    summary.close(Tally(), CaptureEnd(START + 50_000_000, "done", 0, 0))
    document = summary.as_json()
    expected: Counter[tuple[object, ...]] = Counter()
    for task in spans.over[spans.over["spawned"] != 0]:
        site = SITES[task["spawned_at"] - 1] if task["spawned_at"] else None
        place = (site.file, site.line, site.column) if site else (None, None, None)
        expected[(*place, "task echo::conn::handle" if task["spawned_by"] else None)] += 1
    (kind,) = document["task_kinds"]
    counted = {(one["file"], one["line"], one["column"], one["by"]): one["tasks"] for one in kind["spawned"]}
    assert counted == expected
    assert [one["tasks"] for one in kind["spawned"]] == sorted(counted.values(), reverse=True)

    console = Console(file=io.StringIO(), width=180)
    summary.print(console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "spawned at" in text
    assert document["spawns_probed"] is True
    assert "no function was found in which they are made" not in text
    assert " + 1" in text
    unknown = sum(count for place, count in expected.items() if place[0] is None)
    assert f"where {unknown} tasks came from is not known: {WHY}" in " ".join(text.split())


def test_the_summary_tells_how_long_new_tasks_were_ready() -> None:
    spans = with_spawns(simulate())
    summary = Summary(with_sites(make_recording()))
    for block in blocks(spans, 5):
        summary.spans(block)
    summary.close(Tally(), CaptureEnd(START + 50_000_000, "done", 0, 0))
    (kind,) = summary.as_json()["task_kinds"]
    new = spans.begun[spans.begun["spawned"] != 0]
    delays = np.sort(new["first"] - new["spawned"])
    told = kind["first_delay"]
    assert (told["tasks"], told["total"], told["longest"]) == (len(new), delays.sum(), delays[-1])
    for key, share in (("p50", 0.5), ("p99", 0.99)):
        exact = delays[int(np.ceil(share * len(delays))) - 1]
        assert told[key] == pytest.approx(exact, rel=PERCENTILE_ERROR + 0.001)
    assert kind["delay"] is None
    console = Console(file=io.StringIO(), width=180)
    summary.print(console)
    text = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "delay until poll woken by itself p50 p99 max spawned first p50 first p99 first max" in text
    assert f"conn::handle {len(new)} {duration_words(told['p50'])}" in text


@pytest.mark.parametrize(
    ("newest", "seen", "unseen"),
    [
        (None, (), None),  # nobody knows what was there before
        (3, (), [4, 5, 6, 7, 8]),
        (3, (5, 7), [6, 8]),  # those before the first one came when not all probes were there
    ],
)
def test_the_summary_says_how_many_spawns_were_not_seen(
    newest: int | None, seen: tuple[int, ...], unseen: list[int] | None
) -> None:
    begun = simulate().begun[:1].repeat(8)
    begun["id"] = begun["task"] = 1 + np.arange(8)
    begun["spawned"] = np.where(np.isin(begun["id"], seen), START + 1, 0)
    summary = Summary(with_sites(make_recording()))
    if newest is not None:
        parked = np.zeros(1, PARKED)
        parked["id"] = newest
        summary.memory_reading(MemoryReading(START, 5, 0, is_last=False, tasks=1, parked=parked))
    for block in np.split(begun, [2, 5]):
        summary.spans(replace(NO_SPANS, begun=block))
    summary.spans(replace(NO_SPANS, over=begun))
    summary.close(Tally(), CaptureEnd(START + 50_000_000, "done", 0, 0))
    (kind,) = summary.as_json()["task_kinds"]
    assert kind["unseen_spawns"] == (None if unseen is None else len(unseen))
    console = Console(file=io.StringIO(), width=180)
    summary.print(console)
    text = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    said = f"where {len(unseen or ())} tasks came from is not known: made where no probe is, or was not then"
    assert (said in text) == bool(unseen)


def test_the_summary_says_when_no_spawn_could_be_seen() -> None:
    recording = make_recording()
    summary = Summary(replace(recording, plan=replace(recording.plan, spawns=())))
    summary.spans(simulate())
    summary.close(Tally(), None)
    console = Console(file=io.StringIO(), width=180)
    summary.print(console)
    assert summary.as_json()["spawns_probed"] is False
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "where tasks came from is not known: no function was found in which they are made" in text
