"""Each wait of a real recording has its chain down to the leaf, and at each link the source awaits what it names."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.building import WORKSPACE
from tests.e2e.command import rat, recording
from tests.e2e.test_live_server import load
from tests.e2e.trace import Trace
from tests.running import Targets
from tests.sources import is_made_by, source, statement
from tracer.assemble import begin, finish, step
from tracer.capture import CaptureReader
from tracer.model import FunctionKind, LayoutKind, Plan, WaitFlag
from tracer.output.chains import Chains

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]


def waits_of(capture: Path) -> tuple[Plan, Counter[tuple[int, int | None, tuple[int, ...]]]]:
    """The plan, and how long each function waited at each set of places, in ns; of waits that a poll followed."""
    found: Counter[tuple[int, int | None, tuple[int, ...]]] = Counter()
    with CaptureReader(capture) as reader:
        state = begin(reader.recording)
        parts = []
        for item in reader:
            if isinstance(item, np.ndarray):
                state, spans = step(state, item)
                parts.append(spans.waits)
        state, _ = finish(state, None)
        assert (state.tally.unmatched_exits, state.tally.unwound) == (0, 0)
    for wait in np.concatenate(parts):
        if not wait["flags"] & int(WaitFlag.END_UNKNOWN):
            packed = int(wait["places"])
            places = tuple(number for shift in (0, 16, 32, 48) if (number := packed >> shift & 0xFFFF))
            at = int(wait["state"]) if wait["flags"] & int(WaitFlag.STATE) else None
            found[int(wait["function"]), at, places] += int(wait["end"] - wait["start"])
    return reader.recording.plan, found


def links(plan: Plan, number: int) -> list[tuple[str, Any]]:
    """Outer to inner: (name, the place in the source where the future before it awaits this one, or None)."""
    found: list[tuple[str, Any]] = []
    while number:
        place = plan.places[number - 1]
        layout = plan.layouts[place.layout] if place.layout is not None else None
        if layout is not None and layout.kind is not LayoutKind.GLUE:
            above, at = place, None
            while above.parent:
                state, above = above.state, plan.places[above.parent - 1]
                outer = plan.layouts[above.layout] if above.layout is not None else None
                if outer is not None and outer.kind is LayoutKind.COROUTINE:
                    at = next((one.location for one in outer.awaits if one.state == state), None)
                if outer is not None and outer.kind is not LayoutKind.GLUE:
                    break
            found.append((layout.name, at))
        number = place.parent
    return found[::-1]


def whole_statement(file: str, line: int) -> str:
    """Of an expression over several lines, what comes before the line too."""
    first = line
    while source(file)[first - 1].lstrip().startswith((".", "}", ")")):
        first -= 1
    return "\n".join(source(file)[first - 1 : line - 1]) + statement(file, line)


def check_links(plan: Plan, places: tuple[int, ...]) -> int:
    """Every link's line, of the target's and of its libraries' source, awaits what comes next; returns how many."""
    checked = 0
    for number in places:
        for name, place in links(plan, number):
            if place is not None and Path(place.file).exists():
                words = whole_statement(place.file, place.line)
                assert is_made_by(name, words), (name, place, words)
                checked += 1
    return checked


@pytest.mark.parametrize("profile", ["dev", "release-debug"])
def test_every_link_of_the_servers_chains(targets: Targets, tmp_path: Path, profile: str) -> None:
    output, capture = tmp_path / "server.pftrace", tmp_path / "server.ratcap"
    with targets.run("server", profile) as server:
        options = ("--format", "capture", "-o", capture, "--max-overhead", 100)
        with recording("--pid", server.pid, *options) as rec:
            load(targets, profile, server, 2.5, 200)
            done = rec.stop()
        assert done.code == 0, done.err
    plan, waits = waits_of(capture)
    ends = {
        (plan.functions[function].name, *(name for name, _ in links(plan, places[0])))
        for function, _, places in waits
        if places
    }
    assert sum(check_links(plan, places) for *_, places in waits) > 20
    assert any(chain[0] == "task server::serve_connection" and chain[-1].endswith("::Acquire") for chain in ends)
    assert any(chain[0] == "task server::serve_connection" and chain[-1].endswith("::Sleep") for chain in ends)
    done = rat("convert", capture, "-o", output, "--json")
    assert done.code == 0, done.err
    rows = [one for one in json.loads(done.out)["waits_by_await"] if one["kind"] != "future"]
    everything = sum(one["waiting"] for one in rows)
    whole = sum(one["waiting"] for one in rows if one["file"] and one["chain_is_whole"])
    total = told = 0
    chains = Chains(plan)
    for (function, state, places), length in waits.items():
        if plan.functions[function].kind is not FunctionKind.FUTURE:
            packed = sum(number << 16 * place for place, number in enumerate(places))
            known = chains.waiting(function, state, packed)
            total += length
            told += length if known.location and known.is_whole else 0
    shares = f"{told / total:.1%}; with the waits that no poll has ended {whole / everything:.1%}"
    print(f"{profile}: file, line and whole chain of the waiting time: {shares}")
    assert told >= 0.95 * total > 0
    # Where the others are, which no poll has ended, is read at the recording's end.
    assert whole >= 0.95 * everything
    assert all(
        one["file"] in (None, str(WORKSPACE / "server/src/main.rs")) for one in rows if "server::" in one["function"]
    )
    check_trace(output, is_inlined=profile != "dev")


def check_trace(output: Path, *, is_inlined: bool) -> None:
    """The chain is among the arguments, and what is inlined is drawn below the wait."""
    processor = Trace(output).processor
    chains = processor.query(
        "select s.name, count(*) links from slice s join args a using (arg_set_id)"
        " where s.category = 'wait' and a.flat_key = 'debug.chain' group by s.id"
    )
    assert len(chains) > 20
    nested = processor.query(
        "select s.name name, p.name above, p.dur = s.dur same from slice s join slice p on s.parent_id = p.id"
        " where s.category = 'inlined'"
    )
    assert bool(nested) is is_inlined
    assert all(row["same"] == 1 for row in nested)
    names = {str(row["name"]) for row in nested}
    if is_inlined:
        assert any(
            name.startswith("server::answer at server/src/main.rs:") and name.endswith("(inlined)") for name in names
        )


@pytest.mark.parametrize("profile", ["dev", "release-debug"])
def test_a_tasks_wait_leads_to_its_leaf(targets: Targets, tmp_path: Path, profile: str) -> None:
    """As often as the target's log has it that a leaf was pending."""
    capture = tmp_path / "x.ratcap"
    options = ("--format", "capture", "-o", capture, "--max-overhead", 100)
    with targets.run("tokio_multi", profile) as running, recording("--pid", running.pid, *options) as rec:
        running.go()
        result = running.wait()
        done = rec.wait()
    assert (result.returncode, done.code) == (0, 0)
    plan, waits = waits_of(capture)
    assert sum(check_links(plan, places) for *_, places in waits) > 3
    tasks = {places for function, _, places in waits if plan.functions[function].kind is FunctionKind.TASK}
    chains = {
        tuple(name.partition("<")[0].rpartition("::")[2] for name, _ in links(plan, one))
        for places in tasks
        for one in places
    }
    assert ("Apart", "outer", "Apart", "nested", "Leaf") in chains, chains
