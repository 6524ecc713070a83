"""The main job: a release server under load, traced live, its trace opened in the real UI."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.bpftrace import bpftrace_count
from tests.e2e.command import rat, recording
from tests.e2e.trace import Trace
from tests.perfetto.ui import show
from tests.running import Running, Targets

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]


def load(targets: Targets, profile: str, server: Running, seconds: float, rate: int) -> int:
    """Put a load on the server from four connections; returns the number of requests, all of them answered."""
    address = f"127.0.0.1:{server.ready['port']}"
    command = [str(targets.path("load", profile)), address, "4", str(seconds), str(rate)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(json.loads(done.stdout)["requests"])


def test_every_request_is_a_future(targets: Targets, tmp_path: Path) -> None:
    """In a debug build each request is one instance of `answer`, and each ends ready."""
    output = tmp_path / "server.pftrace"
    with targets.run("server", "dev") as server:
        with recording("--pid", server.pid, "-o", output, "--max-overhead", 100) as rec:
            requests = load(targets, "dev", server, 1.5, 300)
            done = rec.stop()
        assert done.code == 0, done.err
    answers = Trace(output).polls({"server::answer"})
    assert len(answers.instances) == requests
    assert answers.results["ready"] == requests


def test_bpftrace_counts_the_same_polls(targets: Targets, tmp_path: Path) -> None:
    """Both attached, then a load: function by function the same number of entries."""
    output = tmp_path / "server.pftrace"
    path = targets.path("server", "release-debug")
    listed = json.loads(rat("list", "--json", path).out)["probed"]
    with targets.run("server", "release-debug") as server:
        with recording("--pid", server.pid, "-o", output, "--max-overhead", 100, "--exits", "task") as rec:
            before = len(listed)
            with bpftrace_count(path, [one["address"] for one in listed], server.pid) as counting:
                load(targets, "release-debug", server, 1.5, 300)
            done = rec.stop()
        assert done.code == 0, done.err
    assert before > 10
    trace = Trace(output)
    # The server's own timers run before and after the load, so that only what the load alone wakes can be equal.
    names: dict[str, list[int]] = {}
    for one in listed:
        names.setdefault(one["function"], []).append(one["address"])
    equal = {}
    for function, addresses in names.items():
        if "serve_connection" in function or "ReadLine" in function or "WriteAll" in function:
            equal[function] = (len(trace.polls({function})), sum(counting.counts[address] for address in addresses))
    assert len(equal) >= 4
    assert sum(ours for ours, _ in equal.values()) > 500
    assert all(ours == theirs for ours, theirs in equal.values()), equal


def test_futures_given_up_are_not_taken_for_panics(targets: Targets, tmp_path: Path) -> None:
    """Task polls go on while the futures' links are being closed; what was open inside them is cut, not unwound."""
    profile = "release-debug"
    program = str(targets.path("load", profile))
    with targets.run("server", profile) as server:
        command = [program, f"127.0.0.1:{server.ready['port']}", "8", "30", "4000"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
            try:
                for number in range(4):
                    output = tmp_path / f"{number}.pftrace"
                    options = ("-d", 0.5, "--max-overhead", 2, "--json", "-o", output)
                    said = json.loads(rat("--pid", server.pid, *options).out)
                    assert said["plan_changes"][0]["probed"].startswith("all but ")
                    assert {one["kind"] for one in said["not_always_probed"]} & {"coroutine", "future"}
                    assert (said["lost"], said["unmatched_exits"], said["unwound"]) == (0, 0, 0)
            finally:
                running.kill()


def test_the_ui_opens_a_real_trace(targets: Targets, tmp_path: Path) -> None:
    """No import error; the picture is kept, the README shows it."""
    output = tmp_path / "server.pftrace"
    with targets.run("server", "release-debug") as server:
        with recording("--pid", server.pid, "-o", output, "--max-overhead", 100) as rec:
            load(targets, "release-debug", server, 2, 200)
            done = rec.stop()
        assert done.code == 0, done.err
    longest = Trace(output).processor.query(
        "select ts from slice where category = 'poll' and name = 'server::serve_connection' order by dur desc limit 1"
    )[0]["ts"]
    shown = show(
        output,
        "server.png",
        expand=["^server.*", "Async tasks", "^server::serve_connection"],
        height=900,
        **{"from": longest - 25_000_000, "to": longest + 55_000_000},
    )
    assert shown.loaded
    assert shown.problem is None
    assert not shown.import_errors
    titles = {title.split("\n")[-1] for title in shown.tracks}
    assert any(title.startswith("tokio-rt-worker") for title in titles)
    assert "server::serve_connection" in titles
