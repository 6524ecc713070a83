"""`rat-ebpf report`: the summary again, word for word, from a capture and from the trace made of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.command import rat
from tests.e2e.test_bad_input import assert_helpful
from tests.running import Targets
from tracer.capture import CaptureReader
from tracer.errors import ExitCode
from tracer.model import Tally
from tracer.output.perfetto import PerfettoWriter

pytestmark = pytest.mark.e2e

GOLDEN = Path(__file__).parents[1] / "golden"
CAPTURES = sorted(GOLDEN.glob("*.ratcap"))


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: str(path.stem))
@pytest.mark.parametrize("thinned", [(), ("--min-us", 1e6)], ids=["whole", "thinned"])
def test_what_convert_printed(capture: Path, thinned: tuple[object, ...], tmp_path: Path) -> None:
    """A trace in which most polls are not drawn has the same summary: it is carried, not made anew."""
    trace = tmp_path / "x.pftrace"
    converted = rat("convert", capture, "-o", trace, *thinned)
    assert converted.code == ExitCode.OK, converted.err
    of_capture, of_trace = rat("report", capture), rat("report", trace)
    assert of_capture.code == of_trace.code == ExitCode.OK
    assert of_capture.out == of_trace.out
    assert converted.out.startswith(of_trace.out)
    assert converted.out.removeprefix(of_trace.out).splitlines()[-2] == f"trace: {trace}"


def test_json_is_the_same_document(tmp_path: Path) -> None:
    trace = tmp_path / "x.pftrace"
    converted = json.loads(rat("convert", CAPTURES[0], "-o", trace, "--json").out)
    assert converted.pop("trace") == str(trace)
    for source in (CAPTURES[0], trace):
        assert json.loads(rat("report", "--json", source).out) == converted


def test_with_json_what_is_not_drawn_is_said_beside_it(tmp_path: Path) -> None:
    command = ("convert", CAPTURES[0], "-o", tmp_path / "x.pftrace", "--json", "--min-us", 1e6)
    done = rat(*command)
    assert json.loads(done.out)["polls"]
    assert "are not drawn (--min-us)" in " ".join(done.err.split())
    assert rat(*command, "-q").err == ""


def test_what_a_recording_printed(targets: Targets, tmp_path: Path) -> None:
    trace = tmp_path / "x.pftrace"
    with targets.run("spin", "release", "nested", "10") as running:
        running.go()
        recorded = rat("--pid", running.pid, "-d", 1, "-o", trace)
    assert recorded.code == ExitCode.OK, recorded.err
    reported = rat("report", trace)
    assert reported.code == ExitCode.OK, reported.err
    assert recorded.out.startswith(reported.out)
    assert "spin" in reported.out.splitlines()[0]


def test_a_capture_that_breaks_off(tmp_path: Path) -> None:
    torn = tmp_path / "torn.ratcap"
    torn.write_bytes(CAPTURES[0].read_bytes()[:-20])
    done = rat("report", torn)
    assert done.code == ExitCode.OK
    assert "missing or damaged" in done.err
    assert "breaks off" in done.out


@pytest.mark.parametrize(
    ("name", "words"),
    [("x.json", "JSON"), ("x.pftrace", "cut off"), ("empty", "empty"), ("missing", "cannot be read")],
)
def test_files_without_a_summary(name: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.startswith("x."):
        assert rat("convert", CAPTURES[0], "-o", path).code == ExitCode.OK
    if name == "x.pftrace":
        path.write_bytes(path.read_bytes()[:-1])
    if name == "empty":
        path.touch()
    assert_helpful(rat("report", path), ExitCode.BAD_CAPTURE, words, name)


def test_a_summary_of_another_version(tmp_path: Path) -> None:
    """One that lacks what this version prints is still a document."""
    trace = tmp_path / "x.pftrace"
    with CaptureReader(CAPTURES[0]) as reader:
        writer = PerfettoWriter(trace, reader.recording, total_events=0)
    writer.carry({"schema": 1, "seconds": 5.0})
    writer.close(Tally(), None)
    assert_helpful(rat("report", trace), ExitCode.BAD_CAPTURE, "another version")
    assert json.loads(rat("report", "--json", trace).out) == {"schema": 1, "seconds": 5.0}
