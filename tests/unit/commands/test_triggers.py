"""What --trigger and --last understand, and what they say of anything else."""

from __future__ import annotations

import pytest

from tracer.cli import main
from tracer.commands.triggers import nanoseconds, parse_trigger
from tracer.errors import UsageError
from tracer.model import Trigger, TriggerKind
from tracer.output.findings.gather import RULES

IDS = tuple(one.id for one in RULES)
MS = 1_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("poll > 100ms", Trigger("poll > 100ms", TriggerKind.POLL, 100 * MS)),
        ("poll>100ms", Trigger("poll>100ms", TriggerKind.POLL, 100 * MS)),
        ("  wait  >=  1.5s ", Trigger("wait >= 1.5s", TriggerKind.WAIT, 1_500 * MS)),
        ("ready > 50us", Trigger("ready > 50us", TriggerKind.READY, 50_000)),
        ("ready > 50 µs", Trigger("ready > 50 µs", TriggerKind.READY, 50_000)),
        ("poll > 2m", Trigger("poll > 2m", TriggerKind.POLL, 120_000 * MS)),
        ("poll > 3ns", Trigger("poll > 3ns", TriggerKind.POLL, 3)),
        ("poll(serve_one) > 1ms", Trigger("poll(serve_one) > 1ms", TriggerKind.POLL, MS, "serve_one")),
        ("wait(a(b|c)>) > 1ms", Trigger("wait(a(b|c)>) > 1ms", TriggerKind.WAIT, MS, "a(b|c)>")),
        ("finding", Trigger("finding", TriggerKind.FINDING)),
        ("finding:long-poll", Trigger("finding:long-poll", TriggerKind.FINDING, rule="long-poll")),
        ("finding: deadlock", Trigger("finding: deadlock", TriggerKind.FINDING, rule="deadlock")),
    ],
)
def test_what_is_understood(text: str, expected: Trigger) -> None:
    assert parse_trigger(text, IDS) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "begins with poll, wait, ready or finding"),
        ("poll", "begins with poll"),
        ("polls > 1ms", "begins with poll"),
        ("poll < 1ms", "begins with poll"),
        ("poll = 1ms", "begins with poll"),
        ("exit > 1ms", "begins with poll"),
        ("poll > ", "begins with poll"),
        ("poll > 100", "100 of what? The units are ns, us, ms, s and m"),
        ("poll > 100 h", "h is no unit"),
        ("poll > -1ms", "no length of time"),
        ("poll > 1e3ms", "no length of time"),
        ("poll > 0ms", "too short"),
        ("poll > 99999999999999999999s", "too long"),
        ("poll() > 1ms", "nothing between"),
        ("poll(a[) > 1ms", "is no pattern"),
        ("finding:long", "no rule long is judged while a recording goes on, but long-poll, "),
    ],
)
def test_what_is_not(text: str, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_trigger(text, IDS)
    assert why in caught.value.why
    assert "finding:long-poll" in caught.value.fix or "long-poll" in caught.value.why


def test_the_command_says_so_before_it_looks_for_a_process(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--pid", "1", "--trigger", "poll > 3"]) == 2
    told = capsys.readouterr().err
    assert "is no trigger. 3 of what? The units are ns, us, ms, s and m." in told
    assert "rat-ebpf … --trigger 'poll > 100ms'" in told


@pytest.mark.parametrize("text", ["", "0.5s", "-3s", "2d", "1000000s", "x"])
def test_lasts_that_are_none(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--pid", "1", f"--last={text}"])
    assert caught.value.code == 2
    assert "argument --last" in capsys.readouterr().err


def test_what_memory_at_the_end_tells_is_no_trigger(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--pid", "1", "--trigger", "finding:deadlock"]) == 2
    assert "no rule deadlock is judged while a recording goes on" in capsys.readouterr().err


def test_lengths() -> None:
    assert nanoseconds("30", otherwise="s") == 30_000 * MS
    assert nanoseconds("0.5ms") == 500_000
