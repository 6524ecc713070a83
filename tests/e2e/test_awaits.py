"""Each wait of a real trace says where in the source it waits, and the source does wait there for what it names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.building import WORKSPACE
from tests.e2e.command import rat, recording
from tests.e2e.test_live_server import load
from tests.e2e.trace import Trace
from tests.running import Targets
from tests.sources import is_made_by, source, statement

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

_WAITS = """
select s.name, s.dur,
  extract_arg(s.arg_set_id, 'debug.await') place,
  extract_arg(s.arg_set_id, 'debug.awaitee') awaitee,
  extract_arg(s.arg_set_id, 'debug.state') state,
  extract_arg(s.arg_set_id, 'debug.layout') layout,
  extract_arg(s.arg_set_id, 'source.file_name') file,
  extract_arg(s.arg_set_id, 'source.line_number') line
from slice s join process_track i on s.track_id = i.id
where s.category = 'wait'
"""


def waits(trace: Path, function: str) -> list[dict[str, Any]]:
    """The waits of one function, by its short name."""
    rows = Trace(trace).processor.query(
        f"{_WAITS} and (i.name = '{function}' or i.name glob '{function} (*' or i.name glob '{function} #*')"
    )
    assert rows, function
    return [dict(row) for row in rows]


def trace_of_tokio_multi(targets: Targets, profile: str, folder: Path) -> Path:
    """The trace of a whole run."""
    output = folder / "trace.pftrace"
    options = ("-o", output, "--max-overhead", 100)
    with targets.run("tokio_multi", profile) as running, recording("--pid", running.pid, *options) as rec:
        running.go()
        result = running.wait()
        done = rec.wait()
    assert (result.returncode, done.code) == (0, 0)
    return output


def assert_told(row: dict[str, Any], path: Path) -> int:
    """The wait's line is one of this file that awaits what the wait names; returns the line."""
    file, line = str(row["file"]), int(row["line"])
    assert row["place"] == f"{file}:{line}"
    assert Path(file).resolve() == path
    words = statement(file, line)
    assert ".await" in words
    assert is_made_by(str(row["awaitee"]), words), row
    assert row["name"].startswith("waiting: ")
    assert re.fullmatch(r"await #\d+", row["state"])
    return line


@pytest.mark.parametrize(("profile", "layout"), [("dev", "dwarf"), ("release-debug", "dwarf"), ("release", "twin")])
def test_the_server_waits_where_its_source_does(targets: Targets, tmp_path: Path, profile: str, layout: str) -> None:
    output, capture = tmp_path / "server.pftrace", tmp_path / "server.ratcap"
    twin = ("--symbols", targets.path("server", "release-debug")) if layout == "twin" else ()
    with targets.run("server", profile) as server:
        options = ("--format", "capture", "-o", capture, "--max-overhead", 100, *twin)
        with recording("--pid", server.pid, *options) as rec:
            load(targets, profile, server, 1.5, 200)
            done = rec.stop()
        assert done.code == 0, done.err
    done = rat("convert", capture, "-o", output, "--json")
    assert done.code == 0, done.err
    path = WORKSPACE / "server/src/main.rs"
    seen = {
        function: {(str(row["name"]), assert_told(row, path)) for row in waits(output, function) if row["place"]}
        for function in ("server::keep_journal", "server::expire_items", "server::serve_connection")
    }
    text = [line.strip() for line in source(str(path))]
    lines = {(name.partition("<")[0], text[line - 1]) for found in seen.values() for name, line in found}
    expected = {
        ("waiting: Receiver::recv_many", "while entries.recv_many(&mut keys, BATCH).await > 0 {"),
        ("waiting: Interval::tick", "ticks.tick().await;"),
    }
    if profile == "dev":
        expected |= {
            ("waiting: server::write_batch", "write_batch(&service, &keys).await;"),
            ("waiting: server::read_request", "while let Some(request) = read_request(&mut stream).await? {"),
        }
    else:  # these have no functions of their own there: their waits are told as their callers'
        expected |= {
            ("waiting: Sleep", "sleep(Duration::from_millis(2)).await;"),
            ("waiting: ReadLine", "if stream.read_line(&mut line).await? == 0 {"),
        }
    assert lines >= expected
    for row in (row for function in seen for row in waits(output, function)):
        assert row["layout"] == layout
        assert row["place"] or row["state"] == "unknown"
    document = json.loads(done.out)
    kinds = {one["function"]: one["kind"] for one in document["functions"]}
    rows = [one for one in document["waits_by_await"] if kinds[one["function"]] == "coroutine"]
    assert {one["layout"] for one in rows} == {layout}
    assert all(one["verified"] for one in rows if one["file"] is not None)
    located = sum(one["waiting"] for one in rows if one["file"] is not None)
    assert located >= 0.95 * sum(one["waiting"] for one in rows) > 0
    for one in rows:
        if one["file"] is not None and one["file"] == str(path):
            assert is_made_by(one["awaitee"], statement(one["file"], one["line"]))


@pytest.mark.parametrize("profile", ["dev", "release-debug", "bfd", "old-dev", "old-release-debug"])
def test_tasks_wait_where_their_source_does(targets: Targets, tmp_path: Path, profile: str) -> None:
    output = trace_of_tokio_multi(targets, profile, tmp_path)
    path = WORKSPACE / "tokio_multi/src/main.rs"
    outer = waits(output, "tokio_multi::outer")
    assert {assert_told(row, path) for row in outer} == {_line(path, "apart(nested(instance)).await + 1")}
    # Up to rustc 1.66 a debug build has the awaitee's path in another unit than its await.
    path_of = "" if profile == "old-dev" else "truth::future::"
    (awaitee,) = {row["awaitee"] for row in outer}
    assert awaitee in ("truth::future::Apart<tokio_multi::nested>", f"{path_of}Apart<tokio_multi::nested>")
    nested = waits(output, "tokio_multi::nested")
    assert {assert_told(row, path) for row in nested} == {_line(path, "let value = leaf.await;")}
    assert {row["name"] for row in nested} == {"waiting: Leaf<Sleep>"}
    assert len(outer) == len(nested) == 23 * 46
    done = rat("report", "--json", output)
    assert done.code == 0, done.err
    (kind,) = (one for one in json.loads(done.out)["task_kinds"] if one["function"].endswith("<tokio_multi::outer>"))
    told = [one for one in kind["waits_by_await"] if one["function"] == kind["function"]]
    assert {(one["file"], one["line"]) for one in told} == {(row["file"], row["line"]) for row in nested}
    assert sum(one["waits"] for one in told) == 23 * 46


@pytest.mark.parametrize("profile", ["dev-lines", "release-lines"])
def test_lines_without_types_are_enough_for_places(targets: Targets, tmp_path: Path, profile: str) -> None:
    """debug = 1: the code and the line tables tell what the types would."""
    output = trace_of_tokio_multi(targets, profile, tmp_path)
    path = WORKSPACE / "tokio_multi/src/main.rs"
    outer = waits(output, "tokio_multi::outer")
    assert {row["place"] for row in outer} == {f"{path}:{_line(path, 'apart(nested(instance)).await + 1')}"}
    nested = waits(output, "tokio_multi::nested")
    assert {row["place"] for row in nested} == {f"{path}:{_line(path, 'let value = leaf.await;')}"}
    assert len(outer) == len(nested) == 23 * 46


def _line(path: Path, text: str) -> int:
    (number,) = [number for number, line in enumerate(source(str(path)), 1) if line.strip() == text]
    return number
