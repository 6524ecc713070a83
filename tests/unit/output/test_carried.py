"""A trace carries its summary; what has none, or not a whole one, says what it is."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.perfetto.conftest import Write
from tests.perfetto.conftest import write as write  # noqa: PLC0414 - a fixture
from tests.perfetto.simulation import simulate
from tracer.errors import BadCapture
from tracer.output.carried import read_summary, text_of

DOCUMENT = {"schema": 1, "polls": 5, "share": 0.1, "names": ["a\x7fb", "naïve\u202e", "\ud800", 'q"\\\n'], "none": None}


@pytest.fixture
def trace(write: Write) -> Path:
    return write([simulate()], summary=DOCUMENT).path


def test_it_comes_back_as_it_was(trace: Path) -> None:
    assert read_summary(trace) == DOCUMENT
    assert all(" " <= character < "\x7f" for character in text_of(DOCUMENT))


def test_a_long_one(write: Write) -> None:
    document = {"schema": 1, "functions": ["f" * 100] * 30_000}
    assert read_summary(write([], summary=document).path) == document


def refused(path: Path) -> str:
    with pytest.raises(BadCapture) as caught:
        read_summary(path)
    assert caught.value.fix
    return f"{caught.value.what}: {caught.value.why}"


def test_a_trace_that_is_cut_off(trace: Path) -> None:
    data = trace.read_bytes()
    for end in (len(data) - 1, len(data) - 200, len(data) // 2, 5000):
        trace.write_bytes(data[:end])
        assert "cut off or damaged" in refused(trace) or "carries no summary" in refused(trace)


def test_a_changed_byte_is_never_believed(write: Write) -> None:
    trace = write([], summary=DOCUMENT).path
    data = trace.read_bytes()
    text = text_of(DOCUMENT).encode()
    start = data.rindex(text)
    for at in range(start, start + len(text)):
        trace.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert "carries no summary" in refused(trace)


def test_a_trace_without(write: Write) -> None:
    assert "carries no summary" in refused(write([simulate()]).path)


def test_a_later_schema(write: Write) -> None:
    assert "schema 2" in refused(write([], summary=DOCUMENT | {"schema": 2}).path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\x0a", "neither"),
        (b"\x00" * 5000, "neither"),
        (b"\x0a\x05hello\x0a\x05world", "neither"),
        (b'{"displayTimeUnit":"ns","traceEvents":[]}', "JSON"),
        (b"\x7fELF", "neither"),
        (gzip.compress(b"\x0a\x05hello"), "compressed"),
    ],
)
def test_other_files(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "x.pftrace"
    path.write_bytes(data)
    assert words in refused(path)


def test_no_file(tmp_path: Path) -> None:
    assert "cannot be read" in refused(tmp_path / "nothing")
    assert "cannot be read" in refused(tmp_path)
