"""A poll that blocks its thread, in the real UI: the call it blocks in, the stack, the thread's states, the CPUs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.building import WORKSPACE
from tests.e2e.command import recording
from tests.e2e.trace import Trace
from tests.perfetto.ui import show
from tests.running import Targets

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

_AROUND = 12_000_000
"""ns before and after it that the picture shows."""


def test_the_ui_shows_what_a_poll_is_blocked_in(targets: Targets, tmp_path: Path) -> None:
    """The picture is kept: the documentation shows it."""
    output = tmp_path / "server.pftrace"
    with (
        targets.run("server", "release-debug") as server,
        recording("--pid", server.pid, "-o", output, "--max-overhead", 100) as rec,
    ):
        address = f"127.0.0.1:{server.ready['port']}"
        command = [str(targets.path("load", "release-debug")), address, "8", "2", "300"]
        subprocess.run(command, capture_output=True, check=True)
        done = rec.stop()
    assert done.code == 0, done.err
    blocked = Trace(output).processor.query(
        "select id, ts, dur from slice where category = 'blocked' order by dur desc limit 1"
    )[0]
    shown = show(
        output,
        "blocked.png",
        expand=["^server.*", "^CPU.*", "Async tasks", "server::serve_connection"],
        collapse=["Callstacks"],
        height=1250,
        select=f"select id from slice where id = {blocked['id']}",
        **{"from": blocked["ts"] - _AROUND, "to": blocked["ts"] + blocked["dur"] + _AROUND},
    )
    assert shown.loaded
    assert shown.problem is None
    assert not shown.import_errors
    titles = {title.split("\n")[-1] for title in shown.tracks}
    assert "CPU 0 Scheduling" in titles
    source = (WORKSPACE / "server/src/main.rs").read_text().splitlines()
    (line,) = [at for at, text in enumerate(source, 1) if "std::thread::sleep" in text]
    assert "blocked: clock_nanosleep" in shown.details
    assert f"server::build_report {WORKSPACE}/server/src/main.rs:{line}" in shown.details
