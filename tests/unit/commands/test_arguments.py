"""What is typed is understood, or refused with a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracer import cli
from tracer.commands.convert import beside
from tracer.commands.record import positive_seconds
from tracer.errors import ExitCode


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--max-size", "inf"),
        ("--max-size", "1e999"),
        ("--max-size", "nan"),
        ("--max-size", "5K"),
        ("--max-size", "-1G"),
        ("--max-size", ""),
        ("--duration", "0"),
        ("--duration", "nan"),
        ("--duration", "inf"),
        ("--max-overhead", "nan"),
        ("--max-overhead", "0"),
        ("--max-overhead", "101"),
        ("--pid", "spin"),
        ("--duration", "5x"),
        ("--duration", "9" * 400),
        ("--last", "9" * 400 + "s"),
    ],
)
def test_a_value_that_makes_no_sense(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--pid", "1", f"{option}={value}"])
    assert caught.value.code == ExitCode.USAGE
    assert option in capsys.readouterr().err


@pytest.mark.parametrize("value", ["nan", "inf", "-1"])
def test_a_length_that_makes_no_sense(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["convert", "x.ratcap", f"--min-us={value}"]) == ExitCode.USAGE
    assert "--min-us" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("capture", "trace"),
    [("x.ratcap", "x.pftrace"), ("x.pftrace.ratcap", "x.pftrace"), ("x", "x.pftrace"), ("x.1.ratcap", "x.1.pftrace")],
)
def test_the_trace_of_a_capture_has_its_name(capture: str, trace: str) -> None:
    assert beside(Path("folder") / capture, ".pftrace") == Path("folder") / trace


def test_the_trace_of_the_ring_that_one_is_in_is_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.pftrace.ring").mkdir()
    monkeypatch.chdir(tmp_path / "x.pftrace.ring")
    assert beside(Path(), ".pftrace") == tmp_path / "x.pftrace"


@pytest.mark.parametrize("output", [[], ["-o", "link"]], ids=["default", "link"])
def test_a_capture_is_not_replaced_by_its_trace(
    tmp_path: Path, output: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    capture, content = Path("recorded.pftrace"), (Path(__file__).parents[2] / "golden/format-1.ratcap").read_bytes()
    capture.write_bytes(content)
    Path("link").symlink_to(capture)
    assert cli.main(["convert", str(capture), *output]) == ExitCode.USAGE
    assert "take the place" in capsys.readouterr().err
    assert capture.read_bytes() == content
    capture.write_bytes(b"a trace, as it seems")
    assert cli.main(["convert", str(capture), *output]) == ExitCode.BAD_CAPTURE
    assert capture.read_bytes() == b"a trace, as it seems"


@pytest.mark.parametrize(("text", "seconds"), [("2", 2), ("0.5", 0.5), ("500ms", 0.5), ("2s", 2), ("1.5m", 90)])
def test_a_duration_may_have_a_unit(text: str, seconds: float) -> None:
    assert positive_seconds(text) == seconds


def test_polls_cannot_be_shorter_than_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["convert", "x.ratcap", "--min-us=-3"]) == ExitCode.USAGE
    assert "--min-us must not be below 0" in capsys.readouterr().err
